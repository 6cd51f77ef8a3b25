from __future__ import annotations

import ctypes

import pytest

from perception.sources.v4l2 import structs
from perception.sources.v4l2.device import layout_of
from perception.sources.v4l2.pixels import Layout


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_long) != 8, reason="the numbers are those of 64-bit systems")
@pytest.mark.parametrize(
    ("name", "number"),
    [
        # printed by a C program that includes <linux/videodev2.h>
        ("QUERYCAP", 0x80685600),
        ("ENUM_FMT", 0xC0405602),
        ("S_FMT", 0xC0D05605),
        ("REQBUFS", 0xC0145608),
        ("QUERYBUF", 0xC0585609),
        ("QBUF", 0xC058560F),
        ("DQBUF", 0xC0585611),
        ("STREAMON", 0x40045612),
        ("STREAMOFF", 0x40045613),
        ("S_PARM", 0xC0CC5616),
    ],
)
def test_the_numbers_of_the_calls_are_those_of_the_kernels_header(name: str, number: int) -> None:
    assert getattr(structs, name) == number


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_long) != 8, reason="the offsets are those of 64-bit systems")
def test_fields_lie_where_the_kernel_has_them() -> None:
    buffer, parameters = structs.Buffer, structs.CaptureParameters

    assert [buffer.timestamp.offset, buffer.sequence.offset, buffer.m.offset] == [24, 56, 64]
    assert [structs.Format.fmt.offset, structs.PixFormat.quantization.offset] == [8, 40]
    assert [structs.StreamParameters.parm.offset, parameters.timeperframe.offset] == [4, 8]
    assert structs.Capability.device_caps.offset == 88


def test_letters_and_numbers_of_formats_are_each_others_inverse() -> None:
    assert structs.fourcc_letters(structs.fourcc_number("NV12")) == "NV12"
    assert structs.fourcc_letters(structs.fourcc_number("Y16 ") | 1 << 31) == "0xa0363159"


@pytest.mark.parametrize(
    ("colorspace", "ycbcr", "quantization", "matrix", "is_full_range"),
    [
        (0, 0, 0, "bt601", False),
        (8, 0, 0, "bt601", False),
        (structs.COLORSPACE_REC709, 0, 0, "bt709", False),
        (structs.COLORSPACE_REC709, 1, 0, "bt601", False),
        (8, structs.YCBCR_709, 0, "bt709", False),
        (structs.COLORSPACE_JPEG, 0, 0, "bt601", True),
        (structs.COLORSPACE_JPEG, 0, 2, "bt601", False),
        (8, 0, structs.QUANTIZATION_FULL, "bt601", True),
    ],
    ids=["unspecified", "sRGB", "709", "709, yet 601", "sRGB, yet 709", "JPEG", "JPEG, yet limited", "full"],
)
def test_matrix_and_range_follow_from_what_the_driver_states(
    colorspace: int, ycbcr: int, quantization: int, matrix: str, is_full_range: bool
) -> None:
    pix = structs.PixFormat(
        640, 360, structs.fourcc_number("YUYV"), 1, 1280, 0, colorspace, 0, 0, ycbcr, quantization
    )

    assert layout_of(pix) == Layout((640, 360), "YUYV", 1280, matrix, is_full_range)  # type: ignore[arg-type]
