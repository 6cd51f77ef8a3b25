"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_atomically(file: Path, content: bytes, *, waits_for_disk: bool = True) -> None:
    """Write beside `file`, then rename: a full disk or a kill leaves what was there before.

    Args:
        waits_for_disk: until the content is safe from a power cut too; without, a kill alone is survived.

    Raises:
        OSError: if it cannot be written; nothing half-written is left.
    """
    partial = file.with_name(file.name + ".partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            if waits_for_disk:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(partial, file)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
