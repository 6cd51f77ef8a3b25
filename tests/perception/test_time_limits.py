"""The table of time limits: they fit each other and the shipped units of systemd, and there is no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from perception.system import time_limits as limits
from perception.telemetry.systemd import STATUS_EVERY_S

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "perception/system/time_limits.py"
UNITS = {"s": 1.0, "min": 60.0}
IS_LIMIT = re.compile(r"_?(\w+_)?(LIMIT|TIMEOUT|GRACE|MARGIN)_S|\w*(timeout|limit|stage)_s")


def of_unit(setting: str, file: str = "drivable-node.service") -> float:
    """A time of a shipped unit, in seconds."""
    text = (ROOT / "configs/node" / file).read_text()
    found = re.search(rf"^{setting}=([0-9.]+)(s|min)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1]) * UNITS[found[2]]


READER_S = limits.READER_MARGIN_S + limits.READER_GRACE_S + limits.CHILD_KILL_LIMIT_S
"""That a source's own limit becomes longer by where its reader hangs."""


@pytest.mark.parametrize(
    "rising",
    [
        (
            limits.READ_TIMEOUT_S,
            limits.READ_TIMEOUT_S + READER_S,
            limits.STAGE_LIMIT_S,
            limits.SILENCE_LIMIT_S + of_unit("WatchdogSec"),
        ),
        (limits.CAMERA_READ_TIMEOUT_S + READER_S, limits.STAGE_LIMIT_S),
        (limits.STALLED_AFTER_S, limits.STAGE_LIMIT_S),
        (limits.URGENT_LIMIT_S, limits.DRAIN_LIMIT_S + limits.URGENT_LIMIT_S, of_unit("TimeoutStopSec")),
        (limits.START_LIMIT_S + limits.LOG_LIMIT_S, of_unit("TimeoutStopSec")),
        (limits.FIRST_RUN_LIMIT_S, limits.LOAD_LIMIT_S, of_unit("TimeoutStartSec")),
        (
            limits.LOAD_LIMIT_S,
            limits.TENSORRT_LOAD_LIMIT_S,
            of_unit("TimeoutStartSec", "drivable-node-gpu.conf"),
        ),
        (limits.ROS_TAKE_LIMIT_S + limits.CHILD_KILL_LIMIT_S, limits.STAGE_LIMIT_S),
        (limits.ROS_GRACE_S + limits.CHILD_KILL_LIMIT_S, limits.DRAIN_LIMIT_S),
        (STATUS_EVERY_S, limits.STARTING_LIMIT_S),
    ],
    ids=[
        *("stream", "camera", "stall", "stop", "start that is to end", "load", "load on a GPU"),
        *("ROS", "end of ROS", "waiting"),
    ],
)
def test_limit_ends_before_the_one_around_it(rising: tuple[float, ...]) -> None:
    assert all(inner < outer for inner, outer in pairwise(rising))


def numbers(tree: ast.AST) -> Iterator[str]:
    """Names of limits that are given as a number: constants, fields and parameters."""
    for node in ast.walk(tree):
        given: list[tuple[str, ast.expr | None]] = []
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            given = [(node.target.id, node.value)]
        elif isinstance(node, ast.Assign):
            given = [(target.id, node.value) for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.arguments):
            arguments = [*node.posonlyargs, *node.args]
            given = [
                (argument.arg, value)
                for argument, value in zip(reversed(arguments), reversed(node.defaults), strict=False)
            ]
            given += [
                (argument.arg, value)
                for argument, value in zip(node.kwonlyargs, node.kw_defaults, strict=True)
            ]
        for name, value in given:
            if IS_LIMIT.fullmatch(name) and isinstance(value, ast.Constant) and value.value:
                yield name


def test_no_limit_stands_outside_of_the_table() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in sorted((ROOT / "perception").rglob("*.py"))
        if file != TABLE
        for name in numbers(ast.parse(file.read_text()))
    ]

    assert found == []


def test_module_that_a_limit_names_has_it() -> None:
    text = TABLE.read_text()
    named = re.findall(
        r'^(\w+): Final = .*\n"""(?:.*\n)*?.*?((?:\w+\.\w+[\w.]*(?:: \w+)?(?:, )?)+)"""$', text, re.M
    )
    assert len(named) == len(re.findall(r"^\w+: Final", text, re.M))

    for name, modules in named:
        for module in modules.split(", "):
            file = ROOT / "perception" / (module.partition(":")[0].replace(".", "/") + ".py")
            assert re.search(rf"\b{name}\b", file.read_text()), f"{name} is not in {module}"


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("READ_LIMIT_S: Final = 5.0", ["READ_LIMIT_S"]),
        ("def f(*, open_timeout_s: float = 10.0): pass", ["open_timeout_s"]),
        ("class C:\n    stage_s: float = 10.0", ["stage_s"]),
        ("limit_s = 0.0", []),
        ("READ_LIMIT_S: Final = STAGE_LIMIT_S", []),
    ],
)
def test_limits_given_as_numbers_are_found(code: str, names: list[str]) -> None:
    assert list(numbers(ast.parse(code))) == names
