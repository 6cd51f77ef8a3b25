"""ModelContract: what a model file expects and gives, kept as JSON in the ONNX metadata.

Written once, by training, into the checkpoint; export copies it into the ONNX file; the node and
the bench read it from there. So no setting of the node can disagree with the network.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

METADATA_KEY = "drivable.contract"
CONTRACT_VERSION = 1


class ContractError(ValueError):
    """A model file that is not ours, or not as its contract says."""


@dataclass(frozen=True)
class ModelContract:
    """The promise of one model file."""

    model_id: str
    labels: tuple[str, ...]
    input_wh: tuple[int, int]
    """Width and height of the network's input, in pixels."""
    pad_bgr: tuple[int, int, int]
    """Colour that frames are padded with where their shape is not the network's."""
    output_stride: int
    """Pixels of the input per element of the output, along each side."""
    training_data: str
    licence: str
    input_layout: str = "NHWC"
    input_dtype: str = "uint8"
    colour_order: str = "BGR"
    output: str = "logits"
    output_layout: str = "NCHW"
    contract_version: int = CONTRACT_VERSION
    graph_size_bytes: int = 0
    """The graph is the first bytes of the file, the metadata the rest."""
    sha256: str = ""
    """Over the graph's bytes and this contract without its checksum."""

    def to_json(self) -> str:
        """The contract as it stands in the metadata; the same contract gives the same text."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """Read a contract back.

        Raises:
            ContractError: naming `where` and the field, if one is missing, unknown or not supported.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ContractError(f"{where}: the model contract is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise ContractError(f"{where}: the model contract is not a JSON object")
        known = {field.name for field in fields(cls)}
        for name in sorted(known - values.keys()):
            raise ContractError(f"{where}: the model contract lacks the field {name!r}")
        for name in sorted(values.keys() - known):
            raise ContractError(f"{where}: the model contract has the unknown field {name!r}")
        contract = cls(**{name: _tuple_of(value) for name, value in values.items()})
        contract._check(where)
        return contract

    def _check(self, where: str) -> None:
        supported: dict[str, Any] = {
            "contract_version": CONTRACT_VERSION,
            "labels": ("direct", "alternative", "background"),
            "input_layout": "NHWC",
            "input_dtype": "uint8",
            "colour_order": "BGR",
            "output": "logits",
            "output_layout": "NCHW",
        }
        for name, wanted in supported.items():
            if getattr(self, name) != wanted:
                raise ContractError(
                    f"{where}: {name} is {getattr(self, name)!r}; this version of drivable runs {wanted!r}"
                )
        if not (_are_whole(self.input_wh, 2) and min(self.input_wh) > 0):
            raise ContractError(
                f"{where}: input_wh must be two positive whole numbers, not {self.input_wh!r}"
            )
        if not (_are_whole(self.pad_bgr, 3) and all(0 <= level <= 255 for level in self.pad_bgr)):
            raise ContractError(f"{where}: pad_bgr must be three levels of 0 to 255, not {self.pad_bgr!r}")
        for name, lowest in (("output_stride", 1), ("graph_size_bytes", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < lowest:
                raise ContractError(f"{where}: {name} must be a whole number from {lowest} up, not {value!r}")
        for name in ("model_id", "training_data", "licence", "sha256"):
            if not isinstance(getattr(self, name), str):
                raise ContractError(f"{where}: {name} must be a text, not {getattr(self, name)!r}")

    def checksum(self, graph: bytes) -> str:
        """sha256 over the graph's bytes and this contract without its checksum."""
        values = asdict(self) | {"sha256": ""}
        text = json.dumps(values, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(graph + text.encode()).hexdigest()

    def verify(self, file_bytes: bytes, where: str) -> None:
        """Check that graph and contract are the ones that were exported together.

        Raises:
            ContractError: if either was changed.
        """
        if self.checksum(file_bytes[: self.graph_size_bytes]) != self.sha256:
            raise ContractError(
                f"{where}: the file was changed after it was exported: its checksum does not match"
            )


def _tuple_of(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _are_whole(values: Any, count: int) -> bool:
    return isinstance(values, tuple) and len(values) == count and all(type(value) is int for value in values)
