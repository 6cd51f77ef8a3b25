"""The contract of a model file: what it says is read back, and what it cannot mean is refused."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from perception.contract import ContractError, ModelContract

CONTRACT = ModelContract(
    model_id="tiny-1",
    labels=("direct", "alternative", "background"),
    input_wh=(640, 384),
    pad_bgr=(116, 116, 116),
    output_stride=8,
    training_data="straße, 道路",
    licence="Apache-2.0",
)


def changed(**values: Any) -> str:
    return json.dumps(json.loads(CONTRACT.to_json()) | values)


def test_contract_comes_back_from_its_json() -> None:
    assert ModelContract.from_json(CONTRACT.to_json(), "m.onnx") == CONTRACT


def test_same_contract_gives_the_same_text() -> None:
    assert replace(CONTRACT).to_json() == CONTRACT.to_json()


@pytest.mark.parametrize("name", [field.name for field in fields(ModelContract)])
def test_missing_field_is_named_with_the_file(name: str) -> None:
    values = json.loads(CONTRACT.to_json())
    del values[name]

    with pytest.raises(ContractError, match=f"^m.onnx: .*lacks the field '{name}'$"):
        ModelContract.from_json(json.dumps(values), "m.onnx")


def test_unknown_field_is_named_with_the_file() -> None:
    with pytest.raises(ContractError, match=r"^m.onnx: .*unknown field 'mean_bgr'$"):
        ModelContract.from_json(changed(mean_bgr=[0, 0, 0]), "m.onnx")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("contract_version", 2),
        ("labels", ["direct", "background"]),
        ("labels", ["background", "direct", "alternative"]),
        ("input_layout", "NCHW"),
        ("input_dtype", "float32"),
        ("colour_order", "RGB"),
        ("output", "class_map"),
        ("output_layout", "NHWC"),
    ],
)
def test_unsupported_value_is_named_with_what_is_supported(name: str, value: Any) -> None:
    with pytest.raises(ContractError, match=f"^m.onnx: {name} is .*; this version of drivable runs "):
        ModelContract.from_json(changed(**{name: value}), "m.onnx")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_wh", [640]),
        ("input_wh", [640, 0]),
        ("input_wh", [640.0, 384]),
        ("input_wh", "640x384"),
        ("pad_bgr", [116, 116]),
        ("pad_bgr", [116, 116, 256]),
        ("pad_bgr", [-1, 0, 0]),
        ("pad_bgr", 116),
        ("output_stride", 0),
        ("output_stride", "8"),
        ("output_stride", True),
        ("graph_size_bytes", -1),
        ("graph_size_bytes", 12.5),
        ("model_id", 7),
        ("training_data", None),
        ("licence", ["MIT"]),
        ("sha256", None),
    ],
)
def test_impossible_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(ContractError, match=f"^m.onnx: {name} must be "):
        ModelContract.from_json(changed(**{name: value}), "m.onnx")


@pytest.mark.parametrize("text", ["", "{", "contract", "{'a': 1}"])
def test_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match=r"^m.onnx: the model contract is not JSON"):
        ModelContract.from_json(text, "m.onnx")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"contract"'])
def test_json_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match=r"^m.onnx: the model contract is not a JSON object$"):
        ModelContract.from_json(text, "m.onnx")


GRAPH = bytes(range(200))


def signed(contract: ModelContract = CONTRACT) -> ModelContract:
    contract = replace(contract, graph_size_bytes=len(GRAPH))
    return replace(contract, sha256=contract.checksum(GRAPH))


def test_graph_and_contract_that_belong_together_pass() -> None:
    signed().verify(GRAPH + b"metadata", "m.onnx")


@pytest.mark.parametrize("position", [0, 99, 199])
def test_changed_byte_of_the_graph_is_found(position: int) -> None:
    damaged = bytearray(GRAPH)
    damaged[position] ^= 1

    with pytest.raises(ContractError, match=r"^m.onnx: the file was changed after it was exported"):
        signed().verify(bytes(damaged), "m.onnx")


def test_graph_cut_short_is_found() -> None:
    with pytest.raises(ContractError, match="was changed"):
        signed().verify(GRAPH[:-1], "m.onnx")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_id", "tiny-2"),
        ("input_wh", (640, 352)),
        ("pad_bgr", (116, 116, 117)),
        ("output_stride", 4),
        ("training_data", "strasse, 道路"),
        ("licence", "MIT"),
        ("graph_size_bytes", len(GRAPH) - 1),
        ("sha256", "0" * 64),
    ],
)
def test_changed_field_of_the_contract_is_found(name: str, value: Any) -> None:
    contract = replace(signed(), **{name: value})

    with pytest.raises(ContractError, match="was changed"):
        contract.verify(GRAPH, "m.onnx")


def test_checksum_does_not_depend_on_the_one_that_is_there() -> None:
    contract = replace(CONTRACT, graph_size_bytes=len(GRAPH))

    assert replace(contract, sha256="f" * 64).checksum(GRAPH) == contract.checksum(GRAPH)
