"""Videos through pipes: named ones, standard input, and what shells make of `<(command)`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clips import Kind, all_frames, write

from perception.sources import SourceSettings, build_source
from perception.sources.pipe import PipeSource
from perception.sources.source import EndOfSource, SourceError


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe.ts")
    return tmp_path / "pipe.ts"


def test_a_named_pipe_gives_every_frame(make_clip: Callable[..., Path], pipe: Path) -> None:
    data = make_clip("clip.ts", frames=30).read_bytes()
    threading.Thread(target=lambda: pipe.write_bytes(data), daemon=True).start()

    assert len(all_frames(build_source(str(pipe), SourceSettings(isolate=True)))) == 30


def test_fragments_of_an_mp4_promise_no_number_of_frames_in_a_pipe(tmp_path: Path, pipe: Path) -> None:
    parts = Kind("libx264", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"})
    data = write(tmp_path / "parts.mp4", parts).read_bytes()
    threading.Thread(target=lambda: pipe.write_bytes(data), daemon=True).start()
    source = build_source(str(pipe))

    info = source.open()

    source.close()
    assert "frames" not in info.description


def test_a_shells_descriptor_gives_every_frame(make_clip: Callable[..., Path]) -> None:
    data = make_clip("clip.mkv", frames=20).read_bytes()
    ours, theirs = os.pipe()

    def write() -> None:
        with os.fdopen(theirs, "wb") as stream:
            stream.write(data)

    threading.Thread(target=write, daemon=True).start()

    assert len(all_frames(build_source(f"/dev/fd/{ours}"))) == 20
    os.close(ours)


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_the_node_reads_standard_input(name: str, make_clip: Callable[..., Path], tmp_path: Path) -> None:
    data = make_clip("clip.ts", frames=12, wh=(320, 240)).read_bytes()
    records = tmp_path / "records.jsonl"

    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "perception.node",
            "--model",
            "rt_s-int8",
            "--source",
            name,
            "--jsonl",
            records,
        ],
        input=data,
        capture_output=True,
        timeout=60,
    )

    assert ended.returncode == 0, ended.stderr
    assert len(records.read_text().splitlines()) == 12


def test_what_is_no_video_or_nothing_is_one_line(
    make_clip: Callable[..., Path], pipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.sources.pipe.FILE_LIMIT_S", 0.2)
    source = build_source(str(pipe))
    at_end = make_clip("clip.mp4", frames=300, wh=(320, 240)).read_bytes()
    problems = []
    for data in (None, b"hello\n" * 20_000, at_end, b""):
        if data is not None:
            threading.Thread(target=lambda data=data: _write(pipe, data), daemon=True).start()
        with pytest.raises(SourceError) as caught:
            source.open()
        problems.append(str(caught.value).removeprefix(f"{pipe}: "))
        source.close()

    assert problems == [
        "gives nothing for 0.2 s; does anything write into it?",
        "what comes through it is not a readable video",
        "the index of this mp4 is at its end, and a pipe cannot seek; give the file itself, "
        "or move the index to the front (ffmpeg -movflags +faststart)",
        "ends before anything has come through it",
    ]


def _write(pipe: Path, data: bytes) -> None:
    try:
        with pipe.open("wb") as stream:
            time.sleep(0.05 if not data else 0)
            stream.write(data)
    except BrokenPipeError:
        pass


def test_a_stop_ends_the_wait_for_a_writer(make_clip: Callable[..., Path], pipe: Path) -> None:
    data = make_clip("clip.ts", frames=30).read_bytes()
    writer = threading.Thread(target=lambda: _write_and_wait(pipe, data, stopped), daemon=True)
    stopped = threading.Event()
    writer.start()
    source = PipeSource(pipe)
    source.open()
    timer = threading.Timer(0.2, source.stop)
    timer.start()
    began_s = time.monotonic()

    for _ in range(30):
        source.read()
    with pytest.raises(EndOfSource):
        source.read()

    assert time.monotonic() - began_s < 5
    stopped.set()
    source.close()


def _write_and_wait(pipe: Path, data: bytes, until: threading.Event) -> None:
    with pipe.open("wb", buffering=0) as stream:
        stream.write(data)
        until.wait(10)
