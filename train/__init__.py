"""Training. Torch lives here and in `export`; the dataset readers in `train.data` are plain numpy."""
