"""Model files as ONNX Runtime sessions: opening them, and the checks before one is run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import onnxruntime as ort

from perception.inference.contract import METADATA_KEY, ContractError, ModelContract
from perception.inference.engines.engine import EngineError
from perception.inference.engines.reasons import why_not_loaded
from perception.inference.engines.whole_file import LARGEST_BYTES, check_whole
from perception.inference.known_answer import KNOWN_ANSWER_KEY, KnownAnswer

Shape = list[int | None]
"""Of a tensor; None is a side of any length."""

CPU: Final = "CPUExecutionProvider"
_SILENT: Final = 4  # we report a provider that does not load, in one line


@dataclass(frozen=True, eq=False)
class CheckedModel:
    """A model file that has passed the checks that come before any engine runs it."""

    where: str
    """Its name, for errors."""
    content: bytes
    threads: int
    """Of the CPU, for one inference; 0 uses every core."""
    session: ort.InferenceSession
    """On the CPU."""
    contract: ModelContract
    known: KnownAnswer | None
    """The answer in it that an engine must give to count as running; None if it has none."""

    @classmethod
    def opened(cls, file: Path, threads: int) -> Self:
        """Read and check a file.

        Raises:
            EngineError: if it does not load, has no valid contract, or its known answer is damaged.
        """
        content, where = read_model(file), str(file)
        session = load_session(content, where, [CPU], threads)
        contract = contract_of(session, content, where)
        return cls(where, content, threads, session, contract, _known_answer_of(session, contract, where))

    @cached_property
    def sha256(self) -> str:
        """As printed by `sha256sum`."""
        return hashlib.sha256(self.content).hexdigest()


def read_model(file: Path) -> bytes:
    """The bytes of a model file; raises EngineError."""
    try:
        if (size_bytes := file.stat().st_size) > LARGEST_BYTES:
            raise EngineError(f"{file}: {size_bytes / 1e9:.1f} GB; an ONNX file has 2 GB at most")
        return file.read_bytes()
    except OSError as error:
        raise EngineError(f"{file}: the model cannot be read: {error.strerror}") from error


def load_session(
    content: bytes,
    where: str,
    providers: Sequence[str | tuple[str, dict[str, str]]],
    threads: int,
    entries: Mapping[str, str] = MappingProxyType({}),
) -> ort.InferenceSession:
    """A session of an ONNX file.

    Args:
        content: the file's bytes.
        where: its name, for the error.
        providers: ONNX Runtime's names, best first, alone or with their options.
        threads: for one inference; 0 uses every core.
        entries: further settings of the session, by ONNX Runtime's keys.

    Raises:
        EngineError: if it does not load, or has external data; in one line.
    """
    check_whole(content, where)
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = threads
    # Spinning threads take 20 to 40 % of a small machine from the rest of the pipeline.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The check above is for ONNX; the runtime would also detect its own format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    ort.set_default_logger_severity(_SILENT)
    try:
        # ONNX Runtime's own fallback prints to standard output, which is for records.
        return ort.InferenceSession(content, options, providers=list(providers), enable_fallback=0)
    except Exception as error:  # ONNX Runtime raises several types without a common base
        raise EngineError(
            f"{where}: not a model that ONNX Runtime can load: {why_not_loaded(error)}"
        ) from error


def contract_of(session: ort.InferenceSession, content: bytes, where: str) -> ModelContract:
    """The contract of a model file, after checking file and graph against it.

    Args:
        session: of this file, on any provider.
        content: the file's bytes.
        where: its name, for the error.

    Raises:
        EngineError: if there is no valid contract, a byte of the file was changed, or the graph's inputs or
            outputs are not those of its contract.
    """
    try:
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    except UnicodeDecodeError as error:
        raise EngineError(f"{where}: the file was changed after it was exported") from error
    if text is None:
        raise EngineError(
            f"{where}: an ONNX file without a drivable contract, which describes input, labels and "
            f"normalisation; `drivable-export wrap {where} --contract FILE.yaml` adds one"
        )
    try:
        contract = ModelContract.from_json(text, where)
        contract.verify(content, where)
    except ContractError as error:
        raise EngineError(str(error)) from error
    _check_graph(session, contract, where)
    return contract


def _known_answer_of(
    session: ort.InferenceSession, contract: ModelContract, where: str
) -> KnownAnswer | None:
    """The known answer in the file; None if it has none. Raises EngineError if it is damaged."""
    text = session.get_modelmeta().custom_metadata_map.get(KNOWN_ANSWER_KEY)
    try:
        return None if text is None else KnownAnswer.from_json(text, contract, where)
    except ContractError as error:
        raise EngineError(str(error)) from error


def _check_graph(session: ort.InferenceSession, contract: ModelContract, where: str) -> None:
    width, height = contract.input_wh
    frame_w, frame_h = contract.frame_wh or contract.input_wh
    takes: list[Shape] = [[1, frame_h or None, frame_w or None, 3]]
    gives: dict[str, Shape]
    if contract.output == "class_map":
        gives = {"class_map": [1, height, width], "confidence": [1, height, width]}
        kind = "tensor(uint8)"
    else:
        stride = contract.output_stride
        gives = {"logits": [1, len(contract.labels), height // stride, width // stride]}
        kind = "tensor(float)"
    _check_all("takes", session.get_inputs(), takes, "tensor(uint8)", where)
    _check_all("outputs", session.get_outputs(), list(gives.values()), kind, where)
    names = [output.name for output in session.get_outputs()]
    if contract.output == "class_map" and names != list(gives):
        raise EngineError(
            f"{where}: the graph outputs {', '.join(names)}, its contract says {', '.join(gives)}"
        )


def _check_all(verb: str, values: list[Any], shapes: list[Shape], kind: str, where: str) -> None:
    """Compare shapes and types; raises EngineError."""
    if len(values) != len(shapes):
        raise EngineError(f"{where}: the graph {verb} {len(values)} tensors, its contract says {len(shapes)}")
    for value, shape in zip(values, shapes, strict=True):
        found = [side if isinstance(side, int) else None for side in value.shape]
        if found != shape:
            sides = ["any" if side is None else side for side in shape]
            raise EngineError(f"{where}: the graph {verb} {list(value.shape)}, its contract says {sides}")
        if value.type != kind:
            raise EngineError(f"{where}: the graph {verb} {value.type}, its contract says {kind}")
