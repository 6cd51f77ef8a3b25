"""Still images: a folder, a glob or one file, in natural order ("2" before "10")."""

from __future__ import annotations

import glob
import logging
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from perception.frame import Frame
from perception.sources.counts import SourceCounts
from perception.sources.decoding.image_file import ImageFile, Picture
from perception.sources.decoding.image_size import MAX_PIXELS
from perception.sources.kind import SourceKind, TypedSource
from perception.sources.settings import SourceSettings
from perception.sources.source import EndOfSource, Source, SourceError, SourceInfo
from perception.system.plugins import NoSettings

log = logging.getLogger(__name__)

IMAGE_SUFFIXES: Final = (
    *(".avif", ".bmp", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg"),
    *(".mpo", ".png", ".tif", ".tiff", ".webp"),
)
_VIDEO_SUFFIXES: Final = (".avi", ".m2ts", ".m3u8", ".mkv", ".mov", ".mp4", ".ts", ".webm")
_OTHER_SUFFIXES: Final = (
    *(".arw", ".cr2", ".dng", ".exr", ".gif", ".hdr", ".jp2", ".jxl", ".nef", ".pbm", ".pgm"),
    *(".pnm", ".ppm", ".tga", *_VIDEO_SUFFIXES),
)
"""Unsupported files that a user may miss among the images."""


class ImagesSource(Source):
    """Images as a recording with a fixed rate; frames are named after their files (see `frame_names`).

    An unreadable image is reported and skipped, and counted in `missed_before` of the next frame. A single
    file with several pictures (animation, pages) gives all of them; among other files only its first.

    Args:
        pattern: a folder, a glob such as `trip/*.png`, or one image.
        rate_hz: images per second of the frames' own time.
        max_pixels: a larger image is not decoded.
    """

    def __init__(self, pattern: str, rate_hz: float = 10.0, max_pixels: int = MAX_PIXELS) -> None:
        self._pattern, self._max_pixels = pattern, max_pixels
        self._rate_hz = rate_hz
        self._listed: list[tuple[Path, str]] = []  # files with the names of their frames
        self._alone: ImageFile | None = None
        self._next_id = self._missed = 0
        self._first: Picture | None = None
        self._reported: set[tuple[Path, str]] = set()
        self._has_reported_several = False
        self.decode_errors = 0
        """Unreadable images and damaged pictures so far."""
        self.unreadable = 0
        """Unreadable images (or pictures of one file) so far, each counted once."""

    def open(self) -> SourceInfo:
        """List the images and decode the first readable one; raises SourceError if there is none."""
        files = self._list()
        self._listed = list(zip(files, frame_names(files), strict=True))
        self._alone = self._load(files[0]) if len(files) == 1 else None
        if self._alone is not None and (count := self._alone.pictures) > 1:
            digits = len(str(count - 1))
            self._listed = [(files[0], f"{files[0].stem}_{index:0{digits}d}") for index in range(count)]
        self.rewind()
        problems: list[str] = []
        while self._first is None:
            try:
                self._first = self._picture(self._next_id)
            except SourceError as error:
                problems.append(str(error))
                self._next_id += 1
                if self._next_id == len(self._listed):
                    raise self._nothing(problems) from None
        for index, problem in enumerate(problems):
            self._miss(index, problem)
        height, width = self._first.image_bgr.shape[:2]
        return SourceInfo(
            *(self._pattern, False, (width, height), self._rate_hz, self._description()),
            is_one_picture=len(self._listed) == 1,
            are_stills=True,
            frames_expected=len(self._listed),
        )

    def read(self) -> Frame:
        """The next readable image; raises EndOfSource."""
        while self._next_id < len(self._listed):
            frame_id, self._next_id = self._next_id, self._next_id + 1
            first, self._first = self._first, None
            try:
                picture = first or self._picture(frame_id)
            except SourceError as error:
                self._miss(frame_id, str(error))
                continue
            missed, self._missed = self._missed, 0
            self.decode_errors += picture.is_damaged
            return Frame(
                source_id=self._pattern,
                frame_id=frame_id,
                captured_ns=time.monotonic_ns(),
                time_ns=round(frame_id * 1e9 / self._rate_hz),
                pixels=picture.image_bgr,
                name=self._listed[frame_id][1],
                is_damaged=picture.is_damaged,
                missed_before=missed,
            )
        raise EndOfSource

    def rewind(self) -> None:
        """Start again with the first image."""
        self._next_id = self._missed = 0
        self._first = None

    def close(self) -> None:
        """Forget the list of images."""
        self._listed, self._alone, self._first = [], None, None

    def counts(self) -> SourceCounts:
        """Unreadable and damaged images."""
        return SourceCounts(self.decode_errors, self.unreadable)

    def _list(self) -> list[Path]:
        return images_of(self._pattern)

    def _load(self, file: Path) -> ImageFile:
        return ImageFile(file, self._max_pixels)

    def _picture(self, frame_id: int) -> Picture:
        if self._alone is not None:
            return self._alone.picture(frame_id)
        file = self._listed[frame_id][0]
        image = self._load(file)
        if image.held > 1 and not self._has_reported_several:
            self._has_reported_several = True
            log.info(f"{file}: contains {image.held} pictures; only the first is used, as in all such files")
        return image.picture()

    def _miss(self, frame_id: int, problem: str) -> None:
        self._missed += 1
        self.decode_errors += 1
        if self._listed[frame_id] not in self._reported:
            self._reported.add(self._listed[frame_id])
            self.unreadable += 1
            log.warning(f"{problem}; it is left out")

    def _description(self) -> str:
        if self._alone is None:
            return f"{len(self._listed)} images{_left_out(self._pattern)}"
        if len(self._listed) == 1 and self._alone.held > 1:
            return f"1 image, the first of {self._alone.held} pictures in the file"
        if len(self._listed) > 1:
            return f"{len(self._listed)} pictures in one file"
        return f"1 image{_left_out(self._pattern)}"

    def _nothing(self, problems: list[str]) -> SourceError:
        if self._alone is not None:
            return SourceError(problems[0])
        return SourceError(
            f"{self._pattern}: none of its {len(self._listed)} images can be read; {problems[0]}"
        )


def images_of(pattern: str) -> list[Path]:
    """The images of a folder, a glob or one file, in order; raises SourceError if there are none."""
    where = Path(pattern)
    if where.is_dir():
        try:
            found = list(where.iterdir())
        except OSError as error:
            raise SourceError(f"{pattern}: cannot be listed: {error.strerror}") from None
    elif where.exists():
        found = [where]
    else:
        found = _matching(pattern)
    files = [
        file
        for file in found
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()
    ]
    if not files:
        problem = "contains" if where.is_dir() else "matches"
        video = next((file for file in found if file.suffix.lower() in _VIDEO_SUFFIXES), None)
        folder = next((file for file in found if file.is_dir()), None)
        hint = f"; to include subfolders: {where}/**/*.jpg" if folder and where.is_dir() else ""
        hint = f"; videos are given one at a time: {video}" if video else hint or _left_out(pattern)
        raise SourceError(f"{pattern}: {problem} no image ({' '.join(IMAGE_SUFFIXES)}){hint}")
    files.sort(key=_natural_key)
    return files


def _matching(pattern: str) -> list[Path]:
    """The files of a glob, `**` included, without circles of symbolic links (which `glob` would follow)."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return [Path(name) for name in glob.glob(pattern)]
    at = parts.index("**")
    tops = glob.glob(str(Path(*parts[:at]))) if at else ["."]
    rest = parts[at + 1 :] or ("*",)
    folders = [folder for top in tops for folder in _folders_in(Path(top), (Path(os.path.realpath(top)),))]
    found = [file for folder in folders for file in _matching(str(Path(glob.escape(str(folder)), *rest)))]
    return list(dict.fromkeys(found))


def _folders_in(folder: Path, real_parents: tuple[Path, ...]) -> Iterator[Path]:
    """A folder and its visible subfolders, except through links that lead back to a parent.

    Args:
        folder: where to start.
        real_parents: resolved paths of the folders down to this one, inclusive.
    """
    yield folder
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        real = Path(os.path.realpath(entry.path)) if entry.is_symlink() else real_parents[-1] / entry.name
        if entry.is_symlink() and any(parent.is_relative_to(real) for parent in real_parents):
            continue
        yield from _folders_in(folder / entry.name, (*real_parents, real))


def _left_out(pattern: str) -> str:
    """A note on unsupported images in a folder, for the log; empty if there are none."""
    folder = Path(pattern)
    if not folder.is_dir():
        return ""
    names = sorted(name for name in os.listdir(folder) if Path(name).suffix.lower() in _OTHER_SUFFIXES)
    names = [name for name in names if not name.startswith(".")]
    if not names:
        return ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f" ({names[0]}{more} left out: unsupported format)"


def frame_names(files: Sequence[Path]) -> list[str]:
    """Names of the frames of images: file stems, with the folders below their common one if they differ.

    Example:
        >>> frame_names([Path("trips/a/1.jpg"), Path("trips/b/1.jpg")]), frame_names([Path("trips/a/1.jpg")])
        (['a/1', 'b/1'], ['1'])
    """
    folders = {file.parent: os.path.abspath(file.parent) for file in files}
    top = os.path.commonpath(folders.values())
    below = {folder: Path(os.path.relpath(where, top)) for folder, where in folders.items()}
    return [(below[file.parent] / file.stem).as_posix() for file in files]


def folders_of(pattern: str) -> frozenset[str]:
    """All folders that occur in the frame names of a pattern; empty if it covers one folder."""
    names = frame_names(images_of(pattern)) if glob.has_magic(pattern) else []
    return frozenset(folder.as_posix() for name in names for folder in Path(name).parents) - {"."}


def _natural_key(file: Path) -> list[tuple[int, str]]:
    """Sort key: digits by their value, the rest as text."""
    parts = re.split(r"(\d+)", str(file))
    return [(int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in parts]


def _claims(typed: TypedSource) -> str | None:
    is_image = typed.is_file and typed.suffix in IMAGE_SUFFIXES
    if is_image or stat.S_ISDIR(typed.mode):
        return typed.name
    is_pattern = not typed.mode and not typed.scheme and glob.has_magic(typed.name)
    return typed.name if is_pattern else None


def _build(spec: str, settings: NoSettings, reading: SourceSettings) -> ImagesSource:
    return ImagesSource(spec, reading.images_rate_hz, reading.max_pixels)


IMAGES: Final = SourceKind(
    settings=NoSettings,
    form="an image, a folder or glob of images",
    claims=_claims,
    build=_build,
    files=images_of,
)
