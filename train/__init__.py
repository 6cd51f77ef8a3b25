"""Training. Torch lives here and in `export`; the dataset readers in `train.data` are plain numpy."""

import perception  # noqa: F401  before onnxruntime, which asks the environment when it is imported
