"""Downloads from the Hugging Face hub, the store of timm's and segmentation-models-pytorch's weights."""

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
def pretrained_or_offline() -> Iterator[None]:
    """Download from the hub if it is reachable, otherwise use the cache alone.

    Without this the library would retry for half a minute per file. A hub that is reachable but slow is
    left to the library.

    Raises:
        ConnectionError: if the hub is unreachable and the cache lacks the weights.
    """
    was_offline = constants.HF_HUB_OFFLINE
    if was_offline or is_reachable(constants.ENDPOINT):
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    except Exception as error:  # the library raises types of its own, which other libraries wrap
        host = urlsplit(constants.ENDPOINT).hostname
        raise ConnectionError(f"{host} does not answer, and they are not in its cache") from error
    finally:
        constants.HF_HUB_OFFLINE = was_offline


def is_reachable(url: str, within_s: float = ANSWER_WITHIN_S) -> bool:
    """Whether a connection can be made to the server, or to the proxy in front of it."""
    asked = urlsplit(url)
    proxy = "" if proxy_bypass(asked.hostname or "") else getproxies().get(asked.scheme, "")
    server = urlsplit(proxy if "//" in proxy else f"//{proxy}") if proxy else asked
    address = (server.hostname or "", server.port or _PORTS.get(server.scheme, _PORTS["http"]))
    is_connected = threading.Event()

    def connect() -> None:
        with suppress(OSError), socket.create_connection(address, _CONNECT_WITHIN_S):
            is_connected.set()

    thread = threading.Thread(target=connect, daemon=True)  # resolving a name has no timeout of its own
    thread.start()
    thread.join(within_s)
    return is_connected.is_set()
