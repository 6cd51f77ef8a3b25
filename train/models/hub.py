"""Downloads from the Hugging Face hub, where timm and segmentation-models-pytorch keep their weights."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import constants

ANSWER_WITHIN_S: Final = 10.0
_CONNECT_WITHIN_S: Final = 2.0  # to each of its addresses: those of IPv6 may lead nowhere
_PORTS: Final = {"http": 80, "https": 443}


@contextmanager
def hub_if_it_answers() -> Iterator[None]:
    """Within it, a hub that does not answer is not waited for: what its cache holds is taken all the same.

    The library alone would try again for half a minute a file. A hub that does answer, however slowly
    it then sends, is downloaded from as the library does.

    Raises:
        ConnectionError: if the hub does not answer and the cache does not hold what is asked for.
    """
    was_offline = constants.HF_HUB_OFFLINE
    if was_offline or answers(constants.ENDPOINT):
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    except Exception as error:  # the library raises kinds of its own, and each of the others wraps them
        host = urlsplit(constants.ENDPOINT).hostname
        raise ConnectionError(f"{host} does not answer, and its cache does not hold them") from error
    finally:
        constants.HF_HUB_OFFLINE = was_offline


def answers(url: str, within_s: float = ANSWER_WITHIN_S) -> bool:
    """Whether a connection to a server can be made, or to the proxy that stands before it."""
    asked = urlsplit(url)
    proxy = "" if proxy_bypass(asked.hostname or "") else getproxies().get(asked.scheme, "")
    server = urlsplit(proxy if "//" in proxy else f"//{proxy}") if proxy else asked
    address = (server.hostname or "", server.port or _PORTS.get(server.scheme, _PORTS["http"]))
    is_there = threading.Event()

    def connect() -> None:
        with suppress(OSError), socket.create_connection(address, _CONNECT_WITHIN_S):
            is_there.set()

    # In a thread that nobody waits for longer: looking up a name has no limit of its own.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(within_s)
    return is_there.is_set()
