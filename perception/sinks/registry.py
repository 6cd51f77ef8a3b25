"""Every kind of sink, by name, and the sinks of a run."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from perception.sinks.ignored import IGNORED_SINK
from perception.sinks.jsonl import JSONL_SINK
from perception.sinks.kind import SinkKind
from perception.sinks.masks import MASKS_SINK
from perception.sinks.mcap import MCAP_SINK
from perception.sinks.mqtt import MQTT_SINK
from perception.sinks.overlay_sink import OVERLAY_SINK
from perception.sinks.ros import ROS_SINK
from perception.sinks.rotation import RecordingPolicy, RecordingSettings
from perception.sinks.sink import HasTarget, Sink, SinkError
from perception.sources.source import SourceInfo
from perception.system.plugins import Registry, part_of

SINKS: Final[Registry[SinkKind[Any]]] = Registry(
    "drivable.sinks",
    SinkKind,
    {
        "overlay": OVERLAY_SINK,
        "jsonl": JSONL_SINK,
        "masks": MASKS_SINK,
        "mcap": MCAP_SINK,
        "mqtt": MQTT_SINK,
        "ros": ROS_SINK,
        "ignored": IGNORED_SINK,
    },
)
"""They are opened in this order."""


class Sinks:
    """The sinks that a run's settings turn on, and those that take their places after a restart.

    Args:
        settings: holds those of sinks and RecordingSettings, flat or in groups; what is missing has defaults.
        info: the source's.
        folders: that names of frames have, and all above them, such as `a` and `a/b` of `a/b/0001`.
    """

    def __init__(self, settings: object, info: SourceInfo, folders: frozenset[str] = frozenset()) -> None:
        self._settings, self._info = settings, info
        kept = vars(part_of(settings, RecordingSettings))
        self._policies = {
            name: RecordingPolicy(**kept, folders=folders)
            for name, kind in SINKS.used(settings).items()
            if kind.target_of(settings) is not None
        }

    def build(self, name: str) -> Sink:
        """A new sink of that name, not yet open.

        It shares with those built before only what they hold: the claim, and the list of the segments that
        `rotate.keep` may remove.

        Raises:
            SinkError: for settings that no sink can be made from.
        """
        kind = SINKS[name]
        own, policy = kind.own(self._settings), self._policies[name]
        sink = kind.make(kind.build, own, policy, self._info, protocol=Sink, expected=SinkError)
        if sink.name != name:  # by which it is counted, and built again
            raise SinkError(f"sink {name} calls itself {sink.name}; it must have the name of its entry")
        return sink

    def build_all(self) -> list[Sink]:
        """Every sink that the settings turn on, not yet open; raises SinkError as `build` does."""
        return [self.build(name) for name in self._policies]

    def open_all(self, others: Iterable[HasTarget] = ()) -> list[Sink]:
        """Every sink, open; none, if one of them cannot be opened: raises SinkError, or PluginError.

        All are claimed, and `others` such as the summary with them, before one of them touches what is
        there: a node that is refused has spoiled nothing.
        """
        sinks = self.build_all()
        try:
            for each in (*sinks, *others):
                if isinstance(each, HasTarget):
                    each.claim()
            for sink in sinks:
                SINKS[sink.name].make(sink.open, self._info, expected=SinkError)
        except BaseException:
            for sink in sinks:
                with suppress(Exception):  # the error of opening is the one to report
                    sink.close()
            raise
        return sinks

    def reopened(self, name: str) -> Sink:
        """Another sink of that name, open, which goes on with what the one before it wrote."""
        sink = self.build(name)
        sink.open(self._info, resumes=True)
        return sink

    def written(self) -> list[str]:
        """What every sink has left, such as `out.mp4 (300 frames, 4.2 MB)`; once they are closed."""
        lines = (policy.written.summary(SINKS[name].frame_is) for name, policy in self._policies.items())
        return [line for line in lines if line]
