"""What is done to a node, by chance: each makes its case ready, starts it, and acts on it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from processes import holds
from setting import LIVE_S, Action, Case

ASKED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SURROUNDINGS: Final = {"HOME": None, "TMPDIR": "/nowhere", "LANG": "C", "LC_ALL": "C", "PATH": None}
CLOCKS: Final = ("-3600", "+86400", "+0 x1.5", "+0 x0.7", "@2000-01-01 00:00:00", "@2037-12-31 23:59:58")
FAKETIME: Final = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def nothing(case: Case) -> None:
    """The control: it must end well."""
    case.choose_outputs()
    case.start()


def signals(case: Case) -> None:
    """One to four of those that ask for an end, from the first moment on."""
    case.choose_outputs()
    case.start()
    case.wait_until_heard()
    case.sleep(4.0)
    for _ in range(case.chance.randint(1, 4)):
        number = case.chance.choice(ASKED)
        case.notes.append(number.name)
        case.is_stopped = True
        case.send(number)
        case.sleep(0.3)


def kill(case: Case) -> None:
    """SIGKILL at any moment."""
    case.choose_outputs()
    case.start()
    case.sleep(5.0)
    case.is_killed = True
    case.send(signal.SIGKILL)


def children(case: Case) -> None:
    """Readers, and what starts them, are killed."""
    case.choose_outputs()
    case.start()
    for _ in range(case.chance.randint(1, 3)):
        case.sleep(2.5)
        if found := case.children():
            with suppress(ProcessLookupError):
                os.kill(case.chance.choice(found), signal.SIGKILL)


def pauses(case: Case) -> None:
    """The process, or all of its family, is stopped and goes on."""
    case.choose_outputs()
    case.arguments += ["--watchdog.stage_s", "2"]
    process = case.start()
    for _ in range(case.chance.randint(1, 2)):
        case.sleep(3.0, 1.0)
        members = [process.pid, *(case.children() if case.chance.random() < 0.5 else [])]
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for member in members:
                if process.poll() is None:
                    with suppress(ProcessLookupError):
                        os.kill(member, number)
            if number == signal.SIGSTOP:
                time.sleep(case.chance.uniform(0.2, 4.0))


def file_size(case: Case) -> None:
    """No file may grow beyond some kilobytes."""
    case.choose_outputs()
    case.prefix = ["prlimit", f"--fsize={case.chance.randint(0, 60_000)}"]
    # ONNX Runtime and the readers' shared memory are files too; a lack of them must be reported as an error.
    case.start()


def disk(case: Case) -> None:
    """Outputs on a file system that is full after some kilobytes."""
    case.out.mkdir()
    size_kb = case.chance.randint(8, 400)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(case.out)], check=True)
    case.choose_outputs()
    if case.chance.random() < 0.7:
        case.arguments += ["--min_free_mb", "0"]
    case.start()


def removed(case: Case) -> None:
    """The folder or a file of the outputs is removed or renamed under the node."""
    case.choose_outputs()
    process = case.start()
    case.sleep(4.0, 1.0)
    if not holds(process.pid, case.records):  # not there yet, or whole already: what happens now is no loss
        return
    case.loses_outputs = True
    what = case.chance.choice(["remove folder", "rename folder", "remove records", "rename records"])
    case.notes.append(what)
    with suppress(OSError):
        match what:
            case "remove folder":
                shutil.rmtree(case.out)
            case "rename folder":
                case.out.rename(case.folder / "moved")
            case "remove records":
                case.records.unlink()
            case "rename records":
                case.records.rename(case.out / "r.jsonl.1")


def two(case: Case) -> None:
    """Another node begins to write to the same files; one of them must be refused."""
    case.choose_outputs()
    process = case.start()
    case.sleep(4.0, 1.5)
    if process.poll() is not None or not case.records.exists() or not case.records.stat().st_size:
        return
    other = subprocess.run(
        [*case.command(), "--summary", str(case.folder / "other.json")],
        cwd=case.folder,
        env=case.environment | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=40,
        check=False,
    )
    case.notes.append(f"second {other.returncode}")
    case.is_replaced = other.returncode == 0
    if process.poll() is None and case.is_replaced:
        case.notes.append("COMPLAINT: the second node wrote to the first one's files with status 0")
    if b"Traceback" in other.stderr:
        case.notes.append("COMPLAINT: the second node ended with a traceback")


def surroundings(case: Case) -> None:
    """An environment with little in it, and standard streams that are closed or full."""
    case.choose_outputs()
    for name, value in (
        ("HOME", None),
        ("TMPDIR", "/nowhere"),
        ("LANG", "C"),
        ("LC_ALL", "C"),
        ("PATH", None),
    ):
        if case.chance.random() < 0.4:
            case.environment.pop(name, None)
            if value is not None:
                case.environment[name] = value
            case.notes.append(name)
    streams = ["<&-", ">&-", ">/dev/full", "2>&-", "2>/dev/full"]
    chosen = case.chance.sample(streams, case.chance.randint(0, 3))
    case.redirections = " ".join(chosen)
    case.notes.append(case.redirections)
    case.start()
    if case.chance.random() < 0.5:
        case.wait_until_heard()
        case.sleep(4.0)
        case.is_stopped = True
        case.send(case.chance.choice(ASKED))


def descriptors(case: Case) -> None:
    """Few files may be open."""
    case.choose_outputs()
    limit = case.chance.randint(5, 48)
    case.notes.append(f"nofile {limit}")
    case.prefix = ["prlimit", f"--nofile={limit}"]
    case.start()


def threads(case: Case) -> None:
    """Few threads and processes may be started; root is bound by no such limit, so it is another user."""
    case.choose_outputs()
    uid = case.chance.randint(100_000, 2_000_000)
    capabilities = "+dac_override,+dac_read_search"
    case.folder.chmod(0o777)
    limit = case.chance.randint(1, 14)
    case.notes.append(f"nproc {limit}")
    case.prefix = [
        *("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"),
        *(f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"),
        *("prlimit", f"--nproc={limit}"),
    ]
    case.start()


def memory(case: Case) -> None:
    """Little address space."""
    case.choose_outputs()
    limit_mb = case.chance.randint(300, 2_500)
    case.notes.append(f"{limit_mb} MB")
    case.prefix = ["prlimit", f"--as={limit_mb * 1_000_000}"]
    case.start()


def consumer(case: Case) -> None:
    """Records go to a pipe whose reader is slow, pauses, or goes away."""
    reading, writing = os.pipe()
    case.choose_outputs(records="-")
    case.stdout = writing
    case.arguments += ["--watchdog.stage_s", "2"]
    case.start()
    os.close(writing)
    pause_s, dies = case.chance.choice([0.0, 1.0, 4.0]), case.chance.random() < 0.4
    case.notes.append(f"pause {pause_s:g} s{', then gone' if dies else ''}")
    case.loses_outputs = dies

    def read() -> None:
        with open(reading, "rb", buffering=0) as pipe, case.records.open("wb") as file:
            is_first = True
            while content := pipe.read(65_536):
                file.write(content)
                if is_first:
                    time.sleep(pause_s)
                    is_first = False
                    if dies:
                        return

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(LIVE_S + 30)


def clock(case: Case) -> None:
    """The clock that counts from 1970 is far off, or runs fast or slow; the monotonic one is as it is."""
    case.choose_outputs(may_loop=False)  # each look at faketime's clock takes its time
    offset = case.chance.choice(
        ["-3600", "+86400", "+0 x1.5", "+0 x0.7", "@2000-01-01 00:00:00", "@2037-12-31 23:59:58"]
    )
    case.notes.append(offset)
    case.environment |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME": offset}
    case.environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"  # which does not do so on any machine
    case.start()


SCENARIOS: Final[dict[str, Action]] = {
    it.__name__: it
    for it in (
        *(nothing, signals, kill, children, pauses, file_size, disk, removed, two),
        *(surroundings, descriptors, threads, memory, consumer, clock),
    )
}
WEIGHTS: Final = {"signals": 3, "children": 2, "surroundings": 2, "disk": 2}


def missing_packages() -> list[str]:
    """Debian's packages that are not there."""
    return [] if FAKETIME.exists() else ["faketime"]


def missing() -> dict[str, str]:
    """Scenarios that cannot run here, and why."""
    reasons = {}
    if missing_packages():
        reasons["clock"] = "needs Debian's faketime"
    if os.geteuid() != 0:
        reasons |= {"disk": "needs root", "threads": "needs root"}
    return reasons
