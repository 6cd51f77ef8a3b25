"""The runtime: frames in, drivable area out. Never imports torch."""
