"""Error messages for servers that refuse a stream or do not answer."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from typing import Final

from perception.sources.network.address import ESCAPES, Address
from perception.sources.network.authorization import Challenge
from perception.sources.network.tls import untrusted
from perception.sources.source import SourceError
from perception.system.error_text import text_of

UNAUTHORIZED: Final = 401
_LONGEST_REASON: Final = 60
_MEANINGS: Final = {
    400: "it does not understand the request",
    403: "this user may not see it, or not from this machine",
    404: "it has nothing under that path",
    407: "a proxy on the way asks for a password",
    410: "what was under that path is gone",
    429: "it was asked too often",
    451: "it does not understand a parameter",
    453: "it has no bandwidth left for one more viewer",
    454: "it has lost the session",
    461: "it does not support the requested transport; try --rtsp-transport tcp or udp",
    500: "the fault is the server's own",
    501: "it does not know such requests",
    502: "the server behind it does not answer; the fault is the server's own",
    503: "it is busy, or not ready yet; try again later, or with --open-retries forever",
    504: "the server behind it does not answer in time",
}
_REASONS: Final = {453: "Not Enough Bandwidth", 454: "Session Not Found", 461: "Unsupported Transport"}


def refusal(status: int, reason: str, address: Address, challenges: list[Challenge]) -> str:
    """The message for an HTTP or RTSP error status.

    Args:
        status: status code.
        reason: the server's reason phrase; may be empty.
        address: the address requested, with its credentials if any.
        challenges: those of a 401.
    """
    reason = _REASONS.get(status) or reason or http.client.responses.get(status, "")
    answered = f"the server answers {status} {reason[:_LONGEST_REASON]}".rstrip()
    meaning = _MEANINGS.get(status, "")
    if status == UNAUTHORIZED:
        meaning = _unauthorized(address, challenges)
    return f"{answered}: {meaning}" if meaning else answered


def _unauthorized(address: Address, challenges: list[Challenge]) -> str:
    if challenges and all(challenge.strength < 0 for challenge in challenges):
        return f"it asks for a password by {' or '.join(map(str, challenges))}, which is not supported"
    if not address.userinfo:
        return "it asks for a user and a password; write user:password and an at sign before the host"
    if not address.password:
        return "it refuses this user without a password"
    return f"it refuses this user or password ({ESCAPES})"


def no_answer(error: Exception, address: Address) -> SourceError | TimeoutError:
    """The error for a server that gave no valid answer.

    Args:
        error: as raised while connecting, sending or reading.
        address: the address requested.
    """
    scheme, _, port = address.origin
    twin = scheme.removesuffix("s") if scheme.endswith("s") else f"{scheme}s"
    match error:
        case SourceError() | TimeoutError():
            return error
        case ssl.SSLCertVerificationError():
            return SourceError(untrusted(error))
        case ssl.SSLError(reason=str(reason)) if (
            "VERSION" in reason or "RECORD" in reason or "HTTP" in reason
        ):
            return SourceError(f"port {port} does not answer encrypted; is it {twin}://?")
        case ssl.SSLError():
            what = (error.reason or "handshake failed").replace("_", " ").lower()
            return SourceError(f"no encrypted connection: {what}")
        case http.client.BadStatusLine() if not isinstance(error, ConnectionError):
            return SourceError(other_protocol(str(error), address))
        case socket.gaierror() | UnicodeError():
            is_silent = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
            why = " can be found: no name server answers" if is_silent else ""
            hint = f"; {ESCAPES}" if address.may_be_cut else ""
            return SourceError(f"no host of that name{why}{hint}")
        case ConnectionRefusedError():
            return SourceError(f"Connection refused: nothing listens on port {port} there")
        case ConnectionError() | EOFError():
            return SourceError(
                f"port {port} closes the connection without an answer; is it {twin}://, or another port?"
            )
        case OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH):
            return SourceError(f"{error.strerror}: there is no way to that host from here")
        case OSError():
            return SourceError(error.strerror or text_of(error))
    return SourceError(f"unreadable answer: {type(error).__name__}")


def other_protocol(line: str, address: Address) -> str:
    """The message for a port that speaks another protocol, by the first line of its answer."""
    scheme, _, port = address.origin
    asked, start = scheme.removesuffix("s").upper(), line.lstrip("'\"")[:20]
    for begin, name, other in (
        ("RTSP/", "RTSP", "rtsp"),
        ("HTTP/", "HTTP", "http"),
        ("<", "HTTP", "http"),
        ("\x15\x03", "encrypted", f"{asked.lower()}s"),
        ("\\x15\\x03", "encrypted", f"{asked.lower()}s"),
        ("SSH-", "SSH", ""),
    ):
        if start.startswith(begin):
            return f"port {port} answers {name}, not {asked}" + (f"; is it {other}://?" if other else "")
    return f"port {port} does not answer in {asked}"
