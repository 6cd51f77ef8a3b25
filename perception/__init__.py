"""The runtime: frames in, drivable area out. Never imports torch."""

import os

__version__ = "0.7.0"

# ONNX Runtime from 1.29 on writes a device id to the home folder when it is imported, and reports to
# Microsoft, unless this stands in the environment before. A vehicle reports to nobody unasked.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
