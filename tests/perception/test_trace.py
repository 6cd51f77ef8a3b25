"""Records can be traced: to the software, the model's file, the settings, the run, the boot, and to UTC."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import pytest

from perception import __version__
from perception.cli_config import parse
from perception.config import NodeConfig
from perception.frame import CameraState, NoFrameRecord
from perception.inference.zoo import FOLDER
from perception.provenance.identity import RunIdentity, checksum_of, code_checksum, covered_settings
from perception.provenance.trace import Tracer
from perception.sinks.jsonl import record
from perception.synthetic import DriveRenderer

MODEL = FOLDER / "rt_s-int8.onnx"
FAST = ["--model", "rt_s-int8", "--synthetic.wh", "160x90", "--max-frames", "3"]
SCHEMA = json.loads((files("perception.sinks") / "record.schema.json").read_text())
ROOT = Path(__file__).parents[2]

Ran = tuple[list[dict[str, Any]], dict[str, Any], str]


def _run(folder: Path, *arguments: str, source: str = "synthetic") -> Ran:
    """Records, summary and standard error of a run of the command."""
    outputs = ["--jsonl", str(folder / "r.jsonl"), "--summary", str(folder / "s.json")]
    done = subprocess.run(
        [sys.executable, "-m", "perception.node", source, *FAST, *outputs, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]
    return records, json.loads((folder / "s.json").read_text()), done.stderr


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return _run(tmp_path_factory.mktemp("run"))


def test_every_record_names_software_model_and_settings(ran: Ran) -> None:
    records, _, _ = ran

    run = records[0]["run"]
    assert run["model_sha256"] == hashlib.sha256(MODEL.read_bytes()).hexdigest()[:16]
    assert run["code_sha256"] == code_checksum()[:16]
    assert run["version"] == __version__
    assert run["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert [record["run"] for record in records] == 3 * [run]
    for line in records:
        jsonschema.validate(line, SCHEMA)


def test_summary_gives_the_checksums_whole_and_the_log_as_the_records_do(ran: Ran) -> None:
    records, summary, said = ran

    run = summary["run"]
    assert run["model_sha256"] == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert {name: str(value)[: len(records[0]["run"][name])] for name, value in run.items()} == records[0][
        "run"
    ]
    (line,) = [line for line in said.splitlines() if line.startswith("run: ")]
    for name in ("run_id", "version", "code_sha256", "model_sha256", "settings_sha256"):
        assert f" {records[0]['run'][name]}" in line
    assert len(line) < 200
    assert set(summary["clock"]) > {"offset_ns", "uncertainty_ns", "steps", "stepped_ns", "is_synchronised"}


def test_settings_in_the_summary_give_their_checksum(ran: Ran) -> None:
    _, summary, _ = ran
    text = json.dumps(summary["settings"], sort_keys=True, separators=(",", ":"))

    assert hashlib.sha256(text.encode()).hexdigest() == summary["run"]["settings_sha256"]


def test_another_run_of_the_same_node_differs_in_its_run_id_alone(ran: Ran, tmp_path: Path) -> None:
    before, again = ran[1]["run"], _run(tmp_path)[1]["run"]

    assert {name for name in before if before[name] != again[name]} == {"run_id"}


def _checksum(*arguments: str) -> str:
    return checksum_of(covered_settings(parse(NodeConfig, "drivable-node", "", list(arguments))))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--jsonl", "elsewhere.jsonl", "--out", "o.mp4", "--masks", "m", "--summary", "s.json"],
        ["--source", "rtsp://ann:hunter2@10.0.0.7/road"],
        ["--model", str(MODEL)],
        ["--http", "9464"],
        ["--camera.width", "1280"],
        ["--min_free_mb", "200"],
        ["--min_free_mb", "200.0"],
    ],
)
def test_settings_checksum_is_the_same_for(arguments: list[str]) -> None:
    assert _checksum(*arguments) == _checksum()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--health.dark_luma", "24"],
        ["--freshness.max_age_s", "0.25"],
        ["--provider", "cpu"],
        ["--threads", "1"],
        ["--camera.rate_hz", "15"],
    ],
)
def test_settings_checksum_differs_for(arguments: list[str]) -> None:
    assert _checksum(*arguments) != _checksum()


def test_settings_checksum_knows_no_order(tmp_path: Path) -> None:
    texts = [
        "health: {dark_luma: 20, glare_share: 0.4}\nthreads: 2",
        "threads: 2\nhealth: {glare_share: 0.4, dark_luma: 20}",
    ]
    sums = set()
    for number, text in enumerate(texts):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        sums.add(_checksum("--config", str(file)))

    assert sums == {_checksum("--health.glare_share", "0.4", "--threads", "2", "--health.dark_luma", "20")}


def test_secret_in_a_setting_is_not_in_its_description() -> None:
    covered = covered_settings(NodeConfig(source="rtsp://ann:hunter2@camera/road"))

    assert "hunter2" not in json.dumps(covered)


def test_recordings_have_no_utc_of_capture(ran: Ran, tmp_path: Path) -> None:
    as_if_live, _, _ = _run(tmp_path, "--realtime")

    for line in [*ran[0], *as_if_live]:
        assert line["captured_utc"] is None
        assert abs(_seconds_ago(line["published_utc"])) < 120


def _seconds_ago(text: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()


def _identity() -> RunIdentity:
    return RunIdentity(model_sha256="ab" * 32, settings_sha256="cd" * 32)


def test_live_frames_have_a_utc_of_capture_as_old_as_the_frame() -> None:
    trace = Tracer(_identity(), is_taken_now=True).trace(5_000_000_000, 5_034_000_000)

    assert trace.captured_utc_ns is not None
    assert trace.published_utc_ns - trace.captured_utc_ns == 34_000_000


def test_outage_is_traced_too_with_the_utc_of_the_last_frame() -> None:
    def outage(captured_ns: int | None) -> dict[str, Any]:
        trace = Tracer(_identity(), is_taken_now=True).trace(captured_ns, 9_000_000_000)
        return record(
            NoFrameRecord(
                "cam",
                (8, 6),
                0,
                captured_ns,
                CameraState.LOST,
                "gone",
                published_ns=9_000_000_000,
                trace=trace,
            )
        )

    before, later = outage(None), outage(8_000_000_000)

    assert before["captured_utc"] is None
    assert later["captured_utc"] < later["published_utc"]
    for line in (before, later):
        assert line["run"]["model_sha256"] == 8 * "ab"
        jsonschema.validate(line, SCHEMA)


def test_edited_code_is_another_code_of_the_same_version(tmp_path: Path) -> None:
    package = tmp_path / "perception"
    shutil.copytree(ROOT / "perception", package, ignore=shutil.ignore_patterns("models", "__pycache__"))

    def checksum() -> str:
        code = (
            "from perception.provenance.identity import RunIdentity as R\n"
            "print(R(model_sha256='', settings_sha256=''))"
        )
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        run = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return re.sub("run_id='.*?'", "", run.stdout)

    before = checksum()
    assert checksum() == before
    edited = package / "system" / "redaction.py"
    edited.write_text(edited.read_text() + "\n")
    after = checksum()

    assert f"version='{__version__}'" in after
    assert after != before


@pytest.fixture
def live_camera() -> Iterator[str]:
    """Address of an HTTP camera: JPEG pictures without an end, 20 a second."""
    drive = DriveRenderer("day", (160, 90))
    pictures = [cv2.imencode(".jpg", drive.render(number)[0])[1].tobytes() for number in range(4)]

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            with suppress(OSError):  # the node hangs up
                for picture in cycle(pictures):
                    head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")
                    time.sleep(0.05)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/road"
        server.shutdown()
        thread.join()


def test_frames_of_a_live_camera_have_the_utc_of_their_capture(live_camera: str, tmp_path: Path) -> None:
    records, _, _ = _run(tmp_path, source=live_camera)

    for line in records:
        captured, published = (
            datetime.fromisoformat(line[name]) for name in ("captured_utc", "published_utc")
        )
        assert abs((published - captured).total_seconds() * 1000 - line["age_ms"]) < 0.06
        assert abs(_seconds_ago(line["captured_utc"])) < 120
