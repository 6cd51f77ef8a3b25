"""ArchiveConfig: all settings of a run over an archive, filled from YAML and then the command line."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Final, Literal

from perception.cli_config import SettingsError
from perception.config import NodeConfig
from perception.inference.zoo import DEFAULT_MODEL
from perception.system.cores import usable_cores
from perception.system.plugins import Checked

OutputName = Literal["records", "masks", "overlay", "mcap"]

OF_ARCHIVE: Final = {
    **dict.fromkeys(
        ("source", "sources", "source_name", "loop", "realtime"),
        "every clip is read once, as fast as it can be",
    ),
    **dict.fromkeys(("out", "jsonl", "masks", "mcap"), "--outputs chooses what is written"),
    **dict.fromkeys(("append", "overwrite", "rotate"), "every clip has files of its own, written once"),
    **dict.fromkeys(("summary", "http", "mqtt", "ros", "ignore_mask", "open"), "of a single drivable-node"),
    **dict.fromkeys(("model", "every"), "give it without `node.`"),
    "threads": "--threads is that of each worker",
    "mount_state": "clips are processed in any order",
}
"""Settings of the node that are not to be given, and why."""


@dataclass(frozen=True)
class ClusterSettings(Checked):
    """Who does the work."""

    engine: Literal["local", "ray"] = "local"
    """What spreads the clips: processes of this machine, or Ray (pip install 'drivable[archive]' has it)."""
    workers: int = 0
    """Workers, each with a whole node; 0 takes as many as there are cores for."""
    threads: int = 1
    """Cores a worker uses; one each gives the most frames a second."""
    gpus: float = 0.0
    """GPUs that Ray reserves for a worker, such as 1 or 0.25."""
    ray_address: Annotated[str, "ADDRESS"] | None = None
    """A Ray cluster: auto, host:6379 or ray://host:10001; without one, Ray starts on this machine."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.workers < 0 or self.workers > 100_000:
            raise ValueError(f"workers is {self.workers}; 0 takes as many as there are cores for")
        if self.threads < 1:
            raise ValueError(f"threads is {self.threads}; a worker needs at least 1")
        if self.gpus < 0:
            raise ValueError(f"gpus is {self.gpus:g}; it must be 0 or more")
        if self.engine != "ray" and (self.ray_address is not None or self.gpus):
            raise ValueError("ray_address and gpus are Ray's; add --engine ray")
        super().__post_init__()

    def workers_here(self) -> int:
        """How many this machine has cores for, if no number is given."""
        return self.workers or max(1, usable_cores() // self.threads)


@dataclass(frozen=True)
class ScratchSettings(Checked):
    """Where clips from elsewhere are kept while they are read."""

    scratch: Annotated[str, "FOLDER"] | None = None
    """Folder for clips that are downloaded, and for results on their way; the system's temporary one without
    it."""
    scratch_gb: float = 50.0
    """Most that all workers of a machine keep there."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if not 0 < self.scratch_gb < float("inf"):
            raise ValueError(f"scratch_gb is {self.scratch_gb:g}; it must be above 0")
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class ArchiveConfig(ScratchSettings, ClusterSettings):
    """One run over an archive."""

    clips: Annotated[list[str], "CLIPS"]
    """Recordings: files, folders, patterns in quotes, lists (@clips.txt, a clip a line); on this machine, or
    at s3://, gs://, az:// and http(s):// addresses."""
    to: Annotated[str, "OUT"]
    """Folder for the results, or a place in an object store. Run again with the same one, the command
    completes what is missing or has changed."""
    model: Annotated[str, "NAME|FILE"] = DEFAULT_MODEL
    """Name of a shipped model, or an ONNX file of drivable-export."""
    outputs: list[OutputName] = field(default_factory=lambda: ["records", "masks"])
    """What is written of every clip: records.jsonl.zst, masks.zip, overlay.mp4, bag.mcap; a row a second, and
    of the clip, always are."""
    every: int = 1
    """Take every nth frame."""
    retry_failed: bool = False
    """Also process clips again that could not be read the last time."""
    redo: bool = False
    """Process all clips again, with other settings or another model too."""
    dry_run: bool = False
    """Say how many clips there are to do, what they would take on how many workers, and write nothing."""
    http: int | None = None
    """Port on this machine's loopback interface for Prometheus metrics of the run."""
    node: NodeConfig = field(default_factory=NodeConfig)
    """Settings of every clip's node, such as --node.calibration cam.yaml."""

    def __post_init__(self) -> None:
        """Refuse values that no run can be made from; raises ValueError."""
        if self.every < 1:
            raise ValueError(f"every is {self.every}; 1 takes every frame")
        if not self.clips:
            raise ValueError("no clips are named")
        if self.http is not None and not 0 < self.http < 65536:
            raise ValueError(f"http is {self.http}; a port from 1 to 65535 is expected")
        if len(set(self.outputs)) < len(self.outputs):
            raise ValueError(f"outputs are {', '.join(self.outputs)}; each can be named once")
        super().__post_init__()

    def node_of_clips(self) -> NodeConfig:
        """What every clip's node has in common; raises SettingsError for what is not the node's here."""
        _refuse(self.node)
        return replace(self.node, model=self.model, every=self.every, threads=self.threads)


def _refuse(node: NodeConfig) -> None:
    usual = NodeConfig()
    for setting in fields(node):
        name: str = setting.name
        reason = OF_ARCHIVE.get(name) or (OF_ARCHIVE["http"] if name.startswith(("http_", "mqtt_")) else None)
        if reason is not None and getattr(node, name) != getattr(usual, name):
            raise SettingsError(f"node.{name} is not for drivable-archive: {reason}")
