"""Clips and results in object stores and on web servers, with connections that break."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from archives import FAST, archive, masks, masks_of_node, results
from clips import Kind, write
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem
from web_server import Page, WebServer

from perception.archive.cli import NAME
from perception.archive.store import Store

OnlyLine = Callable[[str], str]
CUTS = 3
CUT_AFTER_BYTES = 100_000


class CuttingProxy:
    """Passes connections on to a server; some of those that carry much are cut off on their way.

    Args:
        port: of the server.
        cuts: how many.
    """

    def __init__(self, port: int, cuts: int) -> None:
        self._to, self.cuts_left = port, cuts
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, taker: socket.socket, giver: socket.socket, may_cut: bool) -> None:
        passed = 0
        with suppress(OSError):
            while piece := taker.recv(65536):
                giver.sendall(piece)
                passed += len(piece)
                if may_cut and passed > CUT_AFTER_BYTES and self.cuts_left:
                    self.cuts_left -= 1
                    break
        for one in (taker, giver):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture(scope="module")
def moto_port() -> Iterator[int]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def proxy(moto_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[CuttingProxy]:
    """An S3 server for all that is started meanwhile."""
    S3FileSystem.clear_instance_cache()
    with closing(CuttingProxy(moto_port, CUTS)) as cutting:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{cutting.port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield cutting


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Large for its length."""
    return write(tmp_path / "a.mp4", Kind("libx264", codec_options={"qp": "0"}))


def test_s3_in_and_out_with_connections_cut(proxy: CuttingProxy, clip: Path, tmp_path: Path) -> None:
    proxy.cuts_left = 0
    Store("s3://fleet").files.mkdir("fleet")
    for name in ("one/a.mp4", "two/b.mp4"):
        Store("s3://fleet").files.put_file(str(clip), f"fleet/in/{name}")
    Store("s3://fleet").files.pipe_file("fleet/in/empty.mp4", b"")
    proxy.cuts_left = CUTS

    status = archive("s3://fleet/in", "--to", "s3://fleet/out", *FAST)
    assert proxy.cuts_left == 0
    Store("s3://fleet").files.get("fleet/out", str(tmp_path / "out"), recursive=True)
    again = archive("s3://fleet/in", "--to", "s3://fleet/out", *FAST)

    found = results(tmp_path / "out")
    assert (status, again) == (1, 1)
    assert {name: found[name]["outcome"] for name in found} == {
        **{"one/a.mp4": "done", "two/b.mp4": "done", "empty.mp4": "failed"}
    }
    alone = masks_of_node(clip, tmp_path / "alone")
    assert masks(tmp_path / "out", "one/a.mp4") == masks(tmp_path / "out", "two/b.mp4") == alone
    assert (tmp_path / "out" / "summary" / "seconds.parquet").stat().st_size > 0


def test_bucket_that_is_not_there(proxy: CuttingProxy, tmp_path: Path, only_error_line: OnlyLine) -> None:
    status = archive("s3://nobody/in", "--to", tmp_path / "out", *FAST)

    assert status == 1
    assert "s3://nobody/in: " in only_error_line(NAME)


def test_no_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, moto_port: int, only_error_line: OnlyLine
) -> None:
    S3FileSystem.clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{moto_port}")

    status = archive("s3://private/in", "--to", tmp_path / "out", *FAST)

    assert status == 1
    assert "no credentials; set AWS_ACCESS_KEY_ID" in only_error_line(NAME)


def test_clips_of_a_web_server(clip: Path, tmp_path: Path) -> None:
    with WebServer({"a.mp4": Page(clip.read_bytes())}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        status = archive(
            f"http://127.0.0.1:{server.server_port}/a.mp4", "--to", tmp_path / "out", *FAST,
            "--scratch", tmp_path / "scratch",
        )  # fmt: skip
        server.shutdown()

    assert status == 0
    assert masks(tmp_path / "out", "a.mp4") == masks_of_node(clip, tmp_path / "alone")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_clip_that_is_larger_than_the_scratch_fails_and_the_rest_goes_on(
    proxy: CuttingProxy, clip: Path, tmp_path: Path
) -> None:
    files = Store("s3://small").files
    files.mkdir("small")
    files.put_file(str(clip), "small/in/large.mp4")
    small = write(tmp_path / "b.mp4", Kind("libx264"), frames=3, wh=(64, 48))
    files.put_file(str(small), "small/in/small.mp4")

    status = archive("s3://small/in", "--to", tmp_path / "out", *FAST, "--scratch_gb", "2e-4")

    found = results(tmp_path / "out")
    assert status == 1
    assert found["small.mp4"]["outcome"] == "done"
    assert re.search(r"has .* GB, and a worker's share of --scratch_gb is", found["large.mp4"]["reason"])
