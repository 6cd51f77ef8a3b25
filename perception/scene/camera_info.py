"""ROS's camera_info as camera_calibration_parsers writes it in YAML, with a section for the mount.

OpenCV's own files of calibration are read too: they have the same names, and no distortion model.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, Final

import numpy as np

from perception.scene.calibration import (
    DISTORTION_SIZES,
    Calibration,
    CalibrationError,
    Floats,
    Intrinsics,
    Mount,
)
from perception.scene.yaml_values import Group, count_in, group_in, matrix_in, number_in, text_in

_DEGREES: Final = "_deg"
_RADIANS: Final = "_rad"


def is_camera_info(group: Group) -> bool:
    """Whether a file with these names is one."""
    return "camera_matrix" in group


def calibration_of_info(group: Group) -> Calibration:
    """Read it; raises CalibrationError that says what is wrong."""
    width, height = count_in(group, "image_width"), count_in(group, "image_height")
    matrix = matrix_in(group, "camera_matrix", (3, 3))
    name = "distortion_coefficients"
    distortion = matrix_in(group, name).ravel() if name in group else np.zeros(0)
    model = text_in(group, "distortion_model") if "distortion_model" in group else ""
    intrinsics = intrinsics_of(
        *((width, height), matrix, model or _model_of(distortion), distortion),
    )
    mount = _mount(group_in(group, "mount")) if "mount" in group else None
    return Calibration(intrinsics, mount)


def intrinsics_of(frame_wh: tuple[int, int], matrix: Floats, model: str, distortion: Floats) -> Intrinsics:
    """Intrinsics from what files and messages have: no distortion is one of zeros, and zeros may follow it.

    Raises:
        CalibrationError: if no camera can be so.
    """
    if not distortion.size and model in DISTORTION_SIZES:
        distortion = np.zeros(DISTORTION_SIZES[model][-1])
    longest = max(DISTORTION_SIZES.get(model, (0,)))  # type: ignore[call-overload]  # any text may be asked for
    if 0 < longest < distortion.size and not distortion[longest:].any():
        distortion = distortion[:longest]
    return Intrinsics(frame_wh, matrix, model, distortion)  # type: ignore[arg-type]  # it is checked there


def info_text(calibration: Calibration, name: str = "camera", notes: Sequence[str] = ()) -> str:
    """The file's text.

    Args:
        name: of the camera.
        notes: lines of comment at the top.
    """
    intrinsics = calibration.intrinsics
    matrix = intrinsics.camera_matrix
    width, height = intrinsics.frame_wh
    lines = [
        *(f"# {note}" for note in notes),
        f"image_width: {width}",
        f"image_height: {height}",
        f"camera_name: {name}",
        *_matrix_lines("camera_matrix", matrix),
        f"distortion_model: {intrinsics.distortion_model}",
        *_matrix_lines("distortion_coefficients", intrinsics.distortion[None]),
        *_matrix_lines("rectification_matrix", np.eye(3)),
        *_matrix_lines("projection_matrix", np.column_stack([matrix, np.zeros(3)])),
    ]
    if calibration.mount is not None:
        lines += [
            "mount: # of the camera above flat ground, in the frames of REP 103",
            *(f"  {key}: {_written(value)}" for key, value in asdict(calibration.mount).items()),
        ]
    return "\n".join([*lines, ""])


def _model_of(distortion: Floats) -> str:
    """As ROS and OpenCV take a file that names none."""
    return "rational_polynomial" if distortion[5:].any() else "plumb_bob"


def _mount(group: Group) -> Mount:
    known = [field.name for field in fields(Mount)]
    values: dict[str, Any] = {}
    for name in group:
        value = number_in(group, name)
        key = name
        if name.endswith(_DEGREES):
            key, value = name.removesuffix(_DEGREES) + _RADIANS, math.radians(value)
        if key not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"the nearest known one is {near[0]}" if near else f"known are {', '.join(known)}"
            raise CalibrationError(f"unknown value {name} in mount; {hint}")
        if key in values:
            raise CalibrationError(f"mount has {key} in radians and in degrees; leave one out")
        values[key] = value
    if "height_m" not in values:
        raise CalibrationError("mount has no height_m, the camera's height above the ground")
    return Mount(**values)


def _matrix_lines(name: str, matrix: Floats) -> list[str]:
    rows, columns = matrix.shape
    data = ", ".join(_written(value) for value in matrix.ravel())
    return [f"{name}:", f"  rows: {rows}", f"  cols: {columns}", f"  data: [{data}]"]


def _written(value: float) -> str:
    """So that a reader of YAML 1.1 takes it for a number: `1.0e-05`, where Python writes `1e-05`."""
    text = repr(float(value))
    mantissa, exponent_mark, exponent = text.partition("e")
    return f"{mantissa}.0e{exponent}" if exponent_mark and "." not in mantissa else text
