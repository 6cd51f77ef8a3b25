"""The shipped networks: ONNX files with their model cards; `inference.zoo` finds them by name."""
