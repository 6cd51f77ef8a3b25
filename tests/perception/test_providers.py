"""Provider options: names that ONNX Runtime knows, and what each combination is asked for."""

from __future__ import annotations

import itertools
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perception.inference.contract import ModelContract
from perception.inference.engines import EngineError
from perception.inference.engines.providers import (
    PROVIDERS,
    attempts,
    cache_folder,
    make_cache,
    short_name,
    tensorrt_folder,
)
from perception.labels import LABELS

CACHE = Path("/cache")
SHA256 = "c0ffee" + "0" * 58

# As they stand in the libraries of onnxruntime-gpu 1.31: an unknown one is an error at load, on a GPU only.
KNOWN_OPTIONS = {
    "CPUExecutionProvider": set(),
    "CUDAExecutionProvider": {
        *("device_id", "gpu_mem_limit", "arena_extend_strategy", "cudnn_conv_algo_search", "prefer_nhwc"),
        *("cudnn_conv_use_max_workspace", "do_copy_in_default_stream", "enable_cuda_graph", "use_tf32"),
    },
    "TensorrtExecutionProvider": {
        *("device_id", "trt_max_workspace_size", "trt_fp16_enable", "trt_int8_enable", "trt_bf16_enable"),
        *("trt_engine_cache_enable", "trt_engine_cache_path", "trt_timing_cache_enable"),
        *("trt_timing_cache_path", "trt_cuda_graph_enable", "trt_builder_optimization_level"),
    },
}
EVERYWHERE = list(PROVIDERS.values())


def contract_of(frame_wh: tuple[int, int] | None = None, **values: Any) -> ModelContract:
    output = "class_map" if frame_wh else "logits"
    return ModelContract(
        *("tiny-1", LABELS, (640, 384), (116, 116, 116), 8, "none", "Apache-2.0"),
        frame_wh=frame_wh,
        output=output,
        sha256=SHA256,
        **values,
    )


FRAMES_WH = [None, (1280, 720), (0, 0)]
PRECISIONS = ["fp32", "fp16", "int8"]


@pytest.mark.parametrize(
    ("name", "frame_wh", "precision"), list(itertools.product(["cuda", "tensorrt"], FRAMES_WH, PRECISIONS))
)
def test_every_attempt_asks_for_what_onnx_runtime_knows(
    name: Any, frame_wh: tuple[int, int] | None, precision: str
) -> None:
    found = attempts(name, contract_of(frame_wh, precision=precision), CACHE, EVERYWHERE)

    capturing = []
    for providers in found:
        assert providers[0][0] == PROVIDERS[name]
        assert providers[-1] == ("CPUExecutionProvider", {})
        for provider, options in providers:
            assert options.keys() <= KNOWN_OPTIONS[provider]
            assert all(isinstance(value, str) for value in options.values())
        capturing.append(
            [
                provider
                for provider, options in providers
                if options.get("enable_cuda_graph") == "1" or options.get("trt_cuda_graph_enable") == "1"
            ]
        )
    # ONNX Runtime wants the whole graph on the one provider that captures it, and one size of frame.
    assert capturing == ([[]] if frame_wh == (0, 0) else [[PROVIDERS[name]], []])


def options_of(name: Any, contract: ModelContract) -> dict[str, str]:
    """Of the requested provider, at the last attempt."""
    return attempts(name, contract, CACHE, EVERYWHERE)[-1][0][1]


@pytest.mark.parametrize(
    ("frame_wh", "search"), [(None, "EXHAUSTIVE"), ((1280, 720), "EXHAUSTIVE"), ((0, 0), "HEURISTIC")]
)
def test_convolutions_are_searched_for_once_or_by_rule(frame_wh: tuple[int, int] | None, search: str) -> None:
    assert options_of("cuda", contract_of(frame_wh))["cudnn_conv_algo_search"] == search


@pytest.mark.parametrize(
    ("precision", "flags"), [("fp32", ("0", "0")), ("fp16", ("1", "0")), ("int8", ("0", "1"))]
)
def test_tensorrt_computes_as_the_file_says(precision: str, flags: tuple[str, str]) -> None:
    options = options_of("tensorrt", contract_of(precision=precision))

    assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == flags


@pytest.mark.parametrize("precision", PRECISIONS)
def test_fp32_is_not_rounded_to_tf32(precision: str) -> None:
    assert options_of("cuda", contract_of(precision=precision))["use_tf32"] == "0"


def test_what_tensorrt_builds_is_kept_by_the_files_checksum() -> None:
    options = options_of("tensorrt", contract_of(precision="fp16"))

    assert options["trt_engine_cache_path"] == f"/cache/tensorrt/{SHA256}"
    assert options["trt_engine_cache_path"] == str(tensorrt_folder(contract_of(), CACHE))
    assert options["trt_timing_cache_path"] == "/cache/tensorrt"


@pytest.mark.parametrize(
    ("provider", "frame_wh", "available", "asked"),
    [
        ("auto", None, EVERYWHERE, [("cuda", "1"), ("cuda", "0")]),
        ("auto", (0, 0), EVERYWHERE, [("cuda", "0")]),
        ("auto", None, ["CPUExecutionProvider"], []),
        ("cpu", None, EVERYWHERE, []),
        ("cuda", (1280, 720), EVERYWHERE, [("cuda", "1"), ("cuda", "0")]),
        ("cuda", None, ["CPUExecutionProvider"], []),
        ("tensorrt", (1280, 720), EVERYWHERE, [("tensorrt", "1"), ("tensorrt", "0")]),
        ("tensorrt", (0, 0), EVERYWHERE, [("tensorrt", "0")]),
        ("tensorrt", None, ["CUDAExecutionProvider", "CPUExecutionProvider"], []),
    ],
)
def test_attempts_in_their_order(
    provider: Any, frame_wh: tuple[int, int] | None, available: list[str], asked: list[tuple[str, str]]
) -> None:
    found = attempts(provider, contract_of(frame_wh), CACHE, available)

    firsts = [entries[0] for entries in found]
    assert [
        (short_name(name), options.get("enable_cuda_graph", options.get("trt_cuda_graph_enable")))
        if name != PROVIDERS["tensorrt"]
        else ("tensorrt", options["trt_cuda_graph_enable"])
        for name, options in firsts
    ] == asked


def test_provider_that_is_not_built_in_is_not_asked_for() -> None:
    (entries, _) = attempts(
        "tensorrt", contract_of(), CACHE, ["TensorrtExecutionProvider", "CPUExecutionProvider"]
    )

    assert [name for name, _ in entries] == ["TensorrtExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux' folders")
@pytest.mark.parametrize(
    ("setting", "folder"),
    [("/x", Path("/x/drivable")), ("", Path.home() / ".cache" / "drivable")],
)
def test_cache_is_the_users_own(setting: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", setting)

    assert cache_folder() == folder


def test_user_without_a_home_folder_gets_the_advice_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)

    with pytest.raises(EngineError, match=r"no home folder to store TensorRT's .*; set XDG_CACHE_HOME"):
        cache_folder()


def test_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(
        EngineError, match=r"file/tensorrt: cannot store TensorRT's engines: Not a dir.*XDG_CACHE"
    ):
        make_cache(tmp_path / "file" / "tensorrt")


def test_cache_is_made_with_the_folders_above_it(tmp_path: Path) -> None:
    folder = tensorrt_folder(contract_of(), tmp_path)

    make_cache(folder)

    assert os.listdir(tmp_path / "tensorrt") == [SHA256]


def test_int8_stays_on_the_cpu_unless_a_gpu_is_asked_for() -> None:
    int8 = replace(contract_of(), precision="int8")

    assert attempts("auto", int8, CACHE, EVERYWHERE) == []
    assert [entries[0][0] for entries in attempts("cuda", int8, CACHE, EVERYWHERE)] == [PROVIDERS["cuda"]] * 2
