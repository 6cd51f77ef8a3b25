"""Pictures for viewers: of the newest output, encoded once for all of them and only while somebody looks."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, NamedTuple

from perception.frame import CameraState, EngineState, NoFrameRecord, OutputItem, Prediction
from perception.sinks.overlay_text import road_words
from perception.sources.source import SourceInfo
from perception.system.priority import NICE_OF_VIEWS, give_way
from perception.system.redaction import redacted_line
from perception.web.views import View, jpeg_of

HELD_S: Final = 0.375
"""A picture without a successor for this long is frozen, unless the source is slower."""
HELD_PERIODS: Final = 3
RATE_OVER_S: Final = 2.0
CERTAINTY_EVERY_S, CERTAINTY_OVER_S = 0.5, 60.0
"""The lowest certainty of each half second, over the last minute."""


class NoMorePicturesError(Exception):
    """The run has ended, or is shown no more."""


class Published(NamedTuple):
    """An output, and the how manyth of the run it is."""

    number: int
    output: OutputItem


class Pictures:
    """The newest output and its pictures.

    `record` is called by the publisher and does next to nothing; everything else by the server's thread.

    Args:
        info: the source's.
        clock_ns: monotonic.
    """

    def __init__(self, info: SourceInfo, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._info, self._clock_ns = info, clock_ns
        self._latest: Published | None = None
        self._waiting: set[asyncio.Event] = set()
        self._is_over = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._encoding: dict[View, tuple[int, asyncio.Task[bytes]]] = {}
        self._encoder = ThreadPoolExecutor(1, "pictures", give_way, (NICE_OF_VIEWS,))
        self._published_ns: deque[int] = deque(maxlen=256)
        self._certainties: deque[tuple[int, float | None]] = deque(
            maxlen=round(CERTAINTY_OVER_S / CERTAINTY_EVERY_S)
        )
        self.period_ms = 1e3 / info.rate_hz
        """Between two frames, as far as known."""
        self.encodes = 0
        """Pictures that were encoded so far."""

    def record(self, output: OutputItem) -> None:
        """Take an output that goes to the sinks; called by the publisher."""
        latest = self._latest
        number = latest.number + 1 if latest else 0
        if isinstance(output, Prediction):
            self._published_ns.append(output.published_ns)
        self._note_certainty(output)
        self._latest = Published(number, output)
        self._wake_all()

    async def after(self, number: int, wait_s: float) -> Published | None:
        """The newest output, if it is newer than one of that number; else the next, or None in time.

        Raises:
            NoMorePicturesError: once closed.
        """
        self.check()
        self._loop = asyncio.get_running_loop()
        is_there = asyncio.Event()
        self._waiting.add(is_there)  # before a look at the newest, so that none is missed
        try:
            latest = self._latest
            if latest is None or latest.number <= number:
                async with asyncio.timeout(wait_s):
                    await is_there.wait()
            self.check()
            return self._latest
        except TimeoutError:
            return None
        finally:
            self._waiting.discard(is_there)

    async def jpeg(self, published: Published, view: View) -> bytes:
        """The picture of an output; who asks for the same one waits for the same encoding."""
        number, task = self._encoding.get(view, (-1, None))
        if task is None or number != published.number:
            task = asyncio.create_task(self._encode(published.output, view))
            self._encoding[view] = published.number, task
        return await asyncio.shield(task)  # one viewer that goes takes it from no other

    async def held_jpeg(self) -> bytes:
        """In place of a picture that would look live."""
        held_ms, latest = self.held_ms, self._latest
        since = "yet" if held_ms is None else f"for {held_ms / 1e3:.1f} s"
        last = latest.output if latest else None
        record = NoFrameRecord(
            source_id=self._info.source_id,
            frame_wh=last.frame_wh if last else self._info.frame_wh,
            time_ns=0,
            captured_ns=last.captured_ns if last else None,
            camera_state=last.camera_state if last else CameraState.LOST,
            camera_reason=None,
            engine_state=EngineState.STALLED,
            engine_reason=f"nothing was published {since}",
            published_ns=self._clock_ns(),
        )
        return await self._encode(record, "overlay")

    async def _encode(self, output: OutputItem, view: View) -> bytes:
        try:
            made = asyncio.get_running_loop().run_in_executor(self._encoder, jpeg_of, output, view)
        except RuntimeError:  # it is closed
            raise NoMorePicturesError from None
        self.encodes += 1
        return await made

    @property
    def latest(self) -> Published | None:
        """The newest output; None before the first."""
        return self._latest

    @property
    def held_ms(self) -> float | None:
        """Since the newest output; None before the first."""
        latest = self._latest
        return None if latest is None else (self._clock_ns() - latest.output.published_ns) / 1e6

    @property
    def held_limit_ms(self) -> float:
        """From which `held_ms` on the picture is not live."""
        return max(1e3 * HELD_S, HELD_PERIODS * self.period_ms)

    def state(self, published: Published | None) -> dict[str, Any]:
        """What is known of an output now, ready for JSON; `age_ms` is None where it means nothing."""
        now_ns = self._clock_ns()
        known = {
            "limit_ms": round(self.held_limit_ms),
            "is_live": self._info.is_live,
            "rate": self._rate(now_ns),
        }
        if published is None:
            return {"id": None, **known}
        output = published.output
        age_ns = None if output.captured_ns is None else now_ns - output.captured_ns
        return {
            "id": published.number,
            "frame_id": output.frame.frame_id if isinstance(output, Prediction) else None,
            "age_ms": round(age_ns / 1e6, 1) if age_ns is not None and self._info.is_live else None,
            "time_ms": output.time_ns // 1_000_000,
            "held_ms": round((now_ns - output.published_ns) / 1e6, 1),
            "has_mask": output.has_mask,
            "road": None if output.valid_metres is None else road_words(output.valid_metres),
            "camera": {"state": output.camera_state, "reason": _line(output.camera_reason)},
            "engine": {
                "state": output.engine_state,
                "reason": _line(output.engine_reason),
                "provider": output.provider,
            },
            **known,
        }

    def certainties(self) -> list[float | None]:
        """The lowest certainty of each half second of the last minute, oldest first; None without a mask."""
        return [None if it is None else round(it, 3) for _, it in list(self._certainties)]

    def check(self) -> None:
        """Raise NoMorePicturesError once closed."""
        if self._is_over:
            raise NoMorePicturesError

    def close(self) -> None:
        """Encode no more, and let nobody wait; from any thread."""
        self._is_over = True
        self._latest = None  # which holds shared memory of the source's
        self._encoder.shutdown(wait=False, cancel_futures=True)
        self._wake_all()

    def _wake_all(self) -> None:
        if self._waiting and self._loop is not None:
            with suppress(RuntimeError):  # the server has ended
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()

    def _rate(self, now_ns: int) -> float | None:
        """Predictions a second."""
        recent = [it for it in list(self._published_ns) if now_ns - it < RATE_OVER_S * 1e9]
        if len(recent) < 2:
            return None
        return round((len(recent) - 1) * 1e9 / max(1, recent[-1] - recent[0]), 1)

    def _note_certainty(self, output: OutputItem) -> None:
        slot = int(output.published_ns / 1e9 / CERTAINTY_EVERY_S)
        has_it = isinstance(output, Prediction) and output.has_mask and output.certainty
        value = output.certainty.mean if has_it else None  # type: ignore[union-attr]
        if self._certainties and self._certainties[-1][0] == slot:
            before = self._certainties.pop()[1]
            value = min((it for it in (before, value) if it is not None), default=None)
        self._certainties.append((slot, value))


def _line(text: str | None) -> str | None:
    return None if text is None else redacted_line(text)
