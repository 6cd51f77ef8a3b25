"""`--help`: the daily options and the names of the groups, one group, or every setting.

All of it is read from the dataclasses: names, types, defaults, and the docstrings below their fields.
"""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import textwrap
import types
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from perception.cli_config.error import SettingsError
from perception.cli_config.files import shipped_configs
from perception.cli_config.names import UNITS, group_in, nearest, resolved
from perception.system.plugins import SWITCH

ALL: Final = "all"
MOST_LINES: Final = 40
"""Of the first page where daily settings are named: it fits a screen."""
WIDEST: Final = 100
_NARROWEST: Final = 60
_TEXT_AT: Final = 29
"""Column of the explanations."""
_UNITS: Final = {
    **{"_s": "SECONDS", "_ms": "MILLISECONDS", "_hz": "HZ"},
    **{"_mb": "MB", "_deg": "DEGREES", "_m": "METRES", "_wh": "WIDTHxHEIGHT"},
}
_PLAIN: Final = {int: "INT", float: "NUMBER", str: "TEXT", bool: ""}
_PRINT: Final = ("--print-config", "Print the settings as YAML, and do nothing else.")
_COMMON: Final = (
    ("--verbose, --quiet", "More in the log, or warnings and errors alone."),
    ("-h, --help [GROUP|all]", "This page, the settings of one group, or all of them."),
    ("-V, --version", "Show the version."),
)


@dataclass(frozen=True)
class Setting:
    """One setting, as it is explained."""

    name: str
    """In full, such as `camera.rate_hz`; `stages[].epochs` in a list of groups."""
    hint: Any
    default: Any
    """MISSING if there is none."""
    about: str


@dataclass
class Group:
    """Settings that are explained together: those of one dataclass."""

    about: str
    part_of: str = ""
    """Another group, which its settings are listed with."""
    settings: list[Setting] = field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """A command, as its help calls it."""

    name: str
    description: str = ""
    positional: Sequence[str] = ()
    """Settings that may be typed without their names, in this order."""
    daily: Sequence[str] = ()
    """Settings that the first page explains, and leaves all others to their groups; none: it explains all."""


def groups_of(kind: type[Any]) -> dict[str, Group]:
    """Every setting by group: the dataclass itself, those that it inherits, and those inside of it."""
    groups: dict[str, Group] = {}
    _collect(kind, "", None, groups)
    return {name: group for name, group in groups.items() if group.settings}


def help_text(kind: type[Any], program: Program, topic: str = "") -> str:
    """The page on a topic: `all`, the name of a group or of a setting; without one the first page.

    Raises:
        SettingsError: for a topic that there is not.
    """
    groups = groups_of(kind)
    settings = [setting for group in groups.values() for setting in group.settings]
    if topic in ("", ALL):
        lines = [f"usage: {program.name} {_operands(program, settings)}[--OPTION VALUE] …"]
        lines += textwrap.wrap(program.description, _width())
        lines.append("")
        if topic == ALL or not program.daily:
            lines += _options([_config(program), _PRINT, *_COMMON])
            for name, group in groups.items():
                lines += ["", *_section(name, group, program)]
        else:
            _add_first_page(lines, groups, settings, program)
        return "\n".join(lines)
    word = topic.lstrip("-")
    if word.replace("-", "_") in groups:
        name = word.replace("-", "_")
        parts = [one for one, group in groups.items() if name in (one, group.part_of)]
        return "\n\n".join("\n".join(_section(one, groups[one], program)) for one in parts)
    names = [setting.name for setting in settings]
    if setting := resolved(word, names):
        return "\n".join(_explained(settings[names.index(setting)], program))
    meant = nearest(word, [*groups, *names])
    near = f"; the nearest known one is {meant}" if meant else ""
    raise SettingsError(
        f"--help {topic}: no group or setting has this name{near}; groups: {', '.join(groups)}"
    )


def _add_first_page(
    lines: list[str], groups: dict[str, Group], settings: Sequence[Setting], program: Program
) -> None:
    by_name = {setting.name: setting for setting in settings}
    rows = [(_option(by_name[name], program), by_name[name].about) for name in program.daily]
    lines += _one_line_each([*rows, _config(program), *_COMMON])
    lines += ["", f"All settings by group: {program.name} --help GROUP, or --help {ALL}"]
    names = [name for name, group in groups.items() if not group.part_of]
    room = MOST_LINES - len(lines)
    listed = names if len(names) <= room else names[: room - 1]
    lines += _one_line_each([(name, groups[name].about) for name in listed])
    if others := ", ".join(names[len(listed) :]):
        lines.append(textwrap.shorten(f"  and {others}", _width(), placeholder=" …"))


def _config(program: Program) -> tuple[str, str]:
    group = program.name.split()[0].removeprefix("drivable-")
    own = next((name for name in shipped_configs() if name.startswith(f"{group}/")), None)
    return "--config FILE", f"Settings from YAML{f', or from a shipped file such as {own}' if own else ''}."


def _section(name: str, group: Group, program: Program) -> Iterator[str]:
    yield from textwrap.wrap(f"{name}: {group.about}", _width())
    for setting in group.settings:
        yield from _explained(setting, program)


def _explained(setting: Setting, program: Program) -> list[str]:
    about = setting.about
    if shown := _default(setting.default):
        about = f"{about} ({shown})".strip()
    return _options([(_option(setting, program), about)])


def _options(rows: Sequence[tuple[str, str]]) -> list[str]:
    lines = []
    for option, about in rows:
        wrapped = textwrap.wrap(about, _width() - _TEXT_AT)
        if len(option) + 4 > _TEXT_AT or not wrapped:
            lines.append(f"  {option}")
        else:
            lines.append(f"  {option}".ljust(_TEXT_AT) + wrapped.pop(0))
        lines += [" " * _TEXT_AT + line for line in wrapped]
    return lines


def _one_line_each(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """With as much of what stands first as there is room for."""
    text_at = max(len(option) for option, _ in rows) + 4
    for option, about in rows:
        first = re.split(r"(?<=\w)[.;:](?: |$)", about, maxsplit=1)[0]
        text = textwrap.shorten(first, _width() - text_at, placeholder=" …")
        yield f"  {option:{text_at - 2}}{text}".rstrip()


def _operands(program: Program, settings: Sequence[Setting]) -> str:
    has_default = {setting.name: setting.default is not MISSING for setting in settings}
    words = (f"[{name.upper()}] " if has_default[name] else f"{name.upper()} " for name in program.positional)
    return "".join(words)


def _option(setting: Setting, program: Program) -> str:
    """As it is typed: `--camera.rate HZ`, or the bare `SOURCE`."""
    if setting.name in program.positional:
        return setting.name.upper()
    *_, in_list = setting.name.split("[].")
    dashes = "" if in_list != setting.name else "--"
    unit = next((unit for unit in UNITS if in_list.endswith(unit)), "")
    name = in_list if not dashes else in_list.removesuffix(unit).removesuffix(f".{SWITCH}").replace("_", "-")
    return f"{dashes}{name} {_type(setting.hint, unit)}".rstrip()


def _type(hint: Any, unit: str = "") -> str:
    """What is typed for a value: `INT`, `SECONDS`, `auto|cpu`, `WIDTHxHEIGHT`; nothing for a switch."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Annotated:
        return str(inner[1])
    if kind is Literal:
        return "|".join(map(str, inner))
    if kind in (Union, types.UnionType):
        return "|".join(_type(one, unit) for one in inner if one is not type(None))
    if inner == (int, int) and unit == "_wh":
        return _UNITS[unit]
    if kind in (list, tuple) and (kind is list or inner[-1] is Ellipsis):
        return "'[{…}, …]'" if is_dataclass(inner[0]) else f"{_type(inner[0], unit)},…"
    if kind is tuple:
        return ",".join(_type(one, unit) for one in inner)
    if kind is dict:
        return "'{NAME: VALUE, …}'"
    return _UNITS[unit] if unit and hint in (int, float) else _PLAIN.get(hint, "VALUE")


def _default(value: Any) -> str:
    """In words; nothing where there is nothing to say, as of a switch that is off."""
    if value is MISSING:
        return "required"
    if isinstance(value, (list, tuple)):
        value = ",".join(_shown(one) for one in value)
    if value in (None, "") or value is False:
        return ""
    return f"default: {_shown(value)}"


def _shown(value: Any) -> str:
    return "on" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def _collect(kind: type[Any], inside: str, values: object, groups: dict[str, Group]) -> None:
    """Add the settings of `kind`.

    Args:
        inside: the group's name, which goes before theirs; empty for those that stand alone.
        values: of that group, which may be other than the defaults of its dataclass.
    """
    hints, abouts = get_type_hints(kind, include_extras=True), _field_docstrings(kind)
    for owner, each in _by_owner(kind):
        hint, about = hints[each.name], abouts.get(each.name, "")
        name = f"{inside}.{each.name}" if inside else each.name
        home = inside or _group_name(owner)
        groups.setdefault(home, Group(_about(owner)))
        default = _default_of(each) if values is None else getattr(values, each.name)
        group_kind, is_list = group_in(hint), get_origin(hint) in (list, tuple)
        if group_kind is None or is_list:
            groups[home].settings.append(Setting(name, hint, default, about))
        if group_kind is not None:
            inner = f"{name}[]" if is_list else name
            is_own = not inside and home == _group_name(kind)
            groups[inner] = Group(about or _about(group_kind), "" if is_own else groups[home].part_of or home)
            given = None if is_list or not is_dataclass(default) else default
            _collect(group_kind, inner, given, groups)


def _by_owner(kind: type[Any]) -> Iterator[tuple[type[Any], Field[Any]]]:
    """Each field with the class that it comes from, those of the class itself first."""
    owners = {name: base for base in kind.__mro__ for name in inspect.get_annotations(base)}
    order = {base: at for at, base in enumerate(kind.__mro__)}
    by_owner = sorted(fields(kind), key=lambda each: order[owners[each.name]])
    return ((owners[each.name], each) for each in by_owner)


def _default_of(each: Field[Any]) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()


def _group_name(kind: type[Any]) -> str:
    """`openvino` of OpenVinoSettings."""
    return re.sub("(Settings|Config)$", "", kind.__name__).lower()


def _about(kind: type[Any]) -> str:
    """The first paragraph of its docstring, unless dataclasses made that up."""
    text = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
    return "" if text.startswith(f"{kind.__name__}(") else " ".join(text.split())


def _field_docstrings(kind: type[Any]) -> dict[str, str]:
    """The text below each field, of inherited ones too; none of a class without its source."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        try:
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        except (OSError, TypeError):
            continue
        for setting, text in pairwise(getattr(definition, "body", ())):
            match setting, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(about))):
                    found[name] = " ".join(about.split())
    return found


def _width() -> int:
    """Of the page, in columns: that of the terminal, within bounds."""
    return min(max(shutil.get_terminal_size((WIDEST, 24)).columns, _NARROWEST), WIDEST)
