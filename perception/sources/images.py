"""Still images: a folder, a glob or one file, in the order a person would count them."""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from perception.cli.command import say
from perception.frame import Frame
from perception.sources.decoding.image_file import ImageFile, Picture
from perception.sources.decoding.image_size import MAX_PIXELS
from perception.sources.source import EndOfSource, SourceError, SourceInfo

IMAGE_SUFFIXES: Final = (
    *(".avif", ".bmp", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg"),
    *(".mpo", ".png", ".tif", ".tiff", ".webp"),
)
_VIDEO_SUFFIXES: Final = (".avi", ".m2ts", ".m3u8", ".mkv", ".mov", ".mp4", ".ts", ".webm")
_OTHER_SUFFIXES: Final = (
    *(".arw", ".cr2", ".dng", ".exr", ".gif", ".hdr", ".jp2", ".jxl", ".nef", ".pbm", ".pgm"),
    *(".pnm", ".ppm", ".tga", *_VIDEO_SUFFIXES),
)
"""Of what somebody may miss among images."""


class ImagesSource:
    """Images as a recording with a fixed rate; every frame is named after its file, as `frame_names` has it.

    An image that cannot be read is told of and passed over: the frame after it has it in `missed_before`. One
    file with several pictures (an animation, pages) gives them all; such a file among others gives its first.

    Args:
        pattern: a folder, a glob such as `trip/*.png`, or one image.
        rate_hz: images per second of the frames' own time.
        max_pixels: a larger image is not decoded.
    """

    def __init__(self, pattern: str, rate_hz: float = 10.0, max_pixels: int = MAX_PIXELS) -> None:
        self._pattern, self._max_pixels = pattern, max_pixels
        self._rate_hz = rate_hz
        self._files: list[Path] = []
        self._names: list[str] = []
        self._alone: ImageFile | None = None
        self._frames = self._next_id = self._missed = 0
        self._first: Picture | None = None
        self._told: set[Path] = set()
        self._has_told_of_several = False
        self.decode_errors = 0
        """Images that could not be read, and pictures that came out damaged, so far."""
        self.unreadable = 0
        """Images, and pictures of one, that could not be read so far, each counted once."""

    def open(self) -> SourceInfo:
        """List the images and decode the first one that can be; raises SourceError if there is none."""
        self._files = images_of(self._pattern)
        self._names = frame_names(self._files)
        self._frames, self._alone = len(self._files), None
        if self._frames == 1:
            self._alone = ImageFile(self._files[0], self._max_pixels)
            self._frames = self._alone.pictures
        self._begin()
        problems: list[str] = []
        while self._first is None:
            try:
                self._first = self._picture(self._next_id)
            except SourceError as error:
                problems.append(str(error))
                self._next_id += 1
                if self._next_id == self._frames:
                    raise self._nothing(problems) from None
        for index, problem in enumerate(problems):
            self._miss(index, problem)
        height, width = self._first.image_bgr.shape[:2]
        return SourceInfo(
            *(self._pattern, False, (width, height), self._rate_hz, self._description()),
            is_one_picture=self._frames == 1,
        )

    def read(self) -> Frame:
        """The next image that can be read; raises EndOfSource."""
        while self._next_id < self._frames:
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
                name=self._name(frame_id),
                is_damaged=picture.is_damaged,
                missed_before=missed,
            )
        raise EndOfSource

    def rewind(self) -> None:
        """Begin again with the first image."""
        self._begin()

    def close(self) -> None:
        """Forget the list."""
        self._files, self._names, self._alone, self._first = [], [], None, None

    def _begin(self) -> None:
        self._next_id = self._missed = 0
        self._first = None

    def _picture(self, frame_id: int) -> Picture:
        if self._alone is not None:
            return self._alone.picture(frame_id)
        file = self._files[frame_id]
        image = ImageFile(file, self._max_pixels)
        if image.held > 1 and not self._has_told_of_several:
            self._has_told_of_several = True
            say(f"{file}: holds {image.held} pictures, the first is taken, as of all such files")
        return image.picture()

    def _name(self, frame_id: int) -> str:
        if self._alone is None:
            return self._names[frame_id]
        stem = self._files[0].stem
        return stem if self._frames == 1 else f"{stem}_{frame_id:0{len(str(self._frames - 1))}d}"

    def _miss(self, frame_id: int, problem: str) -> None:
        self._missed += 1
        self.decode_errors += 1
        picture = self._files[0] / str(frame_id) if self._alone else self._files[frame_id]
        if picture not in self._told:
            self._told.add(picture)
            self.unreadable += 1
            say(f"{problem}; it is left out")

    def _description(self) -> str:
        if self._alone is None:
            return f"{self._frames} images{_left_out(self._pattern)}"
        if self._frames == 1 and self._alone.held > 1:
            return f"1 image, the first of {self._alone.held} pictures in the file"
        if self._frames > 1:
            return f"{self._frames} pictures in one file"
        return f"1 image{_left_out(self._pattern)}"

    def _nothing(self, problems: list[str]) -> SourceError:
        if self._alone is not None:
            return SourceError(problems[0])
        return SourceError(f"{self._pattern}: none of its {self._frames} images can be read; {problems[0]}")


def images_of(pattern: str) -> list[Path]:
    """The images of a folder, a glob or one file, in order; raises SourceError if there are none."""
    where = Path(pattern)
    if where.is_dir():
        try:
            found = list(where.iterdir())
        except OSError as error:
            raise SourceError(f"{pattern}: cannot be looked into: {error.strerror}") from None
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
        problem = "holds" if where.is_dir() else "matches"
        video = next((file for file in found if file.suffix.lower() in _VIDEO_SUFFIXES), None)
        folder = next((file for file in found if file.is_dir()), None)
        hint = f"; of folders within it: {where}/**/*.jpg" if folder and where.is_dir() else ""
        hint = f"; videos are given one at a time: {video}" if video else hint or _left_out(pattern)
        raise SourceError(f"{pattern}: {problem} no image ({' '.join(IMAGE_SUFFIXES)}){hint}")
    files.sort(key=_natural_key)
    return files


def _matching(pattern: str) -> list[Path]:
    """What a glob takes, `**` included; `glob` itself would follow links in circles."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return [Path(name) for name in glob.glob(pattern)]
    place = parts.index("**")
    tops = glob.glob(str(Path(*parts[:place]))) if place else ["."]
    behind = parts[place + 1 :] or ("*",)
    folders = [folder for top in tops for folder in _folders_in(Path(top), (Path(os.path.realpath(top)),))]
    found = [file for folder in folders for file in _matching(str(Path(glob.escape(str(folder)), *behind)))]
    return list(dict.fromkeys(found))


def _folders_in(folder: Path, way: tuple[Path, ...]) -> Iterator[Path]:
    """It, and all within it that are not hidden, but through no link that leads back.

    Args:
        folder: where to begin.
        way: the real folders that are passed on the way to it, and it.
    """
    yield folder
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        real = Path(os.path.realpath(entry.path)) if entry.is_symlink() else way[-1] / entry.name
        if entry.is_symlink() and any(passed.is_relative_to(real) for passed in way):
            continue
        yield from _folders_in(folder / entry.name, (*way, real))


def _left_out(pattern: str) -> str:
    """For the log: what lies among the images of a folder and is not read; empty where there is nothing."""
    folder = Path(pattern)
    if not folder.is_dir():
        return ""
    names = sorted(name for name in os.listdir(folder) if Path(name).suffix.lower() in _OTHER_SUFFIXES)
    names = [name for name in names if not name.startswith(".")]
    if not names:
        return ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f" ({names[0]}{more} left out: not images that are read)"


def frame_names(files: Sequence[Path]) -> list[str]:
    """What the frames of images are called: as their files, without the suffix.

    Of images in several folders with the folders below the one that holds them all.

    Example:
        >>> frame_names([Path("trips/a/1.jpg"), Path("trips/b/1.jpg")]), frame_names([Path("trips/a/1.jpg")])
        (['a/1', 'b/1'], ['1'])
    """
    folders = {file.parent: os.path.abspath(file.parent) for file in files}
    top = os.path.commonpath(folders.values())
    below = {folder: Path(os.path.relpath(where, top)) for folder, where in folders.items()}
    return [(below[file.parent] / file.stem).as_posix() for file in files]


def folders_of(pattern: str) -> frozenset[str]:
    """The folders that stand in the names of a pattern's images, and all above them; none of one folder."""
    names = frame_names(images_of(pattern)) if glob.has_magic(pattern) else []
    return frozenset(folder.as_posix() for name in names for folder in Path(name).parents) - {"."}


def _natural_key(file: Path) -> list[tuple[int, str]]:
    """Sorts "2" before "10": digits by their value, the rest as text."""
    parts = re.split(r"(\d+)", str(file))
    return [(int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in parts]
