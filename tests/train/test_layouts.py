"""Every layout of a data set: its classes, its splits, and what its reader refuses."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.imaging.mask_png import mask_png
from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, IGNORE
from train.data.camvid import read_camvid
from train.data.frames import DataError
from train.data.layouts import LAYOUTS, open_frames, read_data_set, recognise

WIDTH, HEIGHT = 16, 12
Build = Callable[[Path], None]


def picture(seed: int) -> NDArray[np.uint8]:
    """(12, 16, 3) BGR that no other seed has."""
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def quarters(*values: object) -> NDArray[np.uint8]:
    """(12, 16, ...) with one of four values in each quarter: a label image, or the classes it stands for."""
    upper_left, upper_right, lower_left, lower_right = np.array(values, np.uint8)
    label = np.empty((HEIGHT, WIDTH, *np.shape(values[0])), np.uint8)
    label[:6, :8], label[:6, 8:], label[6:, :8], label[6:, 8:] = (
        upper_left,
        upper_right,
        lower_left,
        lower_right,
    )
    return label


def write(file: Path, pixels: NDArray[np.uint8]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), pixels)


def write_rgb(file: Path, pixels_rgb: NDArray[np.uint8]) -> None:
    write(file, np.ascontiguousarray(pixels_rgb[:, :, ::-1]))


OURS = quarters(DIRECT, ALTERNATIVE, BACKGROUND, IGNORE)
UPRIGHT = OURS[::-1]  # so many frames are judged by where the road lies


def build_indexed(root: Path) -> None:
    rows = ["0a000000-00000000,train", "0a000000-00000001,train", "0b000000-00000000,val"]
    for seed, row in enumerate(rows):
        write(root / "images" / f"{row.split(',')[0]}.jpg", picture(seed))
        write(root / "labels" / f"{row.split(',')[0]}.png", OURS)
    (root / "index.csv").write_text("\n".join(["id,split", *rows]) + "\n")


def build_bdd100k(root: Path) -> None:
    frames = ["train/0a000000-00000000", "train/0a000000-00000001", "val/0b000000-00000000"]
    for seed, frame in enumerate(frames):
        write(root / "images" / "100k" / f"{frame}.jpg", picture(seed))
        write(root / "labels" / "drivable" / "masks" / f"{frame}.png", OURS)
    write(root / "images" / "100k" / "test" / "0c000000-00000000.jpg", picture(9))


def build_bdd100k_of_2018(root: Path) -> None:
    for split, frame in (("train", "0a000000-00000000"), ("val", "0b000000-00000000")):
        write(root / "images" / "100k" / split / f"{frame}.jpg", picture(len(split)))
        label_file = root / "drivable_maps" / "labels" / split / f"{frame}_drivable_id.png"
        write(label_file, quarters(1, 2, 0, 0))


def build_numpy(root: Path) -> None:
    frames = 100
    np.save(root / "image_180_320.npy", np.stack([picture(seed)[:, :, ::-1] for seed in range(frames)]))
    np.save(root / "label_180_320.npy", np.stack([UPRIGHT.astype(np.int64)] * frames))


CAMVID = {
    "train": ["0001TP_006690", "0006R0_f00930", "0016E5_00390"],
    "val": ["0016E5_07959"],
    "test": ["0001TP_008550", "Seq05VD_f00000"],
}


def build_camvid(root: Path) -> None:
    for split, stems in CAMVID.items():
        for stem in stems:
            write(root / split / f"{stem}.png", picture(len(stem)))
            write(root / f"{split}annot" / f"{stem}.png", quarters(3, 0, 4, 11))


CAMVID_RGB = quarters((128, 64, 128), (128, 0, 192), (0, 0, 192), (0, 0, 0))


def build_camvid_in_colour(root: Path) -> None:
    for split, stems in CAMVID.items():
        for stem in stems:
            write(root / split / f"{stem}.png", picture(len(stem)))
            write_rgb(root / f"{split}_labels" / f"{stem}_L.png", CAMVID_RGB)


def build_camvid_as_published(root: Path) -> None:
    for stem in [stem for stems in CAMVID.values() for stem in stems]:
        write(root / "701_StillsRaw_full" / f"{stem}.png", picture(len(stem)))
        write_rgb(root / "LabeledApproved_full" / f"{stem}_L.png", CAMVID_RGB)


MAGENTA, RED, BLACK = (255, 0, 255), (255, 0, 0), (0, 0, 0)


def build_kitti_road(root: Path) -> None:
    training = root / "training"
    for number in range(95):
        write(training / "image_2" / f"um_{number:06}.png", picture(number))
        lane, road = quarters(MAGENTA, RED, RED, BLACK), quarters(MAGENTA, MAGENTA, RED, BLACK)
        write_rgb(training / "gt_image_2" / f"um_lane_{number:06}.png", lane)
        write_rgb(training / "gt_image_2" / f"um_road_{number:06}.png", road)
    for kind in ("umm", "uu"):
        write(training / "image_2" / f"{kind}_000000.png", picture(0))
        write_rgb(training / "gt_image_2" / f"{kind}_road_000000.png", road)


def build_folder(root: Path) -> None:
    for recording in range(40):
        for number in range(2):
            write(root / "images" / f"drive{recording}_{number:03}.jpg", picture(recording))
            write(root / "masks" / f"drive{recording}_{number:03}.png", quarters(7, 8, 0, 255))
    (root / "labels.yaml").write_text("{0: background, 7: direct, 8: alternative, 255: ignore}")


def build_folder_with_splits(root: Path) -> None:
    for split in ("train", "val"):
        write(root / split / "images" / f"{split}_0.jpg", picture(len(split)))
        write_rgb(root / split / "masks" / f"{split}_0.png", quarters(MAGENTA, RED, BLACK, BLACK))
    (root / "labels.yaml").write_text('{"#ff00ff": direct, "#FF0000": alternative, "#000000": background}')


ROAD_OR_NOT = quarters(DIRECT, BACKGROUND, BACKGROUND, IGNORE)
GOOD: Mapping[str, tuple[str, Build, NDArray[np.uint8]]] = {
    "indexed": ("indexed", build_indexed, OURS),
    "bdd100k": ("bdd100k", build_bdd100k, OURS),
    "bdd100k of 2018": (
        "bdd100k",
        build_bdd100k_of_2018,
        quarters(DIRECT, ALTERNATIVE, BACKGROUND, BACKGROUND),
    ),
    "numpy": ("numpy", build_numpy, UPRIGHT),
    "camvid": ("camvid", build_camvid, ROAD_OR_NOT),
    "camvid in colour": (
        "camvid",
        build_camvid_in_colour,
        quarters(DIRECT, DIRECT, BACKGROUND, IGNORE),
    ),
    "camvid as published": (
        "camvid",
        build_camvid_as_published,
        quarters(DIRECT, DIRECT, BACKGROUND, IGNORE),
    ),
    "kitti_road": ("kitti_road", build_kitti_road, OURS),
    "folder": ("folder", build_folder, OURS),
    "folder with splits": (
        "folder",
        build_folder_with_splits,
        quarters(DIRECT, ALTERNATIVE, BACKGROUND, BACKGROUND),
    ),
}


@pytest.mark.parametrize("kind", GOOD)
def test_layout_is_recognised_and_its_classes_are_exactly_right(kind: str, tmp_path: Path) -> None:
    layout, build, truth = GOOD[kind]
    build(tmp_path)

    assert recognise(tmp_path) == layout
    for split in read_data_set(tmp_path).splits:
        frames = open_frames(tmp_path, split)
        image_bgr, class_map = frames[len(frames) - 1]
        assert image_bgr.shape == (HEIGHT, WIDTH, 3)
        assert (image_bgr.dtype, class_map.dtype) == (np.uint8, np.uint8)
        np.testing.assert_array_equal(class_map, truth)


@pytest.mark.parametrize("kind", GOOD)
def test_no_two_splits_share_a_frame_or_a_recording(kind: str, tmp_path: Path) -> None:
    GOOD[kind][1](tmp_path)

    data_set = read_data_set(tmp_path)

    assert {"train", "val"} <= set(data_set.splits)
    for method in ("recording", "name"):
        sets = [
            {getattr(frames, method)(index) for index in range(len(frames))}
            for frames in (data_set.open(split) for split in data_set.splits)
        ]
        assert len(set().union(*sets)) == sum(len(found) for found in sets)


def test_every_layout_has_a_good_case() -> None:
    assert {layout for layout, _, _ in GOOD.values()} == set(LAYOUTS)


@pytest.mark.parametrize("kind", GOOD)
def test_frames_can_be_sent_to_another_process(kind: str, tmp_path: Path) -> None:
    GOOD[kind][1](tmp_path)
    frames = open_frames(tmp_path, "train")

    sent = pickle.loads(pickle.dumps(frames))

    assert (len(sent), sent.name(0), sent.recording(0)) == (len(frames), frames.name(0), frames.recording(0))
    np.testing.assert_array_equal(sent[0][0], frames[0][0])


# Split, image and label of a frame in files.
FILES: Mapping[str, tuple[Build, str, str, str]] = {
    "indexed": (
        build_indexed,
        "val",
        "images/0b000000-00000000.jpg",
        "labels/0b000000-00000000.png",
    ),
    "bdd100k": (
        build_bdd100k,
        "val",
        "images/100k/val/0b000000-00000000.jpg",
        "labels/drivable/masks/val/0b000000-00000000.png",
    ),
    "camvid": (build_camvid, "val", "train/0006R0_f00930.png", "trainannot/0006R0_f00930.png"),
    "camvid in colour": (
        build_camvid_in_colour,
        "val",
        "train/0006R0_f00930.png",
        "train_labels/0006R0_f00930_L.png",
    ),
    "kitti_road": (
        build_kitti_road,
        "train",
        "training/image_2/um_000000.png",
        "training/gt_image_2/um_lane_000000.png",
    ),
    "folder": (
        build_folder_with_splits,
        "val",
        "val/images/val_0.jpg",
        "val/masks/val_0.png",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_image_without_a_label_and_label_without_an_image_are_named(kind: str, tmp_path: Path) -> None:
    build, split, *files = FILES[kind]
    build(tmp_path)
    for file in files:
        kept = (tmp_path / file).read_bytes()
        (tmp_path / file).unlink()
        with pytest.raises(
            DataError,
            match=f"{Path(file).stem.removesuffix('_L')[-6:]}.*: (has no|named in index.csv but missing)",
        ):
            open_frames(tmp_path, split)
        (tmp_path / file).write_bytes(kept)


def test_mask_of_the_node_with_a_palette_is_a_label(tmp_path: Path) -> None:
    build_indexed(tmp_path)
    ids = np.where(OURS == IGNORE, BACKGROUND, OURS).astype(np.uint8)
    (tmp_path / "labels" / "0b000000-00000000.png").write_bytes(mask_png(ids, has_palette=True))

    np.testing.assert_array_equal(open_frames(tmp_path, "val")[0][1], ids)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("damage", ["empty", "cut off", "no image"])
def test_file_that_does_not_decode_is_named(kind: str, damage: str, tmp_path: Path) -> None:
    build, split, *files = FILES[kind]
    build(tmp_path)
    for file in files:
        kept = (tmp_path / file).read_bytes()
        broken = {"empty": b"", "cut off": kept[: len(kept) // 2], "no image": b"not a picture"}[damage]
        (tmp_path / file).write_bytes(broken)
        with pytest.raises(DataError, match=f"{Path(file).name}: is (corrupt|empty)"):
            open_frames(tmp_path, split)[0]
        (tmp_path / file).write_bytes(kept)


@pytest.mark.parametrize("damage", [lambda content: content[:-14], lambda content: content[:40]])
def test_png_with_one_wrong_bit_or_missing_bytes_is_refused_and_what_follows_its_end_is_not(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    build_indexed(tmp_path)
    file, frames = tmp_path / "labels" / "0b000000-00000000.png", open_frames(tmp_path, "val")
    content = file.read_bytes()
    at = content.index(b"IDAT") + 8
    for wrong in (damage(content), content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]):
        file.write_bytes(wrong)
        with pytest.raises(DataError, match=r"0b000000-00000000\.png: is corrupt: this PNG is cut off"):
            frames[0]

    file.write_bytes(content + b"more")

    np.testing.assert_array_equal(frames[0][1], OURS)


@pytest.mark.parametrize("kind", FILES)
def test_label_of_another_size_is_named(kind: str, tmp_path: Path) -> None:
    build, split, _, label = FILES[kind]
    build(tmp_path)
    pixels = cv2.imread(str(tmp_path / label), cv2.IMREAD_UNCHANGED)
    write(tmp_path / label, np.ascontiguousarray(pixels[:6]))

    with pytest.raises(DataError, match=rf"{Path(label).name}: is 16x6 pixels, .* 16x12"):
        open_frames(tmp_path, split)[0]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("indexed", 3, "label 3 is not one of 0, 1, 2, 255"),
        ("bdd100k", 7, "label 7 is not one of 0, 1, 2, 255"),
        ("camvid", 12, "label 12 is not one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"),
        ("camvid in colour", (1, 2, 3), "the colour #010203 is not a class"),
        ("kitti_road", (0, 0, 255), "the colour #0000ff is not a class"),
        ("folder", (0, 255, 0), "the colour #00ff00 is not a class"),
    ],
)
def test_label_outside_the_map_is_named_with_its_value(
    kind: str, value: object, message: str, tmp_path: Path
) -> None:
    build, split, _, label = FILES[kind]
    build(tmp_path)
    pixels = cv2.imread(str(tmp_path / label), cv2.IMREAD_UNCHANGED)
    pixels[0, 0] = value if isinstance(value, int) else value[::-1]
    write(tmp_path / label, pixels)

    with pytest.raises(DataError, match=f"{Path(label).name}: {message}"):
        open_frames(tmp_path, split)[0]


@pytest.mark.parametrize("kind", GOOD)
def test_unknown_split_names_the_known_ones(kind: str, tmp_path: Path) -> None:
    GOOD[kind][1](tmp_path)

    with pytest.raises(DataError, match=r"no frames in split 'tset'; it has: train, val(, test)?$"):
        open_frames(tmp_path, "tset")


def test_unknown_layout_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cityscapes: no such layout; known: auto, indexed, bdd100k, numpy"):
        open_frames(tmp_path, "train", "cityscapes")


def test_folder_that_nobody_recognises_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"looked for index\.csv \(indexed\); .* \(folder\)$"):
        open_frames(tmp_path, "train")


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        open_frames(tmp_path / "nowhere", "train")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_that_was_asked_for_but_is_not_there_is_refused(layout: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        open_frames(tmp_path, "train", layout)


def test_label_map_for_another_layout_is_refused(tmp_path: Path) -> None:
    build_indexed(tmp_path)

    with pytest.raises(DataError, match=r"map\.yaml: a label map is for the layout folder"):
        open_frames(tmp_path, "train", label_map=Path("map.yaml"))


def test_test_images_of_bdd100k_without_labels_are_reported_where_they_are_missing(tmp_path: Path) -> None:
    build_bdd100k(tmp_path)

    with pytest.raises(DataError, match=r"split 'test'; it has: train, val \(.*100k/test: left out"):
        open_frames(tmp_path, "test")


def test_camvid_is_split_by_recording_and_not_as_published(tmp_path: Path) -> None:
    build_camvid(tmp_path)

    names = {
        split: {frames.name(index) for index in range(len(frames))}
        for split, frames in read_camvid(tmp_path).frames.items()
    }

    assert names == {
        "train": {"0001TP_006690", "0001TP_008550", "0016E5_00390", "0016E5_07959"},
        "val": {"0006R0_f00930"},
        "test": {"Seq05VD_f00000"},
    }


def test_file_of_no_camvid_recording_is_refused(tmp_path: Path) -> None:
    build_camvid(tmp_path)
    write(tmp_path / "train" / "monday_1.png", picture(0))

    with pytest.raises(DataError, match="monday_1 is of none of CamVid's recordings 0001TP, 0016E5"):
        open_frames(tmp_path, "val")


def test_kitti_frames_without_lane_labels_are_left_out_and_counted(tmp_path: Path) -> None:
    build_kitti_road(tmp_path)

    data_set = read_data_set(tmp_path)

    assert [len(data_set.open(split)) for split in ("train", "val", "test")] == [80, 10, 5]
    assert "2 frames left out" in data_set.notes[1]


def test_kitti_lane_without_its_image_is_named(tmp_path: Path) -> None:
    build_kitti_road(tmp_path)
    write_rgb(tmp_path / "training" / "gt_image_2" / "um_lane_000500.png", quarters(RED, RED, RED, RED))

    with pytest.raises(DataError, match=r"um_lane_000500\.png: has no image"):
        open_frames(tmp_path, "train")


def test_numpy_splits_are_contiguous_and_the_images_are_turned_to_bgr(tmp_path: Path) -> None:
    build_numpy(tmp_path)

    data_set = read_data_set(tmp_path)

    assert [len(data_set.open(split)) for split in ("train", "val", "test")] == [70, 20, 10]
    assert [data_set.open("val").name(index) for index in (0, 19)] == ["frame 70", "frame 89"]
    assert data_set.open("val").recording(0) == "frames 70 to 79"
    np.testing.assert_array_equal(data_set.open("val")[1][0], picture(71))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("image", np.zeros((100, 12, 16), np.uint8), "is uint8 of shape"),
        ("image", np.zeros((100, 12, 16, 3), np.float32), "is float32 of shape"),
        ("image", np.array([{}], object), "cannot be read as a NumPy array"),
        ("label", np.zeros((99, 12, 16), np.uint8), r"is uint8 of shape \(99, 12, 16\); .* \(100, 12, 16\)"),
        ("label", np.zeros((100, 12, 16), np.float32), "is float32 of shape"),
    ],
)
def test_numpy_array_of_another_kind_is_refused(
    name: str, array: NDArray[np.generic], message: str, tmp_path: Path
) -> None:
    build_numpy(tmp_path)
    np.save(tmp_path / f"{name}_180_320.npy", array)

    with pytest.raises(DataError, match=rf"{name}_180_320\.npy: {message}"):
        open_frames(tmp_path, "train")


@pytest.mark.parametrize("value", [3, -1, 300])
def test_numpy_label_that_is_no_class_is_named_with_its_frame(value: int, tmp_path: Path) -> None:
    build_numpy(tmp_path)
    labels = np.load(tmp_path / "label_180_320.npy")
    labels[72, 5, 5] = value
    np.save(tmp_path / "label_180_320.npy", labels)

    with pytest.raises(DataError, match=rf"label_180_320\.npy, frame 72: label {value} is"):
        open_frames(tmp_path, "val")[2]


def test_folder_keeps_a_recording_in_its_split_when_others_come_and_go(tmp_path: Path) -> None:
    build_folder(tmp_path)
    before = {name: split for split in ("train", "val", "test") for name in _recordings(tmp_path, split)}

    for file in [*tmp_path.glob("*/drive1*"), *tmp_path.glob("*/drive2*")]:
        file.unlink()
    after = {name: split for split in ("train", "val", "test") for name in _recordings(tmp_path, split)}

    assert after
    assert after.items() < before.items()


def _recordings(root: Path, split: str) -> set[str]:
    frames = open_frames(root, split)
    return {frames.recording(index) for index in range(len(frames))}


def test_folder_whose_names_tell_no_recording_is_not_split_at_random(tmp_path: Path) -> None:
    build_folder(tmp_path)
    write(tmp_path / "images" / "000001.jpg", picture(0))
    write(tmp_path / "masks" / "000001.png", quarters(7, 8, 0, 255))

    with pytest.raises(DataError, match=r"000001\.jpg: the name gives no recording"):
        open_frames(tmp_path, "train")


def test_folder_with_too_few_recordings_says_how_they_fell(tmp_path: Path) -> None:
    write(tmp_path / "images" / "monday_1.jpg", picture(0))
    write(tmp_path / "masks" / "monday_1.png", quarters(0, 0, 0, 0))
    (tmp_path / "labels.yaml").write_text("0: background")
    (missing, *_) = {"train", "val"} - set(read_data_set(tmp_path).splits)

    with pytest.raises(DataError, match=rf"no frames in split '{missing}'.*{missing} has 0"):
        open_frames(tmp_path, missing)


def test_split_of_a_folder_without_masks_is_reported_where_it_is_missing(tmp_path: Path) -> None:
    build_folder_with_splits(tmp_path)
    write(tmp_path / "test" / "images" / "test_0.jpg", picture(0))

    with pytest.raises(DataError, match=r"split 'test'; it has: train, val \(.*test/images: left out"):
        open_frames(tmp_path, "test")


def test_folder_split_inside_its_images_and_masks_is_read_too(tmp_path: Path) -> None:
    build_folder_with_splits(tmp_path)
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / split / kind).rename(tmp_path / kind / split)

    assert recognise(tmp_path) == "folder"
    assert open_frames(tmp_path, "val").name(0) == "val_0"


def test_folder_takes_a_label_map_from_elsewhere(tmp_path: Path) -> None:
    build_folder(tmp_path / "data")
    (tmp_path / "data" / "labels.yaml").rename(tmp_path / "map.yaml")

    with pytest.raises(DataError, match=r"labels\.yaml: no such label map"):
        open_frames(tmp_path / "data", "train")
    _, class_map = open_frames(tmp_path / "data", "train", label_map=tmp_path / "map.yaml")[0]

    np.testing.assert_array_equal(class_map, OURS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7: road", "7: road is not a class; known: direct, alternative, background, ignore"),
        ("300: direct", "300 is neither a value from 0 to 255 nor a colour"),
        ("yes: direct", "True is neither a value"),
        ("'#ff00f': direct", "'#ff00f' is neither a value"),
        ("{7: direct, '#ff00ff': direct}", "has values and colours"),
        ("#ff00ff: direct", "a colour needs its quotes"),
        ("- direct", "expected lines such as `7: direct`"),
        ("7: [direct", "not readable as YAML"),
        ("7: direct\n8: alternative\n7: background", "7 occurs twice"),
        ("7: direct\n0x7: direct", "7 occurs twice"),
        ("'#00ff00': direct\n'#00FF00': background", "#00FF00 occurs twice"),
    ],
)
def test_label_map_that_makes_no_sense_is_refused(text: str, message: str, tmp_path: Path) -> None:
    build_folder(tmp_path)
    (tmp_path / "labels.yaml").write_text(text)

    with pytest.raises(DataError, match=rf"labels\.yaml: .*{message}"):
        open_frames(tmp_path, "train")


def test_mask_in_colour_where_values_are_wanted_is_refused_and_a_grey_one_in_three_channels_is_not(
    tmp_path: Path,
) -> None:
    build_folder(tmp_path)
    frames = open_frames(tmp_path, "train")
    mask_file = tmp_path / "masks" / f"{frames.name(0)}.png"
    write(mask_file, np.dstack([quarters(7, 8, 0, 255)] * 3))
    np.testing.assert_array_equal(frames[0][1], OURS)

    write_rgb(mask_file, quarters(MAGENTA, RED, BLACK, BLACK))

    with pytest.raises(DataError, match=rf"{mask_file.name}: is in colour, .*palette"):
        frames[0]


def test_mask_of_16_bits_is_refused(tmp_path: Path) -> None:
    build_folder(tmp_path)
    frames = open_frames(tmp_path, "train")
    cv2.imwrite(str(tmp_path / "masks" / f"{frames.name(0)}.png"), np.full((HEIGHT, WIDTH), 7, np.uint16))

    with pytest.raises(DataError, match="has 16 bits a pixel; labels need 8"):
        frames[0]


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    build_folder_with_splits(tmp_path)
    write(tmp_path / "val" / "images" / "val_0.png", picture(0))

    with pytest.raises(DataError, match=r"val_0\.png: has the name of val_0\.jpg too"):
        open_frames(tmp_path, "val")
