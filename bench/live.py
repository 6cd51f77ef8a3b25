"""Age and memory of a live run: the node itself, playing a recording in real time."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from bench.busy import verdict
from bench.config import LiveConfig
from bench.meter import Meter
from perception.pipeline import PipelineError
from perception.system.redaction import redacted_url

SETTLE_S = 60.0  # memory is compared with what it is after this time


@dataclass(frozen=True)
class _Round:
    ages_ms: list[float]
    memory_mb: list[float]
    """Resident memory, sampled about once a second."""
    dropped: int
    captured: int


def run(config: LiveConfig) -> tuple[list[str], int]:
    """Rows of a table: age at publication, its drift, memory after the first minute, one row a round."""
    rows = [
        f"{redacted_url(config.source)}, {config.model}, {config.duration_s:g} s, real time, records written",
        f"{'round':8}{'frames':>8}{'dropped':>9}{'age p50 ms':>12}{'p99 ms':>8}{'max ms':>8}"
        f"{'last/first minute':>19}{'memory MB':>11}{'range MB':>10}",
    ]
    with Meter(children=True) as meter:
        rounds = [_play(config) for _ in range(config.rounds)]
    for number, played in enumerate(rounds, start=1):
        ages, memory = np.array(played.ages_ms), played.memory_mb
        minute = max(1, len(ages) // max(1, round(config.duration_s / 60)))
        drift = np.median(ages[-minute:]) / np.median(ages[:minute])
        settled = memory[int(SETTLE_S) :] or memory[-1:]
        rows.append(
            f"{number:<8}{played.captured:8}{played.dropped:9}{np.median(ages):12.1f}"
            f"{np.quantile(ages, 0.99):8.1f}{ages.max():8.1f}{drift:19.3f}"
            f"{statistics.median(settled):11.1f}{max(settled) - min(settled):10.1f}"
        )
    p50 = statistics.median(float(np.median(played.ages_ms)) for played in rounds)
    p99 = statistics.median(float(np.quantile(played.ages_ms, 0.99)) for played in rounds)
    busy = verdict([meter.values()])
    return [*rows, f"{'median':8}{'':17}{p50:12.1f}{p99:8.1f}", *([busy] if busy else [])], 0


def _play(config: LiveConfig) -> _Round:
    with tempfile.TemporaryDirectory() as folder:
        records, summary = Path(folder) / "records.jsonl", Path(folder) / "summary.json"
        # In a file that nobody else may read: a list of processes would show the password of an address.
        settings = Path(folder) / "node.yaml"
        settings.write_text(yaml.safe_dump({"source": config.source, "model": config.model}))
        command = [
            *(sys.executable, "-m", "perception.node", "--config", str(settings)),
            *("--realtime", "--loop", "--duration", str(config.duration_s)),
            *("--jsonl", str(records), "--summary", str(summary)),
        ]
        memory_mb = []
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as node:
            while node.poll() is None:
                memory_mb += _resident_mb(node.pid)
                time.sleep(1)
            assert node.stderr is not None
            said = node.stderr.read().strip()
        if node.returncode:
            raise PipelineError(
                "node", RuntimeError(said.splitlines()[-1] if said else "ended without a word")
            )
        frames = json.loads(summary.read_text())["frames"]
        ages_ms = [json.loads(line)["age_ms"] for line in records.read_text().splitlines()]
        return _Round(ages_ms, memory_mb, sum(frames["dropped"].values()), frames["captured"])


def _resident_mb(pid: int) -> list[float]:
    """One sample; none once the process has ended, or where there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return []
    return [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:")]
