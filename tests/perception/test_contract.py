"""The contract of a model file: what it says is read back, and what it cannot mean is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from perception.inference.contract import ADDED_LATER, NO_CHECKSUM, ContractError, ModelContract, checksum

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


@pytest.mark.parametrize(
    "name", [field.name for field in fields(ModelContract) if field.name not in ADDED_LATER]
)
def test_missing_field_is_named_with_the_file(name: str) -> None:
    values = json.loads(CONTRACT.to_json())
    del values[name]

    with pytest.raises(ContractError, match=f"^m.onnx: .*lacks the field '{name}'$"):
        ModelContract.from_json(json.dumps(values), "m.onnx")


def test_file_from_before_the_doubt_was_measured_tells_none() -> None:
    values = json.loads(CONTRACT.to_json())
    del values["doubt_quantiles"]

    assert ModelContract.from_json(json.dumps(values), "m.onnx").doubt_quantiles is None


def test_quantiles_of_doubt_come_back() -> None:
    contract = replace(CONTRACT, doubt_quantiles=(0.01, 0.2, 1.0))

    assert ModelContract.from_json(contract.to_json(), "m.onnx") == contract


def test_unknown_field_is_named_with_the_file() -> None:
    with pytest.raises(ContractError, match=r"^m.onnx: .*unknown field 'mean_bgr'$"):
        ModelContract.from_json(changed(mean_bgr=[0, 0, 0]), "m.onnx")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("contract_version", 1),
        ("labels", ["direct", "background"]),
        ("labels", ["background", "drivable"]),
        ("labels", ["background", "direct", "alternative"]),
        ("input_layout", "NCHW"),
        ("input_dtype", "float32"),
        ("colour_order", "RGB"),
        ("output", "masks"),
        ("output", "class_map"),  # which takes whole frames, so a contract without frame_wh is none of it
        ("output_layout", "NHWC"),
        ("precision", "bf16"),
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
        ("model_id", 7),
        ("training_data", None),
        ("licence", ["MIT"]),
        ("sha256", None),
        ("doubt_quantiles", []),
        ("doubt_quantiles", [0.1]),
        ("doubt_quantiles", [0.2, 0.1]),
        ("doubt_quantiles", [0.1, 1.1]),
        ("doubt_quantiles", [float("nan"), 0.5]),
        ("doubt_quantiles", [True, True]),
        ("doubt_quantiles", 0.1),
    ],
)
def test_impossible_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(ContractError, match=f"^m.onnx: {name} must be "):
        ModelContract.from_json(changed(**{name: value}), "m.onnx")


@pytest.mark.parametrize("frame_wh", [[1280], [0, 720], [1280, -1], [1280.0, 720], "any", 0])
def test_impossible_size_of_frame_is_named(frame_wh: Any) -> None:
    output = "class_map" if frame_wh else "logits"

    with pytest.raises(ContractError, match=r"^m.onnx: frame_wh must be null, "):
        ModelContract.from_json(changed(frame_wh=frame_wh, output=output), "m.onnx")


@pytest.mark.parametrize("frame_wh", [(1280, 720), (0, 0)])
@pytest.mark.parametrize("labels", [("direct", "alternative", "background"), ("drivable", "background")])
def test_graph_that_takes_whole_frames_gives_class_maps(
    frame_wh: tuple[int, int], labels: tuple[str, ...]
) -> None:
    contract = replace(CONTRACT, frame_wh=frame_wh, output="class_map", labels=labels, precision="fp16")

    assert ModelContract.from_json(contract.to_json(), "m.onnx") == contract
    with pytest.raises(ContractError, match="output is 'logits'; this version of drivable runs 'class_map'"):
        ModelContract.from_json(replace(contract, output="logits").to_json(), "m.onnx")


@pytest.mark.parametrize("text", ["", "{", "contract", "{'a': 1}"])
def test_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match=r"^m.onnx: the model contract is not JSON"):
        ModelContract.from_json(text, "m.onnx")


def test_number_of_more_digits_than_python_reads_is_refused() -> None:
    text = CONTRACT.to_json().replace('"output_stride": 8', f'"output_stride": {5000 * "9"}')

    with pytest.raises(
        ContractError, match=r"^m.onnx: the model contract is not JSON: a number has too many digits"
    ):
        ModelContract.from_json(text, "m.onnx")


def test_json_nested_without_an_end_is_refused() -> None:
    with pytest.raises(ContractError, match=r"^m.onnx: the model contract is nested too deep$"):
        ModelContract.from_json('{"a":' * 100_000, "m.onnx")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"contract"'])
def test_json_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match=r"^m.onnx: the model contract is not a JSON object$"):
        ModelContract.from_json(text, "m.onnx")


GRAPH = bytes(range(200))


def signed() -> tuple[bytes, ModelContract]:
    """A file as the exporter makes it, without any protobuf around it."""
    unsigned = GRAPH + CONTRACT.to_json().encode() + b"card"
    contract = replace(CONTRACT, sha256=checksum(unsigned, NO_CHECKSUM))
    return unsigned.replace(NO_CHECKSUM.encode(), contract.sha256.encode()), contract


def test_file_and_contract_that_belong_together_pass() -> None:
    content, contract = signed()

    contract.verify(content, "m.onnx")


@pytest.mark.parametrize("position", [0, 99, 199, 200, 260, -1])
def test_changed_byte_of_the_file_is_found(position: int) -> None:
    content, contract = signed()
    damaged = bytearray(content)
    damaged[position] ^= 1

    with pytest.raises(ContractError, match=r"^m.onnx: the file was changed after it was exported"):
        contract.verify(bytes(damaged), "m.onnx")


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content + b"x"])
def test_file_of_another_length_is_found(damage: Callable[[bytes], bytes]) -> None:
    content, contract = signed()

    with pytest.raises(ContractError, match="was changed"):
        contract.verify(damage(content), "m.onnx")


@pytest.mark.parametrize("sha256", [NO_CHECKSUM, "", "0", "f" * 64])
def test_contract_without_its_checksum_passes_for_no_file(sha256: str) -> None:
    content, contract = signed()

    with pytest.raises(ContractError, match="was changed"):
        replace(contract, sha256=sha256).verify(content, "m.onnx")
    with pytest.raises(ContractError, match="was changed"):
        replace(contract, sha256=sha256).verify(
            content.replace(contract.sha256.encode(), sha256.encode()), "m.onnx"
        )
