"""What runs a network, by name: a dict you can read."""

from perception.engines.engine import Engine, EngineError
from perception.engines.onnx import OnnxEngine
from perception.engines.openvino import OpenVinoEngine

ENGINES = {"onnx": OnnxEngine, "openvino": OpenVinoEngine}

__all__ = ["ENGINES", "Engine", "EngineError", "OnnxEngine", "OpenVinoEngine"]
