"""Whether an open file is still what its name stands for: files are removed and rotated away under a node."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

Presence = Literal["there", "moved", "removed"]
"""In its place; under another name, whole; or without a name, so that it is gone once it is closed."""


class Watched:
    """An open file or folder, and the name it was opened by; asking takes some microseconds."""

    def __init__(self, descriptor: int, file: Path) -> None:
        self._descriptor, self._file = descriptor, file
        # Where numbers of files are made up at every look, a name proves nothing.
        self._has_number = True
        self._has_number = self.presence() != "moved"

    def presence(self) -> Presence:
        """As of now."""
        try:
            status = os.fstat(self._descriptor)
        except OSError:  # of a share whose server has removed it
            return "removed"
        if status.st_nlink == 0:
            return "removed"
        if self._has_number:
            try:
                if not os.path.samestat(status, os.stat(self._file)):
                    return "moved"
            except (FileNotFoundError, NotADirectoryError):
                return "moved"
        return "there"
