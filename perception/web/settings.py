"""Settings of the node over HTTP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from perception.system.plugins import Checked
from perception.web.address import parse_address

NO_TOKEN: Final = "none"
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True)
class HttpSettings(Checked):
    """The live page, pictures, health and metrics over HTTP."""

    http: Annotated[str, "[HOST:]PORT"] | None = None
    """Serve the live page, /stream.mjpg, /frame.jpg, /healthz, /readyz and /metrics: on a port of the
    loopback interface, or on host:port, where page and pictures need a token."""
    http_hosts: tuple[str, ...] = ()
    """Host names accepted in requests, besides addresses and the machine's own names; * accepts any."""
    http_token: Annotated[str, "TEXT|none"] | None = None
    """Token that page and pictures require; by default a random one, and none on the loopback interface.
    `none` lets anyone who reaches the address see them."""
    http_sources: Annotated[tuple[str, ...], "KIND …"] = ()
    """Kinds of sources that may be added over HTTP, such as camera and stream. With any, sources are added,
    restarted and removed while the node runs (PUT and DELETE /sources/NAME, with the token), and it runs
    until it is stopped."""
    open: bool = False
    """Open the live page in the desktop's browser."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.http is not None:
            parse_address(self.http)
        if self.http_token is not None and not _TOKEN.fullmatch(self.http_token):
            raise ValueError("http_token is empty or has characters other than letters, digits and . _ ~ -")
        if self.http_sources and self.http_token == NO_TOKEN:
            raise ValueError("http_sources needs a token; leave http_token none out")
        for name in ("http_token", "http_sources", "open"):
            if getattr(self, name) and self.http is None:
                raise ValueError(f"{name} is for the live page; add --http 8080")
        super().__post_init__()
