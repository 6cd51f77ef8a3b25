"""What is ignored, as one PNG beside the other outputs, written whenever it changes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from perception.frame import OutputItem, Prediction
from perception.imaging.mask_png import has_ignore_mark
from perception.refine.ignore import AUTO, IgnoreSettings
from perception.scene.ignore_mask import IgnoreMask
from perception.sinks.jsonl import STDOUT, JsonlSettings
from perception.sinks.kind import SinkKind
from perception.sinks.masks import MasksSettings
from perception.sinks.mcap import McapSettings
from perception.sinks.overlay_sink import OverlaySettings
from perception.sinks.rotation import RecordingPolicy
from perception.sinks.sink import Sink, SinkError
from perception.sources.source import SourceInfo
from perception.system.plugins import part_of
from perception.system.set_aside import is_stream, write_outputs

SUFFIX: Final = ".ignored.png"
_HEADER_BYTES: Final = 96


class IgnoredSink:
    """Writes the mask of what is ignored: white, at the frame's size.

    There is no file while nothing is ignored. An older one is set aside, or replaced by `--overwrite`, and by
    `--append` if a run wrote it.
    """

    name, issue = "ignored", None

    def __init__(self, file: Path, policy: RecordingPolicy) -> None:
        self._file, self._policy = file, policy
        self._written: IgnoreMask | None = None
        self._is_ours = self._is_claimed = False

    def claim(self) -> None:
        """See `HasTarget`."""
        if self._is_claimed:
            return
        self._is_claimed = True
        claim = self._policy.claim
        claim.enter()
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if self._file.is_dir():
                raise SinkError(f"{self._file}: is a folder; --ignore_mask takes a file")
            claim.take(self._file.with_name(f".{self._file.name}.lock"), is_lock_file=True)
        except OSError as error:
            self.close()
            raise self._unusable(error) from error
        except SinkError:
            self.close()
            raise

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Claim the file; raises SinkError."""
        self.claim()
        self._is_ours = resumes

    def write(self, output: OutputItem) -> None:
        """Write the mask, if it is another one than before; raises SinkError."""
        mask = output.ignore_mask if isinstance(output, Prediction) else None
        if mask is None or mask is self._written:
            return
        replaces = self._is_ours or self._policy.overwrite or (self._policy.append and _is_ours(self._file))
        try:
            write_outputs({self._file: mask.png}, overwrite=replaces, waits_for_disk=self._policy.durable)
        except OSError as error:
            raise self._unusable(error) from error
        self._written, self._is_ours = mask, True
        written = self._policy.written
        written.paths, written.frames = [self._file], 1
        written.remark = f"{mask.share:.1%} of the picture"

    def close(self) -> None:
        """Give up the claim."""
        if self._is_claimed:
            self._is_claimed = False
            self._policy.claim.leave()

    def _unusable(self, error: OSError) -> SinkError:
        return SinkError(f"{self._file}: the mask of what is ignored cannot be written: {error.strerror}")


@dataclass(frozen=True, kw_only=True)
class _BesideOutputs(SinkKind[IgnoreSettings]):
    """The kind of this sink: where no file is named, it lies beside the first output that is one."""

    def own(self, settings: object) -> IgnoreSettings:
        """The settings, with the file's name."""
        own = super().own(settings)
        if own.ignore_mask is not None or (own.ignore != AUTO and own.ignore_file is None):
            return own
        beside = _first_output(settings)
        return own if beside is None else replace(own, ignore_mask=str(beside))


def _first_output(settings: object) -> Path | None:
    """`records.ignored.png` for `records.jsonl`, `masks.ignored.png` for a folder of masks."""
    targets = (
        part_of(settings, JsonlSettings).jsonl,
        part_of(settings, MasksSettings).masks,
        part_of(settings, OverlaySettings).out,
        part_of(settings, McapSettings).mcap,
    )
    for target in targets:
        if target is None or target == STDOUT or is_stream(Path(target)):
            continue
        path = Path(os.path.abspath(target)) if Path(target).name in ("", "..") else Path(target)
        is_folder = target.endswith(("/", os.sep)) or path.is_dir() or not path.suffix
        return path.with_name((path.name if is_folder else path.stem) + SUFFIX)
    return None


def build_ignored(settings: IgnoreSettings, policy: RecordingPolicy, info: SourceInfo) -> Sink:
    """The sink for `settings.ignore_mask`; raises SinkError for another suffix than .png."""
    file = Path(str(settings.ignore_mask))
    if file.suffix.lower() != ".png":
        raise SinkError(f"{file}: what is ignored is written as a PNG; end its name in .png")
    return IgnoredSink(file, policy)


def _is_ours(file: Path) -> bool:
    """Whether a run wrote it."""
    try:
        with file.open("rb") as stream:
            return has_ignore_mark(stream.read(_HEADER_BYTES))
    except OSError:
        return False


IGNORED_SINK: Final = _BesideOutputs(
    settings=IgnoreSettings, target="ignore_mask", build=build_ignored, frame_is="mask"
)
