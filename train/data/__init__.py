"""Data-set readers in plain numpy (`bench` uses them too), and the loading of frames as batches."""
