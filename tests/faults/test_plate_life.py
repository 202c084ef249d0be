"""The life of a plate: random calls, a model beside it, and a process that dies now and then.

After every call the store is read again from disk: it holds what the model says, all its documents are
strict JSON that refer to things which are there, they pass the official schemas (where those are at hand)
and ``platestore.validate``. A call that is refused changes nothing; one that dies leaves the state before
or after it, and the next writer finishes what was begun.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fault_checker
import numpy as np
import pytest
import zarr
from fault_figures import record
from fault_os import Crash, OsFaults
from fault_scenes import _settle
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from life_model import LAB, SIDE, Model, Refused, in_between, pyramid, read

import platestore as ps
from conftest import SHARED
from platestore.checking.validation import validate

WELLS = st.sampled_from(["A/1", "A/2", "B/1", "B/2", "C/7"])
FIELDS = st.sampled_from(["0", "1", "x2"])
CHANNELS = st.sampled_from(["DAPI", "GFP", "Cy5", "phase 2"])
JSON = st.sampled_from([None, 1, 2.5, "é\n\\", [], {"a": [{"b": None}]}, {"": 2**53}, True])
BAD_JSON = st.sampled_from(
    [float("nan"), float("inf"), np.float32(1), b"x", {1: 2}, {"a": {3}}, object, [-float("inf")]]
)
LAYOUTS = st.sampled_from(
    [{}, {"chunks": (1, 1, 1, 4, 4)}, {"chunks": (1, 1, 1, 4, 8), "shards_ratio": (1, 1, 1, 2, 1)}]
)
#: None: nothing happens; otherwise the operation at which the process dies, and how.
DEATHS = st.none() | st.tuples(
    st.integers(0, 9) | st.integers(0, 30), st.sampled_from(["before", "after", "torn"])
)

TALLY: Counter[str] = Counter()
_PASSED: set[tuple[str, bytes]] = set()
_KINDS = {"plate": "plate", "well": "well", "multiscales": "image", "image-label": "label"}


def check_schemas(files: dict[str, bytes], version: str) -> None:
    """Validate every group by the official schemas, the strict ones included; each document once."""
    from interop.test_interop_schemas import schema_validators

    validators = schema_validators(version)
    for key, data in files.items():
        name = key.rpartition("/")[2]
        if name not in ("zarr.json", ".zattrs") or (name, data) in _PASSED:
            continue
        try:
            content = json.loads(data)
        except ValueError:  # of a dead process, and nothing refers to it: that was checked before
            continue
        attributes = content.get("attributes", {}) if name == "zarr.json" else content
        ome = attributes.get("ome", {}) if version == "0.5" else attributes
        for kind in [kind for part, kind in _KINDS.items() if part in ome]:
            for schema in (kind, f"strict_{kind}"):
                if schema in validators:
                    errors = [
                        f"{e.json_path}: {e.message}" for e in validators[schema].iter_errors(attributes)
                    ]
                    assert errors == [], f"{key} by {schema}.schema of {version}"
                    TALLY["schema passes"] += 1
        _PASSED.add((name, data))


class PlateLife(RuleBasedStateMachine):
    """One plate, and the calls that may be made on it."""

    @initialize(version=st.sampled_from(["0.4", "0.5"]), filled=st.integers(0, 3))
    def create(self, version: str, filled: int) -> None:
        memory = Path("/dev/shm")
        self.directory = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
        self.path = self.directory / "plate.zarr"
        self.version = version
        self.model = Model(channels=["DAPI", "GFP"])
        self.plate = ps.open_ome_zarr(
            self.path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version
        )
        TALLY["plates"] += 1
        paths = ["B/1/0", "A/1/0", "A/1/1"][:filled]
        if paths:
            specs = [tuple(path.split("/")) for path in paths]
            shape = (1, 2, 1, SIDE, SIDE)
            self.plate.create_positions(specs, shape=shape, dtype="uint16", chunks=(1, 1, 1, 4, SIDE))
            self.model.create_positions(paths, 0, False, 1)
        self.check()

    def teardown(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- one step ---------------------------------------------------------------------------------

    def open(self, **kwargs: Any) -> ps.Plate:
        return ps.open_ome_zarr(self.path, mode="r+", **kwargs)

    def step(
        self,
        call: Callable[[ps.Plate], Any],
        change: Callable[[Model], Any],
        death: tuple[int, str] | None = None,
        *,
        loose: bool = False,
        overwriting: bool = False,
    ) -> None:
        """Make a call, on the store and on the model, and compare.

        Parameters
        ----------
        call, change : callable
            What is done to the plate, and to the model.
        death : tuple, optional
            The operation of the file system at which the process dies, and how.
        loose : bool
            Whether the call changes several things in turn, each of which is seen as before or as after.
        overwriting : bool
            Whether what exists may be replaced.
        """
        TALLY["steps"] += 1
        after, refused = copy.deepcopy(self.model), False
        try:
            change(after)
        except Refused:
            after, refused = copy.deepcopy(self.model), True
        if death is not None:
            self.die(call, after, death, loose=loose, overwriting=overwriting)
            return
        plate = self.open(overwriting_creation=True) if overwriting else self.plate
        if refused:
            TALLY["refused"] += 1
            with pytest.raises((ps.PlatestoreError, TypeError)):
                call(plate)
        else:
            call(plate)
        self.model = after
        if overwriting:
            self.plate = self.open()
        self.check()

    def die(
        self,
        call: Callable[[ps.Plate], Any],
        after: Model,
        death: tuple[int, str],
        *,
        loose: bool,
        overwriting: bool,
    ) -> None:
        """Make a call that the process may not survive; then go on as another process."""
        at, when = death
        plate = self.open(overwriting_creation=overwriting)
        with OsFaults(self.directory, at, when=when) as faults, zarr.config.set({"async.concurrency": 1}):
            try:
                call(plate)
            except Crash:
                TALLY["deaths"] += 1
            except (ps.PlatestoreError, TypeError):
                if faults.dead:
                    raise
            zarr.core.sync.sync(_settle())
        old, new = self.model.table(), after.table()
        for mode in ("r", "r+"):  # to open it for writing is to finish what was begun
            seen = read(self.path, mode)
            if loose or (overwriting and mode == "r"):  # what is replaced may be absent for a moment
                assert in_between(seen, old, new, replacing=overwriting) == []
            else:
                assert by_well(seen) in (by_well(old), by_well(new)), _differences(seen, old, new)
        if not faults.dead:
            assert by_well(seen) == by_well(new), _differences(seen, new)
        if by_well(seen) == by_well(new):
            self.model = after
        elif by_well(seen) != by_well(old):
            TALLY["half done"] += 1
            call(self.open(overwriting_creation=overwriting))  # the same call gets it done
            self.model = after
        self.plate = self.open()
        self.check()

    def check(self) -> None:
        """Compare the store with the model, and judge its documents."""
        expected = self.model.table()
        seen = read(self.path)
        assert by_well(seen) == by_well(expected), _differences(seen, expected, expected)
        wells = ps.open_ome_zarr(self.path).metadata.wells
        in_order = sorted(wells, key=lambda well: (well.row_index, well.column_index))
        assert [key[5:] for key in seen if key.startswith("well ")] == [well.path for well in in_order]
        files = fault_checker.read_documents(self.path)
        assert fault_checker.problems(files) == []
        assert fault_checker.unfinished(files) == []
        report = validate(self.path)
        assert report.valid, report.message
        if SHARED is not None:
            check_schemas(files, self.version)
        TALLY["checks"] += 1

    # --- wells and positions ----------------------------------------------------------------------

    @rule()
    def reopen(self) -> None:
        self.plate.close()
        self.plate = self.open()

    @rule(path=WELLS, overwriting=st.booleans(), death=DEATHS)
    def create_well(self, path: str, overwriting: bool, death: Any) -> None:
        row, column = path.split("/")
        self.step(
            lambda plate: plate.create_well(row, column),
            lambda model: model.create_well(path, overwriting),
            death,
            overwriting=overwriting,
            loose=overwriting,  # it is removed and created
        )

    @rule(
        paths=st.lists(st.tuples(WELLS, FIELDS).map("/".join), min_size=1, max_size=4),
        acquisition=st.integers(0, 1),
        zeros=st.none() | st.integers(1, 2),
        overwriting=st.booleans(),
        death=DEATHS,
    )
    def create_positions(
        self, paths: list[str], acquisition: int, zeros: int | None, overwriting: bool, death: Any
    ) -> None:
        specs = [(*path.split("/"), None, None, acquisition) for path in paths]
        # What a handle was told of channels it keeps, until it is opened again.
        self.plate = self.open()
        channels = len(self.model.inherited())
        arrays = {} if zeros is None else {"shape": (zeros, channels, 1, SIDE, SIDE), "dtype": "uint16"}
        self.step(
            lambda plate: plate.create_positions(specs, **arrays),
            lambda model: model.create_positions(paths, acquisition, overwriting, zeros),
            death,
            overwriting=overwriting,
            loose=overwriting,
        )

    @rule(data=st.data(), new=WELLS, death=DEATHS)
    def rename_well(self, data: st.DataObject, new: str, death: Any) -> None:
        old = data.draw(self.some_well())
        self.step(lambda plate: plate.rename_well(old, new), lambda model: model.rename_well(old, new), death)

    @rule(data=st.data(), depth=st.sampled_from([1, 2, 3, 3]), death=DEATHS)
    def delete(self, data: st.DataObject, depth: int, death: Any) -> None:
        path = data.draw(self.some_position() if depth == 3 else self.some_well())
        path = "/".join(path.split("/")[:depth])
        self.step(
            lambda plate: plate.__delitem__(path), lambda model: model.delete(path), death, loose=depth == 1
        )

    # --- documents --------------------------------------------------------------------------------

    @rule(data=st.data(), value=JSON, depth=st.integers(0, 2), death=DEATHS)
    def annotate(self, data: st.DataObject, value: Any, depth: int, death: Any) -> None:
        path = data.draw([st.just(""), self.some_well(), self.some_position()][depth])

        def change(model: Model) -> None:
            (model.position(path) if depth == 2 else model.well(path) if depth else model).lab = value

        self.step(lambda plate: self.node(plate, path).zattrs.update({LAB: value}), change, death)

    @rule(data=st.data(), value=BAD_JSON, depth=st.integers(0, 2))
    def annotate_badly(self, data: st.DataObject, value: Any, depth: int) -> None:
        path = data.draw([st.just(""), self.some_well(), self.some_position()][depth])
        self.step(lambda plate: self.node(plate, path).zattrs.update({LAB: value}), _refuse)

    @rule(death=DEATHS)
    def count_fields(self, death: Any) -> None:
        self.step(lambda plate: plate.dump_meta(field_count=True), lambda model: None, death)

    @rule(data=st.data(), new=CHANNELS, death=DEATHS)
    def rename_channel(self, data: st.DataObject, new: str, death: Any) -> None:
        path = data.draw(self.some_position())
        index = data.draw(st.integers(0, 3))
        old = self.channel(path, index)

        def change(model: Model) -> None:
            position = model.position(path)
            if old not in position.channels or (new in position.channels and new != old):
                raise Refused
            position.channels[position.channels.index(old)] = new

        self.step(lambda plate: plate[path].rename_channel(old, new), change, death)

    @rule(data=st.data(), new=CHANNELS, death=DEATHS)
    def append_channel(self, data: st.DataObject, new: str, death: Any) -> None:
        path = data.draw(self.some_position())

        def change(model: Model) -> None:
            position = model.position(path)
            if new in position.channels:
                raise Refused
            position.channels.append(new)
            for name, pixels in position.levels.items():
                position.levels[name] = np.pad(pixels, [(0, 0), (0, 1), (0, 0), (0, 0), (0, 0)])

        self.step(lambda plate: plate[path].append_channel(new), change, death, loose=True)

    @rule(data=st.data(), end=st.sampled_from([1.5, 77, 1000]), death=DEATHS)
    def set_window(self, data: st.DataObject, end: float, death: Any) -> None:
        path = data.draw(self.some_position())
        window = {"start": 0, "end": end, "min": 0, "max": 2000}

        def change(model: Model) -> None:
            model.position(path).window = end

        self.step(
            lambda plate: plate[path].set_contrast_limits(plate[path].channel_names[0], window), change, death
        )

    @rule(data=st.data(), scale=st.sampled_from([0.25, 2.0, 1e-3]), death=DEATHS)
    def set_scale(self, data: st.DataObject, scale: float, death: Any) -> None:
        path = data.draw(self.some_position())

        def change(model: Model) -> None:
            position = model.position(path)
            position.base()
            position.scale = scale

        self.step(
            lambda plate: plate[path].set_scale(next(iter(plate[path]), "0"), "x", scale), change, death
        )

    @rule(
        what=st.sampled_from(
            [
                lambda plate: plate.create_position("A", "ä", "0"),
                lambda plate: plate.create_position("A", "../1", "0"),
                lambda plate: plate.create_position("A", "1", "0", -1),
                lambda plate: plate.create_positions([("A", "1", "0"), ("A", "1")]),
                lambda plate: plate.create_positions([("A", "1", "y"), ("A", "con", "0")]),
                lambda plate: plate.create_positions([("A", "1", "y")], shape=(1, 2), dtype="uint8"),
                lambda plate: plate.create_positions(
                    [("A", "1", "y")], shape=(1, 99, 1, 2, 2), dtype="uint8"
                ),
                lambda plate: plate.create_positions([("A", "1", "y")], dtype="no such type"),
                lambda plate: plate.create_well("", "1"),
                lambda plate: plate.rename_well("A/1", "A/1/0"),
                lambda plate: plate.rename_well("Z/9", "A/1"),
                lambda plate: plate.__delitem__("Z/9"),
                lambda plate: plate.__delitem__(".."),
                lambda plate: plate.maybe_wrapped_ome_attrs.update({"plate": {"wells": 1}}),
            ]
        )
    )
    def mistake(self, what: Callable[[ps.Plate], Any]) -> None:
        self.step(what, _refuse)

    # --- pixels -----------------------------------------------------------------------------------

    @rule(
        data=st.data(),
        seed=st.integers(1, 9),
        frames=st.integers(1, 2),
        levels=st.integers(1, 3),
        layout=LAYOUTS,
        overwriting=st.booleans(),
        death=DEATHS,
    )
    def create_image(
        self,
        data: st.DataObject,
        seed: int,
        frames: int,
        levels: int,
        layout: dict[str, Any],
        overwriting: bool,
        death: Any,
    ) -> None:
        path = data.draw(self.some_position())
        count = len(self.channels(path))
        known = self.images(path)
        if known:  # labels and levels have the frames of the image they belong to
            frames = next(iter(known.values())).shape[0]
            levels = len(known)
        if self.version == "0.4":
            layout = {key: value for key, value in layout.items() if key != "shards_ratio"}
        pixels = _noise(seed, (frames, count, 1, SIDE, SIDE))
        more = {"pyramid_levels": levels} if levels > 1 else {}

        def change(model: Model) -> None:
            position = model.position(path)
            if "0" in position.levels and not overwriting:
                raise Refused
            # Another image in its place keeps what is said of it: its scale and windows.
            position.levels |= pyramid("0", pixels, levels, "mean")

        self.step(
            lambda plate: plate[path].create_image("0", pixels, **layout, **more),
            change,
            death,
            overwriting=overwriting,
            loose=True,
        )

    @rule(data=st.data(), seed=st.integers(1, 9), death=DEATHS)
    def update_channel(self, data: st.DataObject, seed: int, death: Any) -> None:
        path = data.draw(self.some_position())
        index = data.draw(st.integers(0, 2))
        name = self.channel(path, index)
        known = self.images(path)
        frames = next(iter(known.values())).shape[0] if known else 1
        pixels = _noise(seed, (frames, 1, SIDE, SIDE))

        def change(model: Model) -> None:
            position = model.position(path)
            base = position.levels[position.base()] = position.levels[position.base()].copy()
            if name not in position.channels:
                raise Refused
            base[:, position.channels.index(name)] = pixels

        self.step(lambda plate: plate[path].update_channel(name, "0", pixels), change, death, loose=True)

    @rule(data=st.data(), frames=st.integers(1, 4), death=DEATHS)
    def resize(self, data: st.DataObject, frames: int, death: Any) -> None:
        path = data.draw(self.some_position())

        def change(model: Model) -> None:
            position = model.position(path)
            old = position.levels[position.base()]
            new = np.zeros((frames, *old.shape[1:]), old.dtype)
            new[: len(old)] = old[:frames]
            position.levels["0"] = new

        found = self.images(path)
        if len(found) <= 1 and not self.labels(path):  # others would have to be resized with it
            self.step(
                lambda plate: plate[path]["0"].resize((frames, *plate[path]["0"].shape[1:])),
                change,
                death,
                loose=True,
            )

    @rule(data=st.data(), seed=st.integers(1, 9))
    def append(self, data: st.DataObject, seed: int) -> None:
        path = data.draw(self.some_position())
        frame = _noise(seed, (1, len(self.channels(path)), 1, SIDE, SIDE))

        def change(model: Model) -> None:
            position = model.position(path)
            if len(position.levels[position.base()]) > 3:
                raise Refused
            position.levels["0"] = np.concatenate([position.levels["0"], frame])

        found = self.images(path)
        if len(found) == 1 and len(found["0"]) < 4 and not self.labels(path):
            self.step(lambda plate: plate[path]["0"].append(frame), change)

    @rule(data=st.data(), levels=st.integers(2, 3), death=DEATHS)
    def compute_pyramid(self, data: st.DataObject, levels: int, death: Any) -> None:
        path = data.draw(self.some_position())
        found = self.images(path)
        levels = len(found) if len(found) > 1 else levels

        def change(model: Model) -> None:
            model.position(path).build(levels)

        self.step(
            lambda plate: plate[path].compute_pyramid(levels, dims=["y", "x"], workers=1),
            change,
            death,
            loose=True,
        )

    @rule(data=st.data(), death=DEATHS)
    def delete_pyramid(self, data: st.DataObject, death: Any) -> None:
        path = data.draw(self.some_position())

        def change(model: Model) -> None:
            position = model.position(path)
            position.base()
            position.levels = dict(list(position.levels.items())[:1])
            position.labels = {n: {"0": levels["0"]} for n, levels in position.labels.items()}

        self.step(lambda plate: plate[path].delete_pyramid(), change, death, loose=True)

    @rule(data=st.data(), death=DEATHS)
    def delete_image(self, data: st.DataObject, death: Any) -> None:
        path = data.draw(self.some_position())
        if len(self.images(path)) <= 1 and not self.labels(path):

            def change(model: Model) -> None:
                position = model.position(path)
                del position.levels[position.base()]

            self.step(lambda plate: plate[path].__delitem__("0"), change, death)

    @rule(
        data=st.data(),
        name=st.sampled_from(["cells", "nuclei"]),
        seed=st.integers(1, 9),
        overwriting=st.booleans(),
        death=DEATHS,
    )
    def create_label(self, data: st.DataObject, name: str, seed: int, overwriting: bool, death: Any) -> None:
        path = data.draw(self.some_position())
        found = self.images(path)
        frames = next(iter(found.values())).shape[0] if found else 1
        pixels = (_noise(seed, (frames, 1, 1, SIDE, SIDE)) % 4).astype("uint8")

        def change(model: Model) -> None:
            position = model.position(path)
            position.base()
            if name in position.labels and not overwriting:
                raise Refused
            position.labels[name] = pyramid("0", pixels, len(position.levels), "mode")

        self.step(
            lambda plate: plate[path].create_label(name, pixels),
            change,
            death,
            overwriting=overwriting,
            loose=True,
        )

    @rule(data=st.data(), name=st.sampled_from(["cells", "nuclei"]), death=DEATHS)
    def delete_label(self, data: st.DataObject, name: str, death: Any) -> None:
        path = data.draw(self.some_position())

        def change(model: Model) -> None:
            if name not in model.position(path).labels:
                raise Refused
            del model.position(path).labels[name]

        self.step(lambda plate: plate[path].delete_label(name), change, death)

    # --- copies -----------------------------------------------------------------------------------

    @rule(move=st.booleans())
    def copy(self, move: bool) -> None:
        """The copy holds the same; the life may go on in it."""
        if not self.model.wells:
            return
        target = self.directory / "copy.zarr"
        self.plate.copy_to(target)
        assert by_well(read(target)) == by_well(self.model.table())
        if move:
            self.plate.close()
            shutil.rmtree(self.path)
            target.rename(self.path)
            self.plate = self.open()
            self.check()
        else:
            shutil.rmtree(target)

    # --- what there is ----------------------------------------------------------------------------

    def node(self, plate: ps.Plate, path: str) -> Any:
        return plate[path] if path else plate

    def some_well(self) -> st.SearchStrategy[str]:
        """A well that is there, or now and then any."""
        known = list(self.model.wells)
        return st.one_of(st.sampled_from(known), st.sampled_from(known), WELLS) if known else WELLS

    def some_position(self) -> st.SearchStrategy[str]:
        """A position that is there, or now and then any."""
        known = [f"{path}/{name}" for path, well in self.model.wells.items() for name in well.fields]
        anything = st.tuples(WELLS, FIELDS).map("/".join)
        if not known:
            return anything
        return st.one_of(st.sampled_from(known), st.sampled_from(known), st.sampled_from(known), anything)

    def images(self, path: str) -> dict[str, np.ndarray]:
        try:
            return self.model.position(path).levels
        except Refused:
            return {}

    def labels(self, path: str) -> dict[str, Any]:
        try:
            return self.model.position(path).labels
        except Refused:
            return {}

    def channels(self, path: str) -> list[str]:
        try:
            return self.model.position(path).channels
        except Refused:
            return ["DAPI"]

    def channel(self, path: str, index: int) -> str:
        """A channel of a position, or one that it does not have."""
        return [*self.channels(path), "none", "none", "none"][index]


def by_well(table: dict[str, Any]) -> list[tuple[str, Any]]:
    """The entries, well after well by their names: where a plate has them is the matter of its indices."""
    return sorted(table.items(), key=lambda entry: entry[0].partition(" ")[2].split("/")[:2])


def _refuse(model: Model) -> None:
    raise Refused


def _noise(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 5000, shape).astype("uint16")


def _differences(seen: dict[str, Any], *others: dict[str, Any]) -> str:
    lines = []
    for other in others:
        keys = [key for key in {**seen, **other} if seen.get(key, "absent") != other.get(key, "absent")]
        shown = [f"{key}: {seen.get(key, 'absent')} for {other.get(key, 'absent')}" for key in keys]
        lines.append("; ".join(shown) or f"the order: {list(seen)} for {list(other)}")
    return "\n".join(lines)


def _run(examples: int, steps: int) -> None:
    TALLY.clear()
    run_state_machine_as_test(
        PlateLife,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


@pytest.mark.quick(1)
def test_some_lives_of_a_plate():
    _run(15, 15)
    assert TALLY["deaths"]
    assert TALLY["refused"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_lives_of_a_plate():
    _run(300, 30)
    record("plate_life", **{key.replace(" ", "_"): count for key, count in sorted(TALLY.items())})
