"""Clip: one recording of an archive, and what tells it from a changed one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from perception.system.redaction import redacted_url


@dataclass(frozen=True)
class Clip:
    """One recording."""

    address: str
    """A file's path, or an address of fsspec."""
    name: str
    """Relative to what was named, with `/`: that of its folder of results."""
    size: int | None
    """In bytes; None where a server does not say it."""
    version: str
    """What changes with its content: the time of the last change in ns, or an object store's etag."""

    @property
    def source(self) -> dict[str, Any]:
        """For a clip's own file of results: where it is, without any password, and which version."""
        return {"address": redacted_url(self.address), "size": self.size, "version": self.version}

    def as_dict(self) -> dict[str, Any]:
        """To be sent to a worker."""
        return asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """From `as_dict`."""
        return cls(**values)
