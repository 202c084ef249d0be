"""The official cases of 0.4 and 0.5: valid ones are read, invalid ones are refused or reported."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

import pytest

import platestore as ps
from platestore.spec import versions
from platestore.spec.base import read_model
from platestore.spec.well import WellGroupMeta

SHARED = Path(__file__).resolve().parents[3] / "shared"
MODELS = {"image": ps.ImagesMeta, "plate": ps.PlateMeta, "well": WellGroupMeta}
FORMAT = {"0.4": 2, "0.5": 3}


def cases(prefix):
    out = []
    for version in FORMAT:
        for kind in MODELS:
            path = SHARED / "conformance" / version / f"{prefix}{kind}_suite.json"
            if path.is_file():
                for test in json.loads(path.read_text(encoding="utf-8"))["tests"]:
                    out.append(pytest.param(version, kind, test, id=f"{version}-{kind}-{test['formerly']}"))
    reason = "the official cases are not beside this checkout"
    return out or [pytest.param("", "", {}, marks=pytest.mark.skip(reason=reason))]


def read(version, kind, attributes):
    """Read a document as a node does; returns the model and what is wrong with it."""
    attributes = copy.deepcopy(attributes)
    versions.detect_version(attributes, FORMAT[version], path="doc")
    parts = versions.adapter(version).unpack(attributes, kind)
    data = parts if kind == "image" else parts.get(kind)
    return read_model(MODELS[kind], data, location=kind, path="doc")


@pytest.mark.parametrize(("version", "kind", "test"), [*cases(""), *cases("strict_")])
def test_every_official_case_is_read_or_refused_in_our_words(version, kind, test):
    if test["valid"]:
        meta, _ = read(version, kind, test["data"])
        json.dumps(meta.to_json(), allow_nan=False)
        return
    try:
        read(version, kind, test["data"])
    except ps.PlatestoreError as error:
        message = str(error)
    else:
        message = "doc"
    assert message.startswith("doc")


@pytest.mark.parametrize(
    ("version", "kind", "test"), [c for c in cases("") if not c.values[2] or not c.values[2]["valid"]]
)
def test_every_invalid_case_is_refused_or_reported(version, kind, test):
    try:
        _, findings = read(version, kind, test["data"])
    except ps.PlatestoreError:
        return
    assert findings, "the flaw was read over without a word"


@pytest.mark.parametrize(
    ("version", "kind", "test"), [c for c in cases("strict_") if not c.values[2] or c.values[2]["valid"]]
)
def test_what_strictly_valid_documents_say_survives_a_read_and_a_write(version, kind, test):
    attributes = copy.deepcopy(test["data"])
    meta, _ = read(version, kind, attributes)
    parts = meta.to_json() if kind == "image" else {kind: meta.to_json()}
    versions.adapter(version).pack(attributes, kind, parts, {})
    assert numbers_as_floats(plain(attributes)) == numbers_as_floats(plain(test["data"]))


def plain(value):
    """Without versions, which the writer states in its own places, and nulls."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k != "version" and v is not None}
    return [plain(v) for v in value] if isinstance(value, list) else value


def numbers_as_floats(value):
    if isinstance(value, dict):
        return {k: numbers_as_floats(v) for k, v in value.items()}
    if isinstance(value, list):
        return [numbers_as_floats(v) for v in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


JUNK = [None, True, -1, 0, 3.5, 2**70, "", "x", [], {}, [[]], [None], {"a": {}}, "..", "\0"]


def mutants(document, seed, count):
    """A document with one value replaced or removed."""
    places = []

    def walk(value, path):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            places.append((*path, key))
            if isinstance(item, (dict, list)):
                walk(item, (*path, key))

    walk(document, ())
    dice = random.Random(seed)
    for _ in range(count):
        changed = copy.deepcopy(document)
        *path, last = dice.choice(places)
        target = changed
        for step in path:
            target = target[step]
        if dice.random() < 0.2:
            del target[last]
        else:
            target[last] = copy.deepcopy(dice.choice(JUNK))
        yield changed


@pytest.mark.parametrize("version", FORMAT)
@pytest.mark.parametrize("kind", MODELS)
def test_mutants_of_the_official_cases_are_read_or_refused_in_our_words(version, kind, shared):
    read_some = refused = 0
    for number, case in enumerate([*cases(""), *cases("strict_")]):
        of_version, of_kind, test = case.values
        if (of_version, of_kind) != (version, kind):
            continue
        for mutant in mutants(test["data"], number, 25):
            try:
                meta, findings = read(version, kind, mutant)
            except ps.PlatestoreError:
                refused += 1
            else:
                read_some += 1
                json.dumps(meta.to_json(), allow_nan=False)
                assert all(str(f) for f in findings)
    assert read_some
    assert refused
