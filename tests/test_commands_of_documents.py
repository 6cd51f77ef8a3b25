"""Every command in a README is one that the commands take, whole; what is no command of ours is listed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
READMES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("*/README.md")),
    *(ROOT / folder / "README.md" for folder in ("perception/archive", "tests/rigs")),
]
ENTRIES = {
    "drivable-node": "perception.node",
    "drivable-train": "train.cli",
    "drivable-export": "export.cli",
    "drivable-bench": "bench.cli",
    "drivable-calibrate": "perception.calibrate.cli",
    "drivable-archive": "perception.archive.cli",
}
PARSERS = (
    "perception.cli_config",
    "perception.calibrate.cli",
    "perception.archive.cli",
    "train.cli",
    "train.inspect_data",
    "train.subset",
    "train.table",
    "export.cli",
    "bench.cli",
)
"""Modules that parse settings by a name of their own."""
OTHERS = {
    # the wheel and its extras: tests/test_wheel.py installs one, `make test-vehicle` the pinned versions
    *("pip install .", "pip install '.[train]'", "pip install '.[export]'", "python -m build --wheel"),
    # the development environment has these extras, and the tests of each use them
    *(f"pip install '.[{extra}]'" for extra in ("mcap", "mqtt", "ros", "foxglove", "archive")),
    # ROS 2 as its own packages install it
    "source /opt/ros/jazzy/setup.bash",
    "pip install --require-hashes -r configs/node/vehicle.txt",
    "pip install --no-deps drivable-0.7.0-py3-none-any.whl",
    # by hand: gigabytes, for a GPU
    "pip install '.[cuda]'",
    # tests/perception/test_sources_api.py asks the same
    """curl -H "Authorization: Bearer $TOKEN" -X PUT localhost:8080/sources/left """
    """-d '{"source": "rtsp://camera/road"}'""",
    'curl -H "Authorization: Bearer $TOKEN" -X PUT localhost:8080/sources/left',
    'curl -H "Authorization: Bearer $TOKEN" -X DELETE localhost:8080/sources/left',
    "curl localhost:8080/sources",
    # a package of others, which tests/perception/test_plugins.py installs and runs
    "pip install ./roadkit",
    "drivable-node --source drive.npy --npy.rate 10 --engine mirror --jumps.largest 0.2 "
    "--shares.file shares.csv",
}


class Parsed(BaseException):
    """A command line was read to its end."""


def _lines() -> Iterator[str]:
    for readme in READMES:
        for block in re.findall(r"```sh\n(.*?)```", readme.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if command := re.sub(r"\s+#.*", "", line).strip():
                    yield re.sub(r"\s+", " ", command)


LINES = sorted(set(_lines()) - OTHERS)
OURS = [line for line in LINES if line.split()[0] in ENTRIES]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Runs a command up to where its settings are read; its status, if it gets no further."""
    pytest.importorskip("torch")
    modules: list[Any] = [import_module(name) for name in PARSERS]  # all of them before the first is changed
    for module in modules:
        real = module.parse

        def parse(*given: Any, _real: Callable[..., Any] = real, **named: Any) -> Any:
            _real(*given, **named)
            raise Parsed

        monkeypatch.setattr(module, "parse", parse)

    def run_line(line: str) -> int:
        command, *arguments = shlex.split(line)
        status: int = import_module(ENTRIES[command]).main(arguments)
        return status

    return run_line


@pytest.mark.parametrize("line", OURS)
def test_command_is_taken_whole(line: str, run: Callable[[str], int]) -> None:
    with pytest.raises(Parsed):
        run(line)


@pytest.mark.parametrize(
    "line",
    [
        "drivable-node drive.mp4 --ot overlay.mp4",
        "drivable-node drive.mp4 --duration long",
        "drivable-train tabel",
        "drivable-bench infer --models '[rt_s' --threads 1",
    ],
)
def test_command_that_is_wrong_is_found_out(line: str, run: Callable[[str], int]) -> None:
    assert run(line) != 0


def test_every_other_line_is_a_target_of_make_or_a_rig() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    def is_known(line: str) -> bool:
        program, first, *rest = line.split()
        file = f"{rest[0].replace('.', '/')}.py" if first == "-m" else first
        return (program == "make" and first in targets) or (program == "python" and (ROOT / file).is_file())

    assert [line for line in LINES if line not in OURS and not is_known(line)] == []


def test_what_is_listed_stands_in_a_readme() -> None:
    assert sorted(OTHERS - set(_lines())) == []
