"""The shipped networks by name, and files by path."""

from __future__ import annotations

from pathlib import Path

import pytest

from perception.inference import zoo
from perception.inference.zoo import DEFAULT_MODEL, model_file, shipped_models


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped models: two networks and a card."""
    for name in ("rt_m-int8.onnx", "rt_m.onnx", "rt_m.md"):
        (tmp_path / name).touch()
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    return tmp_path


def test_default_model_is_shipped() -> None:
    assert model_file(DEFAULT_MODEL) == shipped_models()[DEFAULT_MODEL]


@pytest.mark.parametrize("name", ["rt_m", "rt_m-int8"])
def test_shipped_name_is_its_file(shipped: Path, name: str) -> None:
    assert model_file(name) == shipped / f"{name}.onnx"


def test_path_is_itself(shipped: Path, tmp_path: Path) -> None:
    file = tmp_path / "own" / "mine.onnx"
    file.parent.mkdir()
    file.touch()

    assert model_file(str(file)) == file


@pytest.mark.parametrize("name", ["rt_x", "rt_m.md", "own/mine.onnx", ""])
def test_unknown_name_is_refused_with_the_known_ones(shipped: Path, name: str) -> None:
    with pytest.raises(
        FileNotFoundError,
        match=r"no shipped model of that name; shipped: rt_m, rt_m-int8(; the nearest is rt_m)?$",
    ):
        model_file(name)
