"""Where an RTSP camera redirects to: libav would follow, and take the password along to any host."""

from __future__ import annotations

import base64
import socket
import ssl
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, BinaryIO, Final, cast
from urllib.error import URLError

from perception.masking import masked_url
from perception.sources.address import Address
from perception.sources.source import SourceError
from perception.sources.time_limit import TimeLimit
from perception.sources.tls import TlsSettings, untrusted

_MOST_REDIRECTS: Final = 5
_MOST_LINES: Final = 100
_LONGEST_LINE: Final = 8192


def check_redirects(url: str, tls: TlsSettings, limit: TimeLimit) -> None:
    """Ask for the stream's description, as libav will, and see where that leads.

    Args:
        url: with the user and the password, if it needs any.
        limit: for all of it.

    Raises:
        SourceError: if it leads to another scheme, host or port, or if nobody answers in RTSP; the message
            names no address but the one that it leads to.
        TimeoutError: if nothing comes in time.
    """
    given = Address.of(url)
    here = given.bare_url
    for _ in range(_MOST_REDIRECTS):
        location = _location(here, given, tls, limit)
        if location is None:
            return
        if location.startswith("/"):
            location = "/".join(here.split("/")[:3]) + location
        there = Address.of(location)
        if there.origin != given.origin:
            raise SourceError(
                f"redirects to {masked_url(location)}, and the password is not for there; "
                "give that address as the source if you trust it"
            )
        here = there.bare_url
    raise SourceError("redirects without an end")


def _location(url: str, given: Address, tls: TlsSettings, limit: TimeLimit) -> str | None:
    """Where the camera redirects to; None where it answers by itself, whatever it says."""
    scheme, host, port = given.origin
    try:
        with socket.create_connection((host, port), limit.left_s()) as plain:
            connection = plain
            if scheme == "rtsps":
                connection = tls.context().wrap_socket(plain, server_hostname=host)
            with connection, connection.makefile("rb") as answers:
                connection.settimeout(limit.left_s())
                answer = _ask(connection, answers, url, 1)
                if answer.status == 401 and (authorization := _authorization(answer, url, given)):
                    connection.settimeout(limit.left_s())
                    answer = _ask(connection, answers, url, 2, authorization)
    except TimeoutError:
        raise
    except ssl.SSLCertVerificationError as error:
        raise SourceError(untrusted(error)) from None
    except OSError as error:
        raise SourceError(f"{error.strerror or type(error).__name__}") from None
    return answer.headers.get("location") if 300 <= answer.status < 400 else None


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: dict[str, str]
    """By name in lower case; the first of each, but all challenges."""
    challenges: list[str]


def _ask(
    connection: socket.socket, answers: BinaryIO, url: str, number: int, authorization: str = ""
) -> _Answer:
    lines = [f"DESCRIBE {url} RTSP/1.0", f"CSeq: {number}", "Accept: application/sdp", "User-Agent: drivable"]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    head = answers.readline(_LONGEST_LINE).decode(errors="replace").split()
    if len(head) < 2 or not head[0].startswith("RTSP/") or not head[1].isdecimal():
        raise SourceError("no answer in RTSP")
    headers: dict[str, str] = {}
    challenges = []
    for _ in range(_MOST_LINES):
        line = answers.readline(_LONGEST_LINE).decode(errors="replace").strip()
        if not line:
            break
        name, _, value = line.partition(":")
        if name.lower() == "www-authenticate":
            challenges.append(value.strip())
        headers.setdefault(name.lower(), value.strip())
    length = headers.get("content-length", "0")
    answers.read(min(int(length), 1 << 20) if length.isdecimal() else 0)
    return _Answer(int(head[1]), headers, challenges)


def _authorization(answer: _Answer, url: str, given: Address) -> str | None:
    """What answers the camera's challenge; None where it asks for neither Digest nor Basic."""
    passwords = given.passwords()
    for challenge in sorted(answer.challenges, reverse=True):  # Digest before Basic
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic":
            pair = ":".join(part or "" for part in passwords.find_user_password("", url))
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        if kind.lower() == "digest":
            asked = urllib.request.parse_keqv_list(urllib.request.parse_http_list(rest))
            request = SimpleNamespace(full_url=url, selector=url, data=None, get_method=lambda: "DESCRIBE")
            digest = urllib.request.AbstractDigestAuthHandler(passwords)
            with suppress(URLError, ValueError):  # of a kind that the library does not know
                answered = digest.get_authorization(cast(Any, request), asked)
                if answered:
                    return f"Digest {answered}"
    return None
