"""The address that the node listens on, and the hosts that a request may name."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from typing import Final

LOOPBACK: Final = "127.0.0.1"
ANY_HOST: Final = "*"

_ELSEWHERE: Final = ("192.0.2.1", 9)
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


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host that is listened on.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def reachable_host(host: str) -> str:
    """A host to write into an address for others: of all interfaces the one that leads to the network."""
    try:
        if not ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
            return f"[{host}]" if ":" in host else host
    except ValueError:
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)  # finds the route; nothing is sent
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])


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
