"""A plate as plain dictionaries: what a store should hold after each call, and how to read it from one.

The model knows nothing of files. Its calls change it, or raise :class:`Refused` where the library must
refuse and leave everything as it was.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import ANY

import numpy as np

import platestore as ps
from pyramid.pyramid_reference import reduce_reference

LAB = "lab notebook"
SIDE = 8
_STEP = (1, 1, 1, 2, 2)
# The window that every channel gets with its first image.
_FULL = 65535


class Refused(Exception):
    """The library must refuse this, and change nothing."""


@dataclass
class Image:
    """A position or a label image: its levels by name, in order."""

    channels: list[str]
    levels: dict[str, np.ndarray] = field(default_factory=dict)
    labels: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    lab: Any = None
    acquisition: int = 0
    scale: float = 1.0
    window: float | None = None

    def base(self) -> str:
        """Name of level 0."""
        if not self.levels:
            raise Refused
        return next(iter(self.levels))

    def build(self, count: int) -> None:
        """Make the levels, those of the label images too."""
        self.levels = pyramid(self.base(), self.levels[self.base()], count, "mean")
        self.labels = {n: pyramid("0", found["0"], count, "mode") for n, found in self.labels.items()}


def pyramid(name: str, pixels: np.ndarray, count: int, method: str) -> dict[str, np.ndarray]:
    """Level 0 and those that follow from it."""
    found = {name: pixels}
    for number in range(1, count):
        pixels = reduce_reference(pixels, _STEP, method)
        found[str(int(name) + number)] = pixels
    return found


@dataclass
class Well:
    """Positions by name, in order."""

    fields: dict[str, Image] = field(default_factory=dict)
    lab: Any = None


@dataclass
class Model:
    """Wells by path, in order, and what new positions get."""

    channels: list[str]
    wells: dict[str, Well] = field(default_factory=dict)
    lab: Any = None

    def inherited(self) -> list[str]:
        """Channel names of a new position."""
        for well in list(self.wells.values())[:1]:
            for position in well.fields.values():
                return list(position.channels)
        return list(self.channels)

    def well(self, path: str) -> Well:
        """A well that is there."""
        if path not in self.wells:
            raise Refused
        return self.wells[path]

    def position(self, path: str) -> Image:
        """A position that is there."""
        well, _, name = path.rpartition("/")
        if name not in self.well(well).fields:
            raise Refused
        return self.wells[well].fields[name]

    # --- calls on the plate -----------------------------------------------------------------------

    def create_well(self, path: str, overwriting: bool) -> None:
        if path in self.wells and not overwriting:
            raise Refused
        self.wells.pop(path, None)
        self.wells[path] = Well()

    def create_positions(
        self, paths: list[str], acquisition: int, overwriting: bool, zeros: int | None
    ) -> None:
        if len(set(paths)) != len(paths):
            raise Refused
        channels = self.inherited()
        for path in paths:
            well, _, name = path.rpartition("/")
            if not overwriting and well in self.wells and name in self.wells[well].fields:
                raise Refused
        for path in paths:
            well, _, name = path.rpartition("/")
            new = Image(channels=list(channels), acquisition=acquisition)
            if zeros is not None:
                new.levels["0"] = np.zeros((zeros, len(channels), 1, SIDE, SIDE), "uint16")
            self.wells.setdefault(well, Well()).fields[name] = new

    def delete(self, path: str) -> None:
        parts = path.split("/")
        if len(parts) == 3:
            self.position(path)
            del self.wells["/".join(parts[:2])].fields[parts[2]]
            return
        found = [well for well in self.wells if f"{well}/".startswith(f"{path}/")]
        if not found:
            raise Refused
        for well in found:
            del self.wells[well]

    def rename_well(self, old: str, new: str) -> None:
        self.well(old)
        if old != new and new in self.wells:
            raise Refused
        self.wells = {new if path == old else path: well for path, well in self.wells.items()}

    # --- as a table -------------------------------------------------------------------------------

    def table(self) -> dict[str, Any]:
        """One entry for each thing, in order."""
        out: dict[str, Any] = {"plate": self.lab}
        for path, well in self.wells.items():
            out[f"well {path}"] = well.lab
            for name, position in well.fields.items():
                out |= _image_table(f"{path}/{name}", position)
        return out


def _image_table(path: str, image: Image) -> dict[str, Any]:
    out: dict[str, Any] = {
        f"position {path}": {
            "channels": image.channels,
            "lab": image.lab,
            "acquisition": image.acquisition,
            "scale": image.scale if image.levels else None,
            "window": image.window,
        }
    }
    for name, pixels in image.levels.items():
        out[f"image {path}/{name}"] = Pixels(pixels)
    for label, levels in image.labels.items():
        for name, pixels in levels.items():
            out[f"label {path}/labels/{label}/{name}"] = Pixels(pixels)
    return out


class Pixels:
    """An array that is compared as a whole, and shown in short."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = np.asarray(data)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Pixels)
            and self.data.dtype == other.data.dtype
            and np.array_equal(self.data, other.data)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{self.data.dtype} {self.data.shape} sum {self.data.sum()}>"


# --- from a store ---------------------------------------------------------------------------------


def read(place: str | os.PathLike[str], mode: str = "r") -> dict[str, Any]:
    """The table of a store, read through the library; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ps.open_ome_zarr(place, mode=mode) as plate:
            out: dict[str, Any] = {"plate": plate.zattrs.get(LAB)}
            for path, well in plate.wells():
                out[f"well {path}"] = well.zattrs.get(LAB)
                # A batch that was cut short is read from the plate's document: the well's lacks it as yet.
                acquisitions = {image.path: image.acquisition or 0 for image in well.metadata.images}
                for name, position in well.positions():
                    out |= _image_table(f"{path}/{name}", _read_image(position, acquisitions.get(name, ANY)))
            return out


def _read_image(position: ps.Position, acquisition: Any) -> Image:
    found = Image(channels=position.channel_names, lab=position.zattrs.get(LAB), acquisition=acquisition)
    found.levels = {name: image.numpy() for name, image in position.images()}
    for name, label in position.labels() if position.has_labels else ():
        found.labels[name] = {level: image.numpy() for level, image in label.images()}
    if found.levels:
        found.scale = position.scale[-1]
    omero = position.metadata.omero
    window = omero.channels[0].window if omero is not None and omero.channels else None
    found.window = None if window is None or window["end"] == _FULL else window["end"]
    return found


# --- while a call is under way --------------------------------------------------------------------


def in_between(
    seen: dict[str, Any], before: dict[str, Any], after: dict[str, Any], *, replacing: bool = False
) -> list[str]:
    """What a reader may not see while a call of several steps is under way, entry by entry."""
    wrong = [f"{key} is lost" for key in before if key in after and key not in seen and not replacing]
    for key, value in seen.items():
        if replacing and _without_image(value) in map(_without_image, (before.get(key), after.get(key))):
            continue  # its image is being replaced
        if key not in before and key not in after:
            wrong.append(f"{key} is neither old nor new")
        elif value not in (before.get(key, Ellipsis), after.get(key, Ellipsis)) and not (
            isinstance(value, Pixels) and _mixed(value.data, before.get(key), after.get(key))
        ):
            wrong.append(f"{key} is {value}, neither {before.get(key)} nor {after.get(key)}")
    return wrong


def _without_image(entry: Any) -> Any:
    """What a position says of itself, but for what its image says."""
    if not isinstance(entry, dict) or "channels" not in entry:
        return object()
    return {key: value for key, value in entry.items() if key not in ("scale", "window")}


def _mixed(seen: np.ndarray, before: Pixels | None, after: Pixels | None) -> bool:
    """Each pixel is that of before or of after, or was not written yet."""
    sides = [side.data for side in (before, after) if side is not None]
    if seen.shape not in [side.shape for side in sides]:
        return False
    good = seen == 0
    for side in sides:
        common = tuple(slice(min(a, b)) for a, b in zip(seen.shape, side.shape, strict=True))
        good[common] |= seen[common] == side[common]
    return bool(good.all())
