"""Mosquitto, the MQTT broker, and its clients, which are not ours (tests/clients.py installs them)."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import trustme

LIMIT_S = 15.0


def until(holds: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
    """Wait until something is true, and give it."""
    end_s = time.monotonic() + limit_s
    while not (found := holds()):
        assert time.monotonic() < end_s, "still not so"
        time.sleep(0.01)
    return found


def _tool(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert found, f"{name} is not installed: sudo apt-get install mosquitto mosquitto-clients"
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Broker:
    """A broker on loopback, which keeps nothing on the disk; it can be killed and started again.

    Args:
        folder: for its files.
        login: user and password that it asks for; None lets everybody in.
        authority: by which its certificate is signed; None has no TLS.
    """

    folder: Path
    login: tuple[str, str] | None = None
    authority: trustme.CA | None = None
    port: int = field(default_factory=_free_port)

    def __post_init__(self) -> None:
        lines = [f"listener {self.port} 127.0.0.1", "user root", "persistence false"]
        lines.append(f"allow_anonymous {str(self.login is None).lower()}")
        if self.login:
            made = [_tool("mosquitto_passwd"), "-b", "-c", str(self.folder / "passwords"), *self.login]
            subprocess.run(made, check=True, capture_output=True)
            lines.append(f"password_file {self.folder / 'passwords'}")
        if self.authority:
            certificate = self.authority.issue_cert("127.0.0.1")
            certificate.private_key_pem.write_to_path(self.folder / "key.pem")
            certificate.cert_chain_pems[0].write_to_path(self.folder / "cert.pem")
            lines += [f"keyfile {self.folder / 'key.pem'}", f"certfile {self.folder / 'cert.pem'}"]
        (self.folder / "mosquitto.conf").write_text("\n".join([*lines, ""]))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [_tool("mosquitto"), "-c", str(self.folder / "mosquitto.conf")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """End it without a farewell to anybody; safe to call twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def url(self, topic: str, login: str = "") -> str:
        """Of a topic, for the node; `login` is `user:password`."""
        scheme = "mqtts" if self.authority else "mqtt"
        return f"{scheme}://{login}{'@' * bool(login)}127.0.0.1:{self.port}/{topic}"

    def _client(self, name: str, *arguments: str) -> list[str]:
        login = ["-u", self.login[0], "-P", self.login[1]] if self.login else []
        return [_tool(name), "-h", "127.0.0.1", "-p", str(self.port), *login, *arguments]

    def publish(self, topic: str, text: str = "") -> None:
        """By mosquitto_pub."""
        subprocess.run(self._client("mosquitto_pub", "-t", topic, "-m", text), check=True)

    def retained(self, topic: str) -> bytes | None:
        """What a topic keeps for newcomers; None if nothing."""
        asked = self._client(
            "mosquitto_sub", "-t", topic, "-C", "1", "-W", "1", "--retained-only", "-F", "%x"
        )
        said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        return bytes.fromhex(said) if said else None

    def subscriber(self, topics: str) -> Subscriber:
        """One of these topics, that has begun to listen."""
        return Subscriber(self._client("mosquitto_sub", "-t", topics, "-F", "%r %t %x"), self.folder)


class Subscriber:
    """mosquitto_sub, and what it has got so far. Use it in a `with` block."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._file = folder / f"got-{time.monotonic_ns()}"
        self._command = command

    def __enter__(self) -> Self:
        with self._file.open("wb") as to:
            self._process = subprocess.Popen(["stdbuf", "-oL", *self._command], stdout=to)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def got(self, topic: str, *, retained: bool | None = None) -> list[bytes]:
        """The messages of a topic, in order; `retained`: those that were kept from before, or the others."""
        lines = [line.split(" ") for line in self._file.read_text().split("\n")[:-1]]
        return [
            bytes.fromhex(payload)
            for kept, name, payload in lines
            if name == topic and retained in (None, kept == "1")
        ]
