"""The runner where no frame comes, where a frame shows no road, and where a stage hangs."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Event

import numpy as np
import pytest

from perception.concurrency.hang_watch import WatchdogSettings
from perception.frame import CameraState, Frame, NoFrameRecord, OutputItem, Prediction
from perception.pipeline import RunError, Runner, RunPolicy
from perception.sources.isolated.freshness import FreshnessSettings
from perception.sources.isolated.supervisor import IsolatedSource, Limits
from perception.sources.source import EndOfSource, NoFrame, Source, SourceInfo
from perception.telemetry.counters import FrameCounters

LIMIT_S = 5.0
LIVE, RECORDED = (SourceInfo("cam", is_live, (2, 2), 30.0) for is_live in (True, False))


def _frame(number: int, age_s: float = 0.0, missed_before: int = 0) -> Frame:
    captured_ns = time.monotonic_ns() - round(age_s * 1e9)
    pixels = np.zeros((2, 2, 3), np.uint8)
    return Frame("cam", number, captured_ns, number, pixels, str(number), missed_before=missed_before)


def _no_frame() -> NoFrame:
    return NoFrame(NoFrameRecord("cam", (2, 2), 7, 5, CameraState.STALE, "no frame for 0.1 s"))


def _predict(frame: Frame) -> Prediction:
    return Prediction(frame, np.zeros((2, 2), np.uint8), (1.0, 0.0, 0.0), "model")


@dataclass
class ScriptedSource(Source):
    """Gives frames and raises what stands between them."""

    script: list[Frame | Exception]

    def open(self) -> SourceInfo:
        raise NotImplementedError

    def read(self) -> Frame:
        if not self.script:
            raise EndOfSource
        item = self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        pass


@dataclass
class KeepingSink:
    name: str = "keeping"
    issue: str | None = None
    written: list[OutputItem] = field(default_factory=list)
    on_write: Callable[[OutputItem], None] = lambda output: None
    closed: Event = field(default_factory=Event)

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        pass

    def write(self, output: OutputItem) -> None:
        self.on_write(output)
        self.written.append(output)

    def close(self) -> None:
        self.closed.set()


def _run(
    script: list[Frame | Exception], policy: RunPolicy, info: SourceInfo = RECORDED
) -> tuple[Runner, list[OutputItem]]:
    """The run, which has ended well, and what was written."""
    sink = KeepingSink()
    runner = Runner(ScriptedSource(script), info, [_predict], [sink], policy)
    runner.start()
    assert runner.wait(LIMIT_S)
    runner.raise_first_error()
    assert runner.unaccounted(is_over=True) == []
    return runner, sink.written


def test_outage_reaches_the_sinks_in_its_place_with_the_engines_name() -> None:
    def sign(outage: NoFrameRecord) -> NoFrameRecord:
        return NoFrameRecord(**{**outage.__dict__, "model_id": "model"})

    _, written = _run([_frame(0), _no_frame(), _frame(1)], RunPolicy(stamp_engine=sign))

    before, outage, after = written
    assert isinstance(before, Prediction)
    assert isinstance(after, Prediction)
    assert isinstance(outage, NoFrameRecord)
    assert (outage.model_id, outage.camera_state, outage.has_mask) == ("model", CameraState.STALE, False)
    assert outage.published_ns > 0


def test_outage_is_no_frame_in_the_books() -> None:
    runner, _ = _run([_frame(0), _no_frame(), _no_frame()], RunPolicy())

    assert runner.counters() == FrameCounters(captured=1, published=1)


def test_frame_without_a_view_of_the_road_is_withheld_and_published() -> None:
    def judged(prediction: Prediction) -> Prediction:
        if prediction.frame.frame_id == 1:
            return replace(prediction, camera_state=CameraState.BLOCKED, camera_reason="dark")
        return prediction

    runner, written = _run([_frame(0), _frame(1), _frame(2)], RunPolicy(refine=[judged]))

    assert [it.has_mask for it in written] == [True, False, True]
    assert (runner.counters().published, runner.counters().withheld) == (2, 1)
    assert runner.counters().in_flight == 0


def test_live_mask_that_is_too_old_is_withheld_as_stale() -> None:
    _, written = _run([_frame(0, age_s=3.0)], RunPolicy(max_age_s=0.5), LIVE)

    (output,) = written
    assert output.camera_state is CameraState.STALE
    assert re.fullmatch(r"the frame is 3\.\d s old", str(output.camera_reason))
    assert not output.has_mask


def test_recorded_mask_is_never_too_old() -> None:
    _, written = _run([_frame(0, age_s=3.0)], RunPolicy(max_age_s=0.5))

    assert written[0].has_mask


def test_frames_that_the_camera_lost_are_counted_beside_the_books() -> None:
    runner, _ = _run([_frame(0), _frame(1, missed_before=3)], RunPolicy())

    assert runner.counters().missed == 3
    assert runner.counters().captured == 2


def test_refine_steps_follow_each_other_and_see_every_prediction_in_order() -> None:
    seen: list[tuple[str, int, str | None]] = []

    def step(name: str) -> Callable[[Prediction], Prediction]:
        def refine(prediction: Prediction) -> Prediction:
            seen.append((name, prediction.frame.frame_id, prediction.camera_reason))
            return replace(prediction, camera_reason=name)

        return refine

    _, written = _run([_frame(0), _no_frame(), _frame(1)], RunPolicy(refine=[step("a"), step("b")]))

    assert seen == [("a", 0, None), ("b", 0, "a"), ("a", 1, None), ("b", 1, "a")]
    assert [it.camera_reason for it in written] == ["b", "no frame for 0.1 s", "b"]


@pytest.mark.parametrize("is_live", [False, True])
@pytest.mark.parametrize("stage", ["capture", "predict-0"])
def test_stage_that_hangs_ends_the_run_with_its_name_and_the_sinks_closed(stage: str, is_live: bool) -> None:
    goes_on = Event()

    class Hanging(ScriptedSource):
        def read(self) -> Frame:
            if stage == "capture" and len(self.script) == 1:
                goes_on.wait(LIMIT_S)
            return super().read()

    def predict(frame: Frame) -> Prediction:
        if stage != "capture" and frame.frame_id == 1:
            goes_on.wait(LIMIT_S)
        return _predict(frame)

    sink = KeepingSink()
    source = Hanging([_frame(0), _frame(1)])
    settings = WatchdogSettings(stage_s=0.15)
    info = LIVE if is_live else RECORDED
    runner = Runner(source, info, [predict], [sink], RunPolicy(watchdog=settings))
    runner.start()
    limit_s = time.monotonic() + LIMIT_S
    while not sink.closed.is_set() and time.monotonic() < limit_s:
        runner.watch()
        time.sleep(0.01)

    assert sink.closed.is_set()
    assert stage in runner.stuck_stages()
    with pytest.raises(RunError, match=f"^{stage}: hung: working on one frame for more than 0.15 s$"):
        runner.raise_first_error()
    goes_on.set()
    assert runner.wait(LIMIT_S)
    assert runner.counters().published == len(sink.written) <= 1
    assert runner.counters().in_flight == 0


def test_stage_that_waits_for_others_does_not_hang() -> None:
    goes_on = Event()
    sink = KeepingSink(on_write=lambda output: goes_on.wait(0.3))
    frames: list[Frame | Exception] = [_frame(number) for number in range(40)]
    runner = Runner(
        ScriptedSource(frames),
        RECORDED,
        [_predict],
        [sink],
        RunPolicy(watchdog=WatchdogSettings(stage_s=0.6)),
    )
    runner.start()
    until_s = time.monotonic() + 1.0
    while time.monotonic() < until_s:
        runner.watch()
        time.sleep(0.01)
    goes_on.set()

    assert runner.wait(LIMIT_S)
    runner.raise_first_error()
    assert len(sink.written) == 40


def test_hung_sink_of_a_live_run_is_replaced_and_the_run_goes_on() -> None:
    goes_on, is_in = Event(), Event()

    def hang(output: OutputItem) -> None:
        is_in.set()
        goes_on.wait(LIMIT_S)

    class Endless(ScriptedSource):
        def read(self) -> Frame:
            time.sleep(0.005)
            return _frame(0)

        def stop(self) -> None:
            pass

    second = KeepingSink("first")
    policy = RunPolicy(rebuild_sink=lambda name: second, watchdog=WatchdogSettings(stage_s=0.15, restarts=5))
    runner = Runner(Endless([]), LIVE, [_predict], [KeepingSink("first", on_write=hang)], policy)
    runner.start()
    assert is_in.wait(LIMIT_S)
    until_s = time.monotonic() + LIMIT_S
    while not second.written and time.monotonic() < until_s:
        runner.watch()
        time.sleep(0.01)
    goes_on.set()
    runner.stop()

    assert runner.wait(LIMIT_S)
    assert second.written
    runner.raise_first_error()
    assert runner.sinks["first"].restarts == 1


class SilentReader:
    """A camera that opens, and then gives nothing for a while."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.waits_for_slot = False
        self._has_come = os.eventfd(0)
        self._coming: list[SourceInfo] = []

    def open(self) -> None:
        self._coming = [LIVE]
        os.eventfd_write(self._has_come, 1)

    def take(self) -> SourceInfo | None:
        if not self._coming:
            return None
        os.eventfd_read(self._has_come)
        return self._coming.pop()

    def close(self, grace_s: float) -> None:
        pass

    def fileno(self) -> int:
        return self._has_come


def test_silence_that_is_allowed_for_long_is_no_stage_that_hangs() -> None:
    sink = KeepingSink()
    source = IsolatedSource(SilentReader, "cam", Limits(freshness=FreshnessSettings(stale_after_s=0.8)))
    info = source.open()
    settings = WatchdogSettings(stage_s=0.2)
    runner = Runner(source, info, [_predict], [sink], RunPolicy(watchdog=settings))
    runner.start()
    until_s = time.monotonic() + LIMIT_S
    while not sink.written and time.monotonic() < until_s:
        runner.watch()
        time.sleep(0.01)
    runner.stop()

    assert runner.wait(LIMIT_S)
    runner.raise_first_error()
    assert [it.camera_state for it in sink.written[:1]] == [CameraState.STALE]
