"""NodeConfig: every setting of the node, filled from YAML and then the command line."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import cache
from typing import Annotated, Any, Final, Literal

from perception.camera_health.monitor import HealthSettings
from perception.cli_config.error import SettingsError
from perception.concurrency.hang_watch import WatchdogSettings
from perception.inference.engines import ENGINES
from perception.inference.engines.onnx import OnnxSettings
from perception.inference.engines.openvino import OpenVinoSettings
from perception.inference.zoo import DEFAULT_MODEL
from perception.refine.ignore import IgnoreSettings
from perception.refine.registry import REFINE_STEPS
from perception.refine.steady import SteadySettings
from perception.ros.settings import RosSettings
from perception.scene.settings import SceneSettings
from perception.several import OwnSettings, filled, named_source, names_of, topic_of, whole
from perception.sinks.jsonl import JsonlSettings
from perception.sinks.masks import MasksSettings
from perception.sinks.mcap import McapSettings
from perception.sinks.mqtt import MqttSettings
from perception.sinks.naming import refuse_folder
from perception.sinks.overlay_sink import OverlaySettings
from perception.sinks.registry import SINKS
from perception.sinks.rotation import RecordingSettings
from perception.sources.camera import CameraSettings
from perception.sources.registry import SOURCES
from perception.sources.settings import SourceSettings
from perception.sources.stream import StreamSettings
from perception.sources.synthetic import SyntheticSettings
from perception.system.plugins import Checked, NoSettings, PluginError, Registry
from perception.web.settings import HttpSettings

log = logging.getLogger(__name__)

BUILT_IN: Final = "synthetic"
REGISTRIES: Final[tuple[Registry[Any], ...]] = (SOURCES, ENGINES, REFINE_STEPS, SINKS)
"""Where settings come from, besides the node's own."""


@dataclass(frozen=True)
class ModelSettings(Checked):
    """The network and what runs it."""

    model: Annotated[str, "NAME|FILE"] = DEFAULT_MODEL
    """Name of a shipped model, or an ONNX file of drivable-export."""
    engine: str = "onnx"
    """What runs the network: ONNX Runtime, or OpenVINO (CPU only; pip install 'drivable[openvino]')."""
    load_timeout_s: float | None = None
    """Time allowed for loading the model and running it once; by default 120 s, and 900 s with provider
    tensorrt, which builds its engine then."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.load_timeout_s is not None and self.load_timeout_s <= 0:
            raise ValueError(f"load_timeout_s is {self.load_timeout_s}; it must be above 0")
        super().__post_init__()


@dataclass(frozen=True)
class ReportSettings(HttpSettings):
    """What the command reports of a run."""

    summary: Annotated[str, "FILE"] | None = None
    """File for the counts and times of the run, as JSON."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.summary is not None:
            refuse_folder("summary", self.summary)
        super().__post_init__()


@dataclass(frozen=True)
class NodeConfig(
    SourceSettings,
    StreamSettings,
    ModelSettings,
    OnnxSettings,
    OpenVinoSettings,
    OverlaySettings,
    JsonlSettings,
    MasksSettings,
    RecordingSettings,
    McapSettings,
    MqttSettings,
    IgnoreSettings,
    ReportSettings,
    SceneSettings,
):
    """One run of the node."""

    source: Annotated[str, "SOURCE"] = ""
    """Video, images, camera, rtsp:// or http(s):// address, synthetic: images are a folder or a glob, a
    camera is /dev/video0 or 0, - is standard input, synthetic[:scene] is the built-in road, which also plays
    without a source if max_frames or duration ends it."""
    sources: list[OwnSettings] = field(default_factory=list)
    """Several sources in one node, each with settings of its own; --source A --source B too. {source} in the
    place of an output becomes the source's name."""
    watchdog: WatchdogSettings = field(default_factory=WatchdogSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    steady: SteadySettings = field(default_factory=SteadySettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    synthetic: SyntheticSettings = field(default_factory=SyntheticSettings)
    ros: RosSettings = field(default_factory=RosSettings)

    def with_source(self) -> NodeConfig:
        """With the built-in road if no source is named; raises SettingsError if that would never end."""
        if self.source or self.sources or self.http_sources:
            return self
        if self.max_frames is None and self.duration_s is None:
            raise SettingsError(
                "no source is named: drivable-node drive.mp4, a camera's /dev/video0 or rtsp://…, or "
                "synthetic for the built-in road, which plays until it is stopped"
            )
        return replace(self, source=BUILT_IN)

    def one_each(self) -> list[NodeConfig]:
        """The settings of each source's own run: these, if there is one source.

        Raises:
            SettingsError: for two sources of one name, or outputs in which all sources would write the same.
        """
        if not self.has_several:
            name, source = named_source(self.source)
            return [self if name is None else replace(self, source_name=name, source=source)]
        if self.source and self.sources:
            raise SettingsError(f"source {self.source} and sources are both given; leave one of them out")
        filled("", _places(self))  # also where none is there yet
        sources = whole(self.sources or ([OwnSettings(self.source)] if self.source else []))
        return [self.of_source(own, name) for own, name in zip(sources, names_of(sources), strict=True)]

    @property
    def has_several(self) -> bool:
        """Whether there are several sources, or may be some day."""
        return bool(self.sources or self.http_sources)

    def of_source(self, own: OwnSettings, name: str) -> NodeConfig:
        """The settings of the run of one of several sources; raises SettingsError as `one_each`."""
        ros = replace(self.ros, prefix=f"{self.ros.prefix}/{topic_of(name)}")
        try:
            of_source = replace(self, sources=[], source_name=name, ros=ros, **own.values)
        except ValueError as error:
            raise SettingsError(f"source {name}: {error}") from None
        return replace(of_source, **filled(name, _places(of_source)))

    def __post_init__(self) -> None:
        """Refuse values that no run can be made from; raises ValueError."""
        if self.engine != "openvino" and self.engine_precision != "auto":
            raise ValueError(
                f"engine_precision {self.engine_precision} is for OpenVINO; add --engine openvino, "
                f"or take a model file of another precision"
            )
        if self.engine != "onnx" and self.provider not in ("auto", "cpu"):
            raise ValueError(
                f"provider {self.provider} is ONNX Runtime's; use --engine onnx, or leave it out"
            )
        if unknown := [kind for kind in self.http_sources if kind not in SOURCES.names()]:
            raise ValueError(
                f"http_sources has {unknown[0]}, which is no kind of source; "
                f"they are {', '.join(SOURCES.names())}"
            )
        super().__post_init__()


def _places(config: NodeConfig) -> dict[str, str]:
    """Settings that say where a run writes, and are given."""
    names = (*(kind.target for kind in SINKS.used(config).values()), "summary", "mount_state", "ignore_mask")
    places = {name: getattr(config, name, None) for name in names}
    return {name: place for name, place in places.items() if isinstance(place, str)}


def node_config(named: Iterable[str] = ()) -> type[NodeConfig]:
    """NodeConfig, and with it the settings of every registered entry that it does not inherit.

    Args:
        named: settings, by the first part of their names. Of other packages only the entries that are among
            them are loaded, and have settings.

    Raises:
        PluginError: if one of those cannot be used.
    """
    plugins = {name for registry in REGISTRIES for name in registry.plugins}
    return _composed(frozenset(named) & plugins)


def plugin_names() -> list[str]:
    """The names that settings of other packages begin with."""
    return [name for registry in REGISTRIES for name in registry.names() if name not in registry.ours]


def usable_plugins() -> list[str]:
    """Those of `plugin_names` whose entries load; a warning says why another does not."""
    usable = []
    for name in plugin_names():
        try:
            _composed(frozenset({name}))
        except PluginError as error:
            log.warning(error)
        else:
            usable.append(name)
    return usable


@cache
def _composed(named: frozenset[str]) -> type[NodeConfig]:
    flat: list[type[Any]] = [NodeConfig]
    groups: dict[str, type[Any]] = {}
    taken = {each.name: "drivable" for each in fields(NodeConfig)}
    for registry in REGISTRIES:
        for name in registry.names():
            is_ours = name in registry.ours
            if not is_ours and name not in named:
                continue
            kind = registry[name]
            has_them = kind.group in taken or issubclass(NodeConfig, kind.settings)
            if is_ours and (has_them or kind.settings is NoSettings):
                continue
            if not kind.group:
                flat.append(kind.settings)
                continue
            if kind.group in taken:
                raise PluginError(f"{kind.origin}: {taken[kind.group]} has settings of that name; rename it")
            taken[kind.group], groups[kind.group] = kind.origin or "drivable", kind.settings
    engines: Any = Literal[tuple(ENGINES.names())]
    composed: type[NodeConfig] = make_dataclass(
        "NodeConfig",
        [
            ("engine", engines, NodeConfig.engine),
            *((name, kind, field(default_factory=kind)) for name, kind in groups.items()),
        ],
        bases=tuple(flat),
        frozen=True,
        namespace={"__doc__": NodeConfig.__doc__},
    )
    return composed
