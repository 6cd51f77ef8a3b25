"""Where frames come from: one file per kind of source, and a dict of them all in `registry`."""

from perception.sources.kind import SourceKind, TypedSource
from perception.sources.registry import SOURCES, build_source
from perception.sources.settings import SourceSettings
from perception.sources.source import EndOfSource, NoFrame, Source, SourceError, SourceInfo

__all__ = [
    "SOURCES",
    "EndOfSource",
    "NoFrame",
    "Source",
    "SourceError",
    "SourceInfo",
    "SourceKind",
    "SourceSettings",
    "TypedSource",
    "build_source",
]
