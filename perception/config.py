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
from perception.sources.choice import BEST, Choice
from perception.sources.decoding.image_size import MAX_PIXELS
from perception.sources.isolated.freshness import FreshnessSettings, ReconnectSettings
from perception.sources.stream import RtspTransport
from perception.telemetry.address import parse_address

BUILT_IN: Final = "synthetic"


@dataclass(frozen=True)
class Synthetic:
    """The built-in renderer."""

    wh: tuple[int, int] = (1280, 720)
    """Width and height in pixels."""
    rate_hz: float = 30.0
    seed: int = 0


@dataclass(frozen=True)
class NodeConfig(OverlaySettings, JsonlSettings, MasksSettings, RecordingSettings):
    """One run of the node."""

    source: str = ""
    """Video file, pipe or - (standard input), folder or glob of images, /dev/video0 or 0, rtsp(s)://, http(s)://,
    synthetic[:scene]; without one the built-in road, where max_frames or duration ends it."""
    stream: int | str = BEST
    """Which of several videos in a file, stream or playlist: best, an index from 0, or WxH, the largest that
    is not larger."""
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
    threads: int = 0
    """CPU threads at work at a time: the network's, and all of a recording; 0 takes every core."""
    summary: str | None = None
    """File for the counts and times of the run, as JSON."""
    max_frames: int | None = None
    """End after so many frames."""
    duration_s: float | None = None
    """End after so many seconds of the source's own time."""
    realtime: bool = False
    """Play a recording at its own pace, as a live source would: the newest frame wins."""
    loop: bool = False
    """Start a recording over when it ends; timestamps go on."""
    open_timeout_s: float = 10.0
    """Give up on a stream that does not open in this time."""
    open_retries: int | Literal["forever"] = 0
    """Try a camera or stream that does not open at first so often again, lost in all records meanwhile."""
    read_timeout_s: float = 5.0
    """A camera or stream that sends nothing for this time is opened again."""
    rtsp_transport: RtspTransport = "auto"
    """How packets of a camera come: auto takes TCP, and UDP where the camera refuses that."""
    tls_ca: str | None = None
    """PEM file of the certificate authorities that https:// and rtsps:// trust, in place of the system's."""
    tls_insecure: bool = False
    """Take any certificate: whoever answers gets the password and can send pictures."""
    freshness: FreshnessSettings = field(default_factory=FreshnessSettings)
    reconnect: ReconnectSettings = field(default_factory=ReconnectSettings)
    watchdog: WatchdogSettings = field(default_factory=WatchdogSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    http: str | None = None
    """Where /healthz, /readyz and /metrics are told: a port of the loopback interface, or host:port."""
    http_hosts: tuple[str, ...] = ()
    """Names by which the node may be asked over HTTP, besides addresses and the machine's own; * is any."""
    isolate: bool = False
    """Read recordings in a process of their own too: a file that crashes a decoder then costs that alone."""
    images_rate_hz: float = 10.0
    """Rate at which a folder of images plays."""
    max_megapixels: float = MAX_PIXELS / 1e6
    """Refuse pictures with more before they are decoded: a small file may ask for gigabytes."""
    camera: CameraSettings = field(default_factory=CameraSettings)
    synthetic: Synthetic = field(default_factory=Synthetic)

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
        if self.threads < 0:
            raise ValueError(f"threads is {self.threads}; 0 takes every core")
        if self.engine != "openvino" and self.engine_precision != "auto":
            raise ValueError(
                f"engine_precision {self.engine_precision} is for OpenVINO; add --engine openvino, "
                f"or take a model file of another precision"
            )
        if self.engine == "openvino" and self.provider not in ("auto", "cpu"):
            raise ValueError(
                f"provider {self.provider} is ONNX Runtime's; use --engine onnx, or leave it out"
            )
        for name in (
            *("max_frames", "duration_s", "load_timeout_s", "open_timeout_s", "read_timeout_s"),
            "images_rate_hz",
            "max_megapixels",
        ):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}; it must be above 0")
        Choice.of(str(self.stream))
        if self.tls_ca and self.tls_insecure:
            raise ValueError("tls_insecure takes any certificate, and tls_ca some; leave one of them out")
        if self.open_retries != "forever" and self.open_retries < 0:
            raise ValueError(f"open_retries is {self.open_retries}; it must be 0 or more, or forever")
        if self.http is not None:
            parse_address(self.http)
        if self.synthetic.rate_hz <= 0 or min(self.synthetic.wh) < 1:
            raise ValueError("synthetic.rate_hz and both sides of synthetic.wh must be above 0")
        super().__post_init__()
