"""Export: from a checkpoint to a verified ONNX graph with its contract and its card."""

import perception  # noqa: F401  before onnxruntime, which asks the environment when it is imported
