"""Identity of a run: software, model, settings and the machine's boot."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from perception import __version__
from perception.system.redaction import redacted

NOT_COVERED: Final = frozenset(
    {
        *("source", "sources", "source_name", "model", "out", "jsonl", "masks"),
        *("ignore_mask", "mcap", "mqtt", "summary"),
        *("http", "http_token", "http_sources", "open"),
    }
)
"""Settings outside the checksum: source, outputs, and the model's name. Source and model are in every record
anyway, and no password gets into the checksum."""

DIGITS: Final = 16
"""Of an abbreviated checksum."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@cache
def code_checksum() -> str:
    """sha256 over names and contents of the package's Python files, sorted by name."""
    package = Path(__file__).parents[1]
    files = {file.relative_to(package).as_posix(): file for file in package.rglob("*.py")}
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def boot_id() -> str | None:
    """The kernel's random id of this boot; None if there is none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """The origin of an output. Equal checksums of code, model and settings mean the same node."""

    run_id: str = field(default_factory=lambda: secrets.token_hex(8))
    """Unique to this run."""
    version: str = __version__
    """Of the package."""
    code_sha256: str = field(default_factory=code_checksum)
    """Of the installed Python files: distinguishes builds and edits of one version."""
    model_sha256: str
    """Of the model's file, as printed by `sha256sum`."""
    settings_sha256: str
    """`checksum_of` the `covered_settings`."""
    boot_id: str | None = field(default_factory=boot_id)
    """Monotonic times of different boots are not comparable. None outside Linux."""

    @cached_property
    def abbreviated(self) -> dict[str, Any]:
        """Every field, checksums by their first digits."""
        return {
            name: value[:DIGITS] if name.endswith("sha256") else value for name, value in asdict(self).items()
        }


def covered_settings(config: Any, places: Collection[str] = ()) -> dict[str, Any]:
    """The settings in the checksum, ready for JSON: a dataclass without the fields of `NOT_COVERED`.

    Whole numbers are integers, however they were typed, and texts are redacted.

    Args:
        places: full names of other settings that say where outputs go, such as `mysink.path`.
    """
    return _covered(config, NOT_COVERED.union(places), "")


def _covered(settings: Any, left_out: Collection[str], group: str) -> dict[str, Any]:
    covered = {}
    for name in (f"{group}{setting.name}" for setting in fields(settings)):
        if name not in left_out:
            last = name.rpartition(".")[2]
            value = getattr(settings, last)
            covered[last] = _covered(value, left_out, f"{name}.") if is_dataclass(value) else _plain(value)
    return covered


def checksum_of(settings: dict[str, Any]) -> str:
    """sha256 of settings as JSON in ASCII, with sorted keys and without spaces."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return _covered(value, (), "")
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return redacted(str(value))
