"""ArchiveError: what ends a run over an archive, in one line."""

from __future__ import annotations


class ArchiveError(Exception):
    """A problem of the whole run; that of a single clip is its outcome."""
