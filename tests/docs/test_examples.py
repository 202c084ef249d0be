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
import tifffile
import zarr

import platestore as ps

MODULES = ("platestore", "platestore.stacks", "platestore.multiscales", "platestore.xarray")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

#: Functions and methods that need no example, by name, and why.
_LIKE_ZARR = "indexing calls it, as that of zarr.Array; nobody needs to"
_FOR_RICH = "ngff-zarr's interface to rich, which to_ngff_zarr calls"
_FOR_MODELS = "the library itself asks this of its models"
EXCUSED: dict[str, str] = {
    "to_json": "a report, plan or document as JSON, as its name says",
    "from_json": "the reverse, for jobs that read a plan",
    "close": "nothing is kept open",
    "findings": _FOR_MODELS,
    "is_declared": _FOR_MODELS,
    "remove_well": _FOR_MODELS,
    "load": "the engine reads planes by it",
    "loading_nbytes": "the engine plans by it",
    "add_multiscales_task": _FOR_RICH,
    "update_multiscales_task_completed": _FOR_RICH,
    "add_cache_task": _FOR_RICH,
    "update_cache_task_completed": _FOR_RICH,
    "add_callback_task": _FOR_RICH,
    **{
        f"{verb}_{kind}_selection": _LIKE_ZARR
        for verb in ("get", "set")
        for kind in ("basic", "block", "coordinate", "mask", "orthogonal")
    },
}


def documented() -> Iterator[tuple[str, Any]]:
    """Public functions, classes and methods of this package, each once, where it is defined."""
    seen: set[str] = set()
    for name in MODULES:
        module = importlib.import_module(name)
        for key in module.__all__:
            value = getattr(module, key)
            if not (inspect.isfunction(value) or inspect.isclass(value)):
                value = type(value)  # of the settings
            for each in (value, *(_methods(value) if inspect.isclass(value) else ())):
                place = f"{each.__module__}.{each.__qualname__}"
                if each.__module__.startswith("platestore") and place not in seen:
                    seen.add(place)
                    yield place, each


def _methods(kind: type[Any]) -> Iterator[Any]:
    for base in kind.__mro__:
        own = list(vars(base).items()) if base.__module__.startswith("platestore") else []
        for key, value in own:
            member = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
            if not key.startswith("_") and inspect.isfunction(member):
                yield inspect.unwrap(member)


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
    """What examples find where they run.

    A plate, whose pixels of DAPI are 100 and those of GFP 200; its positions as a collection of
    bioformats2raw; and a folder of eight planes.
    """
    folder = tmp_path_factory.mktemp("examples")
    plate = ps.open_ome_zarr(
        folder / "plate.zarr", layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version="0.5"
    )
    pixels = np.empty((1, 2, 4, 64, 64), "uint16")
    pixels[:, 0], pixels[:, 1] = 100, 200
    places = [("A", "1", "0"), ("B", "2", "0")]
    for position in plate.create_positions(places):
        position.create_image("0", pixels)
    attributes = {"ome": {"version": "0.5", "bioformats2raw.layout": 3}}
    zarr.open_group(folder / "converted.zarr", mode="w-", attributes=attributes)
    for number, place in enumerate(places):
        shutil.copytree(folder.joinpath("plate.zarr", *place), folder / "converted.zarr" / str(number))
    (folder / "raw").mkdir()
    for number in range(8):
        tifffile.imwrite(folder / "raw" / f"plane_{number}.tif", np.full((64, 64), number, "uint16"))
    return folder


@pytest.mark.quick(1000)
@pytest.mark.parametrize("place", EXAMPLES)
def test_examples_say_what_is_true(place, made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
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
