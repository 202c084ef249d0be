"""Broken documents: what chance, accidents and ill will make of a right one. Everything by seed."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

JUNK = [
    None,
    True,
    False,
    -1,
    0,
    1,
    3.5,
    1.0,
    -0.0,
    1e308,
    5e-324,
    2**31,
    2**62,
    2**63,
    2**70,
    -(2**70),
    10**400,
]
JUNK += [
    "",
    " ",
    "x",
    "..",
    "../..",
    "/",
    "//",
    "A/1",
    "A\n",
    "0.4",
    "0.5",
    "0.6",
    "0.3",
    "9" * 60,
    "é",
    "\0",
]
JUNK += ["\ud800", "__proto__", "CON", "a" * 5000, "NaN", "space", "scale", "#FF0000"]
JUNK += [
    [],
    {},
    [[]],
    [{}],
    [None],
    [0],
    ["x"],
    {"a": {}},
    {"": None},
    [[[[[[[[]]]]]]]],
    [1] * 300,
    [{}] * 50,
]
KEYS = ["multiscales", "plate", "well", "labels", "omero", "image-label", "ome", "series", "version", "scene"]
KEYS += ["bioformats2raw.layout", "platestore", "axes", "datasets", "path", "name", "type", "scale", "wells"]
#: Documents of more values than this grow no further; large ones are a test of their own.
LARGEST = 2000
TEXTS = [
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"\xff",
    b"\x00",
    b"\xef\xbb\xbf",
    b"{",
    b"}",
    b"]",
    b'"',
    b",",
    b"//",
]
TEXTS += [
    b"1e999",
    b"9" * 5000,
    b"[" * 3000,
    b'{"ome":' * 2000,
    b"\xed\xa0\x80",
    b'"plate":1,',
    b"0x10",
    b"'",
]


def official(shared: Path) -> list[tuple[str, bytes]]:
    """The documents of the official cases of 0.4, 0.5 and 0.6rc0, attributes as text, each with a name."""
    folder = shared / "conformance"
    found = []
    for version in ("0.4", "0.5"):
        for suite in sorted((folder / version).glob("*_suite.json")):
            for test in json.loads(suite.read_text(encoding="utf-8"))["tests"]:
                found.append(
                    (f"{version} {suite.stem} {test['formerly']}", json.dumps(test["data"]).encode())
                )
    for path in sorted((folder / "0.6rc0" / "attributes").rglob("*.json")):
        found.append((f"0.6 {path.name}", path.read_bytes()))
    for path in sorted((folder / "0.6rc0" / "zarr").rglob("zarr.json")):
        found.append((f"0.6 {path.parent.name}", _attributes_of(path.read_bytes())))
    return found


def _attributes_of(document: bytes) -> bytes:
    try:
        return json.dumps(json.loads(document)["attributes"]).encode()
    except ValueError:
        return document  # two of the official files are no JSON


def mutant(document: bytes, dice: random.Random) -> bytes:
    """A document that differs from the one given, in its values mostly, sometimes in its text."""
    if dice.random() < 0.25:
        return _mutate_text(document, dice)
    try:
        value = json.loads(document)
    except ValueError:
        return _mutate_text(document, dice)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        value = _mutate_value(value, dice)
    data = json.dumps(value, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")
    return _mutate_text(data, dice) if dice.random() < 0.05 else data


def _mutate_text(data: bytes, dice: random.Random) -> bytes:
    place = dice.randrange(len(data) + 1)
    match dice.randrange(6):
        case 0:
            return data[:place]
        case 1:
            return data[:place] + dice.choice(TEXTS) + data[place:]
        case 2:
            return data[:place] + dice.choice(TEXTS) + data[place + dice.randrange(1, 9) :]
        case 3:
            end = min(len(data), place + dice.randrange(1, 200))
            return data[:end] + data[place:]
        case 4:
            changed = bytearray(data)
            for _ in range(dice.randrange(1, 6)):
                changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
            return bytes(changed)
        case _:
            return dice.choice((b"", b"\n", b"null", b"3", b'"ome"', b"[]", b"{}", b"\0" * 64, data * 2))


def _mutate_value(value, dice: random.Random):
    places = _places(value)
    if not places:
        return copy.deepcopy(dice.choice(JUNK))
    if len(places) > LARGEST:
        return value
    value = copy.deepcopy(value)
    path = dice.choice(places)
    target = value
    for step in path[:-1]:
        target = target[step]
    last = path[-1]
    match dice.randrange(9):
        case 0:
            del target[last]
        case 1 | 2 | 3:
            target[last] = copy.deepcopy(dice.choice(JUNK))
        case 4:
            target[last] = [target[last]] if dice.random() < 0.5 else {dice.choice(KEYS): target[last]}
        case 5:
            target[last] = _other_type(target[last])
        case 6:  # something from another place of the same document
            other = value
            for step in dice.choice(places):
                other = other[step]
            target[last] = copy.deepcopy(other)
        case 7:
            if isinstance(target, dict):
                target[dice.choice(KEYS)] = target.pop(last)
            else:
                target.insert(dice.randrange(len(target) + 1), copy.deepcopy(dice.choice([*JUNK, *target])))
        case _:
            if isinstance(target, list):
                target *= dice.choice((2, 3, 40))
            else:
                target[dice.choice(KEYS)] = copy.deepcopy(dice.choice(JUNK))
    return value


def _places(value) -> list[tuple]:
    found, waiting = [], [((), value)]
    while waiting:
        path, item = waiting.pop()
        items = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        for key, inner in items:
            found.append((*path, key))
            waiting.append(((*path, key), inner))
    return found


def _other_type(value):
    if isinstance(value, str):
        return len(value)
    if isinstance(value, (bool, int, float)) or value is None:
        return str(value)
    if isinstance(value, list):
        return {str(i): item for i, item in enumerate(value)}
    return list(value.values())
