"""The official cases of 0.4 and 0.5: all 178 verdicts, and what is found, against the schemas themselves."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

import pytest

from platestore.checking.rules.judge import judge

SHARED = Path(__file__).resolve().parents[3] / "shared"
FORMAT = {"0.4": 2, "0.5": 3}


def official():
    cases = []
    for version in FORMAT:
        for path in sorted((SHARED / "conformance" / version).glob("*_suite.json")):
            for test in json.loads(path.read_text(encoding="utf-8"))["tests"]:
                name = f"{version} {path.stem} {test['formerly']}"
                cases.append(pytest.param(version, path.stem.startswith("strict"), test, id=name))
    skip = pytest.mark.skip(reason="the official cases are not beside this checkout")
    return cases or [pytest.param("", False, {}, marks=skip)]


CASES = official()


def test_all_cases_are_there(shared):
    assert len(CASES) == 178


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(("version", "strict", "test"), CASES)
def test_the_verdict_is_the_official_one(version, strict, test, known):
    judgement = judge(test["data"], strict=strict, zarr_format=FORMAT[version] if known else None)
    assert judgement.valid is test["valid"], [str(f) for f in judgement.findings]
    if test["valid"]:
        assert judgement.version == version


@pytest.mark.parametrize(("version", "strict", "test"), CASES)
def test_every_error_says_what_and_why(version, strict, test):
    for finding in judge(test["data"], strict=strict, zarr_format=FORMAT[version]).findings:
        assert finding.location or finding.code in ("version-format", "no-metadata")
        assert finding.message
        assert finding.rule is None or finding.rule.startswith(("OME-NGFF 0.", "RFC-"))
        if finding.level == "error" and not finding.code.startswith("version-"):
            assert finding.rule is not None or finding.code in ("not-finite", "no-metadata")


# --- against the schemas --------------------------------------------------------------------------


def schemas(version, key, *, strict):
    import jsonschema
    import referencing
    from referencing.jsonschema import DRAFT202012

    folder = SHARED / "conformance" / version / "schemas"
    resources = []
    for path in folder.glob("*.schema"):
        content = json.loads(path.read_text(encoding="utf-8"))
        resources.append((content["$id"], DRAFT202012.create_resource(content)))
    registry = referencing.Registry().with_resources(resources)
    name = f"{'strict_' if strict else ''}{key}.schema"
    schema = json.loads((folder / name).read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema, registry=registry)


KEYS = {"image": "multiscales", "label": "image-label", "plate": "plate", "well": "well"}
JUNK = [None, True, -1, 0, 1, 1.0, 1.5, "", "x", "A", "space", [], {}, [{}], [1, 1], "0.3", 300, "A\n"]


def places(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def changed(data, dice):
    data = json.loads(json.dumps(data))
    for _ in range(dice.choice((1, 1, 2))):
        *path, last = dice.choice(list(places(data)))
        target = data
        for step in path:
            target = target[step]
        match dice.randrange(4):
            case 0 if len(list(places(data))) > 3:
                del target[last]
            case 1 if isinstance(target, list):
                target.append(json.loads(json.dumps(target[last])))
            case _:
                target[last] = copy.deepcopy(dice.choice(JUNK))
        if not data:
            return {"x": 1}
    return data


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("version", FORMAT)
def test_what_a_schema_refuses_is_refused(version, key, strict, shared):
    pytest.importorskip("jsonschema")
    schema = schemas(version, key, strict=strict)
    originals = [
        case.values[2]["data"]
        for case in CASES
        if case.values[0] == version and f"{key}_suite" in case.id and case.values[2]["valid"]
    ]
    dice, refused = random.Random(f"{version} {key} {strict}"), 0
    for _ in range(150):
        data = changed(dice.choice(originals), dice)
        holder = data.get("ome") if version == "0.5" else data
        if not isinstance(holder, dict) or KEYS[key] not in holder or schema.is_valid(data):
            continue
        refused += 1
        assert not judge(data, strict=strict, zarr_format=FORMAT[version]).valid, json.dumps(data)
    assert refused > 20
