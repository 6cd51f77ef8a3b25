"""The settings of `drivable-bench` and of its commands."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from bench.engines import EngineName
from perception.inference.engines.providers import ProviderName
from perception.inference.zoo import DEFAULT_MODEL
from perception.refine.steady import SteadySettings
from train.data.layouts import AUTO

Scenario = Literal["single_stream", "constant_rate", "offline", "accuracy"]

QUICK: Final[dict[str, Any]] = {
    "rounds": 1,
    "frames": 300,
    "rates_hz": [30.0],
    "duration_s": 4.0,
    "highest_rate": False,
    "streams": [],
    "single_stream_frames": 460,
}
"""What `--quick` changes: all shipped models within five minutes on two cores."""


@dataclass(frozen=True)
class BenchConfig:
    """One run: every model on every engine, in interleaved rounds."""

    models: list[str] = field(default_factory=lambda: ["all"])
    """Names of shipped models, or ONNX files of drivable-export; all: every shipped one."""
    engines: list[EngineName] = field(default_factory=lambda: ["onnx"])
    """onnx, openvino (bf16 where the CPU has it), openvino-f32, openvino-bf16."""
    providers: list[ProviderName] = field(default_factory=lambda: ["auto"])
    """Execution providers of ONNX Runtime; auto: the CPU, and with a GPU CUDA and TensorRT too."""
    scenarios: list[Scenario] = field(
        default_factory=lambda: ["single_stream", "constant_rate", "offline", "accuracy"]
    )
    """What to measure; accuracy needs --data."""
    source: str = "synthetic"
    """Video file, played in a loop, or synthetic for the built-in road."""
    data: str | None = None
    """Folder of labelled frames; without one, accuracy is taken from each model's card."""
    layout: str = AUTO
    """Layout of the data set; auto recognises it."""
    label_map: str | None = None
    """YAML with the class of each label value, for a plain folder of images and masks."""
    split: str = "test"
    """Split of the data set to measure on."""
    out: str | None = None
    """Folder for report.json, report.html and pictures; default: runs/bench/ and the time."""
    resume: bool = False
    """Continue the report in --out without repeating what it already contains."""
    overwrite: bool = False
    """Replace the report in --out."""
    quick: bool = False
    """One short round: a first look, within five minutes on two cores."""
    rounds: int = 5
    """How often everything but accuracy is measured, interleaved."""
    single_stream_frames: int = 200
    """Frames per round, and half as many for each part of engine_only; a p99 needs 459 over all rounds."""
    rates_hz: list[float] = field(default_factory=lambda: [15.0, 20.0, 30.0, 60.0])
    """Camera rates to simulate."""
    duration_s: float = 10.0
    """Duration of each rate in one round."""
    highest_rate: bool = True
    """Search for the highest sustained rate."""
    stall_stage: Literal["capture", "predict", "sink"] = "predict"
    """Where --stall-ms stops the pipeline; a sink's stall must not show in the latency."""
    stall_ms: float = 0.0
    """Stall a stage of constant_rate for this long, every --stall-every-s: the latencies must show it."""
    stall_every_s: float = 10.0
    """Time from one stall to the next; the first comes after half of it."""
    frames: int = 600
    """Frames per round for offline, streams and baselines; a quarter of them for each part of stage_cost."""
    streams: list[int] = field(default_factory=lambda: [2])
    """How many recordings at once, one process each."""
    plain: list[str] = field(default_factory=list)
    """Graphs of `drivable-export --target plain` for the plain OpenCV + ONNX Runtime loop, one a model, named
    after it: rt_s-int8-plain.onnx."""
    baseline_python: str | None = None
    """Python of an environment with openvino-model-api, whose pipeline runs the plain graphs too."""
    against: str | None = None
    """Python of another installation of drivable, measured alternately in every round, for `compare`."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if not self.models or not self.engines or not self.providers or not self.scenarios:
            raise ValueError("name at least one of models, engines, providers and scenarios")
        for name in ("rounds", "single_stream_frames", "duration_s", "frames", "stall_every_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("rates_hz", "streams"):
            if not all(0 < value < math.inf for value in getattr(self, name)):
                raise ValueError(f"{name} holds {getattr(self, name)}; each must be above 0")
        if not 0 <= self.stall_ms < 1000 * self.stall_every_s:
            raise ValueError(f"stall_ms is {self.stall_ms}; it must be from 0 to less than stall_every_s")
        duration_s = self.shortened().duration_s
        if self.stall_ms and self.stall_every_s / 2 >= duration_s:
            raise ValueError(
                f"stall_every_s is {self.stall_every_s:g}: the first stall comes after half of it, and a run "
                f"of {duration_s:g} s ends before"
            )
        if self.resume and self.overwrite:
            raise ValueError("resume continues a report, and overwrite replaces it; leave one out")
        if self.resume and not self.out:
            raise ValueError("resume needs the folder of the report: --out DIR")
        if self.baseline_python and not self.plain:
            raise ValueError("baseline_python runs plain graphs: name them with --plain")

    def shortened(self) -> BenchConfig:
        """As it is, or what `quick` makes of it: of what was left at its default."""
        if not self.quick:
            return self
        default = BenchConfig()
        left = {name: it for name, it in QUICK.items() if getattr(self, name) == getattr(default, name)}
        return replace(self, quick=False, **left)


@dataclass(frozen=True)
class CompareConfig:
    """Two reports, measured alternately by `drivable-bench --against`."""

    a: str
    """Report of the reference build."""
    b: str
    """Report of the build to judge."""
    fail_over: str | None = None
    """Exit with status 1 if anything is worse by more than this, such as 5%, beyond noise."""


@dataclass(frozen=True)
class AccuracyConfig:
    """One measurement."""

    model: str = DEFAULT_MODEL
    """Name of a shipped model, or an ONNX file of drivable-export."""
    engine: EngineName = "onnx"
    """onnx, openvino (bf16 where the CPU has it), openvino-f32, openvino-bf16."""
    data: str | None = None
    """Folder of labelled frames; without one, the built-in road and its exact ground truth."""
    layout: str = AUTO
    """Layout of the data set; auto recognises it."""
    label_map: str | None = None
    """YAML with the class of each label value, for a plain folder of images and masks."""
    split: str = "test"
    only: str | None = None
    """COLUMN=VALUE of index.csv: measure on the frames of the split that have it."""
    peer: list[str] = field(default_factory=list)
    """Another model to run on the same frames; can be repeated. `drivable-export wrap` makes one from an
    external network."""
    synthetic_frames: int = 200
    """Frames of the built-in road, spread over all its scenes."""


@dataclass(frozen=True)
class InferConfig:
    """One measurement."""

    models: list[str] = field(default_factory=lambda: [DEFAULT_MODEL])
    """Names of shipped models, or ONNX files of drivable-export."""
    engines: list[EngineName] = field(default_factory=lambda: ["onnx"])
    """onnx, openvino (bf16 where the CPU has it), openvino-f32, openvino-bf16."""
    provider: ProviderName = "cpu"
    """Execution provider of ONNX Runtime."""
    threads: int = 0
    """Threads per inference; 0 uses every core."""
    frames: int = 200
    """Frames for each network on each engine."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if not self.models or not self.engines:
            raise ValueError("name at least one of models and one of engines")
        if self.threads < 0 or self.frames < 1:
            raise ValueError("threads must be 0 or more, frames 1 or more")


@dataclass(frozen=True)
class MetresConfig:
    """One measurement."""

    model: str = DEFAULT_MODEL
    """Name of a shipped model, or an ONNX file of drivable-export."""
    exact: bool = False
    """The renderer's own class maps instead of the network's: what is left is the error of the geometry."""
    scenes: list[str] = field(default_factory=lambda: ["day", "night", "rain"])
    drives: int = 6
    """Roads of each scene, each with its own camera."""
    duration_s: float = 20.0
    """Of each drive, after the first 3 s, in which nothing counts."""
    mount_error_deg: float = 0.0
    """How wrong pitch and yaw of the mount are in the calibration."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if not self.scenes:
            raise ValueError("name at least one of scenes")
        if self.drives < 1 or not 0 < self.duration_s < math.inf:
            raise ValueError("drives must be 1 or more, duration_s above 0")
        if not abs(self.mount_error_deg) <= 3:
            raise ValueError("mount_error_deg must be from -3 to 3")


@dataclass(frozen=True)
class SteadinessConfig:
    """Each source with each model, smoothing off and on."""

    sources: list[str] = field(default_factory=lambda: ["synthetic:day", "synthetic:night"])
    """Videos, or rendered drives by their scenes: of these mean IoU and lag are measured too."""
    models: list[str] = field(default_factory=lambda: [DEFAULT_MODEL])
    """Names of shipped models, or ONNX files of drivable-export."""
    engine: EngineName = "onnx"
    """onnx, openvino (bf16 where the CPU has it), openvino-f32, openvino-bf16."""
    frames: int = 300
    """Of each source, at most."""
    steady: SteadySettings = field(default_factory=SteadySettings)
    """How masks are smoothed where it is on."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if not self.models or not self.sources:
            raise ValueError("name at least one of models and one of sources")
        if self.frames < 2:
            raise ValueError(f"frames is {self.frames}; steadiness needs 2 or more")
        if not self.steady.enabled:
            raise ValueError("steady.enabled is off; it is measured off and on anyway")


@dataclass(frozen=True)
class LiveConfig:
    """One measurement."""

    source: str
    """Video file, played in a loop."""
    model: str = DEFAULT_MODEL
    """Name of a shipped model, or an ONNX file of drivable-export."""
    duration_s: float = 300.0
    rounds: int = 3
