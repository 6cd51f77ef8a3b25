"""Which camera it is, whatever number it has: `/dev/video0` may be another camera after it was unplugged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/")
# by-id holds the serial number and follows a camera to another port, by-path names the port
_LINK_FOLDERS: Final = ("dev/v4l/by-id", "dev/v4l/by-path")
_CLASS: Final = "sys/class/video4linux"


@dataclass(frozen=True)
class Identity:
    """What stays the same when a camera comes back."""

    link: str | None
    """Its name of udev's making, such as `dev/v4l/by-id/usb-Maker_Model_Serial-video-index0`."""
    hardware: str
    """Where it is plugged in: the resolved `device` of its entry in sysfs."""
    name: str
    """What the driver calls it."""
    index: int
    """Which of the nodes of one camera: the first gives pictures, others often metadata only."""

    def __str__(self) -> str:
        return Path(self.link).name if self.link else self.name


def identify(node: str, root: Path = ROOT) -> Identity | None:
    """The identity of the camera behind a device file; None where the system does not tell.

    Args:
        node: a device file, or a link to one; a link of udev's that was asked for by name is kept to.
        root: of the file system, another one in tests.
    """
    here = root / node.lstrip("/")
    try:
        number = here.resolve(strict=True).name
        hardware, name, index = _entry(root / _CLASS / number)
    except (OSError, ValueError):
        return None
    asked = [here] if any(here.parent == root / folder for folder in _LINK_FOLDERS) else []
    known = [link for folder in _LINK_FOLDERS for link in sorted((root / folder).glob("*"))]
    links = [link for link in asked + known if link.resolve().name == number]
    return Identity(str(links[0].relative_to(root)) if links else None, hardware, name, index)


def find_again(identity: Identity, root: Path = ROOT) -> str | None:
    """The device file that the camera has now; None while it is away.

    By its link first. That may be missing for a moment after the camera came, or for good where there is
    no udev: then by the same name and index at the same place.
    """
    if identity.link is not None and (root / identity.link).exists():
        return str((root / identity.link).resolve())
    for entry in sorted((root / _CLASS).glob("video*")):
        try:
            found = _entry(entry)
        except (OSError, ValueError):
            continue  # it went while we looked
        node = root / "dev" / entry.name
        if found == (identity.hardware, identity.name, identity.index) and node.exists():
            return str(node)
    return None


def _entry(entry: Path) -> tuple[str, str, int]:
    hardware = (entry / "device").resolve(strict=True)
    return str(hardware), (entry / "name").read_text().strip(), int((entry / "index").read_text())
