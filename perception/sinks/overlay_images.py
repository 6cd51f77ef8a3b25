"""The overlay as image files: one for a single image, or a folder with one per frame."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from perception.frame import OutputItem, Prediction
from perception.sinks.claim import Claim
from perception.sinks.earlier_files import OVERLAYS
from perception.sinks.file_sink import FileSink
from perception.sinks.open_file import AtomicLineWriter, OpenMode
from perception.sinks.overlay_picture import SUFFIXES, draw_picture, encode_picture
from perception.sinks.picture_folder import PictureFolderSink
from perception.sinks.rotation import RecordingPolicy
from perception.sinks.sink import SinkError

_LOSSLESS: Final = ".png"


class OverlayFolderSink(PictureFolderSink):
    """Writes `<name of the frame>.jpg` for every frame, also without a mask: its banner says why."""

    name = "overlay"

    def __init__(
        self, folder: str, quality: int | None = None, policy: RecordingPolicy | None = None
    ) -> None:
        super().__init__(folder, OVERLAYS, policy)
        self._quality = quality

    def _content(self, prediction: Prediction) -> bytes:
        return _encoded(prediction, self._where, OVERLAYS.suffix, self._quality)


class OverlayImageSink(FileSink[AtomicLineWriter]):
    """Writes the overlay of a single image; a second frame is an error."""

    name = "overlay"
    _noun = "an image"

    def __init__(self, file: str, quality: int | None = None, policy: RecordingPolicy | None = None) -> None:
        """Check the settings.

        Args:
            file: its suffix names the format.
            quality: 1 to 100, like JPEG's.
            policy: what happens to an existing file, and how much room stays free.

        Raises:
            SinkError: for an unknown suffix.
            ValueError: for a quality for a format without one.
        """
        super().__init__(file, Path(file), policy)
        self._quality, self._suffix, self._pictures = quality, Path(file).suffix.lower(), 0
        if self._suffix not in SUFFIXES:
            raise SinkError(f"{file}: unknown kind of image; its name has to end in {', '.join(SUFFIXES)}")
        if quality is not None:
            check_has_quality(file)

    def _make(self, path: Path, opening: OpenMode, claim: Claim) -> AtomicLineWriter:
        if opening == "continue" and path.exists() and path.stat().st_size:
            raise FileExistsError(f"{path} holds a picture")  # the next one gets a number
        return AtomicLineWriter.at(path, "new" if opening == "new" else "replace", claim)

    def _write(self, output: OutputItem) -> None:
        if not isinstance(output, Prediction):
            return
        if self._pictures:
            raise SinkError(one_picture_alone(self._where))
        content = _encoded(output, self._where, self._suffix, self._quality)
        if segment := self._segment_at(output.time_ns):
            segment.write(content)
            self._pictures += 1

    def _end_segment(self) -> None:
        segment = self._segment
        is_empty = segment is not None and not segment.frames and segment.presence == "there"
        super()._end_segment()
        if is_empty and segment and segment.path and segment.path.is_file():
            Path(os.path.realpath(segment.path)).unlink(missing_ok=True)  # a link to it stays


def check_has_quality(file: str) -> None:
    """Raise ValueError for a format without one."""
    if Path(file).suffix.lower() == _LOSSLESS:
        raise ValueError(f"{file}: PNG is lossless; leave --quality out, or name a .jpg or .webp")


def one_picture_alone(out: str) -> str:
    """The error for an image as the output of several frames."""
    stem = str(Path(out).with_suffix(""))
    return (
        f"{out}: an image holds a single overlay; for more frames name a folder ({stem}/) or a video "
        f"({stem}.mp4), or take one (--max-frames 1)"
    )


def _encoded(prediction: Prediction, name: str, suffix: str, quality: int | None) -> bytes:
    image_bgr = draw_picture(prediction)
    content = encode_picture(image_bgr, suffix, quality)
    if content is None:
        height, width = image_bgr.shape[:2]
        raise SinkError(f"{name}: {width}x{height} pixels are more than {suffix} holds; name a .png")
    return content
