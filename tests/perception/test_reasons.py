"""What runtimes and parsers say of a failure, in our words."""

from __future__ import annotations

import json

import pytest

from perception.inference.engines.reasons import why_not_loaded, why_not_run
from perception.system.json_text import why_unreadable

CODE = "[ONNXRuntimeError] : 1 : FAIL : "
SOURCE = "/onnxruntime_src/onnxruntime/core/graph/model.cc:179 onnxruntime::Model::Model(onnx::ModelProto&&) "


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (f"{CODE}No graph was found in the protobuf.", "it contains no graph"),
        (f"{CODE}Failed to load model because protobuf parsing failed.", "damaged, or not an ONNX file"),
        (
            f"{CODE}Load model from a.onnx failed:{SOURCE}Unsupported model IR version: 99, max: 11",
            "it needs a newer ONNX Runtime than",
        ),
        (
            f"{CODE}Load model from a.onnx failed:Error No Op registered for Foo with domain_version of 17",
            "it does not know the operator Foo",
        ),
        (f"{CODE}Load model from a.onnx failed:{SOURCE}graph is not acyclic", "graph is not acyclic"),
        (
            "Exception from src/core.cpp:109: Check 'a == b' failed at src/core/node.cpp:88: Shapes differ",
            "Shapes differ",
        ),
    ],
)
def test_file_that_does_not_load_is_reported_without_codes_and_places(theirs: str, ours: str) -> None:
    assert why_not_loaded(RuntimeError(theirs)).startswith(ours)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            f"{CODE}Non-zero status code returned while running Reshape node. Message: {SOURCE}size",
            "its operator Reshape failed",
        ),
        (f"{CODE}std::bad_alloc", "not enough memory"),
        ("", "RuntimeError"),
        ("out of\nwords", "out of words"),
    ],
)
def test_network_that_does_not_run_is_reported_with_its_operator(theirs: str, ours: str) -> None:
    assert why_not_run(RuntimeError(theirs)) == ours


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b'{\n  "a": }', "not JSON from line 2, column 8 on"),
        (b"\xff\xfe", "not UTF-8 text at byte 0"),
        (b"1" * 5000, "a number has too many digits"),
        (b"[" * 100_000, "nested too deep"),
    ],
)
def test_text_that_is_no_json_is_reported_with_its_place(content: bytes, ours: str) -> None:
    with pytest.raises((ValueError, RecursionError)) as raised:
        json.loads(content.decode())

    assert why_unreadable(raised.value) == ours
