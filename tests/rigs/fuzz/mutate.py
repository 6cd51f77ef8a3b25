"""Mutations of bytes, of text settings and of JSON: the same generator gives the same result."""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
ODD_VALUES = (
    "-1", "0", "1e309", ".nan", "-.inf", "99999999999999999999", "null", "true", "[]", "{}", "[[[[1]]]]",
    "''", "2026-02-30", "0o17", "640x", "x360", "-1x-1", "!!python/object/apply:os.getpid []",
    "!!binary aGk=", "&a [*a]", "*nobody", "<<: {a: 1}", "? [a]", "\u2028", "{1: 2}", "\x07", "~",
    "2001-01-01", "a: b: c",
)  # fmt: skip
ODD_JSON = (
    None, True, -1, 0, 2**70, 1e308, float("nan"), "", "é\ud800", [], {}, [[]], [1], [0, 0], [-1, -1],
    [2**40, 1], [1.5, 2], ["a"], {"a": []}, [None, None], "NHWC", 2, ["direct", "alternative", "background"],
)  # fmt: skip


def mutated(choice: random.Random, data: bytes, other: bytes) -> bytes:
    """One to four mutations of `data`; a splice takes from `other`."""
    for _ in range(choice.randint(1, 4)):
        data = choice.choice(BYTES)(choice, data, other) or b"\0"
    return data


def mutated_text(choice: random.Random, data: bytes, other: bytes) -> bytes:
    """The same for lines of `name: value`: values, lines and their order as often as bytes."""
    for _ in range(choice.randint(1, 3)):
        change = choice.choice((_value, _value, _lines, _lines_of_another, mutated))
        data = change(choice, data, other)
    return data


def mutated_json(choice: random.Random, data: bytes, other: bytes) -> bytes:
    """A JSON object with fields of other types, missing, doubled or added; now and then broken bytes."""
    if choice.random() < 0.2:
        return mutated(choice, data, other)
    values = json.loads(data)
    for _ in range(choice.randint(1, 3)):
        name = choice.choice(list(values) or ["model_id"])
        action = choice.random()
        if action < 0.1:
            values.pop(name, None)
        elif action < 0.2:
            values[choice.choice(("extra", "", "sha256 "))] = choice.choice(ODD_JSON)
        else:
            values[name] = choice.choice(ODD_JSON)
    return json.dumps(values, sort_keys=True).encode()


def _flips(choice: random.Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(choice.choice((1, 3, 10, max(1, len(data) // 500)))):
        changed[choice.randrange(len(changed))] ^= 1 << choice.randrange(8)
    return bytes(changed)


def _run_of_bytes(choice: random.Random, data: bytes, other: bytes) -> bytes:
    start = choice.randrange(len(data))
    end = min(len(data), start + choice.choice((1, 8, 64, 512)))
    filling = bytes([choice.choice((0, 0xFF, choice.randrange(256)))]) * (end - start)
    return data[:start] + filling + data[end:]


def _length_field(choice: random.Random, data: bytes, other: bytes) -> bytes:
    """An edge value where a length or a count may stand: half the time at the head, where most do."""
    reach = len(data) if choice.random() < 0.5 else min(len(data), 2000)
    start = choice.randrange(reach)
    form = choice.choice(("B", ">H", "<H", ">I", "<I", ">Q"))
    value = choice.choice((*EDGES, len(data), len(data) - start))
    value &= (1 << 8 * struct.calcsize(form)) - 1
    field = struct.pack(form, value)
    return data[:start] + field + data[start + len(field) :]


def _truncated(choice: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: choice.randrange(len(data))]


def _cut_out(choice: random.Random, data: bytes, other: bytes) -> bytes:
    start = choice.randrange(len(data))
    return data[:start] + data[start + choice.choice((1, 16, 256, 4096)) :]


def _doubled(choice: random.Random, data: bytes, other: bytes) -> bytes:
    start = choice.randrange(len(data))
    end = min(len(data), start + choice.choice((4, 64, 1024)))
    return data[:end] + data[start:end] + data[end:]


def _spliced(choice: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: choice.randrange(len(data))] + other[choice.randrange(len(other)) :]


def _value(choice: random.Random, data: bytes, other: bytes) -> bytes:
    places = list(re.finditer(rb"(?<=[:=\[,] )[^\n,\]}]+|(?<==)[^\n;]+|\d+", data))
    if not places:
        return data
    place = choice.choice(places)
    return data[: place.start()] + choice.choice(ODD_VALUES).encode() + data[place.end() :]


def _lines(choice: random.Random, data: bytes, other: bytes) -> bytes:
    lines = data.split(b"\n")
    at = choice.randrange(len(lines))
    action = choice.randrange(4)
    if action == 0:
        del lines[at]
    elif action == 1:
        lines.insert(choice.randrange(len(lines)), lines[at])
    elif action == 2:
        lines[at] = b"  " * choice.randint(0, 40) + lines[at]
    else:
        choice.shuffle(lines)
    return b"\n".join(lines)


def _lines_of_another(choice: random.Random, data: bytes, other: bytes) -> bytes:
    lines = data.split(b"\n")
    lines.insert(choice.randrange(len(lines)), choice.choice(other.split(b"\n")))
    return b"\n".join(lines)


Mutation = Callable[[random.Random, bytes, bytes], bytes]

BYTES: tuple[Mutation, ...] = (
    _flips, _flips, _run_of_bytes, _length_field, _length_field, _truncated, _cut_out, _doubled, _spliced,
)  # fmt: skip
