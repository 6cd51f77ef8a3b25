"""The library: what `import perception` offers, which imports this when it is first used."""

from perception.api.model import Model
from perception.api.result import Result
from perception.api.run import Run, open
from perception.cli_config import SettingsError
from perception.frame import CameraState, EngineState, Frame
from perception.inference.engines import EngineError
from perception.pipeline import RunError
from perception.sinks.sink import SinkError
from perception.sources.source import SourceError
from perception.system.plugins import PluginError

__all__ = [
    "CameraState",
    "EngineError",
    "EngineState",
    "Frame",
    "Model",
    "PluginError",
    "Result",
    "Run",
    "RunError",
    "SettingsError",
    "SinkError",
    "SourceError",
    "open",
]
