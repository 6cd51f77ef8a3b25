"""What runs a network, by name: a dict you can read."""

from perception.inference.engines.engine import Engine, EngineError
from perception.inference.engines.onnx import OnnxEngine
from perception.inference.engines.openvino import OpenVinoEngine

ENGINES = {"onnx": OnnxEngine, "openvino": OpenVinoEngine}

__all__ = ["ENGINES", "Engine", "EngineError", "OnnxEngine", "OpenVinoEngine"]
