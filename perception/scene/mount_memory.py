"""What was learnt of a camera's mount, in a file: after a restart it goes on from there."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, Final

from perception.scene.calibration import Calibration, CalibrationError
from perception.scene.mount_filter import Learnt
from perception.system.atomic_file import write_atomically
from perception.system.error_text import text_of
from perception.system.set_aside import make_way

log = logging.getLogger(__name__)

FORMAT: Final = "drivable_mount"
VERSION: Final = 1
EVERY_NS: Final = 10_000_000_000
"""Of the frames' own time, between two savings."""
LARGEST_BYTES: Final = 65536


class MountMemory:
    """The file of one camera's mount.

    A file of another calibration is kept under another name; one that is none of this program's is refused.

    Args:
        file: need not exist.
        calibration: of which the learnt values are the differences.

    Raises:
        CalibrationError: if a file is there that cannot be what this program wrote.
    """

    def __init__(self, file: Path, calibration: Calibration) -> None:
        self._file = file
        self._calibration = _mount_of(calibration)
        self._saved_ns: int | None = None
        self._is_broken = False
        self.learnt = self._loaded()
        """What an earlier run knew; None without one of this calibration."""

    def _loaded(self) -> Learnt | None:
        try:
            if self._file.stat().st_size == 0:
                return None
            with open(self._file, "rb") as stream:
                content = stream.read(LARGEST_BYTES)
            known = json.loads(content)
            if known[FORMAT] != VERSION:
                raise CalibrationError(f"{self._file}: is of version {known[FORMAT]!r} of what was learnt")
            learnt = Learnt(**known["learnt"])
            if not learnt.is_possible:
                raise ValueError
            if known["mount"] == self._calibration:
                log.info(f"{self._file}: goes on from what was learnt of the camera's mount")
                return learnt
        except FileNotFoundError:
            if not self._file.parent.is_dir():
                raise CalibrationError(f"{self._file}: its folder does not exist") from None
            return None
        except OSError as error:
            raise CalibrationError(self._failed(error)) from error
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, CalibrationError):
                raise
            raise CalibrationError(
                f"{self._file}: is not what this program writes of a mount; name another file, or remove it"
            ) from None
        log.warning(f"{self._file}: is of another calibration; the mount is learnt from the beginning")
        try:
            make_way(self._file, overwrite=False)
        except OSError as error:
            raise CalibrationError(self._failed(error)) from error
        return None

    def offer(self, learnt: Learnt, time_ns: int) -> None:
        """Save it, if that is due; a file that cannot be written is reported once, and tried again."""
        if self._saved_ns is None or time_ns < self._saved_ns:
            self._saved_ns = time_ns
        if time_ns - self._saved_ns < EVERY_NS:
            return
        self._saved_ns = time_ns
        content = {FORMAT: VERSION, "mount": self._calibration, "learnt": learnt.as_dict()}
        real = Path(os.path.realpath(self._file))
        try:
            # not synced: a frame is not to wait for a disk, and what is lost is learnt again
            write_atomically(real, (json.dumps(content, indent=2) + "\n").encode(), waits_for_disk=False)
        except OSError as error:
            if not self._is_broken:
                log.warning(f"{self._failed(error)}; what is learnt of the mount is not kept")
            self._is_broken = True
        else:
            self._is_broken = False

    def _failed(self, error: OSError) -> str:
        return f"{self._file}: {error.strerror or text_of(error)}"


def _mount_of(calibration: Calibration) -> dict[str, Any]:
    """What the learnt differences are from: mount, lens and the frames' shape."""
    mount, intrinsics = calibration.mount, calibration.intrinsics
    if mount is None:
        raise CalibrationError("the camera's mount is not known: its height above the ground at least")
    width, height = intrinsics.frame_wh
    focal, centre = intrinsics.focal_px, (it + 0.5 for it in intrinsics.centre_px)  # from the picture's edge
    per_width = [round(it / width, 5) for it in (*focal, *centre)]
    return {
        "height_m": mount.height_m,
        "pitch_rad": mount.pitch_rad,
        "yaw_rad": mount.yaw_rad,
        "roll_rad": mount.roll_rad,
        "focal_and_centre_per_width": per_width,
        "distortion": [intrinsics.distortion_model, *intrinsics.distortion.tolist()],
        "aspect": round(width / height, 3),
    }
