"""Summary of a run: counts, rates and times, as a table and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from perception.metrics.histogram import Histogram
from perception.sinks.claim import Claim
from perception.sinks.sink import SinkError
from perception.system.json_text import json_text
from perception.system.set_aside import is_stream, write_outputs
from perception.telemetry.health import HealthReport

SCHEMA = 2
BALANCE: Final = ("captured", "published", "withheld", "dropped", "in_flight")
"""Counts of frames, of which the first is the sum of the others."""
_LARGEST_SUMMARY_BYTES: Final = 1_000_000


def summarise(
    health: HealthReport, age: Histogram, stages: Mapping[str, Histogram], elapsed_s: float
) -> dict[str, Any]:
    """Counts and times of a finished run.

    Args:
        health: in the end.
        age: from capture to publication.
        stages: times by stage.
        elapsed_s: from the start to the end.
    """
    frames, peak_bytes = health.frames, health.memory.peak_bytes
    return {
        "schema": SCHEMA,
        "model_id": health.model_id,
        "provider": health.provider,
        "frames": {name: getattr(frames, name) for name in BALANCE},
        "withheld_by": dict(frames.withheld_by),
        "sinks": {name: asdict(sink) for name, sink in health.sinks.items()},
        "elapsed_s": round(elapsed_s, 3),
        "fps": round(frames.published / elapsed_s, 2) if elapsed_s > 0 else None,
        "age_ms": _quantiles(age),
        "stage_ms": {name: _quantiles(times) for name, times in stages.items() if times.count},
        "peak_memory_mb": None if peak_bytes is None else round(peak_bytes / 2**20, 1),
        "errors": list(health.errors),
        "source": {
            "rate_hz": health.rate.hz,
            "rate_kind": health.rate.kind,
            "period_ms": health.period_ms,
            **asdict(health.source),
        },
    }


def as_table(summary: dict[str, Any]) -> str:
    """The summary as a table for people."""
    frames = summary["frames"]
    dropped = ", ".join(f"{count} {reason}" for reason, count in frames["dropped"].items()) or "0"
    withheld_by = ", ".join(f"{count} {reason}" for reason, count in summary["withheld_by"].items())
    lines = [
        f"{'frames captured':18}{frames['captured']:>10}",
        f"{'published':18}{frames['published']:>10}   {summary['fps']} fps over "
        f"{summary['elapsed_s']:.1f} s, {summary['model_id']} on {summary['provider']}",
        f"{'withheld':18}{frames['withheld']:>10}   {withheld_by}".rstrip(),
        f"{'dropped':18}{dropped:>10}",
    ]
    lines += [
        f"{'dropped by ' + name:18}{counts['dropped']:>10}"
        for name, counts in summary["sinks"].items()
        if counts["dropped"]
    ]
    lines.append(f"{'':18}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}")
    for name, times in {"age": summary["age_ms"], **summary["stage_ms"]}.items():
        cells = "".join(
            "         -" if times[key] is None else f"{times[key]:10.1f}" for key in ("p50", "p99", "max")
        )
        lines.append(f"{name:18}{cells}")
    return "\n".join(lines)


class SummaryFile:
    """The summary's file: claimed at the start of the run, written once at its end."""

    def __init__(self, file: Path, *, overwrite: bool = False, append: bool = False) -> None:
        """`overwrite` replaces an existing file, `append` only an older summary."""
        self._file, self._overwrites, self._appends = file, overwrite, append
        self._named = Path(os.path.realpath(file)) if file.is_symlink() else file
        self._is_stream = is_stream(file)
        self._claim = Claim()

    def claim(self) -> None:
        """Lock the file against other writers until `close`, without changing it; raises SinkError."""
        if self._is_stream:
            return
        if self._named.is_dir():
            raise SinkError(f"{self._file}: is a folder; --summary takes a file")
        try:
            self._named.parent.mkdir(parents=True, exist_ok=True)
            self._claim.take(self._named.with_name(f".{self._named.name}.lock"), is_lock_file=True)
            if self._named.exists():
                self._claim.take(self._named)
        except OSError as error:
            self.close()
            raise self._unusable(error) from error
        except SinkError:
            self.close()
            raise

    def write(self, summary: dict[str, Any]) -> None:
        """Write it as JSON, atomically: if that fails, an older summary stays.

        An older one is set aside, unless it is to be replaced. A symbolic link is followed; a pipe or a
        device, such as /dev/stdout, is written as a stream.

        Raises:
            SinkError: if it cannot be written, or another writer has claimed the file meanwhile.
        """
        content = (json_text(summary, indent=2) + "\n").encode()
        try:
            if self._is_stream:
                with self._file.open("ab", buffering=0) as stream:
                    stream.write(content)
                return
            self._named.parent.mkdir(parents=True, exist_ok=True)
            if self._named.exists():
                self._claim.take(self._named)
            replaces = self._overwrites or (self._appends and _is_summary(self._named))
            write_outputs({self._named: content}, overwrite=replaces)
        except OSError as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Unlock the file. Safe to call twice."""
        self._claim.release()

    def _unusable(self, error: OSError) -> SinkError:
        return SinkError(f"{self._file}: the summary cannot be written: {error.strerror}")


def _is_summary(file: Path) -> bool:
    """Whether an earlier run wrote the file."""
    try:
        if file.stat().st_size > _LARGEST_SUMMARY_BYTES:
            return False
        there = json.loads(file.read_bytes())
    except (OSError, ValueError):  # missing, or not JSON
        return False
    return isinstance(there, dict) and {"schema", "model_id", "frames", "sinks"} <= there.keys()


def _quantiles(times: Histogram) -> dict[str, float | int | None]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 3)

    return {
        "p50": rounded(times.quantile_ms(0.5)),
        # of fewer than 100 durations the 99th percentile would be a guess
        "p99": rounded(times.quantile_ms(0.99)) if times.count >= 100 else None,
        "max": rounded(times.max_ns / 1e6) if times.count else None,
        "count": times.count,
    }
