"""An archive on this machine: every clip once, what is wrong with one is its own, and tables of all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import duckdb
import pandas
import pyarrow as pa
import pytest
from archives import FAST, GOOD, MODEL, archive, make_clips, masks, masks_of_node, results
from clips import Kind, write

from perception.node import main

IN_ORDER = ["a.mp4", "b.mkv", "cut.mkv", "day 2/a.mp4", "empty.mp4", "text.mp4"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Clips, and what a first run made of them."""
    folder = tmp_path_factory.mktemp("archive")
    clips = make_clips(folder / "in")
    assert archive(clips, "--to", folder / "out", *FAST, "--outputs", "records,masks") == 1
    return clips, folder / "out"


@pytest.fixture
def copied(made: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same, to be changed."""
    for before in made:
        os.system(f"cp -a '{before}' '{tmp_path}'")
    clips = tmp_path / "in"
    for file in (tmp_path / "out").rglob("clip.json"):
        result = json.loads(file.read_text())
        result["source"]["address"] = str(clips / result["name"])
        file.write_text(json.dumps(result))
    return clips, tmp_path / "out"


def times_of(out: Path) -> dict[str, int]:
    return {name: (out / "clips" / name / "clip.json").stat().st_mtime_ns for name in IN_ORDER}


def test_every_clip_has_its_outcome_and_the_reason(made: tuple[Path, Path]) -> None:
    found = results(made[1])

    assert sorted(found) == IN_ORDER
    assert {name: found[name]["outcome"] for name in IN_ORDER if name not in GOOD} == {
        **{"cut.mkv": "incomplete", "empty.mp4": "failed", "text.mp4": "failed"}
    }
    assert "the file ends early" in found["cut.mkv"]["reason"]
    assert found["empty.mp4"]["reason"] == "is empty"
    assert all(found[name]["outcome"] == "done" and found[name]["reason"] is None for name in GOOD)


def test_masks_are_those_of_the_node_alone(made: tuple[Path, Path], tmp_path: Path) -> None:
    clips, out = made

    for name in ("b.mkv", "cut.mkv"):
        alone = masks_of_node(clips / name, tmp_path / Path(name).stem)
        assert masks(out, name) == alone
        assert len(alone) == results(out)[name]["row"]["frames"]


def test_records_are_compressed_lines_of_every_frame(made: tuple[Path, Path]) -> None:
    packed = made[1] / "clips" / "day 2" / "a.mp4" / "records.jsonl.zst"

    lines = pa.CompressedInputStream(packed, "zstd").read().decode().splitlines()

    assert [json.loads(line)["frame_id"] for line in lines] == list(range(GOOD["day 2/a.mp4"]))


def test_tables_are_read_by_duckdb_and_pandas(made: tuple[Path, Path]) -> None:
    clips, seconds = (str(made[1] / "summary" / f"{name}.parquet") for name in ("clips", "seconds"))

    by_name = pandas.read_parquet(clips).set_index("clip")
    in_all = duckdb.sql(f"select sum(frames) from '{clips}' where outcome != 'failed'").fetchall()
    of_seconds = duckdb.sql(f"select sum(frames), sum(masks) from '{seconds}'").fetchall()
    dark = duckdb.sql(f"select clip from '{seconds}' where luma < 60 order by certainty_p5").fetchall()

    cut = results(made[1])["cut.mkv"]["row"]["frames"]
    assert list(by_name.index) == IN_ORDER
    assert in_all == [(sum(GOOD.values()) + cut,)]
    assert of_seconds == [(sum(GOOD.values()) + cut, by_name["masks"].sum())]
    assert dark == []
    assert by_name.loc["b.mkv", "duration_s"] == pytest.approx((GOOD["b.mkv"] - 1) / 25)


def test_second_run_does_nothing_and_says_the_same(
    copied: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    clips, out = copied
    before = times_of(out)

    status = archive(clips, "--to", out, *FAST)

    assert status == 1
    assert times_of(out) == before
    assert "6 processed before, 0 to do" in capsys.readouterr().err


def test_only_what_changed_is_processed_again(copied: tuple[Path, Path]) -> None:
    clips, out = copied
    before = times_of(out)
    write(clips / "a.mp4", Kind("libx264"), frames=11)
    write(clips / "text.mp4", Kind("libx264"), frames=5)

    status = archive(clips, "--to", out, *FAST)

    changed = {name for name, time in times_of(out).items() if time != before[name]}
    assert status == 1
    assert changed == {"a.mp4", "text.mp4"}
    assert len(masks(out, "a.mp4")) == 11
    assert results(out)["text.mp4"]["outcome"] == "done"


def test_tables_hold_all_clips_of_an_archive_whatever_a_run_names(copied: tuple[Path, Path]) -> None:
    clips, out = copied
    added = write(clips.parent / "added.mp4", Kind("libx264"), frames=4)

    status = archive(added, "--to", out, *FAST)

    assert status == 0
    assert list(pandas.read_parquet(out / "summary" / "clips.parquet")["clip"]) == sorted(
        [*IN_ORDER, "added.mp4"]
    )
    assert "added.mp4" in set(pandas.read_parquet(out / "summary" / "seconds.parquet")["clip"])
    assert "b.mkv" in set(pandas.read_parquet(out / "summary" / "seconds.parquet")["clip"])


def test_clip_without_whole_results_is_processed_again(copied: tuple[Path, Path]) -> None:
    clips, out = copied
    (out / "clips" / "b.mkv" / "clip.json").write_text("{")
    (out / ".work" / "1-left").mkdir(parents=True)

    archive(clips, "--to", out, *FAST)

    assert results(out)["b.mkv"]["outcome"] == "done"
    assert not (out / ".work").exists()


def test_clips_that_failed_are_tried_again_when_asked_to(copied: tuple[Path, Path]) -> None:
    clips, out = copied
    before = times_of(out)

    archive(clips, "--to", out, *FAST, "--retry-failed")

    changed = {name for name, time in times_of(out).items() if time != before[name]}
    assert changed == {"empty.mp4", "text.mp4"}


def test_other_settings_are_refused_unless_all_is_to_be_done_again(
    copied: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    clips, out = copied
    asked = (clips, "--to", out, *FAST, "--every", "5", "--outputs", "records,masks")

    refused = archive(*asked)
    said = capsys.readouterr().err
    again = archive(*asked, "--redo")

    assert (refused, again) == (1, 1)
    assert f"{out}: was made with every 1, not 5; name another --to, or process all again with --redo" in said
    assert sorted(masks(out, "a.mp4")) == ["000000.png", "000005.png"]


def test_other_model_is_refused(made: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    clips, out = made

    status = archive(clips, "--to", out, "--model", "rt_m-int8")

    assert status == 1
    assert f"{out}: was made with model {MODEL}, not rt_m-int8" in capsys.readouterr().err


def test_bags_and_overlays_too(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.mp4", Kind("libx264"), frames=6)

    status = archive(clip, "--to", tmp_path / "out", *FAST, "--outputs", "overlay", "mcap")

    folder = tmp_path / "out" / "clips" / "a.mp4"
    assert status == 0
    assert {file.name for file in folder.iterdir()} == {
        *("overlay.mp4", "bag.mcap", "seconds.parquet", "clip.json")
    }


def test_settings_of_the_node_apply_to_every_clip(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.mp4", Kind("libx264"), frames=6)

    status = archive(
        clip, "--to", tmp_path / "out", *FAST, "--node.max_frames", "2", "--node.steady", "false"
    )

    assert status == 0
    assert masks(tmp_path / "out", "a.mp4") == masks_of_node(
        clip, tmp_path / "alone", "--max-frames", "2", "--no-steady"
    )


def test_dry_run_says_what_it_would_take_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = make_clips(tmp_path / "in")

    status = archive(clips, "--to", tmp_path / "out", *FAST, "--dry-run")

    said = capsys.readouterr().out
    assert status == 0
    assert "6 clips to do" in said
    assert "frames a second, measured on this machine" in said
    assert "256 workers" in said
    assert not (tmp_path / "out").exists()

    main([str(tmp_path / "in" / "a.mp4"), "--model", MODEL, "--jsonl", str(tmp_path / "r.jsonl")])

    assert "files: " in capsys.readouterr().err  # the node says again what it did


def test_clips_of_a_list_stay_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    clip = write(tmp_path / "a.mp4", Kind("libx264"), frames=3)
    names = tmp_path / "lists" / "clips.txt"
    names.write_text("\ufeff# of today\r\n../a.mp4\r\n./../lists/../a.mp4\r\n")
    before = clip.read_bytes()

    status = archive(f"@{names}", "--to", f"file://{tmp_path}/out", *FAST)

    assert status == 0
    assert clip.read_bytes() == before
    assert list(results(tmp_path / "out")) == ["a.mp4"]


def test_folder_that_is_linked_hidden_or_not_text_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = tmp_path / "in"
    (clips / "folder").mkdir(parents=True)
    clip = write(clips / "folder" / "a.mp4", Kind("libx264"), frames=3)
    (clips / "loop").symlink_to(clips)
    (clips / "gone.mp4").symlink_to(clips / "nowhere")
    (clips / ".hidden.mp4").write_bytes(clip.read_bytes())
    Path(os.fsdecode(bytes(clips) + b"/bad\xff.mp4")).write_bytes(clip.read_bytes())

    status = archive(clips, "--to", tmp_path / "out", *FAST)

    assert status == 0
    assert list(results(tmp_path / "out")) == ["folder/a.mp4"]
    assert "4 other files in the folders are no recordings" in capsys.readouterr().err


def test_damaged_results_are_made_again_and_what_others_put_there_is_kept(copied: tuple[Path, Path]) -> None:
    clips, out = copied
    (out / "clips" / "a.mp4" / "masks.zip").unlink()
    (out / "clips" / "a.mp4" / "mine.txt").write_text("mine")
    (out / "clips" / "b.mkv" / "seconds.parquet").write_bytes(b"PAR1")

    archive(clips, "--to", out, *FAST)

    assert len(masks(out, "a.mp4")) == GOOD["a.mp4"]
    assert (out / "clips" / "a.mp4" / "mine.txt").read_text() == "mine"
    assert (out / "clips" / "b.mkv" / "seconds.parquet").stat().st_size > 1000


def test_clips_that_have_moved_are_done(copied: tuple[Path, Path], tmp_path: Path) -> None:
    clips, out = copied
    before = times_of(out)
    clips.rename(tmp_path / "moved")

    archive(tmp_path / "moved", "--to", out, *FAST)

    assert times_of(out) == before
