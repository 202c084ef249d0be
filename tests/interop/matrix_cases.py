"""The interoperability matrix: what is written, and when it counts as read.

A case is a kind of store in a version of OME-NGFF. ``matrix_peers.py`` says how other libraries read and
write it, ``test_interop_matrix.py`` runs those that are installed, and ``matrix_table.py`` prints a table.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import platestore as ps

VERSIONS = ("0.4", "0.5")
KINDS = ("image", "pyramid", "labels", "plate")
CHANNELS = ["DAPI", "GFP"]
SHAPE = (2, 2, 3, 64, 96)
SCALE = [1.0, 1.0, 2.0, 0.5, 0.5]
FIELDS = ("A/1/0", "A/1/1", "B/2/0")
ADDED = "C/3/0"
LABEL = "nuclei"
ZARR_FORMAT = {"0.4": 2, "0.5": 3}


@dataclass
class Seen:
    """What a program found in an image; None for what it does not tell."""

    levels: list[np.ndarray]
    axes: str | None = None
    scale: list[float] | None = None
    channels: list[str] | None = None


@dataclass
class Found:
    """What a program found: images by the path of their field (``""`` for the root), labels by name."""

    images: dict[str, Seen] = field(default_factory=dict)
    labels: dict[str, Seen] = field(default_factory=dict)


class DifferenceError(Exception):
    """What was read is not what was written."""


def pixels(number: int = 0) -> np.ndarray:
    """An image in which every pixel says where it is; ``number`` tells fields apart. Shape ``SHAPE``."""
    return ((np.arange(np.prod(SHAPE)) * 7 + number * 1001) % 65521).astype("uint16").reshape(SHAPE)


def label_pixels() -> np.ndarray:
    """Labels of the image, with the axes t, z, y, x."""
    return (
        (np.arange(np.prod(SHAPE) // SHAPE[1]) // 500 % 50).astype("uint16").reshape(*SHAPE[:1], *SHAPE[2:])
    )


def number_of(path: str) -> int:
    """Number of the pixels of a field; 0 for an image by itself."""
    return (*FIELDS, ADDED).index(standard(path)) + 1 if path else 0


def standard(path: str) -> str:
    """The path of a field without leading zeros: some programs write columns with two digits."""
    return "/".join(part.lstrip("0") or "0" for part in path.split("/")) if path else ""


def write_ours(path: Path, kind: str, version: str) -> None:
    """Write a case by platestore, with its defaults wherever there are some."""
    scale = [ps.TransformationMeta(type="scale", scale=SCALE)]
    if kind == "plate":
        with ps.open_ome_zarr(
            path, layout="hcs", mode="w-", channel_names=CHANNELS, version=version, name="plate"
        ) as plate:
            for name in FIELDS:
                position = plate.create_position(*name.split("/"))
                position.create_image("0", pixels(number_of(name)), transform=scale)
        return
    with ps.open_ome_zarr(path, layout="fov", mode="w-", channel_names=CHANNELS, version=version) as position:
        levels = 3 if kind == "pyramid" else 1
        position.create_image("0", pixels(), transform=scale, pyramid_levels=levels)
        if kind == "labels":
            position.create_label(LABEL, label_pixels()[:, None])


def change(path: Path, kind: str) -> None:
    """Change a store of another library: an image gets levels and a label image, a plate one more well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ps.StoreWarning)
        with ps.open_ome_zarr(path, mode="r+") as node:
            if kind == "plate":
                scale = [ps.TransformationMeta(type="scale", scale=SCALE)]
                position = node.create_position(*ADDED.split("/"))
                position.create_image("0", pixels(number_of(ADDED)), transform=scale)
            else:
                node.compute_pyramid(levels=3)
                node.create_label(LABEL, label_pixels()[:, None])


def read_ours(path: Path, kind: str) -> tuple[Found, list[str]]:
    """Read a store by platestore.

    Returns
    -------
    Found
        Images and labels.
    list of str
        Codes of what ``platestore.validate`` takes for an error.
    """
    found = Found()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ps.StoreWarning)  # flaws of others are read over, and validated below
        with ps.open_ome_zarr(path) as node:
            positions = dict(node.positions()) if kind == "plate" else {"": node}
            for name, position in positions.items():
                found.images[name] = _seen(position)
            if kind == "labels":
                for name in positions[""].label_names:
                    found.labels[name] = _seen(positions[""].get_label(name))
    return found, sorted({f.code for f in ps.validate(path).findings if f.level == "error"})


def _seen(position: Any) -> Seen:
    images = [image.numpy() for _, image in position.images()]
    for first in (position.data, position[0]):  # whatever its name
        _same_pixels("the first dataset", first.numpy(), images[0])
    axes = "".join(axis.name for axis in position.axes)
    return Seen(
        images, axes, list(position.get_effective_scale(next(iter(position)))), list(position.channel_names)
    )


def plain_levels(path: Path) -> list[np.ndarray]:
    """The levels of an image by zarr-python and the document alone, the largest first."""
    group = zarr.open_group(path, mode="r")
    attributes = dict(group.attrs)
    image = attributes.get("ome", attributes)["multiscales"][0]
    return [group[dataset["path"]][...] for dataset in image["datasets"]]


def check(
    kind: str,
    path: Path,
    found: Found,
    *,
    by_wells: bool = False,
    names_channels: bool = True,
    changed: bool = False,
) -> None:
    """Compare what was found with what was written.

    Parameters
    ----------
    kind : str
        Kind of the case.
    path : Path
        The store; zarr-python reads its levels once more, as the standard of those below the full resolution.
    found : Found
        What a program found.
    by_wells : bool
        Whether the program shows one field of each well only.
    names_channels : bool
        Whether the store was written with names of channels.
    changed : bool
        Whether :func:`change` was called on it.

    Raises
    ------
    DifferenceError
        If they differ; the message says in what.
    """
    expected = [f for f in FIELDS if not by_wells or f.endswith("/0")] if kind == "plate" else [""]
    if changed and kind == "plate":
        expected.append(ADDED)
    _same("fields", sorted(map(standard, found.images)), expected)
    for name, seen in found.images.items():
        levels = plain_levels(path / name)
        _same("number of levels", len(seen.levels), len(levels))
        if kind == "pyramid" or (changed and kind != "plate"):
            _same("number of levels", len(levels), 3)
        _same_pixels(f"field {name or 'itself'}", seen.levels[0], pixels(number_of(name)))
        for number, (got, plain) in enumerate(zip(seen.levels, levels, strict=True)):
            _same_pixels(f"level {number}", got, plain)
        if seen.axes is not None:
            _same("axes", seen.axes.lower(), "tczyx")
        if seen.scale is not None:
            _same("scale of Z, Y, X", [float(s) for s in seen.scale[-3:]], SCALE[-3:])
        if seen.channels is not None and names_channels:
            _same("channels", seen.channels, CHANNELS)
    if kind == "labels" or (changed and kind != "plate"):
        _same("labels", sorted(found.labels), [LABEL])
        _same_pixels("labels", found.labels[LABEL].levels[0], label_pixels())


def _same(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise DifferenceError(f"{what}: {got} instead of {expected}")


def _same_pixels(what: str, got: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for axes of length 1: some programs add a channel to labels, or take it away."""
    got = np.asarray(got)
    if [n for n in got.shape if n > 1] != [n for n in expected.shape if n > 1]:
        raise DifferenceError(f"{what}: shape {got.shape} instead of {expected.shape}")
    if not np.array_equal(got.reshape(expected.shape), expected):
        raise DifferenceError(f"{what}: other pixels")


def documents(path: Path, paths: Iterable[str]) -> Mapping[str, dict[str, Any]]:
    """The OME part of groups below a store, by their path."""
    group = zarr.open_group(path, mode="r")
    found = {}
    for name in paths:
        attributes = dict((group[name] if name else group).attrs)
        found[name] = attributes.get("ome", attributes)
    return found
