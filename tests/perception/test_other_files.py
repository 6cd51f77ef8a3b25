"""Files that are given for a model and are none: what they are, and what to do with them, in one line."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from perception.inference.zoo import model_file
from perception.node import main

OnlyErrorLine = Callable[[str], str]


def zipped(name: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, "x")
    return packed.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


def graph(operator: str = "Relu", opset: int = 17, ir: int = 8) -> bytes:
    """A foreign ONNX file."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("a", "b")]
    node = helper.make_node(operator, ["a"], ["b"])
    made = helper.make_graph([node], "net", values[:1], values[1:])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("runs/road/best.pt", zipped("best/data.pkl"), "--model road --checkpoint runs/road/best.pt`"),
        (
            "my.pt",
            zipped("my/data.pkl"),
            "it is a checkpoint; `drivable-export --model NAME --checkpoint my.pt`",
        ),
        ("old.pth", pickle.dumps({"a": 1}, protocol=2), "it is a checkpoint"),
        ("a.onnx", b"", "it is empty"),
        ("a.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "`git lfs pull`"),
        ("a.onnx", b"<!DOCTYPE html><html>404</html>", "it is a web page"),
        ("a.xml", b'<?xml version="1.0"?>\n<net name="a"></net>', "it is an OpenVINO network"),
        ("a.zip", zipped("a.onnx"), "it is packed with zip"),
        ("a.onnx.gz", gzip.compress(bytes(500), mtime=0), "it is packed with gzip"),
        ("a.tflite", b"\x1c\0\0\0TFL3" + bytes(50), "it is a TensorFlow Lite model"),
        ("a.ort", b"\x1c\0\0\0ORTM" + bytes(50), "it is in ONNX Runtime's own format"),
        ("a.engine", b"\xfe\xff" + bytes(range(250)), "it is a TensorRT engine"),
        ("a.safetensors", safetensors(), "it contains only weights"),
        ("a.mp4", b"\0\0\0\x20ftypisom" + bytes(50), "it is a video or picture"),
        ("a.onnx", b"none of yours\n", "it is text"),
        ("a.onnx", graph(), "`drivable-export wrap a.onnx --contract FILE.yaml` adds one"),
        ("a.onnx", graph(operator="NoSuchThing"), "it does not know the operator"),
        ("a.onnx", graph(opset=99), "it needs a newer ONNX Runtime"),
        ("a.onnx", graph(ir=99), "it needs a newer ONNX Runtime"),
    ],
    ids=lambda value: "content" if isinstance(value, bytes) else None,  # some contents hold the time
)
def test_file_that_is_no_model_is_named_for_what_it_is(
    name: str,
    content: bytes,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: OnlyErrorLine,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)

    status = main(["--model", name, "--max-frames", "1"])

    line = only_error_line("drivable-node")
    assert status == 1
    assert line.startswith(f"drivable-node: {name}: ")
    assert message in line
    assert "ONNXRuntimeError" not in line


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("RT_S", "; the nearest is rt_s"),
        ("rt_s_int8", "; the nearest is rt_s-int8"),
        ("rt_m.onnx", "; the nearest is rt_m"),
        ("yolov8n.pt", "shipped: rt_l, rt_l-int8, rt_m, rt_m-int8, rt_s, rt_s-int8"),
        ("runs", "runs: is a folder, not a model file"),
        (
            "runs/road",
            "runs/road/best.pt is a checkpoint: `drivable-export --model road --checkpoint runs/road/",
        ),
        ("road", "runs/road/best.pt is a checkpoint: `drivable-export --model road"),
        ("exported", "exported: is a folder, not a model file; in it: a.onnx"),
    ],
)
def test_model_that_is_not_there_is_refused_with_those_that_are(
    typed: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in (Path("runs/road/best.pt"), Path("exported/a.onnx")):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"")

    with pytest.raises(FileNotFoundError) as raised:
        model_file(typed)

    assert str(raised.value).endswith(message) or message in str(raised.value)
    assert ("nearest" in str(raised.value)) == ("nearest" in message)
