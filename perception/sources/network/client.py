"""`http(s)://` for libav, by the standard library: whom a password goes to, and what a playlist may open.

libav's own HTTP verifies no certificate of the parts that a playlist names, whatever is asked of it, and
hands cookies on to any host. So libav gets all its bytes from here.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import string
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from email.message import Message
from functools import partial
from http.cookiejar import CookieJar
from typing import IO, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from weakref import WeakSet

from perception.sources.network.address import Address
from perception.sources.network.authorization import answer, best_of, challenges_of
from perception.sources.network.body import Answer, Body
from perception.sources.network.deadline import Deadline
from perception.sources.network.encoding import unpacked
from perception.sources.network.refusal import UNAUTHORIZED, no_answer, refusal
from perception.sources.network.tls import TlsSettings
from perception.sources.source import SourceError

USER_AGENT: Final = "drivable"
_NO_RANGES: Final = (400, 403, 405, 406, 416, 500, 501)  # of servers that stumble over the wish for a part
_MOST_STALE: Final = 2  # answers in a row that a server calls stale; more is a fault of its own
Connecting = Callable[[socket.socket], None]


class Web:
    """Opens an address, and what a playlist there names.

    - The user and the password go to the scheme, host and port they were given for, and nowhere else.
    - A cookie goes back where it came from, and nowhere else.
    - What begins encrypted stays so: neither a redirect nor a playlist leads from `https` to `http`.
    - Nothing but `http` and `https` is opened: no file, no pipe, no other protocol.

    Args:
        url: may hold a user and a password.
        tls: how certificates are judged.
        limit: within which every answer, and every part of it, must come.

    Raises:
        SourceError: if `url` cannot be read as an address, or the certificate authorities cannot be read.
    """

    def __init__(self, url: str, tls: TlsSettings, limit: Deadline) -> None:
        address = self._address = _web_address(url)
        self.url = address.bare_url
        """The address without user and password: what libav may know."""
        self.failure: SourceError | TimeoutError | None = None
        """The last address that could not be opened, or ended early: libav goes on without what it names."""
        self._limit = limit
        self._bodies: WeakSet[Body] = WeakSet()
        self._first: Body | None = None
        self._socket: socket.socket | None = None
        self._only_https = address.scheme == "https"
        self._opener = urllib.request.OpenerDirector()
        handlers: list[urllib.request.BaseHandler] = [
            urllib.request.ProxyHandler(),
            _PlainHandler(self._connected),
            _EncryptedHandler(self._connected, tls.context()),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _RedirectHandler(),
            _CookieHandler(),
        ]
        if address.userinfo:
            handlers.append(_PasswordHandler(address))
        for handler in handlers:
            self._opener.add_handler(handler)

    def first(self) -> Body:
        """The answer of the address itself; `open` gives it once more. Raises SourceError or TimeoutError."""
        if self._first is None:
            self._first = self.open(self.url)
        return self._first

    def open(self, url: str, flags: int = 0, options: dict[str, str] | None = None) -> Body:
        """The bytes at an address, for `av.open(io_open=…)`; raises SourceError or TimeoutError."""
        wanted = options or {}
        first, self._first = self._first, None
        if first is not None and url == self.url and not wanted.keys() & {"offset", "end_offset"}:
            return first
        begin, end = int(wanted.get("offset", 0)), int(wanted.get("end_offset", 0))
        try:
            scheme = _web_address(url).scheme
            if self._only_https and scheme != "https":
                raise SourceError(f"a playlist leads from https to {scheme}, which is not followed")
            body = Body(partial(self._fetch, url), self._limit.left_s, self._failed, begin, end)
        except (SourceError, TimeoutError) as error:
            self.failure = error
            raise
        self._bodies.add(body)
        return body

    def close(self) -> None:
        """Hang up whatever is open: libav leaves the first address to who opened it. Safe to call twice."""
        for body in list(self._bodies):
            body.close()

    def _fetch(self, url: str, first: int, end: int) -> Answer:
        """The answer to a request for the bytes from `first` up to `end` (0: all there are)."""
        wanted = f"bytes={first}-{end - 1 if end else ''}"
        try:
            response = self._ask(url, {"Range": wanted})
        except HTTPError as error:
            if first or end or error.code not in _NO_RANGES:
                raise SourceError(_meaning(error, self._address)) from None
            try:
                response = self._ask(url, {})
            except HTTPError as again:
                raise SourceError(_meaning(again, self._address)) from None
        assert self._socket is not None
        return Answer(unpacked(response), self._socket)

    def _ask(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        request = urllib.request.Request(quote(url, safe=string.punctuation), headers=headers)
        request.add_header("User-Agent", USER_AGENT)
        try:
            response = self._opener.open(request, timeout=self._limit.left_s())
        except HTTPError as error:
            error.close()
            raise
        except (OSError, http.client.HTTPException, ValueError, SourceError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            problem = no_answer(reason if isinstance(reason, Exception) else error, Address.of(url))
            if isinstance(problem, SourceError) and request.host != urlsplit(request.full_url).netloc:
                problem = SourceError(f"{problem} ({request.host} is the proxy that http_proxy names)")
            raise problem from None
        assert isinstance(response, http.client.HTTPResponse)
        return response

    def _connected(self, connected: socket.socket) -> None:
        self._socket = connected

    def _failed(self, problem: str | TimeoutError) -> None:
        self.failure = SourceError(problem) if isinstance(problem, str) else problem


def _web_address(url: str) -> Address:
    address = Address.of(url)
    if address.scheme not in ("http", "https"):
        raise SourceError("a playlist names something other than an http or https address")
    return address


def _meaning(error: HTTPError, address: Address) -> str:
    """What an answer means that brings nothing, of the address itself or of where it leads to."""
    location, here = error.headers.get("Location"), Address.of(error.url)
    if not 300 <= error.code < 400:
        challenges = challenges_of(error.headers.get_all("WWW-Authenticate", []))
        is_given = here.origin == address.origin
        reason = error.reason if isinstance(error.reason, str) else ""
        told = refusal(error.code, reason, address if is_given else here, challenges)
        if is_given:
            return told
        hint = (
            "; the password given is not for there" if address.userinfo and error.code == UNAUTHORIZED else ""
        )
        return f"it leads to {here.origin[1]}, and there {told}{hint}"
    if location is None:
        return f"the server answers {error.code} and leads nowhere"
    scheme = location.partition(":")[0].lower()
    if "://" in location and scheme not in ("http", "https"):
        return f"the server leads to {scheme}://, which is not followed; give that address as the source"
    return "the server leads in a circle, or too far: redirects without an end"


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follows a redirect from `https` to `https`, and from `http` to either."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Of the library's protocol; raises SourceError."""
        try:
            before, after = _web_address(req.full_url).scheme, _web_address(newurl).scheme
            if before == "https" and after != "https":
                raise SourceError("the server leads from https to http, which is not followed")
        except SourceError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _CookieHandler(urllib.request.BaseHandler):
    """Gives back cookies to the scheme, host and port that they came from, and to nobody else."""

    def __init__(self) -> None:
        self._jars: defaultdict[tuple[str, str, int], CookieJar] = defaultdict(CookieJar)

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        """Of the library's protocol."""
        self._jars[Address.of(request.full_url).origin].add_cookie_header(request)
        return request

    def http_response(
        self, request: urllib.request.Request, response: http.client.HTTPResponse
    ) -> http.client.HTTPResponse:
        """Of the library's protocol."""
        self._jars[Address.of(request.full_url).origin].extract_cookies(response, request)
        return response

    https_request, https_response = http_request, http_response


class _PasswordHandler(urllib.request.BaseHandler):
    """Answers a demand for the password: once, for repeating what was refused locks users out.

    Args:
        address: whom the user and the password are for; nobody else gets them.
    """

    def __init__(self, address: Address) -> None:
        self._address = address

    def http_error_401(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message
    ) -> Any:
        """Of the library's protocol: None where there is nothing to be answered. Raises SourceError."""
        challenges = challenges_of(headers.get_all("WWW-Authenticate", []))
        if Address.of(req.full_url).origin != self._address.origin or not challenges:
            return None
        challenge = best_of(challenges)
        refusals = getattr(req, "refusals", 0)
        if refusals > (_MOST_STALE if challenge.is_stale else 0):
            return None
        fp.close()
        again = urllib.request.Request(req.full_url, headers=req.headers)
        user, password = self._address.user, self._address.password
        told = answer(challenge, user, password, req.get_method(), req.selector)
        again.add_unredirected_header("Authorization", told)
        vars(again)["refusals"] = refusals + 1
        return self.parent.open(again, timeout=req.timeout)


class _PlainHandler(urllib.request.HTTPHandler):
    def __init__(self, connected: Connecting) -> None:
        super().__init__()
        self._connected = connected

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Plain, connected=self._connected), req)


class _EncryptedHandler(urllib.request.HTTPSHandler):
    def __init__(self, connected: Connecting, context: ssl.SSLContext) -> None:
        super().__init__()
        self._connected, self._trust = connected, context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Encrypted, connected=self._connected), req, context=self._trust)


class _Plain(http.client.HTTPConnection):
    """Shows its socket, which the library hides from who reads the answer."""

    def __init__(self, host: str, *, connected: Connecting, **options: Any) -> None:
        super().__init__(host, **options)
        self._tell = connected

    def connect(self) -> None:
        super().connect()
        self._tell(self.sock)


class _Encrypted(_Plain, http.client.HTTPSConnection):
    """The same over TLS."""
