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
from collections.abc import Callable
from functools import partial
from typing import IO, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from weakref import WeakSet

from perception.sources.address import Address
from perception.sources.source import SourceError
from perception.sources.time_limit import TimeLimit
from perception.sources.tls import TlsSettings, untrusted
from perception.sources.web_body import Answer, Body

USER_AGENT: Final = "drivable"
Connecting = Callable[[socket.socket], None]


class Web:
    """Opens an address, and what a playlist there names.

    - The user and the password go to the scheme, host and port they were given for, and nowhere else.
    - What begins encrypted stays so: neither a redirect nor a playlist leads from `https` to `http`.
    - Nothing but `http` and `https` is opened: no file, no pipe, no other protocol.

    Args:
        url: may hold a user and a password.
        tls: how certificates are judged.
        limit: within which every answer, and every part of it, must come.

    Raises:
        SourceError: if `url` cannot be read as an address, or the certificate authorities cannot be read.
    """

    def __init__(self, url: str, tls: TlsSettings, limit: TimeLimit) -> None:
        address = _web_address(url)
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
        ]
        if address.userinfo:
            passwords = address.passwords()
            handlers.append(urllib.request.HTTPBasicAuthHandler(passwords))
            handlers.append(urllib.request.HTTPDigestAuthHandler(passwords))
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
        headers = {"User-Agent": USER_AGENT, "Range": f"bytes={first}-{end - 1 if end else ''}"}
        request = urllib.request.Request(quote(url, safe=string.punctuation), headers=headers)
        try:
            response = self._opener.open(request, timeout=self._limit.left_s())
        except HTTPError as error:
            error.close()
            reason = http.client.responses.get(error.code, "")
            raise SourceError(f"the server answers {error.code} {reason}".rstrip()) from None
        except URLError as error:
            raise _problem(error.reason) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _problem(error) from None
        assert isinstance(response, http.client.HTTPResponse)
        assert self._socket is not None
        return Answer(response, self._socket)

    def _connected(self, connected: socket.socket) -> None:
        self._socket = connected

    def _failed(self, problem: str | TimeoutError) -> None:
        self.failure = SourceError(problem) if isinstance(problem, str) else problem


def _web_address(url: str) -> Address:
    address = Address.of(url)
    if address.scheme not in ("http", "https"):
        raise SourceError("a playlist names something other than an http or https address")
    return address


def _problem(reason: object) -> SourceError | TimeoutError:
    match reason:
        case SourceError() | TimeoutError():
            return reason
        case ssl.SSLCertVerificationError():
            return SourceError(untrusted(reason))
        case ssl.SSLError():
            what = (reason.reason or "handshake failed").replace("_", " ").lower()
            return SourceError(f"no encrypted connection: {what}")
        case http.client.BadStatusLine():
            return SourceError("the server does not answer in HTTP")
        case OSError():
            return SourceError(reason.strerror or type(reason).__name__)
    return SourceError(f"no answer that can be read: {type(reason).__name__}")


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
