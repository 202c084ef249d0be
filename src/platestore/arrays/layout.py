"""From a shape and options to an array's layout: data types, chunks, shards.

A *unit* is what one file holds and one task writes: a shard, or a chunk where there are no shards.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from platestore.arrays import codecs
from platestore.arrays.codecs import DEFAULT_COMPRESSOR, Compressor
from platestore.arrays.types import DType
from platestore.errors import ArgumentError, UnsupportedError
from platestore.settings import parse_bytes
from platestore.spec.values import Json
from platestore.spec.versions import assumed, sharding
from platestore.storage.documents import parse
from platestore.storage.extensions import plain_array
from platestore.storage.hierarchy import ZarrFormat

#: What ``shards=`` takes: a shape, a size ("1GB", or bytes), or axes ("ZYX").
Shards: TypeAlias = str | int | Sequence[int] | Sequence[str]
_GivenShards: TypeAlias = tuple[int, ...] | int | frozenset[str]

#: Chunks of the default layout stay below this size (uncompressed): a chunk and the pyramid made from it
#: must fit into the default memory budget of 1 GiB.
MAX_DEFAULT_CHUNK_BYTES = 256 * 2**20
#: Codecs take less than 2 GiB.
MAX_CHUNK_BYTES = 2**31 - 1
_KINDS = "biuf"
#: Largest Y and X of the default chunk inside a shard: 2 MiB of uint16, which a viewer reads at once.
_INNER_CHUNK = 1024
_SHARDS_HINT = 'shards="1GB", shards="ZYX", or the shape of a shard'


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """What an array looks like before it exists.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    dtype : numpy.dtype
        Data type, in little-endian byte order (that of the document for an existing array).
    chunks : tuple of int
        Shape of a chunk (inside a shard, where there are shards).
    shards : tuple of int or None
        Shape of a shard, in elements; a multiple of ``chunks``.
    compressor : Compressor or None
        How chunks are compressed; None if an existing array has codecs outside the vocabulary.
    checksum : bool
        Whether a crc32c follows each chunk.
    template : str or None
        Document of the existing array that this layout follows, as JSON text without its attributes:
        whatever it says beside the shapes (codecs, fill value, byte and memory order, chunk keys,
        place of the shard index) goes into :meth:`document` as it is.
    """

    shape: tuple[int, ...]
    dtype: DType
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None
    compressor: Compressor | None = DEFAULT_COMPRESSOR
    checksum: bool = False
    template: str | None = field(default=None, repr=False)

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of a shard, or of a chunk where there are no shards: what one file holds."""
        return self.shards or self.chunks

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of units along each axis."""
        return grid(self.shape, self.units)

    @property
    def chunk_nbytes(self) -> int:
        """Bytes of a whole chunk, decoded."""
        return math.prod(self.chunks) * self.dtype.itemsize

    @property
    def unit_nbytes(self) -> int:
        """Bytes of a whole unit, decoded."""
        return math.prod(self.units) * self.dtype.itemsize

    def document(self, zarr_format: ZarrFormat, dimension_names: Sequence[str]) -> Json:
        """The array's JSON document.

        Parameters
        ----------
        zarr_format : {2, 3}
            Version of zarr.
        dimension_names : sequence of str
            Names of the axes; OME-NGFF 0.5 wants them in the array.

        Raises
        ------
        UnsupportedError
            If the layout follows an array of the other zarr format whose codecs are outside the vocabulary.
        """
        content: Json = {} if self.template is None else json.loads(self.template)
        if content.get("zarr_format") != zarr_format:
            if self.compressor is None or self.dtype.kind not in _KINDS:
                raise UnsupportedError(
                    f"codecs or data type of this array have no form in zarr v{zarr_format}",
                    hint="name one of platestore's with compressor=",
                )
            sharded = self.shards is not None
            content = codecs.new_document(zarr_format, self.dtype, self.compressor, self.checksum, sharded)
        return codecs.with_shapes(content, self.shape, self.chunks, self.shards, dimension_names)


def plan(
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    *,
    zarr_format: ZarrFormat,
    chunks: Sequence[int] | None = None,
    shards_ratio: Sequence[int] | None = None,
    shards: Shards | None = None,
    compressor: str | Compressor | None = None,
    checksum: bool = False,
    axis_names: Sequence[str] | None = None,
) -> ArrayLayout:
    """Check the options for a new array and fill in what was left open.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array; every dimension is 1 or more.
    dtype : dtype-like
        Boolean, integer or float type.
    zarr_format : {2, 3}
        Version of zarr; v2 has no shards and no checksums.
    chunks : sequence of int, optional
        Chunk shape; by default a whole ZYX stack, halved along Z (then Y, X) until it has at most
        256 MiB. With ``shards`` the default is part of one YX plane: the plane cut into the fewest
        equal parts of at most 1024 x 1024 pixels.
    shards_ratio : sequence of int, optional
        Number of chunks in a shard, per dimension.
    shards : sequence of int, str or int, optional
        What a shard holds, in one of three forms. A shape, of whole chunks; where it reaches the end of
        the axis it is rounded to the whole chunks that cover it. A size (``"1GB"``, ``"512 MiB"``, or a
        number of bytes): the largest shard of whole chunks that is no larger when decoded, filled along
        X first, then Y, Z and the others. Axes (``"ZYX"``): all of these, one chunk along the others.
        Not together with ``shards_ratio``.
    compressor : str, optional
        ``"blosc-lz4"`` (the default), ``"blosc-zstd"``, ``"zstd"``, ``"gzip"`` or ``"none"``; a level
        may follow, as in ``"zstd:9"``.
    checksum : bool
        Whether a crc32c follows each chunk, so that a changed bit is an error when it is read.
    axis_names : sequence of str, optional
        Names of the axes; without them the last five of T, C, Z, Y, X, by position.

    Returns
    -------
    ArrayLayout

    Raises
    ------
    ArgumentError
        If a shape, chunk, shard, ratio, data type or compressor is wrong or cannot be stored.
    """
    full = check_integers(shape, "shape")
    kind = check_dtype(dtype)
    how = Compressor.parse(compressor)
    labels = axis_labels(len(full), axis_names)
    if zarr_format == 2 and (shards is not None or shards_ratio is not None or checksum):
        what = "checksums" if shards is None and shards_ratio is None else "shards"
        raise ArgumentError(
            f"zarr v2 (OME-NGFF {assumed(2).name}) has no {what}",
            hint=f'create the store with version="{sharding().name}"',
        )
    if shards is not None and shards_ratio is not None:
        raise ArgumentError("shards and shards_ratio both say what a shard holds", hint="pass one of them")
    given = None if shards is None else _parse_shards(shards, labels)
    if chunks is not None:
        sizes = check_integers(chunks, "chunks")
    elif given is None:
        sizes = _default_chunks(full, kind.itemsize, labels)
    else:
        sizes = _inner_chunks(full, given, labels)
    if len(sizes) != len(full):
        raise ArgumentError(f"chunks {sizes} has {len(sizes)} values; the shape {full} has {len(full)}")
    sizes = tuple(min(c, s) for c, s in zip(sizes, full, strict=True))
    if math.prod(sizes) * kind.itemsize > MAX_CHUNK_BYTES:
        raise ArgumentError(
            f"a chunk of {sizes} {kind} has {math.prod(sizes) * kind.itemsize / 2**30:.1f} GiB",
            hint="codecs take less than 2 GiB; pass smaller chunks=",
        )
    outer = None
    if given is not None:
        outer = _shard_shape(given, full, sizes, kind.itemsize, labels)
    elif shards_ratio is not None:
        ratio = check_integers(shards_ratio, "shards_ratio")
        if len(ratio) != len(full):
            raise ArgumentError(f"shards_ratio {ratio} has {len(ratio)} values; there are {len(full)} axes")
        outer = tuple(c * r for c, r in zip(sizes, ratio, strict=True))
    return ArrayLayout(full, kind, sizes, outer, how, bool(checksum))


def check_dtype(dtype: npt.DTypeLike) -> DType:
    """The data type in little-endian order, if an image may have it.

    Raises
    ------
    ArgumentError
        If it is no boolean, integer or float type.
    """
    try:
        kind: DType = np.dtype(dtype)
    except TypeError as error:
        raise ArgumentError(f"{dtype!r} is no data type: {error}") from None
    if kind.kind not in _KINDS or kind.itemsize > 8 or dtype is None:
        raise ArgumentError(
            f"images of type {kind} cannot be stored",
            hint="use bool, int8 to int64, uint8 to uint64, float16, float32 or float64",
        )
    return kind.newbyteorder("<")


def check_integers(values: Sequence[int], name: str) -> tuple[int, ...]:
    """Check a shape: integers of 1 or more."""
    try:
        out = tuple(operator.index(v) for v in values)
    except TypeError:
        raise ArgumentError(f"{name} must be a sequence of integers, not {values!r}") from None
    if not out or min(out) < 1:
        raise ArgumentError(f"{name} must have dimensions of 1 or more, not {out}")
    if max(out) >= 2**63:
        raise ArgumentError(f"{name} {out} is larger than any file format can index")
    return out


# --- default chunks, and what a shard holds -------------------------------------------------------


def axis_labels(ndim: int, names: Sequence[str] | None) -> tuple[str, ...]:
    """Upper-case names of the axes, by which they are recognised."""
    if names is None:
        return (*(f"axis {i}" for i in range(ndim - 5)), *"TCZYX"[max(0, 5 - ndim) :])
    if len(names) != ndim:
        raise ArgumentError(
            f"an array with {ndim} dimensions does not fit the {len(names)} axes {', '.join(names)}"
        )
    return tuple(name.upper() for name in names)


def stack_axes(labels: tuple[str, ...]) -> list[int]:
    """Places of the axes Z, Y and X; of the last three if Y and X are called something else."""
    if {"Y", "X"} <= set(labels):
        return [labels.index(name) for name in "ZYX" if name in labels]
    return list(range(max(0, len(labels) - 3), len(labels)))


def _default_chunks(shape: tuple[int, ...], itemsize: int, labels: tuple[str, ...]) -> tuple[int, ...]:
    """A whole ZYX stack, halved, slowest axis first, until it fits."""
    stack = stack_axes(labels)
    sizes = [size if i in stack else 1 for i, size in enumerate(shape)]
    for i in stack:
        while sizes[i] > 1 and math.prod(sizes) * itemsize > MAX_DEFAULT_CHUNK_BYTES:
            sizes[i] = -(-sizes[i] // 2)
    return tuple(sizes)


def _parse_shards(value: Shards, labels: tuple[str, ...]) -> _GivenShards:
    """The three forms of ``shards=``: a shape, a number of bytes, or a set of axes."""
    if isinstance(value, str):
        if value.strip()[:1].isdigit() and value.strip()[-1:] in "bB":
            return parse_bytes(value, "shards")
        value = list(value.strip())
    elif hasattr(value, "__index__") and not isinstance(value, (bool, np.ndarray)):
        return operator.index(value)
    if isinstance(value, Sequence) and all(isinstance(v, str) for v in value):
        wanted = [str(v).upper() for v in value]
        if wanted and len(set(wanted)) == len(wanted) and set(wanted) <= set(labels):
            return frozenset(wanted)
        what = f"shards={''.join(wanted)!r} is neither a size nor a choice of the axes {', '.join(labels)}"
        raise ArgumentError(what, hint=_SHARDS_HINT)
    try:
        return check_integers(value, "shards")  # type: ignore[arg-type]
    except ArgumentError as error:
        raise ArgumentError(error.message, hint=_SHARDS_HINT) from None


def _inner_chunks(shape: tuple[int, ...], given: _GivenShards, labels: tuple[str, ...]) -> tuple[int, ...]:
    """Part of one YX plane: the plane in the fewest equal parts of at most 1024 x 1024."""
    plane = stack_axes(labels)[-2:]
    sizes = [1] * len(shape)
    for i in plane:
        sizes[i] = -(-shape[i] // -(-shape[i] // _INNER_CHUNK))
        if isinstance(given, tuple) and i < len(given) and given[i] < shape[i]:
            sizes[i] = _divisor(given[i])
    return tuple(sizes)


def _divisor(extent: int) -> int:
    """The largest divisor up to 1024 of a shard's extent; the extent itself if all are tiny."""
    best = next(d for d in range(min(_INNER_CHUNK, extent), 0, -1) if extent % d == 0)
    return best if best >= 64 else extent


def _shard_shape(
    given: _GivenShards,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    itemsize: int,
    labels: tuple[str, ...],
) -> tuple[int, ...]:
    """The shape of a shard of whole chunks, never more of them than cover the array."""
    cover = grid(shape, chunks)
    if isinstance(given, tuple):
        return _explicit_shard(given, shape, chunks, labels)
    if isinstance(given, frozenset):
        counts = [n if label in given else 1 for n, label in zip(cover, labels, strict=True)]
    else:
        one = math.prod(chunks) * itemsize
        if given < one:
            raise ArgumentError(
                f"a shard of {given} bytes cannot hold one chunk: {chunks} has {one} bytes "
                f"({one / 2**20:.1f} MiB)",
                hint="ask for larger shards=, or pass smaller chunks=",
            )
        counts, left = [1] * len(shape), given // one
        stack = stack_axes(labels)
        for i in [*reversed(stack), *(i for i in reversed(range(len(shape))) if i not in stack)]:
            counts[i] = min(cover[i], left)
            left //= counts[i]
    return tuple(c * n for c, n in zip(chunks, counts, strict=True))


def _explicit_shard(
    given: tuple[int, ...], shape: tuple[int, ...], chunks: tuple[int, ...], labels: tuple[str, ...]
) -> tuple[int, ...]:
    if len(given) != len(shape):
        raise ArgumentError(f"shards {given} has {len(given)} values; the shape {shape} has {len(shape)}")
    out = []
    for asked, size, chunk, label in zip(given, shape, chunks, labels, strict=True):
        if asked >= size:
            out.append(-(-size // chunk) * chunk)
        elif asked % chunk == 0:
            out.append(asked)
        else:
            nearest = max(1, (2 * asked + chunk) // (2 * chunk)) * chunk
            raise ArgumentError(
                f"shards {given} is no multiple of chunks {chunks} along {label}: {asked} is not whole "
                f"chunks of {chunk}",
                hint=f"{nearest} is the nearest that is",
            )
    return tuple(out)


# --- existing arrays and levels -------------------------------------------------------------------


def layout_of(document: bytes | Json, zarr_format: ZarrFormat, *, where: str = "") -> ArrayLayout:
    """The layout of an existing array, for arrays that should be stored as it is.

    Parameters
    ----------
    document : bytes or dict
        Content of ``.zarray`` or ``zarr.json``.
    zarr_format : {2, 3}
        Version of zarr.
    where : str
        Path of the array, for errors.

    Returns
    -------
    ArrayLayout
        With ``template`` set: its documents keep everything but the shapes, whatever the codecs.

    Raises
    ------
    InvalidMetadataError
        If the document is damaged.
    UnsupportedError
        If its chunks form no regular grid, or its elements are no numbers.
    """
    content = parse(document, where=where) if isinstance(document, bytes) else document
    content = plain_array(content, zarr_format)[0]
    found = codecs.read_array_document(content, zarr_format, where)
    kept = {
        key: value for key, value in content.items() if key not in ("attributes", "consolidated_metadata")
    }
    return ArrayLayout(
        found.shape,
        np.dtype(found.dtype),
        found.chunks,
        found.shards,
        found.compressor,
        found.checksum,
        json.dumps({**kept, "zarr_format": zarr_format}),
    )


def level_layout(layout: ArrayLayout, shape: Sequence[int]) -> ArrayLayout:
    """The layout of a coarser level of a pyramid.

    Parameters
    ----------
    layout : ArrayLayout
        That of the full resolution, or of any finer level.
    shape : sequence of int
        Shape of the level.

    Returns
    -------
    ArrayLayout
        The same chunks and the same number of chunks in a shard, but never more than cover the level;
        everything else as in ``layout``.
    """
    full = tuple(operator.index(n) for n in shape)
    if len(full) != len(layout.shape):
        raise ArgumentError(f"shape {full} has {len(full)} values; the array has {len(layout.shape)} axes")
    if layout.template is not None and codecs.holds_shapes(json.loads(layout.template)):
        return replace(layout, shape=full)
    chunks = tuple(max(1, min(c, n)) for c, n in zip(layout.chunks, full, strict=True))
    if layout.shards is None:
        return replace(layout, shape=full, chunks=chunks)
    before = zip(layout.shards, layout.chunks, strict=True)
    ratio = (max(1, min(s // old, -(-n // c))) for (s, old), c, n in zip(before, chunks, full, strict=True))
    return replace(
        layout, shape=full, chunks=chunks, shards=tuple(c * r for c, r in zip(chunks, ratio, strict=True))
    )


# --- regions that tasks write ---------------------------------------------------------------------


def grid(shape: Sequence[int], units: Sequence[int]) -> tuple[int, ...]:
    """Number of units along each axis."""
    return tuple(-(-n // u) for n, u in zip(shape, units, strict=True))


def write_units(shape: Sequence[int], units: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """The regions that can be written without touching each other's files.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    units : sequence of int
        Shape of a shard, or of a chunk where there are none.

    Yields
    ------
    tuple of slice
        One per unit, cut at the end of the array, in C order. Nothing is held for units to come.
    """
    if not shape:
        yield ()
        return
    size, unit = shape[0], units[0]
    for start in range(0, size, unit):
        first = slice(start, min(start + unit, size))
        for others in write_units(shape[1:], units[1:]):
            yield (first, *others)


def is_aligned(shape: Sequence[int], units: Sequence[int], region: Sequence[slice]) -> bool:
    """Whether a region covers whole units only, so that writing it reads nothing.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    units : sequence of int
        Shape of a shard, or of a chunk where there are none.
    region : sequence of slice
        One slice of step 1 per axis, with bounds of 0 or more (or None).

    Returns
    -------
    bool
        True if each slice starts at a unit and ends at one, or at the end of the array.
    """
    for size, unit, part in zip(shape, units, region, strict=True):
        if unit == 1:
            continue
        if part.start and part.start % unit:
            return False
        stop = part.stop
        if stop is not None and stop % unit and stop < size:
            return False
    return True


def touched(shape: Sequence[int], units: Sequence[int], region: Sequence[slice]) -> int:
    """Number of units that a region lies in (arguments as for :func:`is_aligned`)."""
    count = 1
    for size, unit, part in zip(shape, units, region, strict=True):
        start, stop = part.start or 0, size if part.stop is None else min(part.stop, size)
        count *= max(0, -(-stop // unit) - start // unit) if stop > start else 0
    return count
