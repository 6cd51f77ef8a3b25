"""What came to one place of a run, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """Counts of one moment; they balance where nothing was lost without being counted."""

    place: str
    came: int
    became: Mapping[str, int]
    held: int = 0
    """Neither gone on nor lost yet."""

    def problem(self, *, is_over: bool) -> str | None:
        """What does not balance, in one line, or None; in the end nothing is held any more."""
        missing = self.came - sum(self.became.values()) - (0 if is_over else self.held)
        if not missing:
            return None
        became = ", ".join(f"{count} {name}" for name, count in self.became.items())
        if missing < 0:
            return f"{self.place}: {-missing} more accounted for than the {self.came} that came ({became})"
        return f"{self.place}: {missing} of {self.came} unaccounted for ({became})"
