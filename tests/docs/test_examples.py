"""The examples in docstrings run, and say what is true; whatever is public has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import platestore as ps

MODULES = ("platestore", "platestore.stacks", "platestore.multiscales", "platestore.xarray")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

#: Methods that need no example, by name, and why.
EXCUSED: dict[str, str] = {}


def documented() -> Iterator[tuple[str, Any]]:
    """Public functions, classes and methods of this package, each once, where it is defined."""
    seen: set[str] = set()
    for name in MODULES:
        module = importlib.import_module(name)
        for key in module.__all__:
            value = inspect.unwrap(getattr(module, key)) if callable(getattr(module, key)) else None
            if not getattr(value, "__module__", "").startswith("platestore"):
                continue
            if inspect.isfunction(value) or inspect.isclass(value):
                found = [value, *(_methods(value) if inspect.isclass(value) else ())]
                for each in found:
                    place = f"{each.__module__}.{each.__qualname__}"
                    if place not in seen:
                        seen.add(place)
                        yield place, each


def _methods(kind: type[Any]) -> Iterator[Any]:
    for base in kind.__mro__:
        if base.__module__.startswith("platestore"):
            for key, value in vars(base).items():
                member = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
                if not key.startswith("_") and inspect.isfunction(member) and member.__module__ == base.__module__:
                    yield member


def _examples() -> dict[str, doctest.DocTest]:
    parser = doctest.DocTestParser()
    found = {}
    for place, value in documented():
        test = parser.get_doctest(value.__doc__ or "", {}, place, inspect.getsourcefile(value), None)
        if test.examples:
            found[place] = test
    return found


EXAMPLES = _examples()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plate that examples work on: the pixels of DAPI are 100, those of GFP are 200."""
    path = tmp_path_factory.mktemp("examples") / "plate.zarr"
    plate = ps.open_ome_zarr(
        path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version="0.5", name="plate"
    )
    pixels = np.empty((1, 2, 4, 64, 64), "uint16")
    pixels[:, 0], pixels[:, 1] = 100, 200
    for position in plate.create_positions([("A", "1", "0"), ("B", "2", "0")]):
        position.create_image("0", pixels)
    return path


@pytest.mark.quick(1000)
@pytest.mark.parametrize("place", EXAMPLES)
def test_examples_say_what_is_true(place, made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "plate.zarr")
    monkeypatch.chdir(tmp_path)
    plate = ps.open_ome_zarr("plate.zarr", mode="r+")
    position = plate["A/1/0"]
    test = EXAMPLES[place]
    test.globs = {"ps": ps, "np": np, "plate": plate, "position": position, "image": position["0"]}
    told: list[str] = []
    with ps.config.using():  # examples may change settings
        doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=told.append)
    assert not told, "".join(told)


def test_whatever_is_public_has_an_example():
    without = []
    for place, value in documented():
        if inspect.isfunction(value) and place not in EXAMPLES and value.__name__ not in EXCUSED:
            without.append(place)
    assert not without, f"no example: {', '.join(without)}"


def test_no_example_is_skipped():
    skipped = [
        place
        for place, test in EXAMPLES.items()
        if any(example.options.get(doctest.SKIP) for example in test.examples)
    ]
    assert not skipped


def test_excuses_are_needed():
    names = {value.__name__ for place, value in documented() if place not in EXAMPLES}
    assert EXCUSED.keys() <= names
