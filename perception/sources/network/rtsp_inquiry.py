"""A minimal RTSP client that checks a server before and after libav.

libav follows redirects with the password to any host, and reports little about why a stream does not open.
"""

from __future__ import annotations

import http.client
import re
import socket
from dataclasses import dataclass
from email.message import Message
from typing import Final

from perception.sources.network.address import Address
from perception.sources.network.authorization import Challenge, answer, best_of, challenges_of
from perception.sources.network.deadline import Deadline
from perception.sources.network.refusal import UNAUTHORIZED, no_answer, other_protocol, refusal
from perception.sources.network.tls import TlsSettings
from perception.sources.source import SourceError
from perception.system.redaction import redacted_url

_MOST_REDIRECTS: Final = 5
_LIBAVS_ALGORITHMS: Final = ("", "MD5")
_LONGEST_LINE: Final = 8192
_LONGEST_BODY: Final = 1 << 20
_TRANSPORTS: Final = {
    "tcp": "RTP/AVP/TCP;unicast;interleaved=0-1",
    "udp": "RTP/AVP/UDP;unicast;client_port=34000-34001",
}


def check_redirects(url: str, tls: TlsSettings, limit: Deadline) -> None:
    """Request the stream's description, as libav will, and follow its redirects.

    Args:
        url: with user and password if needed.
        tls: how certificates are verified.
        limit: for all requests together.

    Raises:
        SourceError: if it redirects to another scheme, host or port, or no RTSP server answers; the message
            names only the address of the redirect.
        TimeoutError: if no answer arrives in time.
    """
    given = Address.of(url)
    here = given.bare_url
    for _ in range(_MOST_REDIRECTS):
        with _Conversation(given, tls, limit) as server:
            answered = server.ask("DESCRIBE", here)
        location = answered.headers["Location"] if 300 <= answered.status < 400 else None
        if location is None:
            return
        if location.startswith("/"):
            location = "/".join(here.split("/")[:3]) + location
        there = Address.of(location)
        if there.origin != given.origin:
            why = ", and the password is not for there" if given.userinfo else ""
            raise SourceError(
                f"redirects to {redacted_url(location)}{why}; give that address as the source if you trust it"
            )
        here = there.bare_url
    raise SourceError("redirects in a circle, or too often")


def check_answers(url: str, transport: str, tls: TlsSettings, limit: Deadline) -> None:
    """Find out why a server refused a stream that libav could not open.

    Args:
        url: with user and password if needed.
        transport: `tcp`, `udp`, or anything else for both.
        tls: how certificates are verified.
        limit: for all requests together.

    Raises:
        SourceError: with the reason, if one is found.
        TimeoutError: if no answer arrives in time.
    """
    given = Address.of(url)
    with _Conversation(given, tls, limit) as server:
        described = server.ask("DESCRIBE", given.bare_url)
        described.check(given)
        if 300 <= described.status < 400:
            check_redirects(url, tls, limit)
        if described.status != 200:
            return
        control = _control_of_video(described.body)
        if control is None:
            raise SourceError("its description contains no video")
        base = described.headers.get("Content-Base", given.bare_url)
        track = control if "://" in control else f"{base.rstrip('/')}/{control}".removesuffix("/*")
        for way in [transport] if transport in _TRANSPORTS else _TRANSPORTS:
            setup = server.ask("SETUP", track, f"Transport: {_TRANSPORTS[way]}")
            if setup.status < 400:
                session = setup.headers.get("Session", "").partition(";")[0]
                server.ask("TEARDOWN", given.bare_url, f"Session: {session}")
                break
        setup.check(given)
        if server.algorithm not in _LIBAVS_ALGORITHMS:
            raise SourceError(
                f"asks for a password by Digest {server.algorithm}; over RTSP, MD5 and Basic are supported"
            )


def _control_of_video(sdp: bytes) -> str | None:
    """The control attribute of the first video; None without video."""
    video = re.search(rb"^m=video [^\0]*?(?=^m=|\Z)", sdp, re.MULTILINE)
    if video is None:
        return None
    control = re.search(rb"^a=control:(\S+)", video[0], re.MULTILINE)
    return control[1].decode(errors="replace") if control else "*"


@dataclass(frozen=True)
class _Answer:
    status: int
    reason: str
    headers: Message
    body: bytes

    @property
    def challenges(self) -> list[Challenge]:
        return challenges_of(self.headers.get_all("WWW-Authenticate", []))

    def check(self, given: Address) -> None:
        """Raise SourceError for an error status."""
        if self.status >= 400:
            raise SourceError(refusal(self.status, self.reason, given, self.challenges))


class _Conversation:
    """A connection for several requests; raises what `no_answer` makes of errors."""

    def __init__(self, given: Address, tls: TlsSettings, limit: Deadline) -> None:
        self._given, self._limit, self._number = given, limit, 0
        self.algorithm = ""
        """Of the last Digest answered; empty if none."""
        scheme, host, port = given.origin
        context = tls.context() if scheme == "rtsps" else None
        try:
            plain = socket.create_connection((host, port), limit.left_s())
            self._connection = context.wrap_socket(plain, server_hostname=host) if context else plain
        except (OSError, UnicodeError) as error:
            raise no_answer(error, given) from None
        self._answers = self._connection.makefile("rb")

    def __enter__(self) -> _Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._connection.close()

    def ask(self, method: str, url: str, *lines: str) -> _Answer:
        """Send a request, with the password in a second attempt if the server asks for it.

        Raises:
            SourceError: if the answer is not RTSP, or authentication is not supported.
            TimeoutError: if no answer arrives in time.
        """
        try:
            answered = self._ask(method, url, lines)
            if answered.status == UNAUTHORIZED and answered.challenges and self._given.userinfo:
                user, password = self._given.user, self._given.password
                best = best_of(answered.challenges)
                self.algorithm = best.algorithm if best.scheme.lower() == "digest" else ""
                authorization = answer(best, user, password, method, url)
                answered = self._ask(method, url, (*lines, f"Authorization: {authorization}"))
        except (OSError, http.client.HTTPException) as error:
            raise no_answer(error, self._given) from None
        return answered

    def _ask(self, method: str, url: str, lines: tuple[str, ...]) -> _Answer:
        self._number += 1
        head = [f"{method} {url} RTSP/1.0", f"CSeq: {self._number}", "User-Agent: drivable"]
        if method == "DESCRIBE":
            head.append("Accept: application/sdp")
        self._connection.settimeout(self._limit.left_s())
        self._connection.sendall("\r\n".join([*head, *lines, "", ""]).encode())
        first = self._answers.readline(_LONGEST_LINE).decode("latin-1")
        version, status, reason = (*first.split(None, 2), "", "", "")[:3]
        if not first:
            raise ConnectionResetError
        if not version.startswith("RTSP/") or not (status.isascii() and status.isdecimal()):
            raise SourceError(other_protocol(first, self._given))
        headers = http.client.parse_headers(self._answers)
        length = headers.get("Content-Length", "").strip()
        is_number = length.isascii() and length.isdecimal()
        body = self._answers.read(min(int(length), _LONGEST_BODY)) if is_number else b""
        return _Answer(int(status[:9]), reason.strip(), headers, body)
