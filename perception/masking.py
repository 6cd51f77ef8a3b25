"""Text without the passwords and tokens of addresses: for all that leaves the node."""

from __future__ import annotations

import re
import sys
import threading
import traceback
from types import TracebackType
from typing import Final

MASK: Final = "***"

# Each takes too much rather than too little: up to the last @ of the line, for a password may hold @, / and
# spaces although it should not; and also where the scheme was mistyped or left out.
_PASSWORD: Final = re.compile(r"([a-z][a-z0-9+.-]*:/+[^\s/:@?#]*):.*@", re.IGNORECASE)
_PASSWORD_ALONE: Final = re.compile(r"([^\s/:@?#'\"=()\[\]{},]*):(?!/)\S*@")
# A user without a password is shown, but not one as long as the tokens that some services take in its place.
_TOKEN_AS_USER: Final = re.compile(r"(:/+)[^\s/:@?#]{16,}@")
# Cameras take user and password in the path as well: /user=ann_password=secret_channel=1.sdp
_SECRET_VALUE: Final = re.compile(
    r"([?&;/_][^\s=&;/?#]*(?:pass|pw|token|secret|key|auth|sig|cred|jwt)[^\s=&;/?#]*=)[^\s&;/#'\"]*",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """The text, every address in it without its password.

    Works line by line. Of two addresses in one line the first may lose what stands between them.

    Example:
        >>> masked("cannot open rtsp://ann:secret@10.0.0.7/road?token=abc: refused")
        'cannot open rtsp://ann:***@10.0.0.7/road?token=***: refused'
    """
    for pattern, kept in (
        (_PASSWORD, rf"\1:{MASK}@"),
        (_TOKEN_AS_USER, rf"\1{MASK}@"),
        (_PASSWORD_ALONE, rf"\1:{MASK}@"),
        (_SECRET_VALUE, rf"\1{MASK}"),
    ):
        text = pattern.sub(kept, text)
    return text


def masked_url(url: str) -> str:
    """The address without its password, in one line.

    Example:
        >>> masked_url("rtsp://ann:secret@10.0.0.7/road?token=abc")
        'rtsp://ann:***@10.0.0.7/road?token=***'
    """
    return masked(" ".join(url.split()))


def mask_tracebacks() -> None:
    """Let the traceback of an error that nobody expected show no password either, in any thread."""

    def tell(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        print(masked("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)

    def tell_of_thread(told: threading.ExceptHookArgs) -> None:
        if told.exc_type is not SystemExit:
            tell(told.exc_type, told.exc_value, told.exc_traceback)

    sys.excepthook = tell
    threading.excepthook = tell_of_thread
