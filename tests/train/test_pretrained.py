"""An unreachable hub is reported within seconds, and its cache is used all the same."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

hub = pytest.importorskip("huggingface_hub")

from train.models.pretrained import is_reachable, pretrained_or_offline  # noqa: E402

COMMIT = "0" * 40


@pytest.fixture
def listening() -> Iterator[str]:
    """Address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    """Address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_server_that_takes_connections_answers_however_slow_it_is(listening: str, closed: str) -> None:
    assert is_reachable(listening)
    assert not is_reachable(closed)


def test_proxy_is_asked_in_the_server_s_place(
    listening: str, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", listening)
    assert is_reachable("https://hub.invalid")

    monkeypatch.setenv("https_proxy", closed)
    assert not is_reachable("https://hub.invalid")


def test_look_up_of_a_name_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()

    def hang(*arguments: object) -> None:
        let_go.wait(60)
        raise OSError("let go")

    monkeypatch.setattr(socket, "create_connection", hang)

    started_s = time.monotonic()

    assert not is_reachable("https://hub.invalid", within_s=0.01)
    assert time.monotonic() - started_s < 5
    let_go.set()


def test_hub_that_does_not_answer_fails_at_once_and_its_cache_is_used(
    closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.constants, "ENDPOINT", closed)
    kept = tmp_path / "models--maker--net"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(COMMIT)
    (kept / "snapshots" / COMMIT).mkdir(parents=True)
    (kept / "snapshots" / COMMIT / "kept.bin").write_bytes(b"weights")

    with pretrained_or_offline():
        found = hub.hf_hub_download("maker/net", "kept.bin", cache_dir=tmp_path)
    started_s = time.monotonic()
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1 does not answer"), pretrained_or_offline():
        hub.hf_hub_download("maker/net", "absent.bin", cache_dir=tmp_path)

    assert Path(found).read_bytes() == b"weights"
    assert time.monotonic() - started_s < 3
    assert not hub.constants.HF_HUB_OFFLINE


def test_hub_that_answers_is_left_to_the_library(listening: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.constants, "ENDPOINT", listening)

    def fetch() -> None:
        with pretrained_or_offline():
            assert not hub.constants.HF_HUB_OFFLINE
            raise TimeoutError("too slow")

    with pytest.raises(TimeoutError, match="too slow"):
        fetch()
