"""Identifies a camera across reconnections, as `/dev/video0` may be another one afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/")
# by-id contains the serial number and follows a camera to another port, by-path names the port
_LINK_FOLDERS: Final = ("dev/v4l/by-id", "dev/v4l/by-path")
_CLASS: Final = "sys/class/video4linux"


@dataclass(frozen=True)
class Identity:
    """Properties that stay the same when a camera is plugged in again."""

    link: str | None
    """udev's name, such as `dev/v4l/by-id/usb-Maker_Model_Serial-video-index0`."""
    hardware: str
    """The port: the resolved `device` of its entry in sysfs."""
    name: str
    """The driver's name for it."""
    index: int
    """Index of the node: the first one gives pictures, others often only metadata."""

    def __str__(self) -> str:
        return Path(self.link).name if self.link else self.name


def identify(node: str, root: Path = ROOT) -> Identity | None:
    """The identity of the camera behind a device file; None if unknown.

    Args:
        node: a device file or a link to one; a udev link takes precedence over others.
        root: of the file system; another one in tests.
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
    """The camera's current device file; None while it is unplugged.

    Found by its link, or else by name and index at the same port: the link may be created a moment later, or
    never without udev.
    """
    if identity.link is not None and (root / identity.link).exists():
        return str((root / identity.link).resolve())
    for entry in sorted((root / _CLASS).glob("video*")):
        try:
            found = _entry(entry)
        except (OSError, ValueError):
            continue  # it disappeared in the meantime
        node = root / "dev" / entry.name
        if found == (identity.hardware, identity.name, identity.index) and node.exists():
            return str(node)
    return None


def _entry(entry: Path) -> tuple[str, str, int]:
    hardware = (entry / "device").resolve(strict=True)
    return str(hardware), (entry / "name").read_text().strip(), int((entry / "index").read_text())
