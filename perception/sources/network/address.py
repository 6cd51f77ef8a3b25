"""The URL of a server, split into its server and the credentials for that server only."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from perception.sources.source import SourceError

PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}

# No "@" in this text: redaction takes everything before the last one for credentials.
ESCAPES: Final = "/ ? # and at signs in a password are written %2F %3F %23 %40"
_BRACKETED: Final = re.compile(r"\[([0-9A-Fa-f:.]+)(%[\w.%~-]+)?\](?::(.*))?")
_HIGHEST_PORT: Final = 65535

Origin = tuple[str, str, int]
"""Scheme, host and port."""


@dataclass(frozen=True)
class Address:
    """A URL with a supported scheme."""

    bare_url: str
    """Without user and password."""
    origin: Origin
    userinfo: str
    """`user:password` as written in the URL; empty if absent."""
    may_be_cut: bool = False
    """There is an "@" after the host: the supposed host may be the start of an unescaped password."""

    @classmethod
    def of(cls, url: str, ports: Mapping[str, int] = PORTS) -> Address:
        """Parse a URL.

        Args:
            url: with a scheme of `ports`.
            ports: by scheme, where the URL has none.

        Raises:
            SourceError: if it is malformed; the message quotes none of it, as it may be a mistyped password.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            raise SourceError(f"no IPv6 address between the brackets; {ESCAPES}, brackets %5B %5D") from None
        if parts.scheme not in ports:
            raise SourceError(f"it does not begin with {' or '.join(f'{scheme}://' for scheme in ports)}")
        userinfo, _, authority = parts.netloc.rpartition("@")
        may_be_cut = "@" in parts.path + parts.query + parts.fragment
        host, port = _host_and_port(authority, may_be_cut)
        # escapes blanks and non-ASCII letters, as browsers do
        bare_url = quote(parts._replace(netloc=_ascii(authority)).geturl(), safe=string.punctuation)
        return cls(bare_url, (parts.scheme, _ascii(host), port or ports[parts.scheme]), userinfo, may_be_cut)

    @property
    def full_url(self) -> str:
        """With user and password, escaped like `bare_url`."""
        user = f"{quote(self.userinfo, safe=string.punctuation)}@" if self.userinfo else ""
        return self.bare_url.replace("://", f"://{user}", 1)

    @property
    def scheme(self) -> str:
        """Lower case."""
        return self.origin[0]

    @property
    def user(self) -> str:
        """Unescaped; empty if absent."""
        return unquote(self.userinfo.partition(":")[0])

    @property
    def password(self) -> str:
        """Unescaped; empty if absent."""
        return unquote(self.userinfo.partition(":")[2])


def _ascii(authority: str) -> str:
    """With an internationalised host name in its DNS form (IDNA)."""
    try:
        return authority if authority.isascii() else authority.encode("idna").decode()
    except UnicodeError:
        return authority


def _host_and_port(authority: str, is_cut: bool) -> tuple[str, int | None]:
    """The port is None if the URL has none."""
    hint = f"; {ESCAPES}" if is_cut else ""
    if "[" in authority:
        found = _BRACKETED.fullmatch(authority)
        if not found or not _is_ipv6(found[1]):
            raise SourceError(f"no IPv6 address between the brackets{hint}")
        host, port = found[1] + unquote(found[2] or ""), found[3] or ""
    elif authority.count(":") > 1 and _is_ipv6(authority):
        raise SourceError("an IPv6 address needs brackets, as in [::1]:554")
    else:
        host, _, port = authority.partition(":")
    if not host:
        raise SourceError(f"no host in the address{hint}")
    if re.search(r"[\s\\^`{|}<>\"]", host):
        raise SourceError(f"the host name holds blanks or invalid characters{hint}")
    if port and not (port.isascii() and port.isdecimal()):
        raise SourceError(f"the port after the host is not a number{hint}")
    if port and not 1 <= int(port[:9]) <= _HIGHEST_PORT:
        raise SourceError(f"its port is not in the range 1 to {_HIGHEST_PORT}{hint}")
    return host.lower(), int(port) if port else None


def _is_ipv6(text: str) -> bool:
    """Whether it is an IPv6 address, with or without a port after it."""
    for candidate in (text, text.rpartition(":")[0]):
        try:
            IPv6Address(candidate.partition("%")[0])
        except ValueError:
            continue
        return True
    return False
