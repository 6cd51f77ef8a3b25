"""Registry of the engines, which run networks."""

from typing import Any, Final

from perception.inference.engines.engine import Engine, EngineError, EngineKind
from perception.inference.engines.onnx import ONNX, OnnxEngine
from perception.inference.engines.openvino import OPENVINO, OpenVinoEngine
from perception.system.plugins import Registry

ENGINES: Final[Registry[EngineKind[Any]]] = Registry(
    "drivable.engines", EngineKind, {"onnx": ONNX, "openvino": OPENVINO}
)

__all__ = ["ENGINES", "Engine", "EngineError", "EngineKind", "OnnxEngine", "OpenVinoEngine"]
