"""What went wrong in a run, in lines: what the command ends with, and the library's `Run.problems`."""

from __future__ import annotations

from perception.frame import EngineState
from perception.pipeline import RunError, Runner
from perception.sources.counts import SourceCounts


def problems_of(runner: Runner, counts: SourceCounts, waited_s: float | None) -> list[str]:
    """What ended the run, or else what is missing or did not end; empty if all is well.

    Args:
        counts: the source's.
        waited_s: how long the end was waited for; None while the run may go on.
    """
    try:
        runner.raise_first_error()
    except RunError as error:
        return [str(error)]
    problems = []
    if waited_s is not None:
        problems = [f"{stage} did not end within {waited_s:.1f} s" for stage in runner.stuck_stages()]
    if suspect := runner.counters().withheld_by.get(f"engine {EngineState.SUSPECT}"):
        who, them = ("1 frame has", "it") if suspect == 1 else (f"{suspect} frames have", "them")
        problems.append(f"{who} no mask: the network's output does not depend on {them}")
    if unread := counts.unreadable:
        who = (
            "1 image could not be read and has"
            if unread == 1
            else f"{unread} images could not be read and have"
        )
        problems.append(f"{who} no mask")
    return problems + [f"{sink.name}: {sink.issue}" for sink in runner.sinks.values() if sink.issue]
