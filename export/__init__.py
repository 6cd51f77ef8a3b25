"""Export: from a checkpoint to a graph that is proven equal, with its contract and its card."""
