"""Video files, frame by frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from av.container import InputContainer

from perception.sources.choice import Choice
from perception.sources.decoded_source import DecodedSource
from perception.sources.decoding.decoder import Decoder
from perception.sources.decoding.file_end import ENDS_BEFORE_FIRST, is_cut_off
from perception.sources.decoding.image_size import MAX_PIXELS
from perception.sources.decoding.unreadable import written_ns
from perception.sources.decoding.video_file import SILENCE, holds_one_picture, open_file
from perception.sources.decoding.video_streams import NoVideo
from perception.sources.files import with_parts
from perception.sources.kind import SourceKind
from perception.sources.settings import SourceSettings
from perception.sources.source import SourceError, SourceInfo
from perception.system.plugins import NoSettings


class VideoSource(DecodedSource):
    """A video file, frame by frame.

    Args:
        file: in any container and codec that libav reads.
        decoder_threads: 1 adds no delay, more increase throughput; None chooses by the picture size.
        max_pixels: larger pictures are refused.
        choice: of its video streams; by default the best.
    """

    def __init__(
        self,
        file: Path,
        decoder_threads: int | None = None,
        max_pixels: int = MAX_PIXELS,
        choice: Choice | None = None,
    ) -> None:
        super().__init__(str(file), file.name, max_pixels, choice)
        self._file, self._threads = file, decoder_threads

    def open(self) -> SourceInfo:
        """Open the file and decode its first frame."""
        self._written_ns = written_ns(self._on_disk)
        try:
            decoder, first = self._begin(self._container(), self._threads, self._on_disk)
        except NoVideo:
            if self._on_disk and is_cut_off(self._on_disk):
                raise SourceError(f"{self._name}: {ENDS_BEFORE_FIRST}") from None
            raise
        except TimeoutError:
            raise SourceError(f"{self._name}: {self._silence}") from None
        frames = f", about {decoder.frames_expected} frames" if decoder.frames_expected else ""
        description = decoder.description + frames
        return replace(
            self._opened(decoder, first, decoder.rate, description),
            is_one_picture=holds_one_picture(decoder.form, decoder.frames_expected),
            frames_expected=decoder.frames_expected,
        )

    def _check_complete(self, decoder: Decoder) -> None:
        try:
            super()._check_complete(decoder)
        except SourceError as error:
            if written_ns(self._on_disk) == self._written_ns:
                raise
            raise SourceError(f"{error}, as it is still being written") from None

    @property
    def _on_disk(self) -> Path | None:
        return self._file

    @property
    def _silence(self) -> str:
        return SILENCE

    def _container(self) -> InputContainer:
        return open_file(self._file)


def _build(spec: str, settings: NoSettings, reading: SourceSettings) -> VideoSource:
    return VideoSource(Path(spec), reading.decoder_threads, reading.max_pixels, reading.choice)


VIDEO: Final = SourceKind(
    settings=NoSettings,
    form="a video file",
    claims=lambda typed: typed.file if typed.is_file else None,
    build=_build,
    files=lambda spec: with_parts(Path(spec)),
    has_choice=True,
)
