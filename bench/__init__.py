"""The bench: speed and accuracy of the same file, through the node's own path."""

import perception  # noqa: F401  before onnxruntime, which asks the environment when it is imported
