"""Teachers: networks that already know something, run on the very frames that the student sees.

A teacher looks at the varied frame, not at the original: student and teacher are asked about the same
picture (Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from perception.imaging.letterbox import letterbox
from perception.inference.engines import EngineError, OnnxEngine
from perception.inference.engines.session import CPU, load_session, read_model
from perception.labels import BACKGROUND, IGNORE, LABELS
from train.checkpoint import Checkpoint, CheckpointError
from train.config import Teacher
from train.evaluate import Normalise
from train.models import build_model
from train.models.outputs import TrainingOutputs

DRIVABLE_OUTPUT, LINES_OUTPUT = "da", "ll"
ACCEPTED = (
    "a teacher is a checkpoint of drivable-train (.pt, not weights alone), a file of drivable-export, or an "
    f"ONNX with the outputs {DRIVABLE_OUTPUT} and {LINES_OUTPUT}"
)


class TeacherError(ValueError):
    """A teacher that cannot be used."""


class Knowledge(Protocol):
    """What one kind of teacher can say about a student's outputs."""

    def loss(self, frame: Tensor, label: Tensor, outputs: TrainingOutputs, logits: Tensor) -> Tensor:
        """How far the student is from this teacher.

        Args:
            frame: (N, 3, H, W) uint8 BGR on the CPU, as the student saw it.
            label: (N, H, W) classes; `IGNORE` pixels are not taught.
            logits: (N, classes, H, W) float, the student's at the label's size.
        """
        ...


def open_teacher(settings: Teacher, device: torch.device) -> Knowledge:
    """The teacher in a file, told by what the file holds.

    Raises:
        TeacherError: if the file is missing or holds nothing that can teach.
    """
    file = Path(settings.file)
    if not file.is_file():
        raise TeacherError(f"{file}: no such teacher")
    if file.suffix in (".pt", ".pth"):
        return Classes(_network_of(file, device), settings.temperature)
    session = _session(file)
    outputs = {output.name for output in session.get_outputs()}
    if {DRIVABLE_OUTPUT, LINES_OUTPUT} <= outputs:
        return DrivableAndLines(session)
    try:
        engine = OnnxEngine(file, "cpu")
    except EngineError as error:
        raise TeacherError(f"{error}; {ACCEPTED}") from error
    if engine.contract.output != "logits" or engine.contract.labels != LABELS:
        raise TeacherError(
            f"{file}: gives {engine.contract.output} of {', '.join(engine.contract.labels)}, and logits of "
            f"{', '.join(LABELS)} are wanted; export the teacher with --target cpu"
        )
    return Classes(_answers_of(engine), settings.temperature)


class Classes:
    """A network with our labels: the student is to be as sure, and as unsure, as it is.

    Kullback-Leibler divergence between the classes of both, made softer by a temperature (Hinton et
    al., 2015), at the resolution of the student's logits.
    """

    def __init__(self, ask: Callable[[Tensor], Tensor], temperature: float) -> None:
        """`ask` turns (N, 3, H, W) uint8 BGR into (N, classes, h, w) logits."""
        self._ask, self._temperature = ask, temperature

    def loss(self, frame: Tensor, label: Tensor, outputs: TrainingOutputs, logits: Tensor) -> Tensor:
        student = outputs.logits.float()
        size = student.shape[2:]
        lesson = self._ask(frame).to(student.device)
        if lesson.shape[2:] != size:
            lesson = functional.interpolate(lesson, size=size, mode="bilinear", align_corners=False)
        wanted = (lesson / self._temperature).log_softmax(1)
        said = (student / self._temperature).log_softmax(1)
        distance = functional.kl_div(said, wanted, log_target=True, reduction="none").sum(1)
        counted = functional.interpolate((label != IGNORE)[:, None].float(), size=size, mode="nearest")[:, 0]
        return self._temperature**2 * (distance * counted).sum() / counted.sum().clamp(min=1)


def _network_of(file: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    try:
        checkpoint = Checkpoint.load(file)
    except CheckpointError as error:
        raise TeacherError(f"{error}; {ACCEPTED}") from error
    try:
        model = build_model(checkpoint.config["model"], len(LABELS))
        model.load_state_dict(checkpoint.model)
    except (ValueError, RuntimeError) as error:  # a name that is not known, layers that are not
        raise TeacherError(
            f"{file}: holds another {checkpoint.config['model']} than this version's; train it again"
        ) from error
    model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    normalise = Normalise(checkpoint.config["mean_bgr"], checkpoint.config["std_bgr"]).to(device)

    def ask(frame: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            logits: Tensor = model(normalise(frame.to(device))).float()
        return logits.clone()  # out of inference mode, so that it may stand in a loss

    return ask


def _answers_of(engine: OnnxEngine) -> Callable[[Tensor], Tensor]:
    def ask(frame: Tensor) -> Tensor:
        images = frame.permute(0, 2, 3, 1).contiguous().numpy()
        try:
            return torch.from_numpy(np.stack([_answer(engine, image_bgr) for image_bgr in images]))
        except EngineError as error:
            raise TeacherError(f"teacher {engine.contract.model_id}: {error}") from error

    return ask


def _answer(engine: OnnxEngine, image_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(classes, h, w) logits over the whole image, whatever size the teacher takes."""
    contract = engine.contract
    input_bgr, box = letterbox(image_bgr, contract.input_wh, contract.pad_bgr)
    logits = engine.infer(input_bgr)
    if box.content_wh == box.input_wh:
        return logits
    # The image's edge may lie between two of the logits' positions, so it is cut at the input's size.
    return np.stack([cv2.resize(plane, box.input_wh)[box.rows, box.columns] for plane in logits])


@dataclass(frozen=True)
class _Lesson:
    drivable: Tensor
    """(N, H, W) probability that a pixel is drivable."""
    lines: Tensor
    """(N, H, W) probability that a pixel is on a lane line."""


class DrivableAndLines:
    """An ONNX file with the outputs `da` and `ll`: drivable yes or no, lane line yes or no.

    That is TwinLiteNet's signature (Che et al., 2023): (1, 3, h, w) float RGB / 255 in; logits,
    background first, out. It knows nothing of our two drivable classes, so it teaches their sum, and
    lane lines, which no label of ours holds.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        _, _, height, width = session.get_inputs()[0].shape
        self._input_name, self._input_wh = session.get_inputs()[0].name, (width, height)

    def loss(self, frame: Tensor, label: Tensor, outputs: TrainingOutputs, logits: Tensor) -> Tensor:
        lesson = self._lesson(frame, logits.device)
        drivable = logits.softmax(1)[:, :BACKGROUND].sum(1).clamp(1e-6, 1 - 1e-6)
        # Where it contradicts the label, the label is right.
        agrees = (lesson.drivable > 0.5) == (label < BACKGROUND)
        taught = agrees & (label != IGNORE)
        distance = functional.binary_cross_entropy(drivable, lesson.drivable, reduction="none")
        total = (distance * taught).sum() / taught.sum().clamp(min=1)
        if outputs.lines is not None:
            total = total + _line_loss(outputs.lines.float(), lesson.lines)
        return total

    def _lesson(self, frame: Tensor, device: torch.device) -> _Lesson:
        answers = [self._ask(image) for image in frame.permute(0, 2, 3, 1).contiguous().numpy()]
        drivable, lines = (torch.from_numpy(np.stack(maps)).to(device) for maps in zip(*answers, strict=True))
        return _Lesson(drivable, lines)

    def _ask(self, image_bgr: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Drivable and lines, (H, W) each."""
        placed, box = letterbox(image_bgr, self._input_wh, (0, 0, 0))
        rgb = placed[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
        answers = self._session.run([DRIVABLE_OUTPUT, LINES_OUTPUT], {self._input_name: rgb})
        inside = [_second_of_two(logits[0])[box.rows, box.columns] for logits in answers]
        return [np.asarray(cv2.resize(share, box.frame_wh), np.float32) for share in inside]


def _session(file: Path) -> ort.InferenceSession:
    try:
        return load_session(read_model(file), str(file), [CPU], threads=0)
    except EngineError as error:
        raise TeacherError(f"{error}; {ACCEPTED}") from error


def _second_of_two(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(2, H, W) logits to the (H, W) probability of the second."""
    return np.asarray(1 / (1 + np.exp(logits[0] - logits[1])), np.float32)


def _line_loss(logits: Tensor, lines: Tensor) -> Tensor:
    """Dice and cross entropy against the strongest line under each cell: lines are thin, cells are not."""
    target = functional.adaptive_max_pool2d(lines[:, None], logits.shape[2:])
    share = logits.sigmoid()
    dice = 1 - (2 * (share * target).sum() + 1) / (share.sum() + target.sum() + 1)
    return dice + functional.binary_cross_entropy_with_logits(logits, target)
