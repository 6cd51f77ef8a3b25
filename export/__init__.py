"""Export: from a checkpoint to a graph that is proven equal, with its contract and its card."""

import perception  # noqa: F401  before onnxruntime, which asks the environment when it is imported
