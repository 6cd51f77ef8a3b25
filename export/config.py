"""ExportConfig: what to export, from where, to where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ExportConfig:
    """One export."""

    model: str
    """Name of the network, such as rt_m."""
    checkpoint: str | None = None
    """Checkpoint of drivable-train; without one, the last of this network under RUNS."""
    runs: str = "runs"
    """Folder that drivable-train wrote to."""
    out: str | None = None
    """File to write; without one, MODEL.onnx in the current folder."""
    target: Literal["cpu", "plain"] = "cpu"
    """cpu: what the node runs, uint8 frame in. plain: the usual float NCHW graph, without a contract,
    for other programs and as the bench's rival."""
    input_wh: tuple[int, int] = (640, 384)
    """Width and height of the network's input, in pixels; multiples of 32."""
    data: str | None = None
    """Labelled frames: parity is checked on them and the card tells the accuracy on `test`."""
    layout: str = "auto"
    """How the data set is laid out; auto recognises it."""
    label_map: str | None = None
    """YAML with the class of each label value, for a plain folder of images and masks."""
    random_weights: bool = False
    """Export without training, to try out speed; the card says so."""
