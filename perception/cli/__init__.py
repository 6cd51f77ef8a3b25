"""What every command shares, and the node's own run: standard streams, signals, outputs against inputs."""
