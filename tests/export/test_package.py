"""A file is written whole or not at all, and read back only as it was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("onnx")

from export.outputs import check_writable, write
from export.package import ExportError, unpack
from perception.system.atomic_file import partial_of

MakeFile = Callable[..., Path]


def test_what_was_packed_is_unpacked(make_file: MakeFile) -> None:
    packed = unpack(make_file(card={"network": "tiny", "training": {"weights": "random"}}))

    assert packed.card == {"network": "tiny", "training": {"weights": "random"}}
    assert packed.contract.training_data == "our own roads"
    assert len(packed.graph.metadata_props) == 0
    assert [output.name for output in packed.graph.graph.output] == ["logits"]


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"Transpose", b"transpose"),
        (b"our own roads", b"her own roads"),
        (b'"weights"', b'"Weights"'),
        (b'"training_data"', b'"training\xffdata"'),
        (b'"model_id"', b'"model_ix"'),
    ],
    ids=["graph", "contract", "card", "bytes that are no text", "field of the contract"],
)
def test_changed_byte_is_refused_with_the_files_name(make_file: MakeFile, was: bytes, becomes: bytes) -> None:
    file = make_file(card={"weights": "random"})
    content = file.read_bytes()
    assert was in content
    file.write_bytes(content.replace(was, becomes, 1))

    with pytest.raises(ExportError, match=r"tiny\.onnx: the (file was changed|model contract)"):
        unpack(file)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00\xff" * 50])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.onnx"
    file.write_bytes(content)

    with pytest.raises(ExportError, match=r"a\.onnx: not an ONNX file"):
        unpack(file)


def test_write_that_fails_leaves_the_older_file(tmp_path: Path) -> None:
    older = tmp_path / "a.onnx"
    older.write_bytes(b"older")
    partial_of(older).mkdir()

    with pytest.raises(ExportError, match=r"a\.onnx: cannot be written"):
        write({older: b"newer"}, overwrite=True)

    assert older.read_bytes() == b"older"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("text/rt_s.onnx", "text is not a folder"),
        ("text/deeper/rt_s.onnx", "text is not a folder"),
        ("folder.onnx", "Is a directory"),
        ("card.onnx", r"card\.md: cannot be written: Is a directory"),
    ],
)
def test_place_that_cannot_be_written_is_refused_beforehand(tmp_path: Path, out: str, message: str) -> None:
    (tmp_path / "text").write_text("a file")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "card.md").mkdir()
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(ExportError, match=message):
        check_writable(tmp_path / out)

    assert sorted(tmp_path.rglob("*")) == before


def test_place_that_can_be_written_is_left_without_a_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folders" / "rt_s.onnx")

    assert list(tmp_path.iterdir()) == []
