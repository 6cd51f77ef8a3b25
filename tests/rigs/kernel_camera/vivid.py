"""The driver under test, from inside the guest: its controls, and pulling it out and putting it in again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_DRIVER: Final = Path("/sys/bus/platform/drivers/vivid")
_DEVICE: Final = "vivid.0"
_APPEARS_WITHIN_S: Final = 10.0


def node() -> str:
    """The device file that the camera has now."""
    (entry,) = (_DRIVER / _DEVICE / "video4linux").iterdir()
    return f"/dev/{entry.name}"


def set_control(name: str, value: int = 1) -> None:
    """Set a control, or press a button."""
    subprocess.run(_setting(name, value), check=True, capture_output=True)


@contextmanager
def disconnecting() -> Iterator[None]:
    """The plug is pulled at some moment within the block: from then on every call on the device fails."""
    with subprocess.Popen(_setting("disconnect", 1), stdout=subprocess.DEVNULL):
        yield


def _setting(name: str, value: int) -> list[str]:
    return ["v4l2-ctl", "-d", node(), "-c", f"{name}={value}"]


def unbind() -> None:
    """Take the driver off its device; the device file goes."""
    (_DRIVER / "unbind").write_text(_DEVICE)


def bind() -> None:
    """Give the device its driver again, with the controls as they are at first; waits for the device file."""
    (_DRIVER / "bind").write_text(_DEVICE)
    limit_s = time.monotonic() + _APPEARS_WITHIN_S
    while not Path(node()).exists():
        if time.monotonic() > limit_s:
            raise TimeoutError(f"no {node()} after bind")
        time.sleep(0.01)


def renew() -> None:
    """A camera as new."""
    if (_DRIVER / _DEVICE).exists():
        unbind()
    bind()
