"""The documents and the schema say what the code does, and nothing else; every link leads somewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from bench.baselines import two_builds
from bench.config import (
    AccuracyConfig,
    BenchConfig,
    CompareConfig,
    InferConfig,
    LiveConfig,
    MetresConfig,
    SteadinessConfig,
)
from perception.archive.config import ArchiveConfig
from perception.calibrate.config import CalibrateConfig, MountConfig
from perception.cli_config import SettingsError, parse
from perception.config import NodeConfig
from perception.frame import CameraState, EngineState
from perception.provenance.identity import NOT_COVERED

ROOT = Path(__file__).parent.parent
DOCUMENTS = {
    name: (ROOT / name).read_text()
    for name in (
        "README.md",
        *(
            f"{folder}/README.md"
            for folder in ("perception", "perception/archive", "train", "export", "bench", "tests/rigs")
        ),
        "CHANGELOG.md",
    )
}
NOW = "\n".join(text for name, text in DOCUMENTS.items() if name != "CHANGELOG.md")
"""What holds today: changes may name what is gone."""
NODE = DOCUMENTS["perception/README.md"]
SCHEMA = json.loads((files("perception.sinks") / "record.schema.json").read_text())
OF_OTHERS = {
    "--require-hashes",
    "--no-deps",
    "--wheel",
    "--nproc-per-node",
    "--no-python",
    "--logdir",
    "--help",
    "--config",
    "--npy.rate",
    "--jumps.largest",
    "--shares.file",
}
"""Options of pip, build, torchrun, tensorboard, those of every command of ours, and those of an example."""
BENCH = (BenchConfig, AccuracyConfig, InferConfig, LiveConfig, CompareConfig, MetresConfig, SteadinessConfig)
UNKNOWN = "the command line: unknown setting"


def _is_known(option: str, kind: type[Any]) -> bool:
    try:
        parse(kind, "command", "", [option, "{"])
    except SettingsError as error:
        return not str(error).startswith(UNKNOWN)
    return True


def _options(text: str) -> set[str]:
    """`--name`, `--group.name`; of `--group.…` the group."""
    found = re.findall(r"(?<![\w-])--[A-Za-z][\w.-]*", text)
    return {option.rstrip(".") for option in found} - OF_OTHERS


def _commands() -> Iterator[tuple[str, str]]:
    """Name and arguments of every command of ours in the documents' examples."""
    for block in re.findall(r"```sh\n(.*?)```", NOW, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if match := re.match(r"drivable-(node|train|export|bench|calibrate|archive)\b([^#]*)", line):
                yield match[1], match[2]


def test_option_that_does_not_exist_is_found_out() -> None:
    assert not _is_known("--healt.dark_luma", NodeConfig)


@pytest.mark.parametrize(
    "option", sorted(set().union(*(_options(arguments) for name, arguments in _commands() if name == "node")))
)
def test_option_in_an_example_of_the_node_exists(option: str) -> None:
    assert _is_known(option, NodeConfig)


@pytest.mark.parametrize("option", sorted(_options(NOW)))
def test_option_that_a_document_names_exists(option: str) -> None:
    pytest.importorskip("torch")
    from export.config import ExportConfig
    from export.inspect_file import InspectConfig
    from export.wrap import WrapConfig
    from train.config import TrainConfig
    from train.inspect_data import InspectConfig as InspectDataConfig
    from train.subset import SubsetConfig
    from train.table import TableConfig

    ours = (
        NodeConfig,
        *BENCH,
        CalibrateConfig,
        MountConfig,
        ArchiveConfig,
        TrainConfig,
        InspectDataConfig,
        SubsetConfig,
        TableConfig,
        ExportConfig,
        WrapConfig,
        InspectConfig,
    )
    of_two_builds = two_builds.options().format_help()
    assert any(_is_known(option, kind) for kind in ours) or f" {option} " in of_two_builds


def _leaves(kind: type[Any], prefix: str = "") -> Iterator[str]:
    hints = get_type_hints(kind)
    for setting in fields(kind):
        hint = hints[setting.name]
        if is_dataclass(hint) and isinstance(hint, type):
            yield from _leaves(hint, f"{prefix}{setting.name}.")
        else:
            yield prefix + setting.name


def test_settings_that_the_checksum_leaves_out_exist_and_are_documented() -> None:
    (listed,) = re.findall(r"the settings covers all but (.*?):", NODE, re.DOTALL)

    assert set(re.findall(r"`(\w+)`", listed)) == NOT_COVERED
    assert set(_leaves(NodeConfig)) > NOT_COVERED


@pytest.mark.parametrize("state", [*CameraState, *EngineState])
def test_every_state_is_documented(state: str) -> None:
    assert f"`{state}`" in NODE


def _undescribed(part: dict[str, Any], where: str) -> Iterator[str]:
    for name, inner in part.get("properties", {}).items():
        target = SCHEMA["$defs"].get(inner.get("$ref", "").removeprefix("#/$defs/"), {})
        if "description" not in inner and "description" not in target:
            yield f"{where}{name}"
        yield from _undescribed(inner, f"{where}{name}.")


def test_every_field_of_a_record_is_described() -> None:
    parts = {"": SCHEMA, **{f"{name}: ": part for name, part in SCHEMA["$defs"].items()}}

    assert [field for where, part in parts.items() for field in _undescribed(part, where)] == []


def _anchors(text: str) -> set[str]:
    """What `#…` in a link may name, by GitHub's rule for headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    targets = [it for it in re.findall(r"\]\(([^)\s]+)\)", DOCUMENTS[name]) if not it.startswith("https://")]
    folder = (ROOT / name).parent

    def is_dead(target: str) -> bool:
        path, _, anchor = target.partition("#")
        file = (folder / path).resolve() if path else ROOT / name
        return not file.exists() or bool(anchor and anchor not in _anchors(file.read_text()))

    assert [it for it in targets if is_dead(it)] == []


def test_the_readme_fits_150_lines() -> None:
    assert len(DOCUMENTS["README.md"].splitlines()) <= 150


def test_every_document_is_linked_from_the_readme() -> None:
    assert [
        name for name in DOCUMENTS if name != "README.md" and f"]({name})" not in DOCUMENTS["README.md"]
    ] == []
