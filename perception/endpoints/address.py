"""Where the endpoints listen: from the setting to a host and a port."""

from __future__ import annotations

import re
from typing import Final

LOOPBACK: Final = "127.0.0.1"
_FORM: Final = re.compile(r"(?:(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%A-Za-z]+\]):)?(?P<port>\d{1,5})")


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
