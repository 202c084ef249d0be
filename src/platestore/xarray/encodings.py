"""The documents of new arrays: chunks, compressors and fill values as the multiscale functions take them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from platestore.arrays.codecs import COMPRESSORS, DEFAULT_COMPRESSOR, Compressor
from platestore.arrays.convert import Unconvertible, convert_array
from platestore.arrays.layout import ArrayLayout, check_integers, layout_of, plan
from platestore.errors import ArgumentError
from platestore.storage.hierarchy import ArrayDocument, ZarrFormat

_HINT = f"one of {', '.join(COMPRESSORS)} (a level may follow: 'zstd:9'), or a codec of numcodecs or zarr"


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
    codec = None if compressor is None or isinstance(compressor, (str, Compressor)) else compressor
    known = DEFAULT_COMPRESSOR if codec is not None else "none" if compressor is None else compressor
    layout = plan(
        shape,
        dtype,
        zarr_format=zarr_format,
        chunks=chunks,
        shards=shards,
        compressor=known,
        axis_names=names,
    )
    document = layout.document(zarr_format, names)
    document["fill_value"] = fill_json(fill_value, layout.dtype)
    if codec is not None:
        _put_codec(document, codec, layout.dtype, zarr_format)
    return layout_of(document, zarr_format)


def fill_json(value: Any, dtype: np.dtype[Any]) -> Any:
    """A fill value as both versions of zarr write it.

    Raises
    ------
    ArgumentError
        If it is no value of the data type.
    """
    try:
        given = np.asarray(value)
        if given.shape:
            raise ValueError
        with np.errstate(all="ignore"):
            filled = given.astype(dtype)
            exact = given.dtype.kind in "biuf" and bool(filled.astype(np.float64) == given.astype(np.float64))
    except (TypeError, ValueError, OverflowError):
        exact, filled = False, np.zeros((), dtype)
    if not exact and not (dtype.kind == "f" and given.dtype.kind in "iuf"):
        raise ArgumentError(f"the fill value {value!r} is no value of the type {dtype.name}")
    if dtype.kind != "f" or np.isfinite(filled):
        return filled.item()
    return "NaN" if np.isnan(filled) else "Infinity" if filled > 0 else "-Infinity"


def _put_codec(document: dict[str, Any], codec: Any, dtype: np.dtype[Any], zarr_format: ZarrFormat) -> None:
    """Put the codec of another library into a document."""
    wanted = _configuration(codec)
    source: ZarrFormat = 2 if "id" in wanted else 3
    chosen = wanted if source == zarr_format else _converted(wanted, source, zarr_format, dtype)
    if zarr_format == 2:
        document["compressor"] = chosen
        return
    chain = document["codecs"]
    if chain[0]["name"] == "sharding_indexed":
        chain = chain[0]["configuration"]["codecs"]
    chain[1:2] = [_completed(chosen, dtype)]


def _configuration(codec: Any) -> dict[str, Any]:
    """A codec as the document of its own version names it."""
    for method in ("to_dict", "get_config"):
        if callable(getattr(codec, method, None)) and not isinstance(codec, type):
            found = getattr(codec, method)()
            if isinstance(found, Mapping) and ("id" in found or "name" in found):
                return json.loads(json.dumps(dict(found), default=_plain))  # type: ignore[no-any-return]
    raise ArgumentError(f"{codec!r} is no compressor", hint=_HINT)


def _plain(value: Any) -> Any:
    return getattr(value, "value", None) if hasattr(value, "value") else str(value)


def _completed(codec: dict[str, Any], dtype: np.dtype[Any]) -> dict[str, Any]:
    """A v3 codec with what zarr fills in when it knows the data type."""
    if codec.get("name") != "blosc":
        return codec
    settings = dict(codec.get("configuration") or {})
    settings["typesize"] = dtype.itemsize
    if settings.get("shuffle") is None:
        settings["shuffle"] = "bitshuffle" if dtype.itemsize == 1 else "shuffle"
    return {"name": "blosc", "configuration": settings}


def _converted(
    codec: dict[str, Any], source: ZarrFormat, target: ZarrFormat, dtype: np.dtype[Any]
) -> dict[str, Any]:
    """A codec in the other version, by way of a document that has it."""
    document = plan((1,), dtype, zarr_format=source, axis_names=["x"]).document(source, ["x"])
    if source == 2:
        document["compressor"] = codec
    else:
        document["codecs"][1:] = [_completed(codec, dtype)]
    data = json.dumps(document).encode()
    found = convert_array(ArrayDocument("", source, data), target, ["x"] if target == 3 else None)
    name = codec.get("id") or codec.get("name")
    if isinstance(found, Unconvertible):
        raise ArgumentError(f"the codec {name!r} has no form in zarr v{target}: {found.reason}", hint=_HINT)
    converted: dict[str, Any] = found.content["compressor"] if target == 2 else found.content["codecs"][-1]
    return converted


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
