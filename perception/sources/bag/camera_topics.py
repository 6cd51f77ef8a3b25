"""Which topics of a bag are cameras, where this node's masks and overlays are pictures too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perception.ros.types import TOPICS
from perception.sources.bag.bag_message import BagTopic

_MADE: Final = ("class_map", "confidence", "overlay/compressed")
_COPY: Final = "image/compressed"
_SURE: Final = 2
"""Topics below one prefix by which it is this node's."""


def cameras_among(topics: Sequence[BagTopic], types: Mapping[str, str]) -> list[BagTopic]:
    """Those that a node would be meant to see: no masks, no overlays, and no copies of another camera.

    Args:
        topics: with pictures.
        types: of all topics of the bag, by which a node's are known.
    """
    ours = _prefixes(types)
    made = {f"{prefix}/{name}" for prefix in ours for name in _MADE}
    copies = {f"{prefix}/{_COPY}" for prefix in ours}
    cameras = [topic for topic in topics if topic.name not in made]
    originals = [topic for topic in cameras if topic.name not in copies]
    for choice in (originals, cameras):
        if with_messages := [topic for topic in choice if topic.count]:
            return with_messages
    return cameras


def _prefixes(types: Mapping[str, str]) -> list[str]:
    found: dict[str, int] = {}
    for name, type_name in types.items():
        for published, its_type in TOPICS.items():
            if type_name == its_type and name.endswith(f"/{published}"):
                prefix = name.removesuffix(f"/{published}")
                found[prefix] = found.get(prefix, 0) + 1
    return [prefix for prefix, count in found.items() if count >= _SURE]
