"""Bags that are damaged, unfinished or unusual: what can be read is, and one line says the rest."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bags import (
    COMPRESSED,
    IMAGE,
    TOPIC,
    compressed,
    header,
    image,
    pictures_bgr,
    read_all,
    stamp_ns_of,
    write_bag,
)
from clips import played
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

from perception.sources import SourceSettings, build_source
from perception.sources.source import SourceError

Channel = tuple[str, str, bytes, str]
"""Type, form of its definition, definition, and encoding of messages."""
JSON: Channel = ("some.Thing", "jsonschema", b"{}", "json")
PROTOBUF: Channel = ("foxglove.Grid", "protobuf", b"\x00\xff", "protobuf")


def write_mcap(
    path: Path,
    profile: str = "ros2",
    compression: CompressionType = CompressionType.ZSTD,
    also: Sequence[Channel] = (),
    is_ros1: bool = False,
    count: int = 8,
) -> Path:
    """Of a few pictures a chunk, by mcap's own writer."""
    store = get_typestore(Stores.ROS1_NOETIC if is_ros1 else Stores.ROS2_HUMBLE)
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=20_000, compression=compression)
        writer.start(profile=profile, library="another's")
        for name, form, definition, encoding in also:
            channel = writer.register_channel(
                f"/{name}", encoding, writer.register_schema(name, form, definition)
            )
            writer.add_message(channel, 1, b"{}", 1)
        definition = store.generate_msgdef(IMAGE, ros_version=1 if is_ros1 else 2)[0].encode()
        name, form = ("sensor_msgs/Image", "ros1msg") if is_ros1 else (IMAGE, "ros2msg")
        schema = writer.register_schema(name, form, definition)
        channel = writer.register_channel(TOPIC, "ros1" if is_ros1 else "cdr", schema)
        for number, bgr in enumerate(pictures_bgr(count)):
            _, message = image("bgr8")(store, number, bgr)
            data = store.serialize_ros1(message, IMAGE) if is_ros1 else store.serialize_cdr(message, IMAGE)
            writer.add_message(channel, stamp_ns_of(number), bytes(data), stamp_ns_of(number))
        writer.finish()
    return path


def read_until_error(path: Path) -> tuple[int, str]:
    """How many frames come, and what is said then; empty at the end."""
    return played(build_source(str(path), SourceSettings()))


def of_jpegs(damaged: Callable[[int], bool], data: bytes = b"\x17 rubbish" * 90) -> Any:
    """Makes messages, of which some are rubbish."""

    def make(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        type_name, message = compressed(".jpg", "jpeg")(store, number, bgr)
        if damaged(number):
            message.data = np.frombuffer(data, np.uint8)
        return type_name, message

    return make


@pytest.mark.parametrize("profile", ["", "x-robot"])
@pytest.mark.parametrize("also", [[], [JSON], [PROTOBUF]], ids=["ros alone", "json", "protobuf"])
def test_whole_mcap_of_any_profile_and_with_channels_in_other_forms_is_read_to_its_end(
    profile: str, also: list[Channel], tmp_path: Path
) -> None:
    assert read_until_error(write_mcap(tmp_path / "a.mcap", profile, also=also)) == (8, "")


def test_mcap_that_was_converted_from_ros1_is_read(tmp_path: Path) -> None:
    bag = write_mcap(tmp_path / "a.mcap", "ros1", is_ros1=True)

    assert all(map(np.array_equal, [frame.image_bgr for frame in read_all(str(bag))], pictures_bgr(8)))


def test_mcap_is_known_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    assert read_until_error(write_mcap(tmp_path / "drive.bin")) == (8, "")


@pytest.mark.parametrize("is_cut", [False, True], ids=["whole", "cut off"])
@pytest.mark.parametrize(
    ("offset", "value", "says"),
    [
        (24, struct.pack("<I", 1), "checksum|crc"),
        (16, struct.pack("<Q", 1 << 50), "a chunk has|^$"),
        (28, b"\x04\x00\x00\x00zstx", "zstx"),
        (50, b"\x00" * 12, "decompress"),
    ],
    ids=["checksum", "size", "compression", "content"],
)
def test_damaged_chunk_gives_what_was_before_it_and_one_line(
    offset: int, value: bytes, says: str, is_cut: bool, tmp_path: Path
) -> None:
    bag = write_mcap(tmp_path / "a.mcap")
    with bag.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    content, at = bytearray(bag.read_bytes()), summary.chunk_indexes[1].chunk_start_offset + 9 + offset
    content[at : at + len(value)] = value
    bag.write_bytes(content[:-40] if is_cut else content)

    count, line = read_until_error(bag)

    if line:
        assert 0 < count < 8
        assert "a.mcap: is damaged after" in line
        assert "\n" not in line
    else:  # of the size, where the index has it too
        assert not is_cut


def test_message_that_cannot_be_decoded_is_left_out_alone(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    bag = tmp_path / "a.mcap"
    with bag.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2", library="another's")
        definition = store.generate_msgdef(IMAGE, ros_version=2)[0].encode()
        channel = writer.register_channel(TOPIC, "cdr", writer.register_schema(IMAGE, "ros2msg", definition))
        for number, bgr in enumerate(pictures_bgr(6)):
            data = bytes(store.serialize_cdr(image("bgr8")(store, number, bgr)[1], IMAGE))
            data = data[:30] if number in (0, 3) else data
            writer.add_message(channel, stamp_ns_of(number), data, stamp_ns_of(number))
        writer.finish()

    frames = read_all(str(bag))

    assert [frame.frame_id for frame in frames] == [1, 2, 4, 5]
    assert [frame.missed_before for frame in frames] == [1, 0, 1, 0]


def test_compressed_rubbish_is_left_out_alone(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "drive", of_jpegs(lambda number: number in (0, 2)), count=5)

    assert [frame.frame_id for frame in read_all(str(bag))] == [1, 3, 4]


def test_topic_of_rubbish_says_what_was_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bag = write_bag(tmp_path / "drive", of_jpegs(lambda number: True), count=5)

    with pytest.raises(SourceError, match=r"none of its 5 messages .*: 810 bytes are no picture of .*'jpeg'"):
        read_all(str(bag))
    assert not caplog.records  # one line says it


def test_size_that_is_not_the_contents_is_no_large_picture(tmp_path: Path) -> None:
    def make(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        type_name, message = image("bgr8")(store, number, bgr)
        message.width = 2**31 if number == 2 else message.width
        return type_name, message

    frames = read_all(str(write_bag(tmp_path / "drive", make, count=5)))

    assert [frame.frame_id for frame in frames] == [0, 1, 3, 4]


def test_format_that_is_not_read_ends_the_source(tmp_path: Path) -> None:
    def make(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        head = header(store, stamp_ns_of(number))
        depth = np.zeros(40, np.uint8)
        return COMPRESSED, store.types[COMPRESSED](head, "16UC1; compressedDepth png", depth)

    with pytest.raises(SourceError, match="pictures of format '16UC1; compressedDepth png' are not read"):
        read_all(str(write_bag(tmp_path / "drive", make)))


def test_folder_of_a_recorder_that_was_killed_is_read_without_its_metadata(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "drive", image("bgr8"), "sqlite3")
    (folder / "metadata.yaml").unlink()

    assert read_until_error(folder) == (4, "")


@pytest.mark.parametrize("form", ["folder", "mcap"])
def test_folder_with_several_bags_names_them(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "trip"
    folder.mkdir()
    bag = write_bag(tmp_path / "drive", image("bgr8"), form)
    for name in ("one", "two"):
        if form == "folder":
            shutil.copytree(bag, folder / name)
        else:
            shutil.copy(bag, folder / f"{name}.mcap")

    with pytest.raises(SourceError, match=r"trip: holds 2 bags: one.*, two.*; name one, as .*/trip/one"):
        read_all(str(folder))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x80", b"- 1\n", b"a: [1,\n b: {"])
def test_metadata_that_is_none_is_named(content: bytes, tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "drive", image("bgr8"), "folder")
    (folder / "metadata.yaml").write_bytes(content)

    with pytest.raises(SourceError, match=r"drive/metadata\.yaml: is not that of a bag; ros2 bag reindex"):
        read_all(str(folder))


def test_database_with_a_journal_gives_what_it_has_and_says_how_to_get_the_rest(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "drive", image("bgr8"), "sqlite3")
    recorder = sqlite3.connect(folder / "drive.db3")
    recorder.execute("PRAGMA journal_mode=WAL")
    recorder.execute(
        "INSERT INTO messages(topic_id, timestamp, data) SELECT topic_id, timestamp + 1, data FROM messages"
    )
    recorder.commit()
    killed = tmp_path / "killed"
    shutil.copytree(folder, killed)
    shutil.copy(folder / "drive.db3-wal", killed / "drive.db3-wal")
    recorder.close()

    count, line = read_until_error(killed)
    mended = sqlite3.connect(killed / "drive.db3")
    mended.execute("SELECT name FROM sqlite_master").fetchall()
    mended.close()

    assert count == 4
    assert "ends before its end: what was recorded last is in drive.db3-wal" in line
    assert read_until_error(killed) == (8, "")


def test_bag_of_ros1_under_another_name_says_which_it_needs(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "drive", image("bgr8"), "ros1")
    bag.rename(bag.with_suffix(".bag.active"))

    with pytest.raises(
        SourceError, match=r"is a bag of ROS 1, whose name has to end in \.bag; rosbag reindex"
    ):
        read_all(str(bag.with_suffix(".bag.active")))


@pytest.mark.parametrize("package", ["mcap.reader", "rosbags.highlevel"])
def test_package_that_is_missing_is_named_with_its_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = write_mcap(tmp_path / "a.mcap", profile="")
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(
        SourceError, match=r"bags need packages that are not installed; pip install 'drivable\[mcap\]'"
    ):
        read_all(str(bag))


def test_rubbish_in_any_place_ends_in_one_line(tmp_path: Path) -> None:
    good = write_mcap(tmp_path / "a.mcap").read_bytes()
    random = np.random.default_rng(1)
    bag = tmp_path / "b.mcap"
    for _ in range(60):
        content = bytearray(good)
        for at in random.integers(8, len(content), 3):
            content[at] = random.integers(256)
        bag.write_bytes(content)

        assert "\n" not in read_until_error(bag)[1]


def test_topic_with_messages_of_another_type_too_gives_its_pictures(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    text = "std_msgs/msg/String"
    with Writer2(tmp_path / "drive", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        of_text = writer.add_connection(TOPIC, text, typestore=store)
        of_pictures = writer.add_connection(TOPIC, IMAGE, typestore=store)
        for number, bgr in enumerate(pictures_bgr()):
            line = store.serialize_cdr(store.types[text]("on"), text)
            writer.write(of_text, stamp_ns_of(number) - 1, line)
            _, message = image("bgr8")(store, number, bgr)
            writer.write(of_pictures, stamp_ns_of(number), store.serialize_cdr(message, IMAGE))
    cut = tmp_path / "cut.mcap"
    cut.write_bytes((tmp_path / "drive/drive.mcap").read_bytes()[:-40])

    assert read_until_error(tmp_path / "drive") == (4, "")
    assert read_until_error(cut)[0] == 4


@pytest.mark.parametrize("is_cut", [False, True], ids=["whole", "cut off"])
def test_type_that_a_bag_defines_otherwise_is_refused_by_its_fields(is_cut: bool, tmp_path: Path) -> None:
    bag = tmp_path / "a.mcap"
    with bag.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2", library="another's")
        schema = writer.register_schema(IMAGE, "ros2msg", b"uint32 height\nuint32 width\n")
        channel = writer.register_channel(TOPIC, "cdr", schema)
        writer.add_message(channel, 1, b"\x00\x01\x00\x00" + struct.pack("<II", 48, 64), 1)
        writer.finish()
    if is_cut:
        bag.write_bytes(bag.read_bytes()[:-40])

    with pytest.raises(
        SourceError, match="sensor_msgs/msg/Image has no header, encoding, step, data in this bag"
    ):
        read_all(str(bag))


def test_folder_whose_mcap_is_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "drive", image("bgr8"), "folder")
    bag = folder / "drive.mcap"
    bag.write_bytes(bag.read_bytes()[:-40])

    count, line = read_until_error(folder)

    assert (count, line) == (4, f"{bag}: ends before its end: it was cut off")


def test_folder_of_which_a_file_is_missing_gives_the_other_and_says_so(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "drive", image("bgr8"), "folder")
    metadata = folder / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("  - drive.mcap", "  - drive.mcap\n  - drive_1.mcap"))

    count, line = read_until_error(folder)

    assert count == 4
    assert "Some database files are missing" in line
    assert "drive_1.mcap" in line


def test_files_of_the_only_bag_in_a_folder_are_inputs(tmp_path: Path) -> None:
    from perception.sources.registry import SOURCES

    bag = write_bag(tmp_path / "trip/drive", image("bgr8"), "folder")

    assert bag / "drive.mcap" in SOURCES["bag"].files(str(tmp_path / "trip"))


def test_only_bag_in_a_folder_stays_the_source_when_an_output_is_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "trip"
    folder.mkdir()
    write_mcap(folder / "drive.mcap", count=3)
    source = build_source(str(folder), SourceSettings(loop=True, max_frames=6))
    source.open()
    shutil.copy(folder / "drive.mcap", folder / "output.mcap")

    frames = [source.read() for _ in range(6)]
    source.close()

    assert [frame.frame_id for frame in frames] == list(range(6))
