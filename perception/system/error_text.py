"""What an error says, which may be nothing."""

from __future__ import annotations


def text_of(error: BaseException) -> str:
    """The error's own text, or its type where it has none.

    Example:
        >>> text_of(OSError("disk full")), text_of(MemoryError())
        ('disk full', 'MemoryError')
    """
    return str(error) or type(error).__name__
