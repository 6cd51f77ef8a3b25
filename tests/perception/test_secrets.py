"""A password in the address of a source, through every mistake a user can make: it gets out nowhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from perception.node import main

PASSWORD = "hunter2"
URL = f"rtsp://ann:{PASSWORD}@127.0.0.1:9/road"


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """A function that runs the node in an empty folder: its exit status, and all it wrote anywhere."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> tuple[int, str]:
        try:
            status = main([*arguments, "--open_timeout_s", "1"])
        except SystemExit as end:  # of --print_config and --help
            status = int(end.code or 0)
        out, err = capfd.readouterr()
        written = [file.read_text(errors="replace") for file in folder.rglob("*") if file.is_file()]
        return status, "\n".join([out, err, *written])

    return run


Said = Callable[..., tuple[int, str]]


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], str]:
    """A function that writes a YAML file, beside the folder of the run."""

    def write(text: str) -> str:
        file = tmp_path / "node.yaml"
        file.write_text(text.replace("URL", URL))
        return str(file)

    return write


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--source", URL], id="nobody listens"),
        pytest.param(["--source", URL.replace("rtsp", "http")], id="nobody listens, http"),
        pytest.param(["--source", f"http://127.0.0.1:9/road?token={PASSWORD}"], id="token"),
        pytest.param(["--source", URL.replace(":9/", ":99999/")], id="no such port"),
        pytest.param(["--source", URL.replace("127.0.0.1", "[::1")], id="no such host"),
        pytest.param(["--source", URL.replace("rtsp", "rtsps")], id="unknown scheme"),
        pytest.param(["--source", URL.replace("//", "/")], id="mistyped scheme"),
        pytest.param(["--source", URL.removeprefix("rtsp://")], id="no scheme"),
        pytest.param(["--source", URL.replace("@", " @")], id="space"),
        pytest.param(["--source", URL.replace("@", "\n@")], id="line break"),
        pytest.param(["--source", f"{{url: {URL}}}"], id="YAML as an argument"),
        pytest.param([URL], id="no option"),
        pytest.param([f"--{URL}"], id="address as an option"),
        pytest.param(["--sorce", URL], id="unknown option"),
        pytest.param([f"--sorce={URL}"], id="unknown option, equals"),
        pytest.param(["--max-frames", URL], id="no number"),
        pytest.param(["--provider", URL], id="no choice"),
        pytest.param(["--camera", URL], id="no group"),
        pytest.param(["--camera.width", URL], id="no number in a group"),
        pytest.param(["--config", URL], id="no config file"),
    ],
)
def test_password_on_the_command_line_gets_out_nowhere(arguments: list[str], said: Said) -> None:
    status, text = said(*arguments, "--summary", "s.json", "--jsonl", "o.jsonl")

    assert status != 0
    assert text.count("drivable-node:") == 1
    assert "Traceback" not in text
    assert PASSWORD not in text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("source: URL", id="nobody listens"),
        pytest.param("source: URL: [", id="no YAML"),
        pytest.param("{source: URL", id="no YAML, in one line"),
        pytest.param(f"{{source: {'x' * 60}URL, ]", id="no YAML, long line"),
        pytest.param("source: {url: URL}", id="group for a text"),
        pytest.param("max_frames: URL", id="no number"),
        pytest.param("camera: URL", id="no group"),
        pytest.param("camera: {width: URL}", id="no number in a group"),
        pytest.param("URL: 1", id="unknown setting"),
        pytest.param("camera: {URL: 1}", id="unknown setting in a group"),
        pytest.param("URL", id="no settings"),
        pytest.param("- URL", id="a list"),
    ],
)
def test_password_in_a_config_gets_out_nowhere(text: str, config: Callable[[str], str], said: Said) -> None:
    status, shown = said("--config", config(text))

    assert status != 0
    assert shown.count("drivable-node:") == 1
    assert "Traceback" not in shown
    assert PASSWORD not in shown


def test_printed_config_shows_no_password(config: Callable[[str], str], said: Said) -> None:
    status, shown = said("--config", config("source: URL"), "--print_config")

    assert status == 0
    assert "source: rtsp://ann:***@127.0.0.1:9/road" in shown
    assert PASSWORD not in shown


@pytest.fixture
def server(make_clip: Callable[..., Path]) -> Iterator[ThreadingHTTPServer]:
    """Gives a clip to who has the password at /clip.mp4, and 401 everywhere else."""
    clip = make_clip(frames=5).read_bytes()

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_known = self.path == "/clip.mp4" and "Authorization" in self.headers
            self.send_response(200 if is_known else 401)
            self.send_header("WWW-Authenticate", f'Basic realm="{self.path}"')
            self.send_header("Content-Length", str(len(clip) if is_known else 0))
            self.end_headers()
            if is_known:
                self.wfile.write(clip)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_run_that_works_writes_the_password_nowhere(server: ThreadingHTTPServer, said: Said) -> None:
    url = f"http://ann:{PASSWORD}@127.0.0.1:{server.server_port}/clip.mp4"

    status, shown = said(
        *("--source", url, "--jsonl", "o.jsonl", "--summary", "s.json", "--out", "o.mkv", "--masks", "masks")
    )

    assert status == 0, shown
    assert f'"source_id":"http://ann:***@127.0.0.1:{server.server_port}/clip.mp4"' in shown
    assert PASSWORD not in shown


def test_refused_password_is_reported_without_it(server: ThreadingHTTPServer, said: Said) -> None:
    status, shown = said("--source", f"http://ann:{PASSWORD}@127.0.0.1:{server.server_port}/other")

    assert status == 1
    assert shown.count("drivable-node:") == 1
    assert PASSWORD not in shown
