"""Bags that are damaged, unfinished or unusual: what can be read is, and one line says the rest."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bags import (
    COMPRESSED,
    IMAGE,
    TOPIC,
    Channel,
    compressed,
    header,
    image,
    pictures_bgr,
    read_all,
    read_until_error,
    stamp_ns_of,
    write_bag,
    write_mcap,
)
from mcap.writer import Writer
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

from perception.sources import SourceSettings, build_source
from perception.sources.source import SourceError

JSON: Channel = ("some.Thing", "jsonschema", b"{}", "json")
PROTOBUF: Channel = ("foxglove.Grid", "protobuf", b"\x00\xff", "protobuf")


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

    with pytest.raises(
        SourceError, match=r"none of its 5 messages .*: 810 bytes are not a picture of .*'jpeg'"
    ):
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
    assert "is incomplete: what was recorded last is in drive.db3-wal" in line
    assert read_until_error(killed) == (8, "")


@pytest.mark.parametrize("package", ["mcap", "rosbags"])
def test_package_that_is_missing_is_named_with_its_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = write_mcap(tmp_path / "a.mcap", profile="")
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(
        SourceError, match=rf"a bag needs the package {package}; pip install 'drivable\[mcap\]'"
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
