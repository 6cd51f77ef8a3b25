"""The runtime: frames in, drivable area out. Never imports torch.

As a library::

    import perception

    model = perception.Model("rt_m-int8")
    result = model("frame.jpg")
    with perception.open("rtsp://camera/road", model) as run:
        for result in run:
            ...

What that needs is imported when it is first used.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.7.0"

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

# ONNX Runtime from 1.29 on writes a device id to the home folder when it is imported, and reports to
# Microsoft, unless this stands in the environment before. A vehicle reports to nobody unasked.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from perception.api import (
        CameraState,
        EngineError,
        EngineState,
        Frame,
        Model,
        PluginError,
        Result,
        Run,
        RunError,
        SettingsError,
        SinkError,
        SourceError,
        open,
    )
else:  # of which a type checker would think that any name is there

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module("perception.api"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
