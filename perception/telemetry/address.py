"""The address that the endpoints listen on, and the hosts that a request may name."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from typing import Final

LOOPBACK: Final = "127.0.0.1"
ANY_HOST: Final = "*"

_ADDRESS: Final = re.compile(r"(?:(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%A-Za-z]+\]):)?(?P<port>\d{1,5})")
_HOST: Final = re.compile(r"(?P<name>\[[^\]]*\]|[^:\[\]]*)(?::\d*)?")


class EndpointsError(Exception):
    """The endpoints cannot be opened; one line with the address, the reason and what to do."""


def parse_address(setting: str) -> tuple[str, int]:
    """Host and port of a setting. The default host is the loopback interface; port 0 is any free port.

    Raises:
        EndpointsError: if it is neither a port nor `host:port`.

    Example:
        >>> parse_address("9464"), parse_address("0.0.0.0:9464"), parse_address("[::1]:9464")
        (('127.0.0.1', 9464), ('0.0.0.0', 9464), ('::1', 9464))
    """
    match = _ADDRESS.fullmatch(setting.strip())
    port = int(match["port"]) if match else -1
    if match is None or port > 65535:
        raise EndpointsError(
            f"http {setting!r}: is not an address to listen on; give a port such as 9464, or an interface "
            "and a port such as 0.0.0.0:9464 or [::1]:9464"
        )
    return (match["host"] or LOOPBACK).strip("[]"), port


def is_own_host(header: str, names: Collection[str]) -> bool:
    """Whether a request's `Host` header names this node.

    This stops DNS rebinding: a web page can make its own name resolve to this machine, and a browser here
    would let it read the answers, but then the request has that name. IP addresses cannot be rebound.

    Args:
        header: `name`, `name:port`, `1.2.3.4:port` or `[::1]:port`; empty if the client sent none, which no
            browser does.
        names: names accepted besides `localhost` and the machine's own; `*` is any.

    Example:
        >>> is_own_host("127.0.0.1:9464", ()), is_own_host("attacker.example", ())
        (True, False)
    """
    match = _HOST.fullmatch(header.strip())
    name = match["name"].rstrip(".").lower() if match else ""
    if not header or ANY_HOST in names:
        return True
    known = {"localhost", socket.gethostname().lower(), *(known.lower() for known in names)}
    if name in known or name.endswith(".localhost"):
        return bool(name)
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
