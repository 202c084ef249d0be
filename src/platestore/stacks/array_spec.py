"""What the array of full resolution shall be: our description, or that of pydantic-zarr, as a document.

A shard holds all of a plane, and one chunk along z: what one slab of planes fills.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platestore.arrays.codecs import Compressor, complete_chain, v3_sharding
from platestore.arrays.layout import ArrayLayout, check_dtype, check_integers, layout_of
from platestore.errors import ArgumentError, InvalidMetadataError, PlatestoreError
from platestore.spec.values import Json
from platestore.storage.base import StorageOptions
from platestore.storage.hierarchy import ArrayDocument, array_files
from platestore.storage.local import LocalStorage

#: Names of the axes of a volume, the slowest first.
AXES = ("x", "y", "z")
_SHARDING = "sharding_indexed"
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_FIELDS = (
    "shape",
    "data_type",
    "chunk_grid",
    "chunk_key_encoding",
    "fill_value",
    "codecs",
    "dimension_names",
    "attributes",
    "storage_transformers",
)


@dataclass(frozen=True)
class ArraySpec:
    """The array of full resolution.

    Attributes
    ----------
    shape : tuple of int
        Number of voxels along x, y and z.
    dtype : dtype-like
        Boolean, integer or float type.
    chunks : tuple of int
        Shape of a chunk; a shard holds all chunks of a plane, and one along z.
    compressor : str, optional
        As for :meth:`Position.create_image`.
    fill_value : number
        What voxels are that were never written.
    """

    shape: tuple[int, ...]
    dtype: Any
    chunks: tuple[int, ...]
    compressor: str | None = None
    fill_value: Any = 0


def array_document(spec: Any) -> tuple[Json, Json]:
    """The document of the array that a description asks for.

    Parameters
    ----------
    spec : ArraySpec, object or mapping
        Ours, or one with the fields of a ``zarr.json`` (such as the ArraySpec of pydantic-zarr); it is not
        changed.

    Returns
    -------
    document : dict
        Sharded as described above, unless the description has shards of its own.
    attributes : dict
        Attributes of the array.

    Raises
    ------
    ArgumentError
        If it is no description, or not that of a volume.
    """
    fields = _fields(spec)
    content = _ours(fields) if "codecs" not in fields else _foreign(fields)
    attributes = content.pop("attributes", None) or {}
    try:
        layout = layout_of(content, 3)
    except (PlatestoreError, KeyError, TypeError, ValueError) as error:
        what = getattr(error, "message", f"{type(error).__name__}: {error}")
        raise ArgumentError(f"array_spec cannot be used: {what}") from None
    if len(layout.shape) != len(AXES) or min(layout.shape) < 1:
        raise ArgumentError(f"array_spec has shape {layout.shape}; a volume has x, y and z of 1 or more")
    check_dtype(layout.dtype)
    _require_usable(content)
    return content, attributes


def _require_usable(content: Json) -> None:
    """Refuse what could be written, but not opened again."""
    from platestore.arrays.image import open_array

    try:
        open_array(stand_in(), ArrayDocument("0", 3, json.dumps(content).encode()), AXES)
    except PlatestoreError as error:
        raise ArgumentError(f"array_spec cannot be used: {error.message}") from None


def conflicts(wanted: Json, found: Json, *, where: str) -> list[str]:
    """In what the document of an array differs from that which a description asks for.

    Parameters
    ----------
    wanted, found : dict
        The documents.
    where : str
        Path of the array, for errors.
    """
    ours, theirs = layout_of(wanted, 3), layout_of(found, 3, where=where)
    pairs: list[tuple[str, Any, Any]] = [
        ("shape", ours.shape, theirs.shape),
        ("data type", ours.dtype.name, theirs.dtype.name),
        ("chunks", ours.chunks, theirs.chunks),
        ("shards", ours.shards, theirs.shards),
        ("codecs", *_codecs(ours, wanted, theirs, found)),
        ("fill value", wanted.get("fill_value"), found.get("fill_value")),
    ]
    return [f"{name} is {b}, not {a}" for name, a, b in pairs if a != b]


def _codecs(ours: ArrayLayout, wanted: Any, theirs: ArrayLayout, found: Any) -> tuple[str, str]:
    """The codecs of both: by name where both are known, as other programs spell out defaults."""
    if ours.compressor is not None and theirs.compressor is not None:
        return tuple(f"{e.compressor}{'+crc32c' if e.checksum else ''}" for e in (ours, theirs))  # type: ignore[return-value]
    pairs = [(content["codecs"], layout) for content, layout in ((wanted, ours), (found, theirs))]
    a, b = (json.dumps(complete_chain(c, e.dtype.itemsize, len(e.shape)), sort_keys=True) for c, e in pairs)
    return a, b


def _fields(spec: Any) -> Json:
    """What a description says, as plain JSON values of its own."""
    if isinstance(spec, Mapping):
        found = dict(spec)
    elif hasattr(spec, "model_dump"):
        found = dict(spec.model_dump(mode="json"))
    else:
        names = (*_FIELDS, "dtype", "chunks", "compressor")
        found = {name: getattr(spec, name) for name in names if hasattr(spec, name)}
    if (
        not {"shape", "codecs", "chunk_grid"} <= found.keys()
        and not {"shape", "dtype", "chunks"} <= found.keys()
    ):
        raise ArgumentError(
            f"array_spec is no description of an array: {spec!r}",
            hint="pass a platestore.stacks.ArraySpec, or that of pydantic-zarr for zarr v3",
        )
    return copy.deepcopy(found)


def _ours(fields: Json) -> Json:
    shape, chunks = check_integers(fields["shape"], "shape"), check_integers(fields["chunks"], "chunks")
    if len(shape) != len(AXES) or len(chunks) != len(AXES):
        raise ArgumentError(f"array_spec has shape {shape} and chunks {chunks}; a volume has x, y and z")
    chunks = tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))
    dtype = check_dtype(fields["dtype"])
    compressor = fields.get("compressor")
    layout = ArrayLayout(shape, dtype, chunks, shard_of(shape, chunks), Compressor.parse(compressor))
    content = layout.document(3, AXES)
    fill = fields.get("fill_value", 0)
    if fill is not None:
        content["fill_value"] = _fill(fill, dtype)
    return content


def _fill(value: Any, dtype: Any) -> Any:
    """A fill value as ``zarr.json`` has it."""
    import numpy as np

    if dtype.kind == "f" and value in _NOT_FINITE:
        return value
    try:
        number = np.asarray(value).astype(dtype, casting="unsafe")[()]
        exact = number == value or (value != value and number != number)
    except (TypeError, ValueError, OverflowError):
        exact = False
    if not exact:
        raise ArgumentError(f"the fill value {value!r} is no {dtype.name}")
    if dtype.kind == "f" and not np.isfinite(number):
        return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"
    return number.item()


def _foreign(fields: Json) -> Json:
    """A document with the fields of a ``zarr.json``, in shards."""
    content = json.loads(json.dumps({name: fields[name] for name in _FIELDS if fields.get(name) is not None}))
    content = {"zarr_format": 3, "node_type": "array", "storage_transformers": [], **content}
    content["chunk_key_encoding"] = _key_encoding(content.get("chunk_key_encoding"))
    names = [name for name in content.get("dimension_names") or () if name is not None]
    if names and names != list(AXES):
        raise ArgumentError(
            f"array_spec names its dimensions {names}; those of a volume are {list(AXES)}",
            hint="leave dimension_names out: they are set here",
        )
    content["dimension_names"] = list(AXES)
    try:
        shape = check_integers(content["shape"], "shape")
        chunks = check_integers(content["chunk_grid"]["configuration"]["chunk_shape"], "chunks")
        dtype = layout_of({**content, "codecs": ["bytes"]}, 3).dtype
        codecs = complete_chain(content["codecs"], dtype.itemsize, len(shape))
        names = [codec["name"] for codec in codecs]
        if not {"bytes", _SHARDING} & {*names}:  # an array of zarr v2 has none
            codecs.insert(names.count("transpose"), *complete_chain(["bytes"], dtype.itemsize, len(shape)))
        content["codecs"] = codecs
        sharded = _SHARDING in names
        content["fill_value"] = _fill(content.get("fill_value", 0), dtype)
    except (KeyError, TypeError, AttributeError, InvalidMetadataError) as error:
        raise ArgumentError(f"array_spec cannot be used: {type(error).__name__}: {error}") from None
    if len(shape) != len(AXES) or len(chunks) != len(AXES):
        raise ArgumentError(f"array_spec has shape {shape} and chunks {chunks}; a volume has x, y and z")
    if not sharded:
        (outer,) = v3_sharding(chunks, 1)
        outer["configuration"]["codecs"] = codecs
        content["codecs"] = [outer]
        content["chunk_grid"]["configuration"]["chunk_shape"] = list(shard_of(shape, chunks))
    return content


def _key_encoding(found: Any) -> Json:
    """How chunks are named, with the separator that its name stands for if it says none."""
    name = found if isinstance(found, str) else (found or {}).get("name", "default")
    settings = {} if isinstance(found, str) else (found or {}).get("configuration") or {}
    return {"name": name, "configuration": {"separator": "." if name == "v2" else "/", **settings}}


def shard_of(shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
    """The shard that holds all of a plane, and one chunk along z."""
    nx, ny, _ = shape
    cx, cy, cz = chunks
    return (-(-nx // cx) * cx, -(-ny // cy) * cy, cz)


def as_document(layout: ArrayLayout, path: str, names: Sequence[str], zarr_format: Any) -> ArrayDocument:
    """The document of an array that need not exist."""
    files = array_files(zarr_format, layout.document(zarr_format, names), where=path)
    return ArrayDocument(path, zarr_format, files[-1][1])


class _UnboundedStorage(LocalStorage):
    """A store whose files are as large as they may be: nobody knows before they are written."""

    def size_of(self, key: str) -> int:
        return 2**62


def stand_in() -> LocalStorage:
    """A store that is like a directory in what matters to memory; nothing is read or written there."""
    return _UnboundedStorage(os.path.abspath(os.sep), StorageOptions())
