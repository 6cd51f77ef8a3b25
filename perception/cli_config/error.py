"""What settings that cannot be used raise."""

from __future__ import annotations

from typing import ClassVar

from perception.system.redaction import redacted


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it and what to write instead.

    It may quote what was given, and that may be an address: no password gets into the message.
    """

    status: ClassVar[int] = 2
    """Exit status of a command that ends by it: wrong usage."""

    def __init__(self, message: str) -> None:
        super().__init__(redacted(" ".join(message.split())))
