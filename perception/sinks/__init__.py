"""Sinks: what becomes of the predictions, one file a kind, and a dict of them all in `registry`."""

from perception.sinks.kind import SinkKind
from perception.sinks.rotation import RecordingPolicy
from perception.sinks.sink import Sink, SinkError

__all__ = ["RecordingPolicy", "Sink", "SinkError", "SinkKind"]
