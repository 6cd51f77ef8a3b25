"""What runs a network, by name: a dict you can read."""

from perception.engines.engine import Engine, EngineError
from perception.engines.onnx import OnnxEngine

ENGINES = {"onnx": OnnxEngine}

__all__ = ["ENGINES", "Engine", "EngineError", "OnnxEngine"]
