"""What every test keeps to: it stays outside of what it tests, and no subject has slow tests alone."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = {str(file.relative_to(TESTS)): ast.parse(file.read_text()) for file in sorted(TESTS.rglob("*.py"))}
OURS = ("perception", "bench", "train", "export")
SLOW = {"slow", "slow_large"}

ONLY_SLOW = {
    "rigs/test_bags.py": "real rclpy; the sink has ordinary tests with readers from PyPI",
    "rigs/test_ros.py": "real rclpy; messages, networks, sink and source have ordinary tests",
    "rigs/test_recordings.py": "two scenarios of a rig; their parts are tested with the sources",
    "test_end_to_end.py": "training, export and a run in a row; each has ordinary tests",
    "train/test_overfit.py": "what a network learns takes minutes; test_loop trains in seconds",
}
"""Modules of slow tests alone, and why."""

PUBLIC = {"_exit", "_replace", "_asdict", "_fields", "_getframe"}
"""Names of the standard library that are public although they begin so."""


def marks(decorators: list[ast.expr]) -> set[str]:
    """Names of pytest's marks among decorators."""
    return {
        node.attr
        for decorator in decorators
        for node in [decorator.func if isinstance(decorator, ast.Call) else decorator]
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pytest.mark"
    }


def has_ordinary_test(body: list[ast.stmt]) -> bool:
    """Whether a test among the statements of a module or class runs in `make test`."""
    is_ordinary = False
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=value):
                if SLOW & marks(value.elts if isinstance(value, ast.List) else [value]):
                    return False
            case ast.FunctionDef(name=name, decorator_list=decorators) if name.startswith("test"):
                is_ordinary |= not SLOW & marks(decorators)
            case ast.ClassDef(name=name, decorator_list=decorators) if name.startswith("Test"):
                is_ordinary |= not SLOW & marks(decorators) and has_ordinary_test(statement.body)
    return is_ordinary


def private(tree: ast.Module) -> Iterator[str]:
    """Where private names of anything but a test's own object are used."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name) if re.match("_[a-z]", name) and name not in PUBLIC:
                yield f"{node.lineno}: {ast.unparse(node)}"
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] in OURS:
                yield from (f"{node.lineno}: {it.name}" for it in names if re.match("_[A-Za-z]", it.name))
            case ast.Constant(value=str(text)) if re.fullmatch(
                rf"({'|'.join(OURS)})[\w.]*\._[A-Za-z]\w*", text
            ):
                yield f"{node.lineno}: {text}"
            case ast.Call(
                func=ast.Attribute(attr="setattr"), args=[_, ast.Constant(value=str(name)), *_]
            ) if re.match("_[A-Za-z]", name):
                yield f"{node.lineno}: {name}"


def test_every_module_has_a_test_that_is_not_slow() -> None:
    modules = {file: tree for file, tree in FILES.items() if Path(file).name.startswith("test_")}

    assert {file for file, tree in modules.items() if not has_ordinary_test(tree.body)} == set(ONLY_SLOW)


def test_every_file_that_make_names_is_there() -> None:
    asked = ["make", "--dry-run", "quick", "test-lowest"]
    said = subprocess.run(asked, cwd=TESTS.parent, capture_output=True, text=True, check=True).stdout

    named = set(re.findall(r"tests/[\w/.]+", said))
    assert len(named) > 50
    assert [path for path in sorted(named) if not (TESTS.parent / path).exists()] == []


def test_no_test_reaches_into_private_attributes() -> None:
    assert {file: uses for file, tree in FILES.items() if (uses := list(private(tree)))} == {}


@pytest.mark.parametrize(
    ("code", "is_ordinary"),
    [
        ("def test_a(): pass", True),
        ("@pytest.mark.slow\ndef test_a(): pass", False),
        (
            "@pytest.mark.slow\ndef test_a(): pass\n@pytest.mark.parametrize('a', [1])\ndef test_b(a): pass",
            True,
        ),
        ("pytestmark = pytest.mark.slow\ndef test_a(): pass", False),
        ("pytestmark = [pytest.mark.gpu, pytest.mark.slow]\ndef test_a(): pass", False),
        ("@pytest.mark.slow\nclass TestA:\n    def test_a(self): pass", False),
        ("class TestA:\n    @pytest.mark.slow\n    def test_a(self): pass", False),
        ("class TestA:\n    def test_a(self): pass", True),
        ("def helper(): pass", False),
    ],
)
def test_slow_modules_are_known(code: str, is_ordinary: bool) -> None:
    assert has_ordinary_test(ast.parse(code).body) == is_ordinary


@pytest.mark.parametrize(
    ("code", "uses"),
    [
        ("engine._session", 1),
        ("self._session", 0),
        ("self.engine._session", 1),
        ("from perception.node import _main", 1),
        ("from perception import __version__", 0),
        ("monkeypatch.setattr('perception.node._LIMIT_S', 1)", 1),
        ("monkeypatch.setattr(node, '_LIMIT_S', 1)", 1),
        ("os._exit(1); values._replace(a=1)", 0),
    ],
)
def test_private_names_are_found(code: str, uses: int) -> None:
    assert len(list(private(ast.parse(code)))) == uses
