"""Redaction of text that leaves the node: passwords and tokens in addresses, and control characters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

MASK: Final = "***"

# C0 and C1 controls, directional and zero-width characters, line separators, lone surrogates.
_CONTROL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_LINE: Final = re.compile("[\t\n]")

_ADDRESS: Final = re.compile(r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]*:/+[^\s/:@?#]*:", re.IGNORECASE)
_WORD: Final = re.compile(r"\S+")
_PASSWORD_FOLLOWS: Final = re.compile(r":(?!/)")
# A user without a password is shown, unless it is as long as the tokens that some services use instead.
_TOKEN_AS_USER: Final = re.compile(r":/+([^\s/:@?#]{16,})@")
_KEY: Final = re.compile(r"(?<=[?&;/=#])([^\s=&;/?#]+)=")
_SECRET_KEY: Final = re.compile(
    r"pas|pw|psw|tok|secret|key|auth|sig|cred|jwt|hash|hmac|session|ticket|code|^(p|k|sid|pin|otp)$",
    re.IGNORECASE,
)
_LONG_VALUE: Final = re.compile(r"(?<=[?&;=])[^\s=&?#]{16,}")
# Slashes, @, quotes and ; are legal in a value: base64 and signed addresses contain them.
_END_OF_VALUE: Final = re.compile(r"[:,]?(?=\s|$)|&")

Span = tuple[int, int]


def redacted(text: str) -> str:
    """The text with redacted addresses, and with control characters except tab and newline escaped.

    It works line by line in linear time, and removes too much rather than too little: of two addresses in one
    line the text between them may be lost.

    Example:
        >>> redacted("cannot open rtsp://ann:secret@10.0.0.7/road?token=abc: refused")
        'cannot open rtsp://ann:***@10.0.0.7/road?token=***: refused'
    """
    return "\n".join(_masked_line(line) for line in _CONTROL.sub(_escaped, text).split("\n"))


def redacted_line(text: str) -> str:
    r"""Like `redacted`, in one line: line ends are escaped too.

    Example:
        >>> redacted_line("a.mp4\nall is well\x1b[2J")
        'a.mp4\\nall is well\\x1b[2J'
    """
    return redacted(_LINE.sub(_escaped, text))


def redacted_url(url: str) -> str:
    """The address without its password, in one line.

    Example:
        >>> redacted_url("rtsp://ann:secret@10.0.0.7/road?token=abc")
        'rtsp://ann:***@10.0.0.7/road?token=***'
    """
    return redacted(" ".join(url.split()))


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _masked_line(line: str) -> str:
    """The line with a mask for every span that a rule finds; overlapping spans are merged."""
    shown, end = [], -1
    for first, last in sorted(_secrets(line)):
        if first > end:  # otherwise it begins within the one before
            shown.append(line[max(end, 0) : first] + MASK)
        end = max(end, last)
    return "".join([*shown, line[max(end, 0) :]])


def _secrets(line: str) -> Iterator[Span]:
    # up to the last @, because passwords may contain @, / and spaces
    at = line.rfind("@")
    if at >= 0 and (address := _ADDRESS.search(line, 0, at)):
        yield address.end(), at
    for word in _WORD.finditer(line):  # also without a valid scheme: `ann:secret@camera`
        at = word[0].rfind("@")
        follows = _PASSWORD_FOLLOWS.search(word[0], 0, at) if at >= 0 else None
        if follows:
            yield word.start() + follows.end(), word.start() + at
        if "://" in word[0]:
            yield from _in_query(word)
    for token in _TOKEN_AS_USER.finditer(line):
        yield token.span(1)
    # Some cameras have user and password in the path: `/user=ann_password=secret_channel=1.sdp`.
    end = 0
    for key in _KEY.finditer(line):
        if key.start() >= end and _SECRET_KEY.search(unquote(key[1])):
            value_end = _END_OF_VALUE.search(line, key.end())
            end = value_end.start() if value_end else len(line)
            yield key.end(), end


def _in_query(address: re.Match[str]) -> Iterator[Span]:
    """Values as long as tokens, and the fragment behind a query."""
    query = address[0].find("?")
    if query < 0:
        return
    for value in _LONG_VALUE.finditer(address[0], query):
        yield address.start() + value.start(), address.start() + value.end()
    fragment = address[0].find("#", query)
    if fragment >= 0:
        yield address.start() + fragment + 1, address.end()
