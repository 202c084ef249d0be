"""Chunks and shards, as ngff-zarr's functions take them."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from platestore.errors import ArgumentError
from platestore.multiscales.factors import SPATIAL
from platestore.spec.versions import Adapter, sharding

_HINT = "an int for all spatial axes, a tuple with one int per axis, or a dict by axis: {'y': 256, 'x': 256}"


def resolve_chunks(chunks: Any, dims: Sequence[str], shape: Sequence[int]) -> dict[str, int]:
    """Length of a chunk along each axis.

    Parameters
    ----------
    chunks : int, tuple, dict or None
        An int for all spatial axes; a tuple with an int per axis, or with the lengths of all chunks along
        each axis, which must be equal but for the last; a dict by axis. None, for an axis or for all, is the
        default: 128 along spatial axes where there is a z axis, 256 where there is none; 1 along t and c. -1
        is the whole axis.
    dims : sequence of str
        Names of the axes.
    shape : sequence of int
        Shape of the image.

    Returns
    -------
    dict
        By axis, in the order of ``dims``.

    Raises
    ------
    ArgumentError
        If they cannot be meant.
    """
    default = 128 if "z" in dims else 256
    standard = {d: default if d in SPATIAL else 1 for d in dims}
    if chunks is None:
        given: dict[str, Any] = {}
    elif isinstance(chunks, Mapping):
        unknown = [str(d) for d in chunks if d not in dims]
        if unknown:
            raise ArgumentError(
                f"chunks name the axes {', '.join(unknown)}", hint=f"the image has {', '.join(dims)}"
            )
        given = dict(chunks)
    elif isinstance(chunks, Sequence) and not isinstance(chunks, str):
        if len(chunks) != len(dims):
            raise ArgumentError(
                f"chunks {tuple(chunks)} has {len(chunks)} values; there are {len(dims)} axes "
                f"({', '.join(dims)})",
                hint=_HINT,
            )
        given = dict(zip(dims, chunks, strict=True))
    else:
        given = dict.fromkeys((d for d in dims if d in SPATIAL), chunks)
    sizes = dict(zip(dims, shape, strict=True))
    return {d: _length(given.get(d), d, sizes[d], standard[d]) for d in dims}


def _length(value: Any, axis: str, size: int, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value):
        lengths = [_count(v, f"chunks along {axis!r}") for v in value]
        if sum(lengths) != size or len({*lengths[:-1]}) > 1 or lengths[-1] > lengths[0]:
            raise ArgumentError(
                f"the chunks {tuple(value)} along {axis!r} are no regular grid of {size} pixels",
                hint=f"chunks are equal but for the last, such as {axis}: {max(lengths)}",
            )
        return lengths[0]
    if value == -1:
        return size
    return _count(value, f"chunks along {axis!r}")


def resolve_shards(
    chunks_per_shard: Any, dims: Sequence[str], ngff: Adapter, *, archive: bool
) -> dict[str, int] | None:
    """Number of chunks in a shard along each axis; None for none.

    Parameters
    ----------
    chunks_per_shard : int, tuple, dict or None
        An int for all spatial axes (1 along t and c); a tuple with an int per axis; a dict by axis, 1 for
        those that it does not name.
    dims : sequence of str
        Names of the axes.
    ngff : Adapter
        The OME-NGFF version, which may have no shards.
    archive : bool
        Whether an archive is written, whose default is 2.

    Raises
    ------
    ArgumentError
        If they cannot be meant.
    """
    if chunks_per_shard is None:
        if not archive:
            return None
        chunks_per_shard = 2
    if not ngff.has_shards:
        newer = sharding().name
        raise ArgumentError(
            f"chunks_per_shard needs OME-NGFF {newer}: zarr v{ngff.zarr_format} ({ngff.name}) has no shards",
            hint=f'pass version="{newer}"',
        )
    if isinstance(chunks_per_shard, Mapping):
        unknown = [str(d) for d in chunks_per_shard if d not in dims]
        if unknown:
            raise ArgumentError(
                f"chunks_per_shard names the axes {', '.join(unknown)}",
                hint=f"the image has {', '.join(dims)}",
            )
        given = dict(chunks_per_shard)
    elif isinstance(chunks_per_shard, Sequence) and not isinstance(chunks_per_shard, str):
        if len(chunks_per_shard) != len(dims):
            raise ArgumentError(
                f"chunks_per_shard {tuple(chunks_per_shard)} has {len(chunks_per_shard)} values; there are "
                f"{len(dims)} axes ({', '.join(dims)})"
            )
        given = dict(zip(dims, chunks_per_shard, strict=True))
    else:
        given = dict.fromkeys((d for d in dims if d in SPATIAL), chunks_per_shard)
    return {d: _count(given.get(d, 1), f"chunks_per_shard along {d!r}") for d in dims}


def _count(value: Any, what: str) -> int:
    number = 0
    if not isinstance(value, bool) and hasattr(value, "__index__"):
        number = operator.index(value)
    if number < 1:
        raise ArgumentError(f"{what} must be an integer of 1 or more, not {value!r}", hint=_HINT)
    return number
