"""The address of a stream, taken apart: where it leads to, and the user and the password for there alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPPasswordMgr

from perception.sources.source import SourceError

PORTS: Final = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}

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

    @classmethod
    def of(cls, url: str) -> Address:
        """Take an address apart.

        Raises:
            SourceError: if it cannot be; the message shows none of it, for it may be a password mistyped.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise SourceError("no address of the form scheme://user:password@host:port/path") from None
        if parts.scheme not in PORTS:
            raise SourceError(f"no address of {', '.join(f'{scheme}://' for scheme in PORTS)}")
        if not parts.hostname:
            raise SourceError("no host in the address")
        userinfo, _, authority = parts.netloc.rpartition("@")
        origin = (parts.scheme, parts.hostname.lower(), port or PORTS[parts.scheme])
        return cls(parts._replace(netloc=authority).geturl(), origin, userinfo)

    @property
    def scheme(self) -> str:
        """In lower case."""
        return self.origin[0]

    def passwords(self) -> OneOrigin:
        """What the library's answers to a challenge need."""
        user, _, password = self.userinfo.partition(":")
        return OneOrigin(self.origin, unquote(user), unquote(password))


class OneOrigin(HTTPPasswordMgr):
    """A user and a password for one scheme, host and port, whatever the server calls its realm."""

    def __init__(self, origin: Origin, user: str, password: str) -> None:
        super().__init__()
        self._origin, self._given = origin, (user, password)

    def find_user_password(self, realm: str, authuri: str) -> tuple[str | None, str | None]:
        """Of the library's protocol: None, None for any other place."""
        return self._given if Address.of(authuri).origin == self._origin else (None, None)
