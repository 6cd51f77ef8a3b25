"""A video from a pipe: a named one, standard input, or a shell's `<(command)`."""

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
from perception.sources.decoding.file_end import is_index_behind
from perception.sources.decoding.unreadable import INDEX_IS_BEHIND, MOVE_INDEX
from perception.sources.kind import SourceKind
from perception.sources.settings import SourceSettings
from perception.sources.source import EndOfSource, SourceError
from perception.sources.video import VideoSource
from perception.system.plugins import NoSettings
from perception.system.time_limits import FILE_LIMIT_S

_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/self)/(?:fd/(\d+)|(stdin))")
_READ_BYTES: Final = 1 << 16


class Pipe:
    """A pipe as a file for libav.

    Args:
        file: a named pipe, `/dev/stdin` or `/dev/fd/N`.

    Raises:
        OSError: if it cannot be opened.
    """

    def __init__(self, file: Path) -> None:
        own = _DESCRIPTOR.fullmatch(str(file))
        if own:  # opening it by name may be forbidden if it belongs to another user
            self._descriptor = os.dup(int(own[1] or 0))
        else:  # without O_NONBLOCK this would wait for a writer without a limit
            self._descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = os.pipe()
        self._start: bytes | None = None
        self.is_stopped = False

    @property
    def start(self) -> bytes:
        """The first bytes to arrive, without consuming them; raises TimeoutError."""
        if self._start is None:
            self._start = self._read(_READ_BYTES)
        return self._start

    def read(self, size_bytes: int) -> bytes:
        """At most `size_bytes`, as soon as any arrive; empty at the end. Raises TimeoutError."""
        if not self._start:
            return self._read(size_bytes)
        data, self._start = self._start[:size_bytes], self._start[size_bytes:]
        return data

    def stop(self) -> None:
        """End a wait in `read`, which then gives nothing more."""
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
        """Close the pipe: the system notifies its writer."""
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
            return self._open_pipe()
        except SourceError as error:
            problem = str(error)
        except (TimeoutError, ExitError):
            problem = self._silence
        except FFmpegError:
            problem = "what comes through it is not a readable video"
        except OSError as error:
            problem = f"cannot be opened: {error.strerror}"
        self.close()
        raise SourceError(f"{self._name}: {problem}")

    def _open_pipe(self) -> InputContainer:
        self._pipe = Pipe(self._file)
        start = self._pipe.start
        if not start:
            raise SourceError("ends before anything has come through it")
        if is_index_behind(start):
            raise SourceError(
                f"{INDEX_IS_BEHIND}, and a pipe cannot seek; give the file itself, or {MOVE_INDEX}"
            )
        return av.open(self._pipe, "r", metadata_errors="replace")


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
