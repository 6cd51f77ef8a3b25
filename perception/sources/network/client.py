"""HTTP client for libav: restricts where passwords go and what a playlist may open.

libav's own HTTP never verifies the certificates of a playlist's segments, whatever its options, and sends
cookies to any host.
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
from perception.sources.network.body import Answer, Body, unpacked
from perception.sources.network.deadline import Deadline
from perception.sources.network.refusal import UNAUTHORIZED, no_answer, refusal
from perception.sources.network.tls import TlsSettings
from perception.sources.source import SourceError

USER_AGENT: Final = "drivable"
_NO_RANGES: Final = (400, 403, 405, 406, 416, 500, 501)  # from servers that fail on a Range header
_MOST_STALE: Final = 2  # stale nonces in a row; more are a fault of the server
Connecting = Callable[[socket.socket], None]


class Web:
    """Opens a URL, and what a playlist there refers to.

    - Credentials are sent only to the scheme, host and port they were given for.
    - Cookies are sent back only to the scheme, host and port that set them.
    - Neither a redirect nor a playlist leads from `https` to `http`.
    - Only `http` and `https` are opened: no file, pipe or other protocol.

    Args:
        url: may hold a user and a password.
        tls: how certificates are verified.
        limit: deadline for every answer and every read of it.

    Raises:
        SourceError: if `url` is malformed or the CA file cannot be read.
    """

    def __init__(self, url: str, tls: TlsSettings, limit: Deadline) -> None:
        address = self._address = _web_address(url)
        self.url = address.bare_url
        """Without user and password, for libav."""
        self.failure: SourceError | TimeoutError | None = None
        """The last request that failed or ended early: libav does not report those of a playlist."""
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
        """The answer for `url`, which `open` then reuses; raises SourceError or TimeoutError."""
        if self._first is None:
            self._first = self.open(self.url)
        return self._first

    def open(self, url: str, flags: int = 0, options: dict[str, str] | None = None) -> Body:
        """The file at a URL, for `av.open(io_open=…)`; raises SourceError or TimeoutError."""
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
        """Close all connections: libav does not close the first one. Safe to call twice."""
        for body in list(self._bodies):
            body.close()

    def _fetch(self, url: str, first: int, end: int) -> Answer:
        """The answer to a request for the bytes from `first` up to `end` (0: all)."""
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
        raise SourceError("a playlist refers to something other than an http or https address")
    return address


def _meaning(error: HTTPError, address: Address) -> str:
    """The message for an error status of `address` or of where it redirects to."""
    location, here = error.headers.get("Location"), Address.of(error.url)
    if not 300 <= error.code < 400:
        challenges = challenges_of(error.headers.get_all("WWW-Authenticate", []))
        is_given = here.origin == address.origin
        reason = error.reason if isinstance(error.reason, str) else ""
        problem = refusal(error.code, reason, address if is_given else here, challenges)
        if is_given:
            return problem
        is_withheld = address.userinfo and error.code == UNAUTHORIZED
        hint = "; the password given is not for there" if is_withheld else ""
        return f"it redirects to {here.origin[1]}, and there {problem}{hint}"
    if location is None:
        return f"the server answers {error.code} without a location"
    scheme = location.partition(":")[0].lower()
    if "://" in location and scheme not in ("http", "https"):
        return f"the server redirects to {scheme}://, which is not followed; give that address as the source"
    return "the server redirects in a circle, or too often"


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follows redirects, except from `https` to `http`."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Called by `urllib`; raises SourceError."""
        try:
            before, after = _web_address(req.full_url).scheme, _web_address(newurl).scheme
            if before == "https" and after != "https":
                raise SourceError("the server redirects from https to http, which is not followed")
        except SourceError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _CookieHandler(urllib.request.BaseHandler):
    """Keeps cookies per scheme, host and port."""

    def __init__(self) -> None:
        self._jars: defaultdict[tuple[str, str, int], CookieJar] = defaultdict(CookieJar)

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        """Called by `urllib`."""
        self._jars[Address.of(request.full_url).origin].add_cookie_header(request)
        return request

    def http_response(
        self, request: urllib.request.Request, response: http.client.HTTPResponse
    ) -> http.client.HTTPResponse:
        """Called by `urllib`."""
        self._jars[Address.of(request.full_url).origin].extract_cookies(response, request)
        return response

    https_request, https_response = http_request, http_response


class _PasswordHandler(urllib.request.BaseHandler):
    """Sends the password of `address` to its own origin, once: repeated refusals can lock a user out."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def http_error_401(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message
    ) -> Any:
        """Called by `urllib`; None if the password is not for this server. Raises SourceError."""
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
        authorization = answer(challenge, user, password, req.get_method(), req.selector)
        again.add_unredirected_header("Authorization", authorization)
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
    """Passes on its socket, which `urllib` hides from the reader of the answer."""

    def __init__(self, host: str, *, connected: Connecting, **options: Any) -> None:
        super().__init__(host, **options)
        self._connected = connected

    def connect(self) -> None:
        super().connect()
        self._connected(self.sock)


class _Encrypted(_Plain, http.client.HTTPSConnection):
    """The same over TLS."""
