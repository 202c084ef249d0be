"""The documents of new arrays: chunks, compressors and fill values as the multiscale functions take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from platestore.arrays.codec_objects import fill_json, with_compressor
from platestore.arrays.layout import ArrayLayout, check_integers, layout_of, plan
from platestore.errors import ArgumentError
from platestore.storage.hierarchy import ZarrFormat


def array_layout(
    shape: Sequence[int],
    dtype: Any,
    *,
    zarr_format: ZarrFormat,
    names: Sequence[str],
    chunks: Sequence[int] | None,
    shards: Any,
    compressor: Any,
    fill_value: Any,
) -> ArrayLayout:
    """The layout of a new array.

    Parameters
    ----------
    shape : sequence of int
        Its shape.
    dtype : dtype-like
        Its data type.
    zarr_format : {2, 3}
        Version of zarr.
    names : sequence of str
        Names of the axes.
    chunks : sequence of int, optional
        Chunk shape.
    shards : sequence of int, str or int, optional
        As for ``create_image``.
    compressor : str, codec or None
        A name of the vocabulary, a codec of numcodecs or of zarr, or None for none.
    fill_value : number
        What pixels that were never written read as.

    Raises
    ------
    ArgumentError
        If one of them is wrong, or a codec has no form in this version of zarr.
    """
    layout = plan(shape, dtype, zarr_format=zarr_format, chunks=chunks, shards=shards, axis_names=names)
    document = with_compressor(layout, compressor, zarr_format, names).document(zarr_format, names)
    document["fill_value"] = fill_json(fill_value, layout.dtype)
    return layout_of(document, zarr_format)


def chunk_shapes(chunks: Any, count: int) -> list[tuple[int, ...] | None]:
    """The chunk shape of each of some arrays; None for the default one.

    Parameters
    ----------
    chunks : "auto", sequence of int, or sequence of sequence of int
        For all of them, or for each.
    count : int
        Number of arrays.

    Raises
    ------
    ArgumentError
        If it is none of these.
    """
    if chunks is None or (isinstance(chunks, str) and chunks == "auto"):
        return [None] * count
    if isinstance(chunks, str) or not isinstance(chunks, Sequence) or not chunks:
        raise ArgumentError(
            f"chunks must be 'auto', a shape, or a shape for each array, not {chunks!r}",
            hint="chunks=(1, 1, 16, 256, 256)",
        )
    if not any(isinstance(item, Sequence) for item in chunks):
        return [check_integers(chunks, "chunks")] * count
    if len(chunks) != count:
        raise ArgumentError(
            f"chunks has {len(chunks)} shapes; there are {count} arrays", hint="one shape serves all of them"
        )
    return [check_integers(item, "chunks") for item in chunks]
