"""Bags that are cut off or damaged: all that can be read is, at its place, and one line says the rest."""

from __future__ import annotations

import shutil
import struct
import time
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from bags import (
    IMAGE,
    TOPIC,
    image,
    pictures_bgr,
    read_until_error,
    stamp_ns_of,
    video,
    write_bag,
    write_mcap,
)
from mcap.data_stream import RecordBuilder
from mcap.reader import make_reader
from mcap.records import Chunk, ChunkIndex, Header
from mcap.writer import CompressionType
from numpy.typing import NDArray
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

from perception.frame import Frame
from perception.sources import SourceSettings, build_source
from perception.sources.bag import mcap_scan
from perception.sources.source import EndOfSource, SourceError

PAGE_BYTES = 4096


def numbered(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
    """A raw picture whose first pixel has its number."""
    bgr = bgr.copy()
    bgr[0, 0] = number
    return image("bgr8")(store, number, bgr)


def read_on(path: Path) -> tuple[list[Frame], str]:
    """All frames, and what is said at their end."""
    source, frames = build_source(str(path), SourceSettings()), []
    try:
        source.open()
        while True:
            frames.append(source.read())
    except EndOfSource:
        return frames, ""
    except SourceError as error:
        return frames, str(error)
    finally:
        source.close()


def numbers_of(frames: Sequence[Frame]) -> list[int]:
    return [int(frame.image_bgr[0, 0, 0]) for frame in frames]


def chunks_of(bag: Path) -> list[ChunkIndex]:
    with bag.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    return summary.chunk_indexes


def overwrite(bag: Path, at: int, data: bytes) -> None:
    with bag.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)


def cut(bag: Path, share: float) -> Path:
    bag.write_bytes(bag.read_bytes()[: round(share * bag.stat().st_size)])
    return bag


def files_of(folder: Path, form: str, names: Sequence[str]) -> list[Path]:
    """A folder of rosbag2 with several files, of four pictures each."""
    one = write_bag(folder.with_name("one"), numbered, form)
    bag = next(file for file in one.iterdir() if file.suffix in (".db3", ".mcap"))
    folder.mkdir()
    for name in names:
        shutil.copy(bag, folder / f"{name}{bag.suffix}")
    listed = "".join(f"\n  - {name}{bag.suffix}" for name in names)
    metadata = (one / "metadata.yaml").read_text()
    (folder / "metadata.yaml").write_text(metadata.replace(f"\n  - {bag.name}", listed))
    return [folder / f"{name}{bag.suffix}" for name in names]


@pytest.mark.parametrize("share", [0.9, 0.6, 0.3])
def test_database_that_was_cut_off_gives_what_is_left(share: float, tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "drive", numbered, "sqlite3", count=60)
    cut(folder / "drive.db3", share)

    frames, line = read_on(folder)

    assert 60 * (share - 0.15) < len(frames) < 60
    assert numbers_of(frames) == list(range(len(frames)))
    assert line.startswith(f"{folder}/drive.db3: ")
    assert "is incomplete: it was cut off" in line


def test_database_with_a_damaged_page_gives_all_that_is_in_the_others(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "drive", numbered, "sqlite3", count=60)
    bag = folder / "drive.db3"
    good = bag.read_bytes()
    with_nothing = 0
    for page in [*range(14), *range(14, len(good) // PAGE_BYTES, 9)]:
        for rubbish in (bytes(PAGE_BYTES), np.random.default_rng(page).bytes(PAGE_BYTES)):
            bag.write_bytes(good)
            overwrite(bag, page * PAGE_BYTES, rubbish)

            frames, line = read_on(folder)

            numbers = [number for number in numbers_of(frames) if number < 60]
            if not frames:
                with_nothing += 1
                assert "holds no topics that can be read" in line
                continue
            assert len(numbers) >= 60 - 8
            assert len(set(numbers)) >= len(numbers) - 1
    assert with_nothing <= 2  # the page with the names of topics


@pytest.mark.parametrize(("at", "rubbish"), [(0, bytes(100)), (0, b"T"), (16, b"\x02\x00"), (20, b"\x09")])
def test_database_whose_header_is_damaged_is_read_by_its_name(
    at: int, rubbish: bytes, tmp_path: Path
) -> None:
    folder = write_bag(tmp_path / "drive", numbered, "sqlite3", count=8)
    overwrite(folder / "drive.db3", at, rubbish)

    for bag in (folder, folder / "drive.db3"):
        frames, line = read_on(bag)

        assert numbers_of(frames) == list(range(8))
        assert "drive.db3: is damaged as SQLite says: " in line


def test_message_between_two_that_are_left_counts_as_missed(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "drive", numbered, "sqlite3", count=60)
    bag = folder / "drive.db3"
    overwrite(bag, 0, bytes(100))
    content = bag.read_bytes()
    leaf = next(  # of messages, among the last
        page for page in range(100, len(content) // PAGE_BYTES) if content[page * PAGE_BYTES] == 0x0D
    )
    overwrite(bag, leaf * PAGE_BYTES, bytes(PAGE_BYTES))

    frames, _ = read_on(folder)

    numbers = numbers_of(frames)
    gaps = [later - earlier > 1 for earlier, later in pairwise(numbers)]
    assert 50 < len(numbers) < 60
    assert [frame.missed_before for frame in frames[1:]] == [int(gap) for gap in gaps]


def test_file_that_is_no_bag_is_refused_in_one_line(tmp_path: Path) -> None:
    for name in ("a.db3", "a.mcap", "a.bag"):
        for content in (b"", b"\0" * 5000, np.random.default_rng(1).bytes(50_000)):
            (tmp_path / name).write_bytes(content)

            count, line = read_until_error(tmp_path / name)

            assert count == 0
            assert f"{name}: holds no message" in line
            assert "\n" not in line


@pytest.mark.parametrize("form", ["folder", "sqlite3"])
def test_folder_with_several_files_gives_all_of_them(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    names = ["drive_0", "drive_1", "drive_10", "drive_2"]
    files = files_of(folder, form, names)

    assert numbers_of(read_on(folder)[0]) == 4 * [0, 1, 2, 3]
    (folder / "metadata.yaml").unlink()  # as of a recorder that was killed
    frames, line = read_on(folder)
    assert numbers_of(frames) == 4 * [0, 1, 2, 3]
    missing = [f"drive_{number}{files[0].suffix}" for number in range(3, 9)]
    assert line == f"{folder}: lacks {', '.join(missing)} and 1 more"


@pytest.mark.parametrize("form", ["folder", "sqlite3"])
def test_file_that_is_missing_or_damaged_is_named_and_the_others_are_read(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    files = files_of(folder, form, ["drive_0", "drive_1", "drive_2"])
    files[0].unlink()
    cut(files[1], 0.98 if form == "sqlite3" else 0.85)

    frames, line = read_on(folder)

    assert numbers_of(frames)[-4:] == [0, 1, 2, 3]
    assert 4 < len(frames) < 8
    assert line.startswith(f"{files[0]}: is listed in metadata.yaml and missing; {files[1]}: ")
    assert "it was cut off" in line


def test_file_that_metadata_does_not_list_is_read_too(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    files = files_of(folder, "folder", ["drive_0", "drive_1"])
    shutil.copy(files[0], folder / "drive_2.mcap")
    shutil.copy(files[0], folder / "output.mcap")

    assert read_until_error(folder) == (12, f"{folder}/drive_2.mcap: is not listed in metadata.yaml")


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x80", b"- 1\n", b"a: [1,\n b: {", b"rosbag2_bagfile_information: {}"]
)
def test_folder_with_metadata_that_is_none_is_read_without(content: bytes, tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "drive", numbered, "folder")
    (folder / "metadata.yaml").write_bytes(content)

    frames, line = read_on(folder)

    assert numbers_of(frames) == [0, 1, 2, 3]
    assert line == (f"{folder}/metadata.yaml: is not that of a bag; ros2 bag reindex {folder} writes another")


def compressed_bag(folder: Path, mode: CompressionMode) -> Path:
    store = get_typestore(Stores.ROS2_HUMBLE)
    writer = Writer2(folder, version=9, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection(TOPIC, IMAGE, typestore=store)
        random = np.random.default_rng(1)
        for number in range(40):
            noise = np.asarray(random.integers(0, 255, (48, 64, 3)), np.uint8)
            _, message = numbered(store, number, noise)
            writer.write(connection, stamp_ns_of(number), store.serialize_cdr(message, IMAGE))
    return folder


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bag_is_read_whole_and_as_far_as_it_can_be(mode: CompressionMode, tmp_path: Path) -> None:
    folder = compressed_bag(tmp_path / "drive", mode)
    bag = next(file for file in folder.iterdir() if ".db3" in file.name)

    frames, line = read_on(folder)
    cut(bag, 0.6)
    of_cut, line_of_cut = read_on(folder)

    assert (numbers_of(frames), line) == (list(range(40)), "")
    assert 8 < len(of_cut) < 28
    assert numbers_of(of_cut) == list(range(len(of_cut)))
    assert "was cut off" in line_of_cut


@pytest.mark.parametrize("is_cut", [False, True], ids=["whole", "cut off"])
@pytest.mark.parametrize(
    ("offset", "value", "says", "lost"),
    [
        (24, struct.pack("<I", 1), "checksum", [2, 3]),
        (16, struct.pack("<Q", 1 << 50), "", []),  # the checksum is that of the content
        (28, b"\x04\x00\x00\x00zstx", "zstx", [2, 3]),
        (50, b"\x00" * 12, "a chunk cannot be read", [2, 3]),
        (-8, struct.pack("<Q", 70), "bytes are no records", [2, 3]),
        (-8, struct.pack("<Q", 1 << 30), "bytes are no records", [2, 3]),
        (-9, b"\x55", "bytes are no records", [2, 3]),
    ],
    ids=["checksum", "size", "compression", "content", "shorter", "longer", "kind"],
)
def test_damaged_chunk_is_left_out_and_the_next_are_read(
    offset: int, value: bytes, says: str, lost: list[int], is_cut: bool, tmp_path: Path
) -> None:
    bag = write_mcap(tmp_path / "a.mcap", make=numbered)
    overwrite(bag, chunks_of(bag)[1].chunk_start_offset + 9 + offset, value)
    if is_cut:
        bag.write_bytes(bag.read_bytes()[:-40])

    frames, line = read_on(bag)

    assert numbers_of(frames) == [number for number in range(8) if number not in lost]
    assert [frame.missed_before for frame in frames][2] == (1 if lost else 0)
    assert ("a.mcap: is damaged at byte" in line) == bool(says)
    assert says in line
    assert ("is incomplete: it was cut off" in line) == is_cut


def test_mcap_whose_first_chunk_and_index_are_damaged_is_read_by_the_descriptions_at_its_end(
    tmp_path: Path,
) -> None:
    bag = write_mcap(tmp_path / "a.mcap", make=numbered)
    begin = chunks_of(bag)[0].chunk_start_offset
    overwrite(bag, 0, bytes(8))
    overwrite(bag, begin + 60, bytes(20))

    frames, line = read_on(bag)

    assert numbers_of(frames) == list(range(2, 8))
    assert "a.mcap: is damaged at byte 0" in line


def test_mcap_of_zeros_that_fill_a_chunk_ends_at_once(tmp_path: Path) -> None:
    written = RecordBuilder()
    written.write(b"\x89MCAP0\r\n")
    Header("ros2", "another's").write(written)
    data = zstandard.ZstdCompressor().compress(bytes(1 << 26))
    Chunk("zstd", data, 1, 1, 0, 1 << 26).write(written)
    bag = tmp_path / "a.mcap"
    bag.write_bytes(written.end())
    began_s = time.monotonic()

    assert "holds no message" in read_until_error(bag)[1]
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize("compression", [CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD])
def test_mcap_that_is_cut_anywhere_gives_what_was_written_before(
    compression: CompressionType, tmp_path: Path
) -> None:
    good = write_mcap(tmp_path / "a.mcap", compression=compression, make=numbered, count=12).read_bytes()
    bag, counts = tmp_path / "b.mcap", []
    for end in [*range(60, len(good), len(good) // 40), len(good) - 1]:
        bag.write_bytes(good[:end])

        frames, line = read_on(bag)

        assert numbers_of(frames) == list(range(len(frames)))
        assert "was cut off" in line
        assert "is damaged" not in line
        counts.append(len(frames))
    assert counts == sorted(counts)
    assert set(counts) >= {0, 2, 4, 6, 8, 10, 12}
    if compression is CompressionType.NONE:  # also of the chunk in which it ends
        assert set(counts) >= {1, 3, 5}


def test_record_without_a_chunk_that_is_damaged_is_left_out_alone(tmp_path: Path) -> None:
    good = write_mcap(tmp_path / "a.mcap", make=numbered, use_chunking=False).read_bytes()
    bag = tmp_path / "b.mcap"
    head = message_head()
    at = [found for found in range(len(good)) if good[found : found + 9] == head]
    assert len(at) == 8
    for offset, value in ((0, b"\x77"), (1, struct.pack("<Q", 200)), (1, struct.pack("<Q", 90_000_000))):
        bag.write_bytes(good)
        overwrite(bag, at[3] + offset, value)

        frames, line = read_on(bag)

        assert set(range(8)) - set(numbers_of(frames)) == {3}
        assert "b.mcap: is damaged at byte" in line
        assert "bytes are no records" in line


def message_head() -> bytes:
    """Of a message's record: kind and size."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    _, message = numbered(store, 0, pictures_bgr(1)[0])
    return struct.pack("<BQ", 5, 22 + len(store.serialize_cdr(message, IMAGE)))


@pytest.mark.parametrize("compression", [CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD])
@pytest.mark.parametrize("enable_crcs", [False, True])
def test_large_chunk_is_not_kept_in_memory(
    compression: CompressionType, enable_crcs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def large(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        return numbered(store, number, np.full((480, 640, 3), 90, np.uint8))

    options = {"chunk_size": 1 << 30, "enable_crcs": enable_crcs}
    bag = write_mcap(tmp_path / "a.mcap", compression=compression, make=large, count=30, **options)
    monkeypatch.setattr(mcap_scan, "CHUNK_IN_MEMORY_BYTES", 4_000_000)
    source = build_source(str(bag), SourceSettings())

    tracemalloc.start()
    source.open()
    numbers = [int(source.read().image_bgr[0, 0, 0]) for _ in range(30)]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    source.close()

    assert numbers == list(range(30))
    assert peak_bytes < 30 * 480 * 640 * 3 / 2
    assert len(chunks_of(bag)) == 1


def write_ros1(path: Path, compression: Writer1.CompressionFormat | None = None, count: int = 12) -> Path:
    """Of two pictures a chunk."""
    store = get_typestore(Stores.ROS1_NOETIC)
    writer = Writer1(path)
    writer.chunk_threshold = 16_000
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        connection = writer.add_connection(TOPIC, IMAGE, typestore=store)
        for number, bgr in enumerate(pictures_bgr(count)):
            data = store.serialize_ros1(numbered(store, number, bgr)[1], IMAGE)
            writer.write(connection, stamp_ns_of(number), data)
    return path


COMPRESSIONS = [None, Writer1.CompressionFormat.BZ2, Writer1.CompressionFormat.LZ4]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_bag_of_ros1_that_is_cut_anywhere_gives_what_was_written_before(
    compression: Writer1.CompressionFormat | None, tmp_path: Path
) -> None:
    good = write_ros1(tmp_path / "a.bag", compression).read_bytes()
    bag, counts = tmp_path / "b.bag", []
    for end in [*range(4200, len(good), len(good) // 40), len(good) - 1]:
        bag.write_bytes(good[:end])

        frames, line = read_on(bag)

        assert numbers_of(frames) == list(range(len(frames)))
        assert "it was cut off" in line or "its index is damaged" in line or "it was not closed" in line
        counts.append(len(frames))
    assert counts == sorted(counts)
    assert counts[-1] == 12


@pytest.mark.parametrize("name", ["drive.bag", "drive.bag.active"])
def test_bag_of_ros1_without_an_index_is_read(name: str, tmp_path: Path) -> None:
    bag = write_ros1(tmp_path / "a.bag").rename(tmp_path / name)
    content = bag.read_bytes()
    at = content.index(b"index_pos=") + len(b"index_pos=")
    (index_at,) = struct.unpack_from("<Q", content, at)
    bag.write_bytes(content[:at] + bytes(8) + content[at + 8 : index_at])

    frames, line = read_on(bag)

    assert numbers_of(frames) == list(range(12))
    assert line == f"{bag}: is incomplete: it was not closed"


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("part", ["header", "size", "content"])
def test_damaged_chunk_of_ros1_is_left_out_and_the_next_are_read(
    part: str, compression: Writer1.CompressionFormat | None, tmp_path: Path
) -> None:
    bag = write_ros1(tmp_path / "a.bag", compression)
    content = bag.read_bytes()
    at = content.index(b"op=\x05", content.index(b"op=\x05") + 1)  # the second chunk
    data_at = content.index(b"size=", at) + 9 + 4
    if part == "header":
        overwrite(bag, at, b"OP=\x05")
    elif part == "size":
        overwrite(bag, data_at - 4, struct.pack("<I", 1 << 28))
    else:
        overwrite(bag, data_at + 8, bytes(60))

    frames, line = read_on(bag)

    lost = set(range(12)) - set(numbers_of(frames))
    assert lost <= {2, 3}
    assert numbers_of(frames) == sorted(numbers_of(frames))
    assert "a.bag: is damaged at byte" in line


def test_definition_in_the_index_serves_where_that_in_a_chunk_of_ros1_is_damaged(
    tmp_path: Path,
) -> None:
    bag = write_ros1(tmp_path / "a.bag")
    overwrite(bag, bag.read_bytes().index(b"message_definition=") + 19, b"unit8[[[")

    assert numbers_of(read_on(bag)[0]) == list(range(12))


def test_rubbish_in_any_place_of_a_bag_ends_in_one_line(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "drive", numbered, "sqlite3", count=8)
    forms = {
        "a.bag": write_ros1(tmp_path / "one.bag", count=8).read_bytes(),
        "b.bag": write_ros1(tmp_path / "two.bag", Writer1.CompressionFormat.LZ4, 8).read_bytes(),
        "c.mcap": write_mcap(tmp_path / "three.mcap", use_chunking=False).read_bytes(),
        "d.mcap": write_mcap(tmp_path / "four.mcap").read_bytes(),
        "e.db3": (folder / "drive.db3").read_bytes(),
    }
    random = np.random.default_rng(1)
    for name, good in forms.items():
        for _ in range(40):
            content = bytearray(good)
            for at in random.integers(0, len(content), 4):
                content[at] = random.integers(256)
            (tmp_path / name).write_bytes(content)

            count, line = read_until_error(tmp_path / name)

            assert "\n" not in line
            assert count <= 8


@pytest.mark.parametrize(("codec", "form"), [("libx264", "h264"), ("libx265", "h265")])
def test_pictures_behind_a_lost_message_are_damaged_or_left_out_up_to_the_next_key_frame(
    codec: str, form: str, tmp_path: Path
) -> None:
    def but_one(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        type_name, message = encoded(store, number, bgr)
        if number == 16:
            return encoded(store, number, bgr)  # the next, so that one is lost
        return type_name, message

    encoded = video(codec, form, keys_every=12)
    frames, line = read_on(write_bag(tmp_path / "drive", but_one, count=30))

    assert line == ""
    assert ids_of(frames, is_damaged=False) == [*range(16), *range(23, 30)]
    assert ids_of(frames, is_damaged=True) == (list(range(16, 23)) if form == "h264" else [])


@pytest.mark.parametrize(("codec", "form"), [("libx264", "h264"), ("libx265", "h265")])
def test_pictures_behind_a_damaged_message_are_damaged_or_left_out_up_to_the_next_key_frame(
    codec: str, form: str, tmp_path: Path
) -> None:
    def with_rubbish(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        type_name, message = encoded(store, number, bgr)
        if number == 16:
            message.data = np.zeros(0, np.uint8)
        return type_name, message

    encoded = video(codec, form, keys_every=12)
    frames, _ = read_on(write_bag(tmp_path / "drive", with_rubbish, count=30))

    assert ids_of(frames, is_damaged=False) == [*range(16), *range(24, 30)]
    assert ids_of(frames, is_damaged=True) == (list(range(17, 24)) if form == "h264" else [])
    assert [frame.frame_id for frame in frames if frame.missed_before] == [17 if form == "h264" else 24]


def ids_of(frames: Sequence[Frame], is_damaged: bool) -> list[int]:
    return [frame.frame_id for frame in frames if frame.is_damaged == is_damaged]
