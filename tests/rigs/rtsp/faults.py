"""What can go wrong between a camera and the node, and what must hold. Times are of records, monotonic."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import trustme
from camera import PASSWORD, RATE_HZ, THEIRS, Camera
from command import do_books_balance
from lines import Line
from node_run import NodeRun, has_mask, is_damaged

PERIOD_S: Final = 1 / RATE_HZ
STALE_LIMIT_S: Final = 3 * PERIOD_S + 0.1
BACK_LIMIT_S: Final = 2.0
STEP_LIMIT_S: Final = 5.0 * 1.2  # the backoff's cap and its jitter
MAX_AGE_S: Final = 0.5  # of a mask that is published
WAIT_S: Final = 30.0
SETTLE_S: Final = 3.0
LOSS, JITTER_MS, DISTURBED_S = 0.05, 200, 30.0


def outage(kind: str, seconds: float, back_limit_s: float) -> Line:
    """The camera is silent for a time and comes back."""
    names = {
        "freeze": f"server frozen for {seconds:g} s, its socket open",
        "kill": f"server killed for {seconds:g} s",
        "cut": f"cable pulled for {seconds:g} s",
    }
    asked = (
        f"stale ≤ {STALE_LIMIT_S * 1e3:.0f} ms after the last frame, no mask meanwhile, records at the rate, "
        f"mask again ≤ {back_limit_s:g} s after its return, nothing leaked"
    )
    with Camera() as camera, NodeRun(camera.url, PASSWORD) as node:
        node.wait(SETTLE_S)
        held_before = node.held()
        gone_ns = {"freeze": camera.freeze, "kill": camera.kill, "cut": camera.cut}[kind]()
        node.wait(seconds)
        back_ns = {"freeze": camera.thaw, "kill": camera.start, "cut": camera.mend}[kind]()
        first = node.wait_for(has_mask, back_ns, WAIT_S)
        node.wait(SETTLE_S)
        held_after = node.held()
        status, records, summary = node.end(), node.records(), node.summary()
        leaks = node.leaks()
    silent = [record for record in records if record["camera"]["state"] in ("stale", "lost")]
    silent = [record for record in silent if gone_ns < record["published_ns"] < back_ns]
    if not silent or first is None:
        seen = f"{len(silent)} records of the outage; mask again: {first is not None}; status {status}"
        return Line(names[kind], asked, seen, False)
    stale_s = (silent[0]["published_ns"] - silent[0]["captured_ns"]) / 1e9
    masks = [
        record
        for record in records
        if has_mask(record) and silent[0]["published_ns"] < record["published_ns"] < back_ns
    ]
    back_s = (first["published_ns"] - back_ns) / 1e9
    rate_hz = len(silent) / ((back_ns - silent[0]["published_ns"]) / 1e9)
    reasons = [re.search(r"attempt (\d+)", record["camera"]["reason"]) for record in silent]
    attempts = max((int(found[1]) for found in reasons if found), default=0)
    checks = {
        "stale": stale_s <= STALE_LIMIT_S,
        "masks": not masks,
        "rate": 0.8 <= rate_hz / RATE_HZ <= 1.2,
        "back": back_s <= back_limit_s,
        "processes, threads, descriptors": held_after == held_before,
        "status": status == 0,
        "books": do_books_balance(summary),
        "password": not leaks,
        "attempts": kind != "kill" or 2 <= attempts <= 20,
    }
    seen = (
        f"stale after {stale_s * 1e3:.0f} ms, {len(masks)} masks, {rate_hz:.1f} records/s, "
        f"{attempts} attempts, mask again after {back_s:.2f} s, "
        f"processes, threads, descriptors {held_before} before, {held_after} after"
    )
    return Line.of_checks(names[kind], asked, seen, checks)


def disturbed(transport: str) -> Line:
    """Packets are lost and late for a time."""
    lasts = f"for {DISTURBED_S:g} s, RTP over {transport.upper()}"
    fault = f"{LOSS:.0%} packet loss and {JITTER_MS} ms jitter {lasts}"
    asked = f"no crash, no mask older than {MAX_AGE_S * 1e3:.0f} ms, well again ≤ 10 s after"
    if transport == "udp":  # over TCP nothing is lost, only late
        asked += ", decode errors counted, damaged frames marked"
    with Camera(transport) as camera, NodeRun(camera.url, PASSWORD) as node:
        node.wait(SETTLE_S)
        since_ns = camera.disturb(LOSS, JITTER_MS)
        node.wait(DISTURBED_S)
        until_ns = camera.disturb(0.0, 0.0)
        well = node.wait_for(lambda record: record["camera"]["state"] == "ok", until_ns, WAIT_S)
        node.wait(SETTLE_S)
        status, records, summary = node.end(), node.records(), node.summary()
        leaks, has_trace = node.leaks(), "Traceback" in node.log()
    during = [record for record in records if since_ns <= record["published_ns"] < until_ns]
    states = {state: 0 for state in ("ok", "degraded", "blocked", "frozen", "stale", "lost")}
    for record in during:
        states[record["camera"]["state"]] += 1
    oldest_s = max((record["age_ms"] / 1e3 for record in during if has_mask(record)), default=0.0)
    marked = sum(map(is_damaged, during))
    errors = summary["source"]["decode_errors"]
    well_s = (well["published_ns"] - until_ns) / 1e9 if well else None
    checks = {
        "status": status == 0 and not has_trace,
        "age": oldest_s <= MAX_AGE_S,
        "well": well_s is not None and well_s <= 10,
        "decode errors": transport != "udp" or errors > 0,
        "marked": transport != "udp" or marked > 0,
        "books": do_books_balance(summary),
        "password": not leaks,
    }
    counts = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    seen = (
        f"status {status}; records: {counts}; {marked} marked damaged; {errors} decode errors; oldest mask "
        f"{oldest_s * 1e3:.0f} ms; ok again after {'-' if well_s is None else f'{well_s:.1f} s'}"
    )
    return Line.of_checks(fault, asked, seen, checks)


def lossless_network_marks_no_frame() -> Line:
    """An undisturbed stream over UDP is never reported as damaged."""
    with Camera("udp") as camera, NodeRun(camera.url, PASSWORD) as node:
        node.wait(DISTURBED_S)
        status, records, summary = node.end(), node.records(), node.summary()
    marked, errors = sum(map(is_damaged, records)), summary["source"]["decode_errors"]
    checks = {
        "status": status == 0,
        "marked": marked == 0 and errors == 0,
        "books": do_books_balance(summary),
    }
    seen = f"{len(records)} records, {marked} marked damaged, {errors} decode errors"
    return Line.of_checks(
        f"none, RTP over UDP for {DISTURBED_S:g} s", "no frame marked damaged, no decode error", seen, checks
    )


def refused(problem: str, url: str) -> Line:
    """The camera refuses at the start: one line, and no password in it."""
    with Camera():
        return _refusal(problem, NodeRun(url, PASSWORD))


def _refusal(problem: str, node: NodeRun) -> Line:
    try:
        status = node.process.wait(WAIT_S)
    except subprocess.TimeoutExpired:
        status = None
    log, leaks = node.log(), node.leaks()
    node.remove()
    lines = log.strip().splitlines()
    checks = {"status": status == 1, "one line": len(lines) == 1, "password": not leaks}
    return Line.of_checks(
        problem, "status 1, one line, no password", f"status {status}: {' | '.join(lines)}", checks
    )


def encrypted() -> Line:
    """A camera of rtsps whose authority is known."""
    with TemporaryDirectory() as folder:
        authority, certificate = _authority_and_certificate(Path(folder), THEIRS)
        with (
            Camera("tcp", certificate) as camera,
            NodeRun(camera.encrypted_url, PASSWORD, "--tls-ca", str(authority)) as node,
        ):
            node.wait(SETTLE_S)
            status, records, summary = node.end(), node.records(), node.summary()
            leaks = node.leaks()
    masks = sum(map(has_mask, records))
    checks = {
        "status": status == 0,
        "masks": masks >= 0.8 * SETTLE_S * RATE_HZ,
        "books": do_books_balance(summary),
        "password": not leaks,
    }
    seen = f"status {status}, {masks} masks in {SETTLE_S:g} s"
    return Line.of_checks("none, rtsps of a known authority", "masks at the rate, no password", seen, checks)


def distrusted(problem: str, name: str, *, is_known: bool) -> Line:
    """A camera of rtsps that is not who it must be: one line, and no password in it."""
    with TemporaryDirectory() as folder:
        authority, certificate = _authority_and_certificate(Path(folder), name)
        trusted = ["--tls-ca", str(authority)] if is_known else []
        with Camera("tcp", certificate) as camera:
            return _refusal(problem, NodeRun(camera.encrypted_url, PASSWORD, *trusted))


def _authority_and_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """PEM files: of an authority, and of a certificate with its key for a host of this name."""
    authority = trustme.CA()
    files = folder / "authority.pem", folder / "camera.pem"
    authority.cert_pem.write_to_path(str(files[0]))
    authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(files[1]))
    return files


SCENARIOS: Final[dict[str, Callable[[], Line]]] = {
    "freeze": partial(outage, "freeze", 3.0, BACK_LIMIT_S),
    "long_freeze": partial(outage, "freeze", 20.0, BACK_LIMIT_S),
    "cut": partial(outage, "cut", 20.0, BACK_LIMIT_S + STEP_LIMIT_S),
    "kill": partial(outage, "kill", 60.0, BACK_LIMIT_S + STEP_LIMIT_S),
    "tcp": partial(disturbed, "tcp"),
    "udp": partial(disturbed, "udp"),
    "calm": lossless_network_marks_no_frame,
    "wrong_path": partial(refused, "no such stream", Camera.url.replace("/road", "/nowhere")),
    "wrong_user": partial(refused, "password refused", Camera.url.replace("//ann:", "//bob:")),
    "encrypted": encrypted,
    "unknown_authority": partial(distrusted, "rtsps of an unknown authority", THEIRS, is_known=False),
    "wrong_host": partial(distrusted, "rtsps with another host's certificate", "10.77.0.9", is_known=True),
}
