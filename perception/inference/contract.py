"""ModelContract: input and output of a model file, stored as JSON in the ONNX metadata.

The export writes it; the node and the bench read it. So no setting of the node can disagree with the network.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from perception.labels import LABELS, LABELS_OF_TWO
from perception.system.json_text import why_unreadable

METADATA_KEY = "drivable.contract"
CARD_KEY = "drivable.card"
CONTRACT_VERSION = 2
ADDED_LATER = frozenset({"doubt_quantiles"})
"""Optional fields; all others are required."""
ANY_SIZE = (0, 0)
"""A `frame_wh` for frames of any size."""
NO_CHECKSUM = "0" * 64
"""Placeholder while the checksum is computed. A checksum detects damage; it is no signature."""


class ContractError(ValueError):
    """A model file is not one of ours, or does not match its contract."""


@dataclass(frozen=True)
class ModelContract:
    """Input, output and origin of one model file."""

    model_id: str
    labels: tuple[str, ...]
    """Classes of the output's planes, in their order."""
    input_wh: tuple[int, int]
    """Width and height of the network's input, in pixels."""
    pad_bgr: tuple[int, int, int]
    """Padding colour for frames of another aspect ratio."""
    output_stride: int
    """Pixels of the input per element of the output, along each side."""
    training_data: str
    licence: str
    precision: str = "fp32"
    frame_wh: tuple[int, int] | None = None
    """None: the node resizes frames to `input_wh`. Otherwise the graph does, and takes whole frames of this
    width and height, or of any for `ANY_SIZE`."""
    input_layout: str = "NHWC"
    input_dtype: str = "uint8"
    colour_order: str = "BGR"
    output: str = "logits"
    """logits: (1, labels, h, w) float32 at `input_wh` over `output_stride`. class_map: two outputs,
    `class_map` (ids of `labels.py`) and `confidence` (255 is certain), (1, h, w) uint8 each, at
    `input_wh`."""
    output_layout: str = "NCHW"
    doubt_quantiles: tuple[float, ...] | None = None
    """Quantiles of the network's uncertainty on the frames of `val` (`ood.quantiles_of`); None: not
    measured."""
    contract_version: int = CONTRACT_VERSION
    sha256: str = NO_CHECKSUM
    """Checksum over the whole file, with `NO_CHECKSUM` in place of itself."""

    @property
    def takes_wh(self) -> tuple[int, int]:
        """Width and height of the graph's input image; `input_wh` if it takes frames of any size."""
        return self.input_wh if self.frame_wh in (None, ANY_SIZE) else self.frame_wh

    def to_json(self) -> str:
        """The contract's text in the metadata; deterministic."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """Read a contract back.

        Raises:
            ContractError: naming `where` and the field, if one is missing, unknown or not supported.
        """
        try:
            values = json.loads(text)
        except RecursionError:
            raise ContractError(f"{where}: the model contract is nested too deep") from None
        except ValueError as error:  # not JSON, or a number of more digits than Python reads
            raise ContractError(
                f"{where}: the model contract is not JSON: {why_unreadable(error)}"
            ) from error
        if not isinstance(values, dict):
            raise ContractError(f"{where}: the model contract is not a JSON object")
        known = {field.name for field in fields(cls)}
        for name in sorted(known - ADDED_LATER - values.keys()):
            raise ContractError(f"{where}: the model contract lacks the field {name!r}")
        for name in sorted(values.keys() - known):
            raise ContractError(f"{where}: the model contract has the unknown field {name!r}")
        contract = cls(**{name: _tuple_of(value) for name, value in values.items()})
        contract._check(where)
        return contract

    def _check(self, where: str) -> None:
        supported: dict[str, tuple[Any, ...]] = {
            "contract_version": (CONTRACT_VERSION,),
            "labels": (LABELS, LABELS_OF_TWO),
            "precision": ("fp32", "fp16", "int8"),
            "input_layout": ("NHWC",),
            "input_dtype": ("uint8",),
            "colour_order": ("BGR",),
            "output": ("class_map",) if self.frame_wh else ("logits",),
            "output_layout": ("NCHW",),
        }
        for name, known in supported.items():
            if getattr(self, name) not in known:
                values = " or ".join(repr(value) for value in known)
                raise ContractError(
                    f"{where}: {name} is {getattr(self, name)!r}; this version of drivable runs {values}"
                )
        if self.frame_wh is not None and not (
            _are_whole(self.frame_wh, 2) and (min(self.frame_wh) > 0 or self.frame_wh == ANY_SIZE)
        ):
            raise ContractError(
                f"{where}: frame_wh must be null, two positive whole numbers, or 0 and 0 for any size, "
                f"not {self.frame_wh!r}"
            )
        if not (_are_whole(self.input_wh, 2) and min(self.input_wh) > 0):
            raise ContractError(
                f"{where}: input_wh must be two positive whole numbers, not {self.input_wh!r}"
            )
        if not (_are_whole(self.pad_bgr, 3) and all(0 <= level <= 255 for level in self.pad_bgr)):
            raise ContractError(f"{where}: pad_bgr must be three levels from 0 to 255, not {self.pad_bgr!r}")
        if type(self.output_stride) is not int or self.output_stride < 1:
            raise ContractError(
                f"{where}: output_stride must be a whole number from 1 up, not {self.output_stride!r}"
            )
        if self.doubt_quantiles is not None and not _are_quantiles(self.doubt_quantiles):
            raise ContractError(
                f"{where}: doubt_quantiles must be null or at least two shares from 0 to 1, in ascending "
                f"order, not {self.doubt_quantiles!r}"
            )
        for name in ("model_id", "training_data", "licence", "sha256"):
            if not isinstance(getattr(self, name), str):
                raise ContractError(f"{where}: {name} must be a text, not {getattr(self, name)!r}")
            if not getattr(self, name).isprintable():  # they are shown in terminals, logs and reports
                raise ContractError(f"{where}: {name} has control characters: {getattr(self, name)!r}")

    def verify(self, file_bytes: bytes, where: str) -> None:
        """Check the checksum over graph, card and contract.

        Raises:
            ContractError: if a byte of the file was changed.
        """
        is_there = len(self.sha256) == len(NO_CHECKSUM) and self.sha256 != NO_CHECKSUM
        if not is_there or checksum(file_bytes, self.sha256) != self.sha256:
            raise ContractError(
                f"{where}: the file was changed after it was exported: its checksum does not match"
            )


def checksum(file_bytes: bytes, written: str) -> str:
    """sha256 of a file with `NO_CHECKSUM` in place of its checksum `written`."""
    return hashlib.sha256(file_bytes.replace(written.encode(), NO_CHECKSUM.encode())).hexdigest()


def _tuple_of(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _are_whole(values: Any, count: int) -> bool:
    return isinstance(values, tuple) and len(values) == count and all(type(value) is int for value in values)


def _are_quantiles(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) > 1
        and all(type(value) in (int, float) and 0 <= value <= 1 for value in values)
        and list(values) == sorted(values)
    )
