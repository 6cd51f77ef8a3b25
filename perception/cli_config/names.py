"""Names of settings: in the spellings that people type, and what was meant where there is none so named."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, Final, get_args, get_origin, get_type_hints

from perception.cli_config.elsewhere import ELSEWHERE
from perception.system.plugins import SWITCH

UNITS: Final = ("_s", "_ms", "_hz", "_wh", "_mb", "_m", "_deg")
"""Endings that may be left out."""
_NEAR: Final = 0.66
"""Of difflib: `sorce` is near `source` and `otu` near `out`, `show` is not near `jsonl`."""
_SHORTEST_BEGINNING: Final = 3


def known_settings(kind: type[Any], group: str = "") -> dict[str, Any]:
    """Whole name and type of every setting, groups and what is in them; not what is in lists of groups.

    Args:
        group: that `kind` is of, for what goes before the names.
    """
    found: dict[str, Any] = {}
    for last, hint in get_type_hints(kind).items():
        name = f"{group}.{last}" if group else last
        found[name] = hint
        inner = None if get_origin(hint) in (list, tuple, dict) else group_in(hint)
        if inner is not None:
            found |= known_settings(inner, name)
    return found


def group_in(hint: Any) -> type[Any] | None:
    """The dataclass of a group of settings, or of each in a list of groups; None of any other type."""
    inner = (one for one in (hint, *get_args(hint)) if is_dataclass(one) and isinstance(one, type))
    return next(inner, None)


def switch_of(name: str, known: Mapping[str, Any]) -> str | None:
    """The switch that a name stands for: itself, or that of a group; None if there is none.

    Example:
        >>> switch_of("ros", {"ros": dict, "ros.enabled": bool}), switch_of("loop", {"loop": bool})
        ('ros.enabled', 'loop')
    """
    return next((one for one in (name, f"{name}.{SWITCH}") if known.get(one) is bool), None)


def is_open_list(hint: Any) -> bool:
    """Whether a setting of this type holds as many values as one likes."""
    return get_origin(hint) is list or (get_origin(hint) is tuple and get_args(hint)[-1] is Ellipsis)


def resolved(name: str, known: Collection[str]) -> str | None:
    """The setting that is meant by a spelling of it: in dashes, or without its unit; None of an unknown one.

    Example:
        >>> resolved("max-frames", ["max_frames"]), resolved("duration", ["duration_s"])
        ('max_frames', 'duration_s')
    """
    name = name.replace("-", "_")
    if name in known:
        return name
    return next((name + unit for unit in UNITS if name + unit in known), None)


def unknown(name: str, known: Sequence[str], program: str = "") -> str:
    """What to say of a setting that does not exist: what was meant, where that is clear.

    Args:
        name: as it was typed; with dashes before it on the command line, and `known` alike.
        program: whose --help all lists them.
    """
    problem = f"unknown setting {name}"
    group, _, last = name.lstrip("-").rpartition(".")
    if inside := [one for one in known if group and one.lstrip("-").startswith(f"{group}.")]:
        return f"{problem}; {_in_group(group, last, inside, name)}"
    if meant := _meant(name, known):
        return f"{problem}; {meant}"
    if near := nearest(name, known):
        return f"{problem}; the nearest known one is {near}"
    if program:
        return f"{problem}; {program} --help all lists them"
    return f"{problem}; known: {', '.join(known)}" if len(known) <= 12 else problem


def _in_group(group: str, last: str, inside: Sequence[str], name: str) -> str:
    """What was meant by a name in a group that there is: another in that group alone."""
    if name in inside:
        return f"in a file it is written as a group: `{group}: {{{last}: …}}`"
    own = {one.lstrip("-").removeprefix(f"{group}."): one for one in inside}
    word = last.replace("-", "_").lower()
    for setting, _ in ELSEWHERE.get(word, ()):
        if (meant := setting.removeprefix(f"{group}.")) in own:
            return f"here it is {own[meant]}"
    if near := nearest(word, list(own)):
        return f"the nearest known one is {own[near]}"
    return f"{group} has {', '.join(own)}"


def _meant(name: str, known: Sequence[str]) -> str | None:
    """By the names of other tools, or as a setting of a group."""
    dashes = "--" if name.startswith("-") else ""
    word = name.lstrip("-").replace("-", "_").lower()
    plain = [one.removeprefix("--") for one in known]
    for setting, sentence in ELSEWHERE.get(word, ()):
        if setting in ("", *plain):
            return sentence or f"here it is {dashes}{setting}"
    inside = [one for one in plain if "." in one and resolved(word, [one.rpartition(".")[2]])]
    if inside and len(inside) <= 3:
        return f"here it is {' and '.join(dashes + one for one in inside)}"
    return None


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The setting, group or command that a misspelt word is near, or the beginning of; None where none is."""
    if len(name.lstrip("-")) >= _SHORTEST_BEGINNING and (
        whole := [it for it in known if it.startswith(name)]
    ):
        return whole[0]
    without = {
        one.removesuffix(next((unit for unit in UNITS if one.endswith(unit)), "")): one for one in known
    }
    word = name.lstrip("-").replace("-", "_").lower()
    words = {one.removeprefix("--"): whole for one, whole in {**without, **{it: it for it in known}}.items()}
    found = difflib.get_close_matches(word, words, n=1, cutoff=_NEAR)
    return words[found[0]] if found else None
