"""Where the endpoints listen: from the setting to a host and a port."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from typing import Final

LOOPBACK: Final = "127.0.0.1"
_FORM: Final = re.compile(r"(?:(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%A-Za-z]+\]):)?(?P<port>\d{1,5})")


ANY_HOST: Final = "*"
_HOST: Final = re.compile(r"(?P<name>\[[^\]]*\]|[^:\[\]]*)(?::\d*)?")


class EndpointsError(Exception):
    """Endpoints that cannot be opened: one line that says where, why and what to do."""


def parse_address(setting: str) -> tuple[str, int]:
    """Host and port; a port alone is on the loopback interface, and port 0 is any free one.

    Raises:
        EndpointsError: if it is neither a port nor `host:port`.

    Example:
        >>> parse_address("9464"), parse_address("0.0.0.0:9464"), parse_address("[::1]:9464")
        (('127.0.0.1', 9464), ('0.0.0.0', 9464), ('::1', 9464))
    """
    match = _FORM.fullmatch(setting.strip())
    port = int(match["port"]) if match else -1
    if match is None or port > 65535:
        raise EndpointsError(
            f"http {setting!r}: is no address to listen on; give a port such as 9464, or an interface too, "
            "such as 0.0.0.0:9464 or [::1]:9464"
        )
    return (match["host"] or LOOPBACK).strip("[]"), port


def is_own_host(header: str, names: Collection[str]) -> bool:
    """Whether a request's `Host` is one by which this node may be asked.

    A page on the web can let its own name point here and have a browser on this machine read the answers; the
    name that it asked for is then in the request. An address is no name, and cannot be pointed.

    Args:
        header: `name`, `name:port`, `1.2.3.4:port` or `[::1]:port`; empty where the client sent none, as no
            browser does.
        names: known besides `localhost` and the machine's own name; `*` is any.

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
