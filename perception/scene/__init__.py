"""From class map to meaning: what the areas of a prediction say about the road."""
