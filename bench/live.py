"""Age and memory of a live run: the node itself, playing a recording in real time."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil
import yaml

from bench.config import LiveConfig
from bench.meter import busy_verdict, metered
from bench.report.format import aligned
from perception.system.redaction import redacted_url

SETTLE_S: Final = 60.0  # memory is compared with what it is after this time


@dataclass(frozen=True)
class _Round:
    ages_ms: list[float]
    memory_mb: list[float]
    """Resident memory, sampled about once a second."""
    dropped: int
    captured: int


def run(config: LiveConfig) -> tuple[list[str], int]:
    """Rows of a table: age at publication, its drift, memory after the first minute, one row a round.

    Raises:
        ValueError: if the node fails: the last line of what it said.
    """
    with metered(children=True) as readings:
        rounds = [_play(config) for _ in range(config.rounds)]
    columns = ("round", "frames", "dropped", "age p50, ms", "p99, ms", "max, ms")
    rows = [[*columns, "last/first minute", "memory, MB", "range, MB"]]
    for number, played in enumerate(rounds, start=1):
        ages, memory = np.array(played.ages_ms), played.memory_mb
        minute = max(1, len(ages) // max(1, round(config.duration_s / 60)))
        drift = np.median(ages[-minute:]) / np.median(ages[:minute])
        settled = memory[int(SETTLE_S) :] or memory[-1:]
        counts = (str(number), str(played.captured), str(played.dropped))
        ages_ms = [f"{it:.1f}" for it in (np.median(ages), np.quantile(ages, 0.99), ages.max())]
        held_mb = [f"{it:.1f}" for it in (statistics.median(settled), max(settled) - min(settled))]
        rows.append([*counts, *ages_ms, f"{drift:.3f}", *held_mb])
    medians = [
        statistics.median(float(np.quantile(played.ages_ms, share)) for played in rounds)
        for share in (0.5, 0.99)
    ]
    rows.append(["median", "", "", *(f"{it:.1f}" for it in medians), *[""] * 4])
    busy = busy_verdict([readings])
    head = f"{redacted_url(config.source)}, {config.model}, {config.duration_s:g} s in real time, to records"
    return [head, *aligned(rows), *([busy] if busy else [])], 0


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
                with suppress(psutil.Error):  # it has just ended
                    memory_mb.append(psutil.Process(node.pid).memory_info().rss / 1024**2)
                time.sleep(1)
            assert node.stderr is not None
            said = node.stderr.read().strip()
        if node.returncode:
            raise ValueError(f"node: {said.splitlines()[-1] if said else 'ended without output'}")
        frames = json.loads(summary.read_text())["frames"]
        ages_ms = [json.loads(line)["age_ms"] for line in records.read_text().splitlines()]
        return _Round(ages_ms, memory_mb, sum(frames["dropped"].values()), frames["captured"])
