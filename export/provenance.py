"""What a network learned from, and who may use what it learned: lines for its contract and card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from train.models import Network

OWN_LICENCE = "Apache-2.0"


def training_data(config: dict[str, Any]) -> str:
    """The frames of a run, as its settings name them.

    Args:
        config: the settings in a checkpoint; those of an older version may lack some.
    """
    sources = []
    if config["data"]:
        sources.append(config.get("data_name") or f"the labelled frames of {Path(config['data']).name}")
    if any(stage["synthetic_drives"] for stage in config["stages"]):
        sources.append("rendered drives")
    return " and ".join(sources)


def licence(config: dict[str, Any], network: Network) -> str:
    """Our own licence, and what the data and the libraries ask beyond it."""
    terms = [OWN_LICENCE]
    if config["data"]:
        unstated = "as the licence of the training data allows (not stated; --data_licence states it)"
        terms = [f"code {OWN_LICENCE}", f"weights: {config.get('data_licence') or unstated}"]
    if network.licence_note:
        terms.append(network.licence_note)
    return "; ".join(terms)
