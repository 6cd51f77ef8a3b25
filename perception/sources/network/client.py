"""HTTP client for video: restricts where passwords go and what a playlist may open.

libav's own HTTP never verifies the certificates of a playlist's segments, whatever its options, and sends
cookies to any host.
"""

from __future__ import annotations

import base64
import http.client
import socket
import string
from collections import defaultdict
from contextlib import ExitStack
from functools import partial
from http.cookiejar import CookieJar
from typing import Final
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import Request, getproxies, proxy_bypass

from perception.sources.network.address import Address, Origin
from perception.sources.network.authorization import answer, best_of, challenges_of
from perception.sources.network.body import Answer, Body
from perception.sources.network.deadline import Deadline
from perception.sources.network.refusal import UNAUTHORIZED, no_answer, refusal
from perception.sources.network.tls import TlsSettings
from perception.sources.source import SourceError

USER_AGENT: Final = "drivable"
_NO_RANGES: Final = (400, 403, 405, 406, 416, 500, 501)  # from servers that fail on a Range header
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MOST_REQUESTS: Final = 20  # for one answer; browsers follow as many redirects
_MOST_STALE: Final = 2  # stale nonces in a row; more are a fault of the server
Response = tuple[http.client.HTTPResponse, socket.socket]
"""With the socket, by which the time for reading it is limited."""


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
        self._given, self._limit, self._trust = _web_address(url), limit, tls.context()
        self._jars: defaultdict[Origin, CookieJar] = defaultdict(CookieJar)

    def first(self) -> Body:
        """The resource at `url`; raises SourceError or TimeoutError."""
        return self.open(self._given.bare_url)

    def open(self, url: str, first: int = 0, end: int = 0) -> Body:
        """A resource, or its bytes from `first` up to `end`; raises SourceError or TimeoutError."""
        scheme = _web_address(url).scheme
        if self._given.scheme == "https" and scheme != "https":
            raise SourceError(f"a playlist leads from https to {scheme}, which is not followed")
        return Body(url, partial(self._fetch, url), self._limit.left_s, first, end)

    def _fetch(self, url: str, first: int, end: int) -> Answer:
        """The answer to a request for the bytes from `first` up to `end` (0: all)."""
        response, connected = self._ask(url, {"Range": f"bytes={first}-{end - 1 if end else ''}"})
        if response.status in _NO_RANGES and not first and not end:
            response.close()
            response, connected = self._ask(url, {})
        if not 200 <= response.status < 300:
            response.close()
            raise SourceError(self._meaning(response))
        return Answer(response, connected)

    def _ask(self, url: str, headers: dict[str, str]) -> Response:
        """The response after all redirects, and with the password if the server asks for it."""
        authorization: dict[str, str] = {}
        refusals = 0
        for _ in range(_MOST_REQUESTS):
            here = Address.of(url)
            response, connected = self._request(here, headers | authorization)
            location = response.headers.get("Location")
            challenges = challenges_of(response.headers.get_all("WWW-Authenticate", []))
            if response.status in _REDIRECTS and location is not None:
                response.close()
                url, authorization, refusals = _redirected(here, location), {}, 0
                continue
            is_given = here.origin == self._given.origin
            if response.status != UNAUTHORIZED or not (challenges and is_given and self._given.userinfo):
                return response, connected
            response.close()
            challenge = best_of(challenges)
            if refusals > (_MOST_STALE if challenge.is_stale else 0):  # many can lock a user out
                return response, connected
            refusals += 1
            user, password, path = self._given.user, self._given.password, Request(here.bare_url).selector
            authorization = {"Authorization": answer(challenge, user, password, "GET", path)}
        raise SourceError("the server redirects in a circle, or too often")

    def _request(self, address: Address, headers: dict[str, str]) -> Response:
        """The response to a single request."""
        headers = {"User-Agent": USER_AGENT, "Connection": "close"} | headers
        request = Request(address.bare_url, headers=headers)
        cookies = self._jars[address.origin]
        cookies.add_cookie_header(request)
        proxy, for_proxy = _proxy_for(request)
        try:
            with ExitStack() as unless_answered:
                connection = self._connection(request.type, proxy or request.host)
                unless_answered.callback(connection.close)
                target = request.selector
                lines = {name.title(): value for name, value in request.header_items()}
                if proxy and request.type == "https":
                    connection.set_tunnel(request.host, headers=for_proxy)
                elif proxy:
                    target, lines = f"http://{request.host}{target}", lines | for_proxy
                connection.connect()
                connected = connection.sock
                connection.request("GET", target, headers=lines)
                response = connection.getresponse()
                unless_answered.pop_all()
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = no_answer(error, address)
            if proxy and isinstance(problem, SourceError):
                problem = SourceError(f"{problem} ({proxy} is the proxy that http_proxy names)")
            raise problem from None
        connected.close()  # in fact when the response is closed
        response.url = address.bare_url
        cookies.extract_cookies(response, request)
        return response, connected

    def _connection(self, scheme: str, host: str) -> http.client.HTTPConnection:
        limit_s = self._limit.left_s()
        if scheme == "https":
            return http.client.HTTPSConnection(host, timeout=limit_s, context=self._trust)
        return http.client.HTTPConnection(host, timeout=limit_s)

    def _meaning(self, response: http.client.HTTPResponse) -> str:
        """The message for an error status, also of where the given address redirects to."""
        if response.status in _REDIRECTS:
            return f"the server answers {response.status} without a location"
        here, status = Address.of(response.url), response.status
        is_given = here.origin == self._given.origin
        challenges = challenges_of(response.headers.get_all("WWW-Authenticate", []))
        problem = refusal(status, response.reason, self._given if is_given else here, challenges)
        if is_given:
            return problem
        is_withheld = self._given.userinfo and status == UNAUTHORIZED
        hint = "; the password given is not for there" if is_withheld else ""
        return f"it redirects to {here.origin[1]}, and there {problem}{hint}"


def _web_address(url: str) -> Address:
    address = Address.of(url)
    if address.scheme not in ("http", "https"):
        raise SourceError("a playlist refers to something other than an http or https address")
    return address


def _redirected(here: Address, location: str) -> str:
    """Where a redirect leads; raises SourceError if that is not followed."""
    try:
        # http.client decodes headers as ISO 8859-1
        there = urljoin(here.bare_url, quote(location, safe=string.punctuation, encoding="iso-8859-1"))
        scheme = urlsplit(there).scheme
    except ValueError:
        raise SourceError("the server redirects to a malformed address") from None
    if scheme not in ("http", "https"):
        raise SourceError(
            f"the server redirects to {scheme}://, which is not followed; give that address as the source"
        )
    if here.scheme == "https" and scheme != "https":
        raise SourceError("the server redirects from https to http, which is not followed")
    return there


def _proxy_for(request: Request) -> tuple[str, dict[str, str]]:
    """Host and port of the proxy, empty if there is none, and a header with the password for it."""
    proxy = "" if proxy_bypass(request.host) else getproxies().get(request.type, "")
    userinfo, _, host = proxy.rpartition("//")[2].partition("/")[0].rpartition("@")
    token = base64.b64encode(unquote(userinfo).encode()).decode()
    return host, {"Proxy-Authorization": f"Basic {token}"} if userinfo else {}
