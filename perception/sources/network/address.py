"""The address of a stream, taken apart: where it leads to, and the user and the password for there alone."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from perception.sources.source import SourceError

PORTS: Final = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}

# No at sign in these: whoever masks passwords takes all that stands before the last one for a part of one.
ESCAPES: Final = "/ ? # and at signs in a password are written %2F %3F %23 %40"
_BRACKETED: Final = re.compile(r"\[([0-9A-Fa-f:.]+)(%[\w.%~-]+)?\](?::(.*))?")
_HIGHEST_PORT: Final = 65535

Origin = tuple[str, str, int]
"""Scheme, host and port."""


@dataclass(frozen=True)
class Address:
    """An address of a known scheme."""

    bare_url: str
    """Without user and password."""
    origin: Origin
    userinfo: str
    """`user:password` as it stands in the address; empty where there is none."""
    may_be_cut: bool = False
    """An at sign follows behind the host: what was taken for the host may be the begin of a password."""

    @classmethod
    def of(cls, url: str) -> Address:
        """Take an address apart.

        Raises:
            SourceError: if it cannot be; the message shows none of it, for it may be a password mistyped.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            raise SourceError(
                f"what stands in brackets is no IPv6 address; {ESCAPES}, brackets %5B %5D"
            ) from None
        if parts.scheme not in PORTS:
            raise SourceError(f"no address of {', '.join(f'{scheme}://' for scheme in PORTS)}")
        userinfo, _, authority = parts.netloc.rpartition("@")
        may_be_cut = "@" in parts.path + parts.query + parts.fragment
        host, port = _host_and_port(authority, may_be_cut)
        # blanks and letters beyond ASCII, which browsers escape too
        bare_url = quote(parts._replace(netloc=_ascii(authority)).geturl(), safe=string.punctuation)
        return cls(bare_url, (parts.scheme, _ascii(host), port or PORTS[parts.scheme]), userinfo, may_be_cut)

    @property
    def full_url(self) -> str:
        """With user and password, and escaped as `bare_url` is."""
        user = f"{quote(self.userinfo, safe=string.punctuation)}@" if self.userinfo else ""
        return self.bare_url.replace("://", f"://{user}", 1)

    @property
    def scheme(self) -> str:
        """In lower case."""
        return self.origin[0]

    @property
    def user(self) -> str:
        """As the server knows it; empty where there is none."""
        return unquote(self.userinfo.partition(":")[0])

    @property
    def password(self) -> str:
        """As the server knows it; empty where there is none."""
        return unquote(self.userinfo.partition(":")[2])


def _ascii(authority: str) -> str:
    """With the name of the host as name servers know it."""
    try:
        return authority if authority.isascii() else authority.encode("idna").decode()
    except UnicodeError:
        return authority


def _host_and_port(authority: str, is_cut: bool) -> tuple[str, int | None]:
    """The port is None where none is told."""
    hint = f"; {ESCAPES}" if is_cut else ""
    if "[" in authority:
        found = _BRACKETED.fullmatch(authority)
        if not found or not _is_ipv6(found[1]):
            raise SourceError(f"what stands in brackets is no IPv6 address{hint}")
        host, port = found[1] + unquote(found[2] or ""), found[3] or ""
    elif authority.count(":") > 1 and _is_ipv6(authority):
        raise SourceError("an IPv6 address needs brackets, as in [::1]:554")
    else:
        host, _, port = authority.partition(":")
    if not host:
        raise SourceError(f"no host in the address{hint}")
    if re.search(r"[\s\\^`{|}<>\"]", host):
        raise SourceError(f"a host has no blanks or such signs in its name{hint}")
    if port and not (port.isascii() and port.isdecimal()):
        raise SourceError(f"behind the host's colon stands no port{hint or '; it is a number'}")
    if port and not 1 <= int(port[:9]) <= _HIGHEST_PORT:
        raise SourceError(f"its port is not one of 1 to {_HIGHEST_PORT}{hint}")
    return host.lower(), int(port) if port else None


def _is_ipv6(text: str) -> bool:
    """Whether it is one, or one and a port behind it."""
    for candidate in (text, text.rpartition(":")[0]):
        try:
            IPv6Address(candidate.partition("%")[0])
        except ValueError:
            continue
        return True
    return False
