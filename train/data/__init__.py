"""Readers of data sets in plain numpy (`bench` uses them too), and what turns frames into batches."""
