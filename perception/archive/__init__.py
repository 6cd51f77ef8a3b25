"""Whole archives of recordings through the node: `drivable-archive`."""
