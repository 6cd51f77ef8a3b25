"""SinkKind: what the registry knows of one kind of sink."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perception.sinks.earlier_files import EarlierKind
from perception.sinks.rotation import RecordingPolicy
from perception.sinks.sink import Sink
from perception.sources.source import SourceInfo
from perception.system.plugins import SWITCH, Entry, S


@dataclass(frozen=True, kw_only=True)
class SinkKind(Entry[S]):
    """How a kind of sink is turned on and made, and what it writes."""

    target: str
    """The setting that says where it writes, or turns it on; while that is None or false the sink is off."""
    build: Callable[[S, RecordingPolicy, SourceInfo], Sink]
    """Makes one, not yet open; raises SinkError for settings that none can be made from. The policy is that
    of all outputs, which a sink that writes files follows; another after a restart gets the same."""
    frame_is: str = "frame"
    """What one of them is called in what it wrote."""
    is_on_disk: bool = True
    """The target is a file or folder, which must be no input and no other output of the run."""
    pictures: Callable[[str], EarlierKind | None] = lambda target: None
    """Of a target that is a folder with a file a frame: which kind of files."""

    @property
    def option(self) -> str:
        """That turns it on, such as `--jsonl`."""
        name = f"{self.group}.{self.target}" if self.group else self.target
        return f"--{name.removesuffix(f'.{SWITCH}')}"

    def target_of(self, settings: object) -> str | None:
        """Where it writes, or "True"; None while it is off."""
        target = getattr(self.own(settings), self.target)
        return None if target in (None, False) else str(target)
