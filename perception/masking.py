"""Text without the passwords and tokens of addresses: for all that leaves the node."""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"

_ADDRESS: Final = re.compile(r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]*:/+[^\s/:@?#]*:", re.IGNORECASE)
_WORD: Final = re.compile(r"\S+")
_PASSWORD_FOLLOWS: Final = re.compile(r":(?!/)")
# A user without a password is shown, but not one as long as the tokens that some services take in its place.
_TOKEN_AS_USER: Final = re.compile(r"(:/+)[^\s/:@?#]{16,}@")
_KEY: Final = re.compile(r"(?<=[?&;/=])([^\s=&;/?#]+)=")
_SECRET_KEY: Final = re.compile("pass|pw|token|secret|key|auth|sig|cred|jwt", re.IGNORECASE)
_END_OF_VALUE: Final = re.compile(r"[\s&;/#'\"]|$")


def masked(text: str) -> str:
    """The text, every address in it without its password.

    Works line by line, and takes too much rather than too little: of two addresses in one line the first may
    lose what stands between them. The time it takes grows with the text and no faster.

    Example:
        >>> masked("cannot open rtsp://ann:secret@10.0.0.7/road?token=abc: refused")
        'cannot open rtsp://ann:***@10.0.0.7/road?token=***: refused'
    """
    return "\n".join(_masked_line(line) for line in text.split("\n"))


def _masked_line(line: str) -> str:
    # up to the last @, for a password may hold @, / and spaces although it should not
    at = line.rfind("@")
    if at >= 0 and (address := _ADDRESS.search(line, 0, at)):
        line = f"{line[: address.end()]}{MASK}{line[at:]}"
    return _without_secret_values(_TOKEN_AS_USER.sub(rf"\1{MASK}@", _WORD.sub(_masked_word, line)))


def _masked_word(word: re.Match[str]) -> str:
    """Also where the scheme was mistyped or left out: `ann:secret@camera`."""
    text = word[0]
    at = text.rfind("@")
    follows = _PASSWORD_FOLLOWS.search(text, 0, at) if at >= 0 else None
    return f"{text[: follows.end()]}{MASK}{text[at:]}" if follows else text


def _without_secret_values(line: str) -> str:
    """Without what stands behind `?token=` and the like.

    Cameras take user and password in the path as well: `/user=ann_password=secret_channel=1.sdp`.
    """
    kept, end = [], 0
    for key in _KEY.finditer(line):
        if key.start() >= end and _SECRET_KEY.search(key[1]):
            kept.append(line[end : key.end()] + MASK)
            value_end = _END_OF_VALUE.search(line, key.end())
            end = value_end.start() if value_end else len(line)
    return "".join([*kept, line[end:]])


def masked_url(url: str) -> str:
    """The address without its password, in one line.

    Example:
        >>> masked_url("rtsp://ann:secret@10.0.0.7/road?token=abc")
        'rtsp://ann:***@10.0.0.7/road?token=***'
    """
    return masked(" ".join(url.split()))
