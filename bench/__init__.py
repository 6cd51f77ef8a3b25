"""The bench: speed and accuracy of the same file, through the node's own path."""
