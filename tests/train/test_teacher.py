"""A teacher's loss falls as the student comes to agree with it, and only where it may speak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from export.package import pack  # noqa: E402
from perception.inference.contract import ModelContract  # noqa: E402
from perception.labels import IGNORE, LABELS  # noqa: E402
from train.checkpoint import Checkpoint  # noqa: E402
from train.config import Stage, Teacher, TrainConfig  # noqa: E402
from train.models import build_model  # noqa: E402
from train.models.network import TrainingOutputs  # noqa: E402
from train.teacher import ClassesLoss, TeacherError, open_teacher  # noqa: E402

WIDTH, HEIGHT = 64, 32


@pytest.fixture
def two_outputs(tmp_path: Path) -> Path:
    """An ONNX of TwinLiteNet's signature: red pixels are drivable, blue ones are lane lines."""
    weight = np.zeros((2, 3, 1, 1), np.float32)
    weight[1, 0] = 40.0
    lines = np.zeros((2, 3, 1, 1), np.float32)
    lines[1, 2] = 40.0
    bias = np.array([0.0, -20.0], np.float32)
    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "w", "b"], ["da"]),
            helper.make_node("Conv", ["images", "l", "b"], ["ll"]),
        ],
        "teacher",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2, HEIGHT, WIDTH])
            for name in ("da", "ll")
        ],
        [
            onnx.numpy_helper.from_array(array, name)
            for array, name in ((weight, "w"), (lines, "l"), (bias, "b"))
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    file = tmp_path / "two.onnx"
    onnx.save(model, str(file))
    return file


def lower_half_red() -> torch.Tensor:
    frame = torch.zeros(1, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    frame[:, 2, HEIGHT // 2 :] = 255  # BGR
    frame[:, 0, :, WIDTH // 2 : WIDTH // 2 + 2] = 255
    return frame


def student(drivable_below: float, line_at_column: int | None = None) -> tuple[TrainingOutputs, torch.Tensor]:
    """Logits that say how likely the lower half is drivable, shared by direct and alternative."""
    logits = torch.zeros(1, 3, HEIGHT, WIDTH)
    logits[:, 2, : HEIGHT // 2] = 10.0
    logits[:, :2, HEIGHT // 2 :] = drivable_below
    lines = torch.full((1, 1, HEIGHT, WIDTH), -8.0)
    if line_at_column is not None:
        lines[..., line_at_column : line_at_column + 2] = 8.0
    return TrainingOutputs(logits, lines=lines), logits


def label_of_halves(below: int) -> torch.Tensor:
    label = torch.full((1, HEIGHT, WIDTH), 2)
    label[:, HEIGHT // 2 :] = below
    return label


def test_student_that_agrees_on_the_drivable_area_has_less_loss(two_outputs: Path) -> None:
    teacher = open_teacher(Teacher(str(two_outputs)), torch.device("cpu"))

    losses = [
        teacher.loss(lower_half_red(), label_of_halves(0), *student(sure)).item() for sure in (-8.0, 0.0, 8.0)
    ]

    assert losses[0] > losses[1] > losses[2]


def test_student_that_finds_the_lines_has_less_loss(two_outputs: Path) -> None:
    teacher = open_teacher(Teacher(str(two_outputs)), torch.device("cpu"))
    label = label_of_halves(0)

    right, elsewhere = (
        teacher.loss(lower_half_red(), label, *student(8.0, column)).item() for column in (WIDTH // 2, 4)
    )

    assert right < elsewhere


@pytest.mark.parametrize("below", [2, IGNORE])
def test_teacher_is_silent_where_the_label_contradicts_it_or_does_not_count(
    two_outputs: Path, below: int
) -> None:
    teacher = open_teacher(Teacher(str(two_outputs)), torch.device("cpu"))
    label = label_of_halves(below)

    agreeing, contradicting = (
        teacher.loss(lower_half_red(), label, *student(sure)).item() for sure in (8.0, -8.0)
    )

    assert agreeing == pytest.approx(contradicting)


def test_classes_lose_nothing_when_they_agree_and_ignored_pixels_do_not_count() -> None:
    logits = torch.randn(2, 3, 4, 8)
    other = logits.clone()
    other[..., 4:] += torch.randn(2, 3, 4, 4)
    label = torch.zeros(2, 32, 64)
    label[..., 32:] = IGNORE
    frame = torch.zeros(2, 3, 32, 64, dtype=torch.uint8)

    for said in (logits, other):
        loss = ClassesLoss(lambda asked: logits, 2.0).loss(frame, label, TrainingOutputs(said), said)
        assert loss.item() == pytest.approx(0, abs=1e-6)
    contradicted = ClassesLoss(lambda asked: -logits, 2.0)
    assert contradicted.loss(frame, label, TrainingOutputs(logits), logits) > 0.1


def test_checkpoint_teaches_what_its_network_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_model("rt_s", 3).eval()
    config = TrainConfig("rt_s", [Stage((64, 32), 1, 1, 1e-3)])
    checkpoint = Checkpoint.fresh(config)
    checkpoint.model = network.state_dict()
    file = tmp_path / "teacher.pt"
    checkpoint.save(file)
    frame = torch.randint(0, 255, (2, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    normalised = (frame.float() - 116) / 57.4
    with torch.no_grad():
        itself = network(normalised)
    label = torch.zeros(2, HEIGHT, WIDTH)
    teacher = open_teacher(Teacher(str(file)), torch.device("cpu"))

    same, opposite = (
        teacher.loss(frame, label, TrainingOutputs(said), said).item() for said in (itself, -itself)
    )

    assert same < 0.01
    assert opposite > 10 * same


def test_mirrored_teacher_averages_both_views_of_a_frame(tmp_path: Path) -> None:
    checkpoint = Checkpoint.fresh(TrainConfig("rt_s", [Stage((64, 32), 1, 1, 1e-3)]))
    torch.manual_seed(0)
    network = build_model("rt_s", 3).eval()
    checkpoint.model = network.state_dict()
    file = tmp_path / "teacher.pt"
    checkpoint.save(file)
    frame = torch.randint(0, 255, (1, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    label = torch.zeros(1, HEIGHT, WIDTH)
    with torch.no_grad():
        one, other = (network((view.float() - 116) / 57.4) for view in (frame, frame.flip(3)))
    averaged = (one + other.flip(3)) / 2

    alone, mirrored = (
        open_teacher(Teacher(str(file), mirrored=both), torch.device("cpu"))
        .loss(frame, label, TrainingOutputs(averaged), averaged)
        .item()
        for both in (False, True)
    )

    assert mirrored < 0.01
    assert alone > 2 * mirrored


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.onnx", None, "no such teacher"),
        ("noise.onnx", b"noise", "not a model that ONNX Runtime can load"),
        (
            "noise.pt",
            b"noise",
            "not a checkpoint of this version of drivable-train; a teacher is a checkpoint",
        ),
        ("noise.pth", b"noise", "not a checkpoint .* an ONNX with the outputs da and ll$"),
        (
            "noise.bin",
            b"noise",
            "ONNX Runtime can load.*; a teacher is a checkpoint of drivable-train",
        ),
    ],
)
def test_file_that_cannot_teach_is_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(ValueError, match=message):
        open_teacher(Teacher(str(tmp_path / name)), torch.device("cpu"))


def test_weights_alone_are_no_teacher(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(build_model("rt_s", 3).state_dict(), file)

    with pytest.raises(TeacherError, match=r"weights\.pth: not a checkpoint .* \(\.pt, not weights alone\)"):
        open_teacher(Teacher(str(file)), torch.device("cpu"))


def test_checkpoint_with_other_layers_is_no_teacher(tmp_path: Path) -> None:
    checkpoint = Checkpoint.fresh(TrainConfig("rt_s", [Stage((64, 32), 1, 1, 1e-3)]))
    checkpoint.model = {"head.weight": torch.zeros(1)}
    checkpoint.save(tmp_path / "other.pt")

    with pytest.raises(TeacherError, match=r"other\.pt: its rt_s is not this version's"):
        open_teacher(Teacher(str(tmp_path / "other.pt")), torch.device("cpu"))


def test_onnx_of_something_else_is_refused(tmp_path: Path) -> None:
    helper = onnx.helper
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", value[:1], value[1:])
    file = tmp_path / "other.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(file))

    with pytest.raises(TeacherError, match="a teacher is a checkpoint"):
        open_teacher(Teacher(str(file)), torch.device("cpu"))


@pytest.mark.parametrize("teacher_wh", [(WIDTH, HEIGHT), (96, 64), (32, 64)])
def test_exported_teacher_of_any_size_says_the_same_of_each_place(
    tmp_path: Path, teacher_wh: tuple[int, int]
) -> None:
    """A graph whose planes are the channels: red pixels are background, all others direct."""
    width, height = teacher_wh
    helper = onnx.helper
    nodes = [
        helper.make_node("Transpose", ["frame"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["logits"], to=onnx.TensorProto.FLOAT),
    ]
    taken = helper.make_tensor_value_info("frame", onnx.TensorProto.UINT8, [1, height, width, 3])
    given = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 3, height, width])
    graph = helper.make_graph(nodes, "colours", [taken], [given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    contract = ModelContract("colours", LABELS, teacher_wh, (0, 0, 0), 1, "none", "Apache-2.0")
    file = tmp_path / "colours.onnx"
    file.write_bytes(pack(model, contract, {})[0])
    teacher = open_teacher(Teacher(str(file), temperature=32.0), torch.device("cpu"))
    frame = lower_half_red()
    frame[:, 0] = torch.where(frame[:, 2] > 0, 0, 255)
    label = label_of_halves(2)
    agrees = frame.float()
    turned = agrees.flip(2)

    def loss(logits: torch.Tensor) -> float:
        return float(teacher.loss(frame, label, TrainingOutputs(logits), logits))

    assert loss(agrees) < 0.15 * loss(turned)
