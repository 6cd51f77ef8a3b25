"""A video that comes through a pipe: a named one, standard input, or what a shell makes of `<(command)`."""

from __future__ import annotations

import os
import re
import select
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError

from perception.frame import Frame
from perception.sources.decoding.mp4_index import is_index_behind
from perception.sources.decoding.unreadable import INDEX_IS_BEHIND, MOVE_INDEX
from perception.sources.decoding.video_file import FILE_LIMIT_S
from perception.sources.kind import SourceKind
from perception.sources.settings import SourceSettings
from perception.sources.source import EndOfSource, SourceError
from perception.sources.video import VideoSource
from perception.system.plugins import NoSettings

_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/self)/(?:fd/(\d+)|(stdin))")
_READ_BYTES: Final = 1 << 16


class Pipe:
    """The bytes that come through a pipe, as a file for libav.

    Args:
        file: a named pipe, `/dev/stdin` or `/dev/fd/N`.

    Raises:
        OSError: if it cannot be opened.
    """

    def __init__(self, file: Path) -> None:
        own = _DESCRIPTOR.fullmatch(str(file))
        if own:  # it may belong to another user, who may not open it by its name
            self._descriptor = os.dup(int(own[1] or 0))
        else:  # blocking, this would wait for a writer without a limit
            self._descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = os.pipe()
        self._start: bytes | None = None
        self.is_stopped = False

    @property
    def start(self) -> bytes:
        """What comes first; it is still read. Raises TimeoutError."""
        if self._start is None:
            self._start = self._read(_READ_BYTES)
        return self._start

    def read(self, size_bytes: int) -> bytes:
        """What is there, once there is anything; nothing at the end. Raises TimeoutError."""
        if not self._start:
            return self._read(size_bytes)
        data, self._start = self._start[:size_bytes], self._start[size_bytes:]
        return data

    def stop(self) -> None:
        """End a wait in `read`: nothing more comes."""
        self.is_stopped = True
        with suppress(OSError):
            os.write(self._wake[1], b"!")

    def close(self) -> None:
        """Release it; safe to call twice."""
        for descriptor in (self._descriptor, *self._wake):
            with suppress(OSError):
                os.close(descriptor)
        self._descriptor, self._wake = -1, (-1, -1)

    def _read(self, size_bytes: int) -> bytes:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        ready = poll.poll(FILE_LIMIT_S * 1000)
        if self.is_stopped:
            return b""
        if not ready:
            raise TimeoutError
        return os.read(self._descriptor, size_bytes)


class PipeSource(VideoSource):
    """A video through a pipe: every frame, in order, once."""

    _pipe: Pipe | None = None

    def read(self) -> Frame:
        """The next frame; EndOfSource once stopped."""
        try:
            return super().read()
        except SourceError:
            if self._pipe is not None and self._pipe.is_stopped:
                raise EndOfSource from None
            raise

    def stop(self) -> None:
        """End a wait in `open` or `read`; may be called from any thread."""
        if self._pipe is not None:
            self._pipe.stop()

    def close(self) -> None:
        """Hang up: who writes into it is told so by the system."""
        super().close()
        if self._pipe is not None:
            self._pipe.close()

    @property
    def _on_disk(self) -> None:
        return None

    @property
    def _silence(self) -> str:
        return f"gives nothing for {FILE_LIMIT_S:g} s; does anything write into it?"

    def _container(self) -> InputContainer:
        try:
            self._pipe = Pipe(self._file)
            start = self._pipe.start
            if not start:
                raise SourceError(f"{self._file}: ends before anything has come through it")
            if is_index_behind(start):
                raise SourceError(
                    f"{self._file}: {INDEX_IS_BEHIND}, and a pipe does not go back; "
                    f"give the file itself, or {MOVE_INDEX}"
                )
            return av.open(self._pipe, "r", metadata_errors="replace")
        except (TimeoutError, ExitError):
            self.close()
            raise SourceError(f"{self._file}: {self._silence}") from None
        except FFmpegError:
            self.close()
            raise SourceError(f"{self._file}: what comes through it is not a readable video") from None
        except OSError as error:
            self.close()
            raise SourceError(f"{self._file}: cannot be opened: {error.strerror}") from None
        except SourceError:
            self.close()
            raise


def _build(spec: str, settings: NoSettings, reading: SourceSettings) -> PipeSource:
    return PipeSource(Path(spec), 1, reading.max_pixels, reading.choice)


PIPE: Final = SourceKind(
    settings=NoSettings,
    form="a pipe or -",
    claims=lambda typed: typed.name if stat.S_ISFIFO(typed.mode) else None,
    build=_build,
    files=lambda spec: [Path(spec)],
    has_choice=True,
    is_once=True,
)
