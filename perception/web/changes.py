"""What `/sources` asks of a node whose sources can be changed while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from http import HTTPStatus
from typing import Any, Final, Protocol

from perception.system.redaction import redacted_line

STOPPING: Final = "the node is stopping"


class RefusedError(Exception):
    """A change that is not made, or that failed; one line.

    Args:
        status: of the answer.
    """

    def __init__(self, status: HTTPStatus, line: str) -> None:
        super().__init__(redacted_line(line))
        self.status = status


class ChangeableSources(Protocol):
    """The sources of a node that can be changed while it runs."""

    @property
    def changes(self) -> Executor:
        """Where `put` and `delete` are called, one at a time."""

    def listed(self) -> Sequence[Mapping[str, Any]]:
        """What is known of each, ready for JSON; called from any thread."""

    def put(self, name: str, settings: Mapping[str, Any] | None) -> tuple[bool, Sequence[str]]:
        """Add or replace a source; without settings restart it.

        Returns:
            Whether it is a new one; and what went wrong with the one before, a line each.

        Raises:
            RefusedError: if it cannot be; what was there may have ended then.
        """

    def delete(self, name: str) -> Sequence[str]:
        """End and remove a source; gives what went wrong with it, a line each.

        Raises:
            RefusedError: if there is none of that name.
        """
