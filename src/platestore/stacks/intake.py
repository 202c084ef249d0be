"""What a stack is made from: paths or arrays, as one source of pixels, and as words for another process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from platestore.arrays.sources import Rearranged, Source, as_source
from platestore.errors import ArgumentError, UnsafeTargetError
from platestore.stacks.listing import is_paths
from platestore.stacks.planes import PlanesSource
from platestore.storage.base import StorageOptions
from platestore.storage.hierarchy import read_array
from platestore.storage.local import LocalStorage, is_node

_AXES = {3: "ZYX", 4: "CZYX", 5: "TCZYX"}


@dataclass(frozen=True, slots=True)
class Intake:
    """Pixels, and where they come from.

    Attributes
    ----------
    source : Source
        The pixels.
    axes : str
        Names of their axes.
    words : dict
        What :func:`reopen` needs; for arrays in memory just their shape and type.
    channels : list of str, optional
        Names of the channels, where those of files say them.
    """

    source: Source
    axes: str
    words: dict[str, Any]
    channels: list[str] | None = None

    def check_apart(self, final: str) -> None:
        """Refuse to write into what is read.

        Raises
        ------
        UnsafeTargetError
            If a file that is read lies in the destination, or the destination in an array that is read.
        """
        real = os.path.realpath(final)
        places = {os.path.dirname(path) for path in self.words.get("files", ())}
        path = self.words.get("path")
        for place in map(os.path.realpath, [*places, *([path] if path else [])]):
            if place == real or place.startswith(real + os.sep):
                raise UnsafeTargetError(f"holds what is read ({place})", path=final)
        if path and real.startswith(os.path.realpath(path) + os.sep):
            raise UnsafeTargetError(f"lies inside the array that is read ({path})", path=final)


def take(planes: Any) -> Intake:
    """Find out what planes are; of files, the headers are read.

    Parameters
    ----------
    planes : path, list of paths, or array
        A folder, pattern or list of TIFF files (see :func:`platestore.stacks.listing.find_series`), a TIFF
        file, a zarr array or its path; or an array of the axes (z, y, x), (c, z, y, x) or (t, c, z, y, x).

    Raises
    ------
    ArgumentError
        If they are no stack.
    """
    if is_paths(planes):
        if isinstance(planes, (str, os.PathLike)) and is_node(os.path.abspath(os.fspath(planes))):
            return _stored(os.path.abspath(os.fspath(planes)))
        planes = PlanesSource.open(planes)
    if isinstance(planes, PlanesSource):
        return Intake(planes, planes.axes, {"kind": "tiff", **planes.to_json()}, planes.channels)
    path = _path_of(planes)
    words = {"kind": "zarr", "path": path} if path is not None else {"kind": "memory"}
    return _array(planes, words)


def _array(array: Any, words: dict[str, Any]) -> Intake:
    source = as_source(array)
    shape = tuple(source.shape)
    if len(shape) not in _AXES or 0 in shape:
        raise ArgumentError(
            f"an array of shape {shape} is no stack",
            hint="pass axes (z, y, x), (c, z, y, x) or (t, c, z, y, x), none of them empty",
        )
    return Intake(source, _AXES[len(shape)], {**words, "shape": list(shape), "dtype": source.dtype.name})


def _stored(path: str) -> Intake:
    """An array at a path."""
    import zarr

    if not holds_array(path):
        hint = f"name one of its arrays: {os.path.join(path, '0')}"
        raise ArgumentError("is a zarr group, not an array", path=path, hint=hint)
    return _array(zarr.open_array(path, mode="r"), {"kind": "zarr", "path": path})


def holds_array(path: str) -> bool:
    """Whether the zarr node at a path is an array."""
    storage = LocalStorage(path, StorageOptions())
    return any(read_array(storage, "", fmt) is not None for fmt in (2, 3))


def _path_of(array: Any) -> str | None:
    """Path of a zarr array in a local directory."""
    root = getattr(getattr(array, "store", None), "root", None)
    if root is None or not hasattr(array, "path"):
        return None
    path = os.path.abspath(os.path.join(str(root), array.path))
    return path if holds_array(path) else None


def reopen(words: dict[str, Any]) -> Intake | None:
    """What :func:`take` found, in another process; None for arrays that were in memory."""
    if words["kind"] == "tiff":
        files = PlanesSource.from_json(words)
        return Intake(files, files.axes, words)
    return _stored(words["path"]) if words["kind"] == "zarr" else None


def rearranged(intake: Intake, names: Sequence[str], *, where: str) -> Source:
    """The pixels with the axes of an image.

    Parameters
    ----------
    intake : Intake
        The pixels.
    names : sequence of str
        Names of the axes of the image.
    where : str
        The image, for errors.

    Raises
    ------
    ArgumentError
        If the image lacks an axis that the pixels have.
    """
    labels = [name.upper() for name in names]
    absent = [axis for axis in intake.axes if axis not in labels]
    if absent:
        raise ArgumentError(
            f"the stack has the axes {', '.join(intake.axes)}; the image has {', '.join(names)}", path=where
        )
    axes = [intake.axes.index(label) if label in intake.axes else None for label in labels]
    if axes == list(range(len(intake.axes))):
        return intake.source
    return Rearranged(intake.source, axes)
