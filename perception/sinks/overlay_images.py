"""The overlay as image files: one for one image, or a folder with one a frame."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from perception.frame import OutputItem, Prediction
from perception.sinks.earlier_files import OVERLAYS
from perception.sinks.file_sink import FileSink
from perception.sinks.lines import AtomicLineWriter
from perception.sinks.overlay_picture import SUFFIXES, draw_picture, encode_picture
from perception.sinks.picture_folder import PictureFolderSink
from perception.sinks.rotation import OpenMode, RecordingPolicy, Segments
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo

_LOSSLESS: Final = ".png"


class OverlayFolderSink(PictureFolderSink):
    """Writes `<name of the frame>.jpg` for every frame, one without a mask too: its banner says why."""

    name = "overlay"

    def __init__(
        self, folder: str, quality: int | None = None, keeping: RecordingPolicy | None = None
    ) -> None:
        super().__init__(folder, OVERLAYS, keeping)
        self._quality = quality

    def _takes(self, prediction: Prediction) -> bool:
        return True

    def _encoded(self, prediction: Prediction) -> bytes:
        return _encoded(prediction, str(self._folder), OVERLAYS.suffix, self._quality)


class OverlayImageSink(FileSink):
    """Writes the overlay of one image; of a source that gives more frames it is an error."""

    name = "overlay"

    def __init__(self, file: str, quality: int | None = None, keeping: RecordingPolicy | None = None) -> None:
        """Check the settings.

        Args:
            file: where to write; its suffix names the format.
            quality: 1 to 100, as of JPEG.
            keeping: what becomes of a file that is there, and how much room stays free.

        Raises:
            SinkError: for a suffix that is not known, or a quality of what has none.
        """
        self._name, self._file, self._quality = file, Path(file), quality
        self._suffix = self._file.suffix.lower()
        if self._suffix not in SUFFIXES:
            raise SinkError(f"{file}: unknown kind of image; end its name in {', '.join(SUFFIXES)}")
        if quality is not None and self._suffix == _LOSSLESS:
            raise SinkError(f"{file}: PNG loses nothing; leave --quality out, or name a .jpg or .webp")
        self._durable = keeping is not None and keeping.durable
        self._segments: Segments = Segments(self._file, keeping or RecordingPolicy())
        self._open: AtomicLineWriter | None = None
        self._where = self._file
        self._pictures = 0

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Make the file, and its folder if need be; a file that is there is set aside, or replaced.

        Raises:
            SinkError: if the file cannot be written, is written by another, or a recorded source finds the
                disk nearly full.
        """
        with self._opening():
            if self._segments.set_up(info, resumes):
                self._open = self._segments.begin(self._make)

    def write(self, output: OutputItem) -> None:
        """Draw and write the picture; nothing where there is no frame."""
        if not isinstance(output, Prediction) or self._open is None:
            return
        if self._pictures:
            raise SinkError(one_picture_alone(self._name))
        content = _encoded(output, self._name, self._suffix, self._quality)
        try:
            self._open.write(content)
        except OSError as error:
            raise self._unusable(error) from error
        self._pictures = 1

    def close(self) -> None:
        """Finish the file; one without a picture goes."""
        opened, self._open = self._open, None
        try:
            if opened is not None:
                self._segments.note_end(opened.presence, self._pictures)
                if self._durable:
                    os.fsync(opened.descriptor)
                if not self._pictures and opened.presence == "there":
                    Path(os.path.realpath(self._where)).unlink(
                        missing_ok=True
                    )  # a link that leads to it stays
                opened.close()
        except OSError as error:
            raise self._unusable(error) from error
        finally:
            self._segments.release()

    def _make(self, file: Path, opening: OpenMode) -> AtomicLineWriter:
        if opening == "continue" and file.exists() and file.stat().st_size:
            raise FileExistsError(f"{file} holds a picture")  # the next one gets a number
        self._where = file
        return AtomicLineWriter.at(file, "new" if opening == "new" else "replace", self._segments.claim)

    def _unusable(self, error: OSError) -> SinkError:
        return SinkError(f"{self._name}: cannot write an image: {error.strerror}; choose another file")


def one_picture_alone(out: str) -> str:
    """What is said where an image is to hold more than one frame."""
    stem = str(Path(out).with_suffix(""))
    return (
        f"{out}: an image holds the overlay of one; of more frames name a folder ({stem}/) or a video "
        f"({stem}.mp4), or take one (--max-frames 1)"
    )


def _encoded(prediction: Prediction, name: str, suffix: str, quality: int | None) -> bytes:
    image_bgr = draw_picture(prediction)
    content = encode_picture(image_bgr, suffix, quality)
    if content is None:
        height, width = image_bgr.shape[:2]
        raise SinkError(f"{name}: {width}x{height} pixels are more than {suffix} holds; name a .png")
    return content
