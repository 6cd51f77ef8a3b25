"""Teachers for distillation, run on the student's own augmented frames.

Teacher and student see the same picture (Beyer et al., "Knowledge distillation: a good teacher is patient
and consistent", 2022).
"""

from __future__ import annotations

from collections.abc import Callable
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
from train.models.network import TrainingOutputs

DRIVABLE_OUTPUT, LINES_OUTPUT = "da", "ll"
ACCEPTED = (
    "a teacher is a checkpoint of drivable-train (.pt, not weights alone), a file of drivable-export, or an "
    f"ONNX with the outputs {DRIVABLE_OUTPUT} and {LINES_OUTPUT}"
)


class TeacherError(ValueError):
    """A teacher cannot be used."""


class DistillationLoss(Protocol):
    """The loss against one kind of teacher."""

    def loss(self, frame: Tensor, label: Tensor, outputs: TrainingOutputs, logits: Tensor) -> Tensor:
        """Distance of the student's outputs from the teacher's.

        Args:
            frame: (N, 3, H, W) uint8 BGR on the CPU, the student's input.
            label: (N, H, W) classes; `IGNORE` pixels do not count.
            logits: (N, classes, H, W) float, the student's at the label's size.
        """
        ...


def open_teacher(settings: Teacher, device: torch.device) -> DistillationLoss:
    """Open a teacher; its kind follows from the contents of the file.

    Raises:
        TeacherError: if the file is missing or is no teacher.
    """
    file = Path(settings.file)
    if not file.is_file():
        raise TeacherError(f"{file}: no such teacher")
    if file.suffix in (".pt", ".pth"):
        return ClassesLoss(_answers(_checkpoint_logits(file, device), settings), settings.temperature)
    try:
        session = load_session(read_model(file), str(file), [CPU], threads=0)
    except EngineError as error:
        raise TeacherError(f"{error}; {ACCEPTED}") from error
    outputs = {output.name for output in session.get_outputs()}
    if {DRIVABLE_OUTPUT, LINES_OUTPUT} <= outputs:
        return DrivableAndLinesLoss(session)
    try:
        engine = OnnxEngine(file, "cpu")
    except EngineError as error:
        raise TeacherError(f"{error}; {ACCEPTED}") from error
    if engine.contract.output != "logits" or engine.contract.labels != LABELS:
        raise TeacherError(
            f"{file}: outputs {engine.contract.output} of {', '.join(engine.contract.labels)}, not logits of "
            f"{', '.join(LABELS)}; export the teacher with --target cpu"
        )
    return ClassesLoss(_answers(_engine_logits(engine), settings), settings.temperature)


def _answers(teach: Callable[[Tensor], Tensor], settings: Teacher) -> Callable[[Tensor], Tensor]:
    """The teacher as it is, or averaged over the frame and its mirror image."""

    def both(frame: Tensor) -> Tensor:
        return (teach(frame) + teach(frame.flip(3)).flip(3)) / 2

    return both if settings.mirrored else teach


class ClassesLoss:
    """For a teacher with our labels.

    Kullback-Leibler divergence between both class distributions, softened by a temperature (Hinton et
    al., 2015), at the resolution of the student's logits.
    """

    def __init__(self, teach: Callable[[Tensor], Tensor], temperature: float) -> None:
        """`teach` maps (N, 3, H, W) uint8 BGR to the teacher's (N, classes, h, w) logits."""
        self._teach, self._temperature = teach, temperature

    def loss(self, frame: Tensor, label: Tensor, outputs: TrainingOutputs, logits: Tensor) -> Tensor:
        student = outputs.logits.float()
        size = student.shape[2:]
        teacher = self._teach(frame).to(student.device)
        if teacher.shape[2:] != size:
            teacher = functional.interpolate(teacher, size=size, mode="bilinear", align_corners=False)
        target = (teacher / self._temperature).log_softmax(1)
        given = (student / self._temperature).log_softmax(1)
        distance = functional.kl_div(given, target, log_target=True, reduction="none").sum(1)
        counted = functional.interpolate((label != IGNORE)[:, None].float(), size=size, mode="nearest")[:, 0]
        return self._temperature**2 * (distance * counted).sum() / counted.sum().clamp(min=1)


def _checkpoint_logits(file: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    try:
        checkpoint = Checkpoint.load(file)
    except CheckpointError as error:
        raise TeacherError(f"{error}; {ACCEPTED}") from error
    try:
        model = build_model(checkpoint.config["model"], len(LABELS))
        model.load_state_dict(checkpoint.model)
    except (ValueError, RuntimeError) as error:  # unknown model name, unknown layers
        raise TeacherError(
            f"{file}: its {checkpoint.config['model']} is not this version's; train it again"
        ) from error
    model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    normalise = Normalise(checkpoint.config["mean_bgr"], checkpoint.config["std_bgr"]).to(device)

    def teach(frame: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            logits: Tensor = model(normalise(frame.to(device))).float()
        return logits.clone()  # made outside inference mode: autograd may use it

    return teach


def _engine_logits(engine: OnnxEngine) -> Callable[[Tensor], Tensor]:
    def teach(frame: Tensor) -> Tensor:
        images = frame.permute(0, 2, 3, 1).contiguous().numpy()
        try:
            return torch.from_numpy(np.stack([_logits_of(engine, image_bgr) for image_bgr in images]))
        except EngineError as error:
            raise TeacherError(f"teacher {engine.contract.model_id}: {error}") from error

    return teach


def _logits_of(engine: OnnxEngine, image_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(classes, h, w) logits over the whole image, for any input size of the teacher."""
    contract = engine.contract
    input_bgr, box = letterbox(image_bgr, contract.input_wh, contract.pad_bgr)
    logits = engine.infer(input_bgr)
    if box.content_wh == box.input_wh:
        return logits
    # The image's edge may lie between two logits, so crop at the input's resolution.
    return np.stack([cv2.resize(plane, box.input_wh)[box.rows, box.columns] for plane in logits])


class DrivableAndLinesLoss:
    """For an ONNX teacher with the outputs `da` and `ll`: drivable or not, lane line or not.

    That is TwinLiteNet's signature (Che et al., 2023): (1, 3, h, w) float RGB / 255 in; logits,
    background first, out. It does not separate our two drivable classes, so it teaches their sum, and
    lane lines, which our labels lack.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        _, _, height, width = session.get_inputs()[0].shape
        self._input_name, self._input_wh = session.get_inputs()[0].name, (width, height)

    def loss(self, frame: Tensor, label: Tensor, outputs: TrainingOutputs, logits: Tensor) -> Tensor:
        images = frame.permute(0, 2, 3, 1).contiguous().numpy()
        maps = zip(*(self._probabilities(image) for image in images), strict=True)
        drivable, lines = (torch.from_numpy(np.stack(each)).to(logits.device) for each in maps)
        student = logits.softmax(1)[:, :BACKGROUND].sum(1).clamp(1e-6, 1 - 1e-6)
        # Where the teacher contradicts the label, the label counts.
        agrees = (drivable > 0.5) == (label < BACKGROUND)
        counted = agrees & (label != IGNORE)
        distance = functional.binary_cross_entropy(student, drivable, reduction="none")
        total = (distance * counted).sum() / counted.sum().clamp(min=1)
        if outputs.lines is not None:
            total = total + _line_loss(outputs.lines.float(), lines)
        return total

    def _probabilities(self, image_bgr: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The teacher's probabilities of drivable and of lane line, (H, W) each."""
        placed, box = letterbox(image_bgr, self._input_wh, (0, 0, 0))
        rgb = placed[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
        outputs = self._session.run([DRIVABLE_OUTPUT, LINES_OUTPUT], {self._input_name: rgb})
        inside = [_second_of_two(logits[0])[box.rows, box.columns] for logits in outputs]
        return [np.asarray(cv2.resize(share, box.frame_wh), np.float32) for share in inside]


def _second_of_two(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(2, H, W) logits to the (H, W) probability of the second class."""
    return np.asarray(1 / (1 + np.exp(logits[0] - logits[1])), np.float32)


def _line_loss(logits: Tensor, lines: Tensor) -> Tensor:
    """Dice and cross entropy against the maximum in each cell, since lines are thinner than cells."""
    target = functional.adaptive_max_pool2d(lines[:, None], logits.shape[2:])
    share = logits.sigmoid()
    dice = 1 - (2 * (share * target).sum() + 1) / (share.sum() + target.sum() + 1)
    return dice + functional.binary_cross_entropy_with_logits(logits, target)
