"""Numbers and matrices in files of calibration, as ROS and OpenCV write them in YAML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import yaml

from perception.cli_config.yaml_file import YamlError, composed
from perception.scene.calibration import CalibrationError, Floats

_OPENCV_HEAD: Final = "%YAML:"
"""How OpenCV's FileStorage begins, which no version of YAML allows."""
_SPECIAL: Final = {".nan": math.nan, ".inf": math.inf, "-.inf": -math.inf, "+.inf": math.inf}

Group = Mapping[str, yaml.Node]


def group_of_text(text: str) -> Group:
    """The names and values of a file; raises CalibrationError if it holds no `name: value`."""
    if text.startswith(_OPENCV_HEAD):
        text = f"#{text}"  # as long as before: lines keep their numbers
    try:
        node = composed(text)
    except YamlError as error:
        raise CalibrationError(f"is no file of calibration: {error}") from None
    if not isinstance(node, yaml.MappingNode):
        raise CalibrationError("is no file of calibration: it holds no `name: value`")
    return _group(node)


def group_in(group: Group, name: str) -> Group:
    """A group in a group; raises CalibrationError."""
    node = _named(group, name)
    if not isinstance(node, yaml.MappingNode):
        raise CalibrationError(f"{_line(node)}{name} needs values of its own as `name: value`")
    return _group(node)


def text_in(group: Group, name: str) -> str:
    """A text; raises CalibrationError."""
    node = _named(group, name)
    if not isinstance(node, yaml.ScalarNode):
        raise CalibrationError(f"{_line(node)}{name} is no single value")
    return str(node.value).strip()


def number_in(group: Group, name: str) -> float:
    """A number, NaN and infinity included; raises CalibrationError."""
    return _number(_named(group, name), name)


def count_in(group: Group, name: str) -> int:
    """A whole number; raises CalibrationError."""
    value = number_in(group, name)
    if not value.is_integer():
        raise CalibrationError(f"{_line(group[name])}{name} is {value:g}; a whole number is expected")
    return int(value)


def matrix_in(group: Group, name: str, shape: tuple[int, int] | None = None) -> Floats:
    """A matrix as rows, cols and data; or its numbers alone, in rows as of `shape`.

    Args:
        shape: that it has to have; any, without one.

    Raises:
        CalibrationError: if it is none.
    """
    node = _named(group, name)
    if isinstance(node, yaml.SequenceNode):
        values = _numbers(node, name)
        rows, columns = shape or (1, len(values))
    else:
        inner = group_in(group, name)
        rows, columns = count_in(inner, "rows"), count_in(inner, "cols")
        data = _named(inner, "data")
        if not isinstance(data, yaml.SequenceNode):
            raise CalibrationError(f"{_line(data)}{name} has data that are no list")
        values = _numbers(data, name)
    if rows < 0 or columns < 0 or len(values) != rows * columns:
        raise CalibrationError(
            f"{_line(node)}{name} is {rows}x{columns} and has {len(values)} values in its data"
        )
    if shape is not None and (rows, columns) != shape:
        raise CalibrationError(
            f"{_line(node)}{name} is {rows}x{columns}; {shape[0]} rows and {shape[1]} columns are expected"
        )
    return np.array(values, np.float64).reshape(rows, columns)


def _named(group: Group, name: str) -> yaml.Node:
    if name not in group:
        raise CalibrationError(f"{name} is missing")
    return group[name]


def _group(node: yaml.MappingNode) -> Group:
    return {str(key.value): value for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def _numbers(node: yaml.SequenceNode, name: str) -> list[float]:
    return [_number(each, name) for each in node.value]


def _number(node: yaml.Node, name: str) -> float:
    if isinstance(node, yaml.ScalarNode):
        text = str(node.value).strip().lower()
        if text in _SPECIAL:
            return _SPECIAL[text]
        try:
            return float(text)
        except ValueError:
            pass
    raise CalibrationError(f"{_line(node)}{name} holds what is no number")


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}: " if node.start_mark else ""
