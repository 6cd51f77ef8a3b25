"""A Ray cluster: what Ray cannot do is one line, and a machine that goes takes no clip with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import MODEL, archive, masks, results, start
from clips import Kind, write
from ray.cluster_utils import Cluster

from perception.archive.cli import NAME

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:1", "ray://127.0.0.1:1"])
def test_cluster_that_does_not_answer_is_one_line(
    address: str, tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    clip = write(tmp_path / "a.mp4", Kind("libx264"), frames=3)

    status = archive(clip, "--to", tmp_path / "out", "--engine", "ray", "--ray-address", address)

    assert status == 1
    assert f"Ray at {address} does not answer: " in only_error_line(NAME)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_node_that_is_lost_loses_clips_in_hand_alone(tmp_path: Path) -> None:
    clips, out = tmp_path / "in", tmp_path / "out"
    clips.mkdir()
    for number in range(24):
        write(clips / f"{number:02}.mp4", Kind("libx264"))
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    try:
        nodes = [cluster.add_node(**NODE) for _ in range(2)]
        cluster.wait_for_nodes()
        asked = (clips, "--to", out, "--model", MODEL, "--engine", "ray", "--ray-address", cluster.address)
        driver = start(*asked)
        end_s = time.monotonic() + 120
        while not (out.exists() and len(results(out)) > 3):
            assert driver.poll() is None
            assert time.monotonic() < end_s
            time.sleep(0.05)
        cluster.remove_node(nodes[0], allow_graceful=False)
        when_lost = len(results(out))

        status = driver.wait(120)
    finally:
        cluster.shutdown()

    found = results(out)
    assert status == 0
    assert when_lost < len(found) == 24
    assert {result["outcome"] for result in found.values()} == {"done"}
    assert all(len(masks(out, name)) == 100 for name in found)
