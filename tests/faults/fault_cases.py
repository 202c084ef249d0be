"""Every public method that changes a store, as a case: a store to start from, and one call.

A case also says what a reader may see while the call is under way. By default that is the old state or
the new one, nothing else. ``loose`` cases change several documents in turn: each thing (well, position,
image) is seen as it was or as it will be. ``missing`` names things that may be absent in between, because
the caller asked to replace them. ``pixels`` says what an image may hold in between.
"""

from __future__ import annotations

import functools
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_checker import DOCUMENTS, read_tree
from fault_store import contents
from zarr.storage import LocalStore, StorePath

import platestore as ps
from platestore.spec.axes import default_axes

SHAPE = (1, 2, 1, 4, 4)
LAB = "lab notebook"
View = dict[str, Any]


class Door:
    """Opens one store, wherever it is.

    Parameters
    ----------
    target : Path or zarr Store
        The store.
    keep : bool
        Whether opening the same node again gives the same object.
    **kwargs
        Given to every opening for writing.
    """

    def __init__(self, target: Any, *, keep: bool = False, **kwargs: Any) -> None:
        self.target = target
        self.keep = keep
        self.kwargs = kwargs
        self.opened: list[tuple[str, str, dict[str, Any]]] = []
        self._kept: dict[Any, Any] = {}

    def __call__(self, path: str = "", mode: str = "r+", **kwargs: Any) -> Any:
        known = (path, mode, str(kwargs))
        self.opened.append((path, mode, kwargs))
        if known in self._kept:
            return self._kept[known]
        if isinstance(self.target, Path):
            place: Any = self.target / path
        else:
            place = StorePath(self.target, path)
        node = ps.open_ome_zarr(place, mode=mode, **{**(self.kwargs if mode != "r" else {}), **kwargs})
        if self.keep and mode == "r+":
            self._kept[known] = node
        return node


@dataclass(frozen=True)
class Case:
    """One call, and what may be seen while it runs."""

    name: str
    base: str
    act: Callable[[Door], Any]
    loose: bool = False
    missing: tuple[str, ...] = ()
    pixels: Callable[[Any, Any, Any], bool] | None = None
    repeatable: bool = True
    memory: bool = True


# --- stores to start from -------------------------------------------------------------------------


def _image(number: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return (np.arange(np.prod(shape)).reshape(shape) + 100 * number).astype("uint16")


def _plate(path: Path, version: str, **kwargs: Any) -> ps.Plate:
    plate = ps.open_ome_zarr(
        path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version, **kwargs
    )
    positions = plate.create_positions([("A", "1", "0"), ("A", "1", "1"), ("B", "2", "0")])
    for number, position in enumerate(positions, start=1):
        position.zattrs[LAB] = number
        if number != 2:  # the second has no image yet
            position.create_image("0", _image(number), chunks=(1, 1, 1, 4, 4))
    plate.zattrs[LAB] = {"operator": "Ada"}
    plate["A/1"].zattrs[LAB] = "well A/1"
    return plate


def _build(name: str, version: str, path: Path) -> None:
    if name in ("plate", "well"):
        _plate(path, version)
    elif name == "consolidated":
        import zarr

        _plate(path, version)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(LocalStore(path), zarr_format=2 if version == "0.4" else 3)
    elif name == "acquired":
        plate = _plate(path, version, acquisitions=[ps.AcquisitionMeta(id=0), ps.AcquisitionMeta(id=3)])
        plate.dump_meta(field_count=True)
    elif name == "upper":
        axes = [axis.model_copy(update={"name": axis.name.upper()}) for axis in default_axes()]
        _plate(path, version, axes=axes)
    elif name == "uncounted":
        plate = _plate(path, version)
        plate.metadata.field_count = None
        plate.dump_meta()
    elif name == "levels":
        plate = ps.open_ome_zarr(
            path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version
        )
        position = plate.create_position("A", "1", "0")
        position.create_image("0", _image(1), chunks=(1, 1, 1, 4, 4))
        half = [ps.TransformationMeta(type="scale", scale=[1.0, 1.0, 1.0, 2.0, 2.0])]
        position.create_image("1", _image(2, (1, 2, 1, 2, 2)), transform=half, chunks=(1, 1, 1, 2, 2))
        position.zattrs[LAB] = 1
        position["0"].attrs[LAB] = "array"
    elif name == "labelled":
        position = ps.open_ome_zarr(
            path, layout="fov", mode="w-", channel_names=["DAPI", "GFP"], version=version
        )
        position.create_image("0", _image(1), chunks=(1, 1, 1, 4, 4), pyramid_levels=2)
        position.create_label("nuclei", np.ones((1, 1, 1, 4, 4), "uint8"))
        position.zattrs[LAB] = 1
    elif name == "fov":
        position = ps.open_ome_zarr(
            path, layout="fov", mode="w-", channel_names=["DAPI", "GFP"], version=version
        )
        position.create_image("0", _image(1))
    elif name == "empty fov":
        ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=["DAPI", "GFP"], version=version)
    elif name == "tiled":
        ps.open_ome_zarr(path, layout="tiled", mode="w-", channel_names=["DAPI"], version=version)
    elif name == "empty plate":
        ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version)
    else:
        raise ValueError(name)


@functools.cache
def base_files(name: str, version: str) -> dict[str, bytes]:
    """Files of a store to start from; the caller must not change the dictionary."""
    if name == "nothing":
        return {}
    if name == "plate of the other version":
        return base_files("plate", "0.5" if version == "0.4" else "0.4")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "s.zarr"
        _build(name, version, path)
        files = read_tree(path)
    if name == "well":  # a well that is no part of a plate
        return {key.removeprefix("A/1/"): data for key, data in files.items() if key.startswith("A/1/")}
    return files


def write_files(files: dict[str, bytes], root: Path) -> None:
    """Put a store on disk."""
    made = set()
    for key, data in files.items():
        directory, _, name = key.rpartition("/")
        place = os.path.join(root, directory)
        if place not in made:
            os.makedirs(place, exist_ok=True)
            made.add(place)
        with open(os.path.join(place, name), "wb") as file:
            file.write(data)


# --- what a reader sees ---------------------------------------------------------------------------


def view(door: Door, *, mode: str = "r", whole: bool = False, pixels: bool = False) -> View | None:
    """What a reader sees through platestore, one entry for each thing; None if there is no store.

    Any warning is an error here: a listed thing that is absent would be reported by one.

    Parameters
    ----------
    door : Door
        The store.
    mode : str
        How to open it.
    whole : bool
        Whether to look at the plate's own document too, which changes in more than one step.
    pixels : bool
        Whether to decode the pixels; otherwise their files are compared.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            node = door(mode=mode)
        except FileNotFoundError:
            return None
        out: View = {"lab": node.zattrs.get(LAB), "channels": node.channel_names}
        look = _pixels if pixels else functools.partial(_chunks, door.target)
        if isinstance(node, ps.Plate):
            if whole:
                out["document"] = _document(node)
            for path, well in node.wells():
                out[f"well {path}"] = well.zattrs.get(LAB)
                for name, position in well.positions():
                    _see(out, f"{path}/{name}", position, look)
        elif isinstance(node, ps.Well):
            for name, position in node.positions():
                _see(out, name, position, look)
        else:
            _see(out, "", node, look)
        return out


def _document(node: Any) -> dict[str, Any]:
    """The attributes of a node, without platestore's records of its own work."""
    attributes = node.zattrs.asdict()
    for key in ("intents", "previous_transforms"):
        attributes.get("platestore", {}).pop(key, None)
    if not attributes.get("platestore", True):
        del attributes["platestore"]
    return attributes


def _see(out: View, path: str, position: ps.Position, look: Callable[[str, Any], Any]) -> None:
    out[f"position {path}"] = {
        "lab": position.zattrs.get(LAB),
        "channels": position.channel_names,
        "axes": position.axis_names,
        "document": _document(position),
    }
    for name, label in position.labels():
        _see(out, f"{path}/labels/{name}".strip("/"), label, look)
    for name, image in position.images():
        place = f"{path}/{name}".strip("/")
        out[f"image {place}"] = {
            "dtype": str(image.dtype),
            "shape": image.shape,
            "attributes": dict(image.attrs),
            "pixels": look(place, image),
        }


def _pixels(place: str, image: Any) -> Any:
    return image.numpy().tolist()


def _chunks(target: Any, place: str, image: Any) -> dict[str, bytes]:
    files = read_tree(target / place) if isinstance(target, Path) else contents(target, place)
    names = {key: key.rpartition("/")[2] for key in files}
    return {
        key: data
        for key, data in files.items()
        if names[key] not in DOCUMENTS and not names[key].endswith((".tmp", ".partial"))
    }


# --- what an image may hold in between ------------------------------------------------------------


def _part_written(seen: Any, before: Any, after: Any) -> bool:
    """Each pixel is the old one or the new one."""
    s, b, a = (np.array(v["pixels"]) for v in (seen, before, after))
    return s.shape == b.shape == a.shape and bool(((s == b) | (s == a)).all())


def _grown(seen: Any, before: Any, after: Any) -> bool:
    """The old pixels are there; what was added is zero or as written."""
    s, b, a = (np.array(v["pixels"]) for v in (seen, before, after))
    if s.shape == b.shape:
        return bool((s == b).all())
    kept = tuple(slice(n) for n in b.shape)
    return s.shape == a.shape and bool((s[kept] == b).all()) and bool(((s == a) | (s == 0)).all())


def _shrunk(seen: Any, before: Any, after: Any) -> bool:
    """The pixels that stay are there; those to be cut off are as they were, or zero."""
    s, b, a = (np.array(v["pixels"]) for v in (seen, before, after))
    if s.shape == a.shape:
        return bool((s == a).all())
    kept = tuple(slice(n) for n in a.shape)
    return s.shape == b.shape and bool((s[kept] == a).all()) and bool(((s == b) | (s == 0)).all())


# --- the calls ------------------------------------------------------------------------------------

_NEW = {"layout": "hcs", "channel_names": ["Cy5"]}
_FOV = {"layout": "fov", "channel_names": ["Cy5"]}


def _creating(mode: str, arguments: dict[str, Any]) -> Callable[[Door], Any]:
    return lambda door: door(mode=mode, **arguments)


CREATIONS = [
    Case("create plate w-", "nothing", _creating("w-", _NEW)),
    Case("create plate a", "nothing", _creating("a", _NEW)),
    Case("create plate w", "nothing", _creating("w", _NEW)),
    Case("create plate with a format", "nothing", _creating("w-", {**_NEW, "plate_format": 24})),
    Case("create fov w-", "nothing", _creating("w-", _FOV)),
    Case("create tiled w-", "nothing", _creating("w-", {**_FOV, "layout": "tiled"})),
]
REPLACEMENTS = [
    Case("replace plate by plate", "plate", _creating("w", _NEW)),
    Case("replace plate by fov", "plate", _creating("w", _FOV)),
    Case("replace fov by plate", "fov", _creating("w", _NEW)),
    Case("replace plate by one of another version", "plate of the other version", _creating("w", _NEW)),
]


def _edit_name(door: Door) -> None:
    plate = door()
    plate.metadata.name = "renamed"
    plate.dump_meta()


def _edit_window(door: Door) -> None:
    position = door("A/1/0")
    position.metadata.omero.channels[0].label = "edited"
    position.dump_meta()


def _half() -> list[ps.TransformationMeta]:
    return [ps.TransformationMeta(type="scale", scale=[1.0, 1.0, 1.0, 2.0, 2.0])]


def _assign(door: Door) -> None:
    door("A/1/0")["raw"] = _image(7)


_LIST = {"shape": SHAPE, "dtype": "uint16"}
_OLD = [("A", "1", "2"), ("B", "2", "1")]
_FRESH = [("C", "1", "0"), ("A", "5", "0")]

PLATE = [
    Case("create_well in a new row", "plate", lambda door: door().create_well("C", "4")),
    Case("create_well in a row", "plate", lambda door: door().create_well("A", "4", col_index=6)),
    Case("create_well in an empty plate", "empty plate", lambda door: door().create_well("A", "1")),
    Case("create_position in a new well", "plate", lambda door: door().create_position("C", "4", "0")),
    Case("create_position in a well", "plate", lambda door: door().create_position("A", "1", "2")),
    Case(
        "create_position in an empty plate", "empty plate", lambda door: door().create_position("A", "1", "0")
    ),
    Case(
        "create_position of an acquisition",
        "plate",
        lambda door: door().create_position("A", "1", "2", acq_index=2),
    ),
    Case(
        "create_position, counted",
        "acquired",
        lambda door: door().create_position("A", "1", "2", acq_index=3),
    ),
    Case("create_positions in new wells", "plate", lambda door: door().create_positions(_FRESH)),
    Case("create_positions in wells", "plate", lambda door: door().create_positions(_OLD)),
    Case("create_positions in both", "plate", lambda door: door().create_positions([*_OLD, *_FRESH])),
    Case(
        "create_positions with arrays in new wells",
        "plate",
        lambda door: door().create_positions(_FRESH, **_LIST),
    ),
    Case(
        "create_positions with arrays in wells", "plate", lambda door: door().create_positions(_OLD, **_LIST)
    ),
    Case(
        "create_positions with arrays in both",
        "plate",
        lambda door: door().create_positions([*_FRESH, *_OLD], **_LIST),
    ),
    Case(
        "create_positions of acquisitions in both",
        "plate",
        lambda door: door().create_positions(
            [("A", "1", "2", None, None, 1), ("B", "2", "1", None, None, 1), ("C", "1", "0", None, None, 2)]
        ),
    ),
    Case(
        "create_positions in both, counted",
        "acquired",
        lambda door: door().create_positions(
            [("A", "1", "2", 0, 0, 3), ("C", "1", "0", None, None, 3), ("B", "2", "1")], **_LIST
        ),
    ),
    Case("Well.create_position", "plate", lambda door: door()["A/1"].create_position("2")),
    Case("Well.create_position, the well opened", "plate", lambda door: door("A/1").create_position("2", 1)),
    Case("Well.create_position without a plate", "well", lambda door: door().create_position("2")),
    Case("Row: del well", "plate", lambda door: door()["A"].__delitem__("1")),
    Case("rename_well within a row", "plate", lambda door: door().rename_well("A/1", "A/7")),
    Case("rename_well to a new row", "plate", lambda door: door().rename_well("A/1", "C/1")),
    Case("rename_well to another row", "plate", lambda door: door().rename_well("A/1", "B/3")),
    Case("del well", "plate", lambda door: door().__delitem__("A/1")),
    Case("del well, counted", "acquired", lambda door: door().__delitem__("A/1")),
    Case("del position", "plate", lambda door: door().__delitem__("A/1/0")),
    Case("del position, counted", "acquired", lambda door: door().__delitem__("A/1/0"), loose=True),
    Case("del well[position]", "plate", lambda door: door("A/1").__delitem__("1")),
    Case("del last position", "plate", lambda door: door().__delitem__("B/2/0")),
    Case("del row", "plate", lambda door: door().__delitem__("A"), loose=True),
    Case("del image through the plate", "plate", lambda door: door().__delitem__("A/1/0/0")),
    Case("Plate.dump_meta", "plate", _edit_name),
    Case("Plate.dump_meta with field_count", "uncounted", lambda door: door().dump_meta(field_count=True)),
    Case("Plate.zattrs", "plate", lambda door: door().zattrs.update({LAB: "new", "more": [1]})),
    Case("Plate.zattrs del", "plate", lambda door: door().zattrs.pop(LAB, None)),
    Case("Well.zattrs", "plate", lambda door: door()["A/1"].zattrs.__setitem__(LAB, "new")),
    Case("Position.zattrs", "plate", lambda door: door("A/1/0").zattrs.__setitem__(LAB, "new")),
    Case(
        "Plate.maybe_wrapped_ome_attrs",
        "plate",
        lambda door: door().maybe_wrapped_ome_attrs.__setitem__("note", "new"),
    ),
]

OVERWRITING = [
    Case(
        "overwrite position",
        "plate",
        lambda door: door(overwriting_creation=True).create_position("A", "1", "0"),
        loose=True,
        missing=("position A/1/0", "image A/1/0/0"),
    ),
    Case(
        "overwrite positions among new ones",
        "plate",
        lambda door: door(overwriting_creation=True).create_positions(
            [("A", "1", "0"), ("C", "1", "0"), ("B", "2", "1"), ("B", "2", "0")], **_LIST
        ),
        loose=True,
        missing=("position A/1/0", "image A/1/0/0", "position B/2/0", "image B/2/0/0"),
    ),
    Case(
        "overwrite position in a well",
        "plate",
        lambda door: door("A/1", overwriting_creation=True).create_position("1"),
        loose=True,
        missing=("position A/1/1", "image A/1/1/0"),
    ),
    Case(
        "overwrite position in a well without a plate",
        "well",
        lambda door: door(overwriting_creation=True).create_position("1"),
        loose=True,
        missing=("position 1", "image 1/0"),
    ),
    Case(
        "overwrite well",
        "plate",
        lambda door: door(overwriting_creation=True).create_well("A", "1"),
        loose=True,
        missing=("well A/1", "position A/1/", "image A/1/"),
    ),
    Case(
        "overwrite image",
        "plate",
        lambda door: door("A/1/0", overwriting_creation=True).create_image("0", _image(8)),
        loose=True,
        missing=("image A/1/0/0", "document"),
    ),
    Case(
        "overwrite image by zeros",
        "plate",
        lambda door: door("A/1/0", overwriting_creation=True).create_zeros("0", (1, 2, 1, 6, 6), "uint8"),
        loose=True,
        missing=("image A/1/0/0", "document"),
    ),
    Case(
        "overwrite image with levels by one of another shape",
        "levels",
        lambda door: door("A/1/0", overwriting_creation=True).create_zeros("0", (2, 2, 1, 6, 6), "uint8"),
        loose=True,
        missing=("image A/1/0/0", "image A/1/0/1", "document"),
    ),
    Case(
        "overwrite level",
        "levels",
        lambda door: door("A/1/0", overwriting_creation=True).create_image(
            "1", _image(8, (1, 2, 1, 2, 2)), transform=_half()
        ),
        loose=True,
        missing=("image A/1/0/1", "document"),
    ),
]

POSITION = [
    Case("create_image", "plate", lambda door: door("A/1/0").create_image("raw", _image(7))),
    Case("create_image, the first", "empty fov", lambda door: door().create_image("0", _image(7))),
    Case(
        "create_image as a level",
        "plate",
        lambda door: door("A/1/0").create_image("1", _image(7, (1, 2, 1, 2, 2)), transform=_half()),
    ),
    Case("create_zeros", "plate", lambda door: door("A/1/0").create_zeros("raw", SHAPE, "float32")),
    Case("create_zeros, the first", "empty fov", lambda door: door().create_zeros("0", SHAPE, "uint8")),
    Case("position[...] = array", "plate", _assign),
    Case(
        "make_tiles",
        "tiled",
        lambda door: door(layout="tiled").make_tiles("tiles", (2, 2), (1, 1, 1, 4, 4), "uint16"),
    ),
    Case("del image", "plate", lambda door: door("A/1/0").__delitem__("0")),
    Case("del level", "levels", lambda door: door("A/1/0").__delitem__("1")),
    Case("append_channel", "levels", lambda door: door("A/1/0").append_channel("Cy5"), loose=True),
    Case(
        "append_channel without arrays",
        "plate",
        lambda door: door("A/1/0").append_channel("Cy5", resize_arrays=False),
    ),
    Case("set_axes_case", "upper", lambda door: door().set_axes_case("lower"), loose=True),
    Case("set_axes_case of a position", "upper", lambda door: door("A/1/0").set_axes_case("lower")),
    Case("rename_channel", "plate", lambda door: door("A/1/0").rename_channel("GFP", "Cy5")),
    Case(
        "rename_channel under consolidated metadata",
        "consolidated",
        lambda door: door("A/1/0").rename_channel("GFP", "Cy5"),
    ),
    Case(
        "create_positions under consolidated metadata",
        "consolidated",
        lambda door: door().create_positions([*_OLD, *_FRESH]),
    ),
    Case(
        "update_channel",
        "plate",
        lambda door: door("A/1/0").update_channel("GFP", "0", _image(9, (1, 1, 4, 4))),
        pixels=_part_written,
    ),
    Case(
        "set_contrast_limits",
        "plate",
        lambda door: door("A/1/0").set_contrast_limits(
            "GFP", {"start": 1.0, "end": 2.0, "min": 0.0, "max": 9.0}
        ),
    ),
    Case("set_transform", "plate", lambda door: door("A/1/0").set_transform("0", _half())),
    Case("set_transform of all", "plate", lambda door: door("A/1/0").set_transform("*", _half())),
    Case("set_scale", "levels", lambda door: door("A/1/0").set_scale("0", "x", 0.5)),
    Case("set_scale of a level", "levels", lambda door: door("A/1/0").set_scale("1", "x", 0.5)),
    Case("set_scale of all", "levels", lambda door: door("A/1/0").set_scale("*", "x", 0.5)),
    Case("Position.dump_meta", "plate", _edit_window),
    Case("array attrs", "levels", lambda door: door("A/1/0")["0"].attrs.__setitem__(LAB, "new")),
    Case(
        "array update_attributes",
        "levels",
        lambda door: door("A/1/0")["0"].update_attributes({"a": 1, "b": [2]}),
    ),
    Case(
        "array resize up",
        "levels",
        lambda door: door("A/1/0")["0"].resize((3, 2, 1, 4, 4)),
        pixels=_grown,
        loose=True,
    ),
    Case(
        "array resize down",
        "levels",
        lambda door: door("A/1/0")["0"].resize((1, 1, 1, 3, 4)),
        pixels=_shrunk,
        loose=True,
    ),
    Case(
        "position resize up, with labels",
        "labelled",
        lambda door: door().resize((2, 3, 1, 4, 5)),
        pixels=_grown,
        loose=True,
    ),
    Case(
        "position resize down, with labels",
        "labelled",
        lambda door: door().resize((1, 1, 1, 3, 4)),
        pixels=_shrunk,
        loose=True,
    ),
    Case(
        "position append, with labels",
        "labelled",
        lambda door: door().append(_image(9)),
        pixels=_grown,
        loose=True,
        repeatable=False,
    ),
    Case("append_channel, with labels", "labelled", lambda door: door().append_channel("Cy5"), loose=True),
    Case("del level, with labels", "labelled", lambda door: door().__delitem__("1"), loose=True),
    Case(
        "array append",
        "levels",
        lambda door: door("A/1/0")["0"].append(_image(9)),
        pixels=_grown,
        loose=True,
        repeatable=False,
    ),
]

IN_PLACE = [*PLATE, *OVERWRITING, *POSITION]


def named(case: Case) -> str:
    """The name of a case, without spaces."""
    return case.name.replace(" ", "-").replace(",", "")


def by_turns(cases: Sequence[Case], first: int = 0) -> list[Any]:
    """Cases and versions: each case in one version by default, by turns, in the other one in the long run."""
    return [
        pytest.param(
            case, v, id=f"{named(case)}-{v}", marks=[] if (k + n + first) % 2 else [pytest.mark.slow]
        )
        for n, case in enumerate(cases)
        for k, v in enumerate(("0.4", "0.5"))
    ]


def may_be_seen(case: Case, seen: View | None, before: View | None, after: View | None) -> str | None:
    """Whether a reader may see this while the call is under way; if not, why not."""
    if seen in (before, after):
        return None
    if seen is None:
        return "the store is gone"
    before, after = before or {}, after or {}
    if not (case.loose or case.pixels):
        return (
            f"neither the old state nor the new one: {difference(seen, before)} / {difference(seen, after)}"
        )
    for key in {*before, *after, *seen}:
        if key not in seen:
            if key in before and key in after and not key.startswith(case.missing or ("\0",)):
                return f"{key} is lost"
        elif key not in before and key not in after:
            return f"{key} is neither old nor new"
        elif not _entry_may_be_seen(case, key, seen[key], before.get(key), after.get(key)):
            return f"{key} is neither as before nor as after: {seen[key]}"
    return None


def _entry_may_be_seen(case: Case, key: str, seen: Any, before: Any, after: Any) -> bool:
    if seen in (before, after):
        return True
    if key.startswith("position") and "document" in case.missing:
        # An image of it is being replaced: what stays must be the same.
        return seen["lab"] in (before["lab"], after["lab"]) and seen["channels"] == before["channels"]
    if key == "channels" and case.missing:
        return True
    if case.pixels is None or not key.startswith("image") or before is None or after is None:
        return False
    return bool(case.pixels(seen, before, after))


def difference(seen: View | None, other: View | None) -> str:
    """The names of what differs."""
    seen, other = seen or {}, other or {}
    keys = [key for key in {*seen, *other} if seen.get(key, None) != other.get(key, None)]
    return ", ".join(sorted(keys)) or "nothing"
