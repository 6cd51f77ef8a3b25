"""NodeConfig: every setting of the node, filled from YAML and then the command line."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from perception.camera_health.monitor import HealthSettings
from perception.cli_config.error import SettingsError
from perception.inference.engines.openvino import EnginePrecision
from perception.inference.engines.providers import ProviderName
from perception.inference.zoo import DEFAULT_MODEL
from perception.pipeline.watchdog import WatchdogSettings
from perception.sinks.jsonl import JsonlSettings
from perception.sinks.masks import MasksSettings
from perception.sinks.overlay_sink import OverlaySettings
from perception.sinks.rotation import RecordingSettings
from perception.sources.camera import CameraSettings
from perception.sources.settings import SourceSettings
from perception.sources.stream import StreamSettings
from perception.sources.synthetic import SyntheticSettings
from perception.telemetry.address import parse_address

BUILT_IN: Final = "synthetic"


@dataclass(frozen=True)
class NodeConfig(
    SourceSettings, StreamSettings, OverlaySettings, JsonlSettings, MasksSettings, RecordingSettings
):
    """One run of the node."""

    source: str = ""
    """Video file, pipe or - (standard input), folder or glob of images, /dev/video0 or 0, rtsp(s)://, http(s)://,
    synthetic[:scene]; without one the built-in road, where max_frames or duration ends it."""
    model: str = DEFAULT_MODEL
    """Name of a shipped model, or an ONNX file of drivable-export."""
    engine: Literal["onnx", "openvino"] = "onnx"
    """What runs the network: ONNX Runtime, or OpenVINO (CPU only; pip install 'drivable[openvino]')."""
    engine_precision: EnginePrecision = "auto"
    """OpenVINO's arithmetic for floats: auto takes bf16 where the CPU has it and f32 elsewhere."""
    provider: ProviderName = "auto"
    """Where ONNX Runtime runs the network: auto takes CUDA where it loads and the CPU elsewhere."""
    allow_fallback: bool = False
    """Go on elsewhere, marked in every record, if the provider asked for does not load."""
    load_timeout_s: float | None = None
    """Seconds in which the model has to be loaded and run once; without a number 120, and 900 with provider
    tensorrt, which builds its engine then."""
    summary: str | None = None
    """File for the counts and times of the run, as JSON."""
    watchdog: WatchdogSettings = field(default_factory=WatchdogSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    http: str | None = None
    """Where /healthz, /readyz and /metrics are told: a port of the loopback interface, or host:port."""
    http_hosts: tuple[str, ...] = ()
    """Names by which the node may be asked over HTTP, besides addresses and the machine's own; * is any."""
    camera: CameraSettings = field(default_factory=CameraSettings)
    synthetic: SyntheticSettings = field(default_factory=SyntheticSettings)

    def with_source(self) -> NodeConfig:
        """With the built-in road if no source is named; raises SettingsError if that would never end."""
        if self.source:
            return self
        if self.max_frames is None and self.duration_s is None:
            raise SettingsError(
                "no source is named: --source drive.mp4, a camera's --source /dev/video0 or rtsp://…, or "
                "--source synthetic for the built-in road, which plays until it is stopped"
            )
        return replace(self, source=BUILT_IN)

    def __post_init__(self) -> None:
        """Refuse values that no run can be made from; raises ValueError."""
        if self.engine != "openvino" and self.engine_precision != "auto":
            raise ValueError(
                f"engine_precision {self.engine_precision} is for OpenVINO; add --engine openvino, "
                f"or take a model file of another precision"
            )
        if self.engine == "openvino" and self.provider not in ("auto", "cpu"):
            raise ValueError(
                f"provider {self.provider} is ONNX Runtime's; use --engine onnx, or leave it out"
            )
        if self.load_timeout_s is not None and self.load_timeout_s <= 0:
            raise ValueError(f"load_timeout_s is {self.load_timeout_s}; it must be above 0")
        if self.http is not None:
            parse_address(self.http)
        super().__post_init__()
