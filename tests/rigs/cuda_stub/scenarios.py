"""ONNX Runtime's CUDA provider on a CUDA that computes nothing: placement, capture, calls, and faults."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from files import FRAME_WH, SHIPPED, for_gpu, without_answer
from lines import Line
from stub import ROOT, SourceItem, environment, see

from perception.inference.contract import ANY_SIZE

START_LIMIT_S: Final = 60.0
HANG_LIMIT_S: Final = 12.0
A_FRAME: Final = [
    "cudaMemcpy in pinned",
    "cudaStreamSynchronize default",
    "cudaGraphLaunch",
    "cudaStreamSynchronize own",
]
"""What a frame is to cost, and then a copy of each output."""


def placement(file: Path, is_whole: bool = True) -> Callable[[], Line]:
    """Which nodes the CUDA provider takes, and whether the graph is captured."""

    def scenario() -> Line:
        with TemporaryDirectory() as name:
            seen = see(file, Path(name))
        elsewhere = sum(seen.nodes.values()) - seen.nodes["cuda"]
        asked = "all nodes on CUDA; captured once, with no call that CUDA forbids meanwhile"
        if not is_whole:
            asked = "nodes that stay on the CPU are counted and said; not captured"
        notes = seen.report["notes"]
        return Line.of_checks(
            f"none: {file.stem} on CUDA",
            asked,
            f"{seen.nodes['cuda']} nodes on CUDA, {elsewhere} on the CPU; "
            f"{'captured' if seen.is_captured else 'not captured'}{''.join(f'; {line}' for line in notes)}",
            {
                "on CUDA": seen.report["provider"] == "cuda",
                "whole": (elsewhere == 0) == is_whole,
                "captured": seen.is_captured == is_whole,
                "said": bool(notes) != is_whole,
                "nothing forbidden": not seen.refused,
            },
        )

    return scenario


def calls_of_a_frame() -> Line:
    """The order of CUDA's calls for one frame, and their thread."""
    with TemporaryDirectory() as name:
        seen = see(without_answer("rt_m"), Path(name), frames=5)
    frames = seen.by_frame()
    threads = {call[0] for call in seen.calls if call[1] == "cudaGraphLaunch"}
    wanted = [*A_FRAME, "cudaMemcpy out pinned"]
    return Line.of_checks(
        "none: calls of a frame",
        "one copy in and out of page-locked memory, one replay, no wait for the whole device, one thread",
        f"{' → '.join(frames[-1])}; {len(threads)} thread",
        {"order": all(frame == wanted for frame in frames), "one thread": len(threads) == 1},
    )


def _fault(
    name: str, asked: str, holds: Callable[[SourceItem], bool], provider: str = "cuda", **settings: Any
) -> Callable[[], Line]:
    def scenario() -> Line:
        with TemporaryDirectory() as folder:
            seen = see(without_answer("rt_s"), Path(folder), provider, **settings)
        outcome = seen.report.get("error") or "; ".join(
            (f"{seen.report['provider']}, {seen.report['state']}", *seen.report["notes"])
        )
        return Line(f"{name}, --provider {provider}", asked, outcome, holds(seen) and "\n" not in outcome)

    return scenario


def _is_error(*words: str) -> Callable[[SourceItem], bool]:
    return lambda seen: all(word in seen.report.get("error", "") for word in words)


def _runs_on(provider: str, state: str, *words: str) -> Callable[[SourceItem], bool]:
    def holds(seen: SourceItem) -> bool:
        said = " ".join(seen.report.get("notes", ()))
        is_there = (seen.report.get("provider"), seen.report.get("state")) == (provider, state)
        return is_there and all(word in said for word in words)

    return holds


def _device_bytes(at_load: bool) -> int:
    """Memory of a device that is too small to load a model, or for its first run alone."""
    with TemporaryDirectory() as folder:
        seen = see(without_answer("rt_s"), Path(folder), frames=0)
    taken = [(int(call[2]), int(call[4])) for call in seen.calls if call[1] == "cudaMalloc"]
    first, last = taken[0], taken[-1]
    return first[1] // 2 if at_load else last[1] - last[0] + 4096


def _node(
    folder: Path, arguments: Sequence[str], **settings: int
) -> tuple[int, str, float, list[dict[str, Any]]]:
    """Status, what was said, seconds from the last record of a frame to the end of the process, records."""
    records = folder / "records.jsonl"
    stub = {f"STUB_CUDA_{name}": str(value) for name, value in settings.items()}
    source = ["--source", "synthetic", "--synthetic.wh", "640x360", "--realtime", "--provider", "cuda"]
    done = subprocess.run(
        [sys.executable, "-m", "perception.node", *source, "--jsonl", str(records), *arguments],
        env=environment() | stub,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=START_LIMIT_S,
        check=False,
    )
    ended_ns = time.monotonic_ns()
    lines = [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []
    last_ns = max((line["published_ns"] for line in lines if line["frame_id"] is not None), default=ended_ns)
    said = [line for line in done.stderr.splitlines() if line.startswith("drivable-node:")]
    text = "; ".join(said) + ("; Traceback" if "Traceback" in done.stderr else "")
    return done.returncode, text.replace(f"{ROOT}/", ""), (ended_ns - last_ns) / 1e9, lines


def _dead(name: str, asked: str, file: Callable[[], Path | str], *arguments: str) -> Callable[[], Line]:
    """A node whose kernels do nothing: every output is zeros."""

    def scenario() -> Line:
        with TemporaryDirectory() as folder:
            model = ["--model", str(file()), "--max-frames", "40", *arguments]
            status, said, _, lines = _node(Path(folder), model)
        cpu = [line for line in lines if line["engine"]["provider"] == "cpu"]
        masks = sum(line["mask"] is not None for line in lines if line not in cpu)
        states = sorted({f"{line['engine']['provider']} {line['engine']['state']}" for line in lines})
        return Line.of_checks(
            f"node: kernels that compute nothing, {name}",
            asked,
            f"status {status}, {len(lines)} records ({', '.join(states) or '-'}), {masks} masks by CUDA; "
            f"{said}",
            {
                "no mask": masks == 0,
                "ends or goes on elsewhere": bool(cpu) == (status == 0) or states == ["cuda suspect"],
                "one line": said.count("drivable-node:") == (0 if status == 0 else 1)
                and "Traceback" not in said,
            },
        )

    return scenario


def error_in_mid_run() -> Line:
    """A launch that fails at the tenth frame."""
    with TemporaryDirectory() as name:
        status, said, _, lines = _node(
            Path(name), ["--model", str(without_answer("rt_s")), "--max-frames", "90"], FAIL_AT=11
        )
    return Line.of_checks(
        "node: a launch that fails in mid-run (719)",
        "one line that names it, status 1, records before it whole",
        f"status {status}, {len(lines)} records; {said}",
        {
            "status": status == 1,
            "named": "719" in said,
            "records": len(lines) > 0,
            "one line": "Traceback" not in said,
        },
    )


def hang() -> Line:
    """A replay that never returns, with the watchdog as it is shipped."""
    with TemporaryDirectory() as name:
        status, said, gone_s, lines = _node(Path(name), ["--model", str(without_answer("rt_s"))], HANG_AT=20)
    return Line.of_checks(
        "node: a replay that never returns",
        f"the process is gone <= {HANG_LIMIT_S:g} s later, status 1, one line, records whole",
        f"status {status} {gone_s:.1f} s after the last frame's record; {len(lines)} records; {said}",
        {
            "in time": gone_s <= HANG_LIMIT_S,
            "status": status == 1,
            "said": "hung" in said and "Traceback" not in said,
            "records": len(lines) > 0,
        },
    )


def hang_at_load() -> Line:
    """A kernel that never starts, while the model is loaded."""
    limit_s = 5
    with TemporaryDirectory() as name:
        started_s = time.monotonic()
        arguments = ["--model", "rt_s", "--load_timeout_s", str(limit_s)]
        status, said, _, lines = _node(Path(name), arguments, HANG_AT_KERNEL=1)
        took_s = time.monotonic() - started_s
    return Line.of_checks(
        "node: a kernel that never starts, at load",
        f"given up after load_timeout_s, status 1, one line, gone <= {HANG_LIMIT_S:g} s after the start",
        f"status {status} {took_s:.1f} s after the start (load_timeout_s {limit_s}); {said}",
        {
            "in time": took_s <= HANG_LIMIT_S,
            "status": status == 1,
            "said": "was not loaded and run once within" in said and "Traceback" not in said,
            "no record": not lines,
        },
    )


_NO_MEMORY: Final = "Failed to allocate memory"


def _too_small(
    at_load: bool, asked: str, holds: Callable[[SourceItem], bool], **how: Any
) -> Callable[[], Line]:
    """A device without the memory; how much that is, is found out when it is asked for."""
    when = "at load" if at_load else "at the first run"
    name = f"no memory {when}{', fallback allowed' if how.get('allow_fallback') else ''}"
    return lambda: _fault(name, asked, holds, MEMORY_BYTES=_device_bytes(at_load), **how)()


SAYS_SO: Final = "an error that says so"
MARKED: Final = "the CPU, marked, and it is said"
UNCAPTURED: Final = "CUDA without a captured graph, and it is said"

SCENARIOS: Final[dict[str, Callable[[], Line]]] = {
    **{
        f"cpu {name}": lambda name=name: placement(without_answer(name))()  # type: ignore[misc]
        for name in SHIPPED
    },
    **{
        f"gpu {name}": lambda name=name: placement(for_gpu(name, "fp32", FRAME_WH))()  # type: ignore[misc]
        for name in ("rt_s", "rt_m", "rt_l")
    },
    "gpu rt_m 1920x1080": lambda: placement(for_gpu("rt_m", "fp32", (1920, 1080)))(),
    "gpu rt_m fp16": lambda: placement(for_gpu("rt_m", "fp16", FRAME_WH))(),
    "gpu rt_m int8": lambda: placement(for_gpu("rt_m", "int8", FRAME_WH))(),
    "gpu rt_m any": lambda: placement(for_gpu("rt_m", "fp32", ANY_SIZE), is_whole=False)(),
    "calls": calls_of_a_frame,
    "no device": _fault("no device", SAYS_SO, _is_error("CUDA failure 100"), NO_DEVICE=1),
    "no device, auto": _fault("no device", "the CPU", _runs_on("cpu", "ok"), "auto", NO_DEVICE=1),
    "no device, fallback": _fault(
        "no device, fallback allowed",
        MARKED,
        _runs_on("cpu", "fallback", "CUDA failure 100"),
        allow_fallback=True,
        NO_DEVICE=1,
    ),
    "old driver": _fault(
        "driver too old", SAYS_SO, _is_error("driver version is insufficient"), OLD_DRIVER=1
    ),
    "no memory at load": _too_small(True, SAYS_SO, _is_error(_NO_MEMORY)),
    "no memory at the first run": _too_small(False, SAYS_SO, _is_error(_NO_MEMORY)),
    "no memory at the first run, auto": _too_small(
        False, "the CPU, and it is said", _runs_on("cpu", "ok", _NO_MEMORY), provider="auto"
    ),
    "no memory at the first run, fallback": _too_small(
        False, MARKED, _runs_on("cpu", "fallback", _NO_MEMORY), allow_fallback=True
    ),
    "capture fails": _fault(
        "a capture that fails",
        UNCAPTURED,
        _runs_on("cuda", "ok", "without a captured graph"),
        CAPTURE_FAILS=1,
    ),
    "capture fails, auto": _fault(
        *("a capture that fails", UNCAPTURED, _runs_on("cuda", "ok", "without a captured graph"), "auto"),
        CAPTURE_FAILS=1,
    ),
    "no TensorRT": _fault(
        *("TensorRT is not installed", "an error that names the library"),
        *(_is_error("libnvinfer.so.10 is missing"), "tensorrt"),
    ),
    "dead kernels": _dead("a shipped file", "no mask; one line, status 1", lambda: "rt_m"),
    "dead kernels, gpu": _dead(
        "a graph for GPUs", "no mask; one line, status 1", lambda: for_gpu("rt_m", "fp32", (640, 360))
    ),
    "dead kernels, auto": _dead(
        "--provider auto", "the CPU, and its masks alone", lambda: "rt_m", "--provider", "auto"
    ),
    "dead kernels, fallback": _dead(
        "fallback allowed", "the CPU, marked, and its masks alone", lambda: "rt_m", "--allow_fallback", "true"
    ),
    "dead kernels, no answer": _dead(
        "a file without a known answer", "no mask: suspect", lambda: without_answer("rt_m")
    ),
    "error in mid-run": error_in_mid_run,
    "hang": hang,
    "hang at load": hang_at_load,
}
"""By name, for the command line."""
