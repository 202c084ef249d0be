"""Compressors as callers of other libraries pass them: names, codecs of numcodecs and zarr, or their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from platestore.arrays.codecs import (
    COMPRESSORS,
    DEFAULT_COMPRESSOR,
    Compressor,
    CompressorLike,
    complete_chain,
)
from platestore.arrays.convert import Unconvertible, convert_array
from platestore.arrays.layout import ArrayLayout, axis_labels, layout_of, plan
from platestore.arrays.types import DType
from platestore.errors import ArgumentError
from platestore.spec.compressors import BLOSC, NONE
from platestore.spec.values import Json
from platestore.storage.hierarchy import ArrayDocument, ZarrFormat

_HINT = (
    f"one of {', '.join(COMPRESSORS)} (a level may follow: 'zstd:9'); in OME-NGFF 0.4 also lz4, bz2, lzma "
    "and zlib; a codec of numcodecs or zarr, or None"
)
# Compressors of numcodecs by name, and what their level is called. They are of zarr v2.
_NUMCODECS = {"lz4": "acceleration", "bz2": "level", "lzma": "preset", "zlib": "level"}
# What blosc is told, as either version names it.
_BLOSC = {
    "cname": BLOSC.inner,
    "shuffle": (BLOSC.auto_shuffle, *range(len(BLOSC.shuffles)), *BLOSC.shuffles, None),
}


def with_compressor(
    layout: ArrayLayout, compressor: Any, zarr_format: ZarrFormat, names: Sequence[str]
) -> ArrayLayout:
    """The layout of a new array, compressed as is asked for.

    Parameters
    ----------
    layout : ArrayLayout
        From :func:`platestore.arrays.layout.plan`.
    compressor : str, codec, mapping, sequence of one of them, or None
        A name of the vocabulary (``"auto"`` is its default), a codec of numcodecs or of zarr, the JSON of
        one, or None for none.
    zarr_format : {2, 3}
        Version of zarr.
    names : sequence of str
        Names of the axes.

    Raises
    ------
    ArgumentError
        If it is no compressor, or has no form in this version of zarr.
    """
    if isinstance(compressor, Sequence) and not isinstance(compressor, (str, bytes)):
        if len(compressor) > 1:
            raise ArgumentError("one compressor is written, not several", hint=_HINT)
        compressor = compressor[0] if compressor else None
    if compressor is None:
        compressor = NONE
    if isinstance(compressor, str) and compressor.partition(":")[0].strip().lower() in _NUMCODECS:
        compressor = _of_numcodecs(compressor)
    if isinstance(compressor, str):
        compressor = DEFAULT_COMPRESSOR if compressor == "auto" else Compressor.parse(compressor)
    if isinstance(compressor, Compressor):
        return replace(layout, compressor=compressor)
    document = layout.document(zarr_format, names)
    _put_codec(document, codec_json(compressor), layout.dtype, zarr_format)
    return layout_of(document, zarr_format)


def plan_with(
    compressor: CompressorLike | None,
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    *,
    zarr_format: ZarrFormat,
    axis_names: Sequence[str] | None,
    **options: Any,
) -> ArrayLayout:
    """As :func:`platestore.arrays.layout.plan`, with any compressor; None is the default.

    Raises
    ------
    ArgumentError
        If an option cannot be fulfilled.
    """
    plain = compressor is None or isinstance(compressor, Compressor)
    named = isinstance(compressor, str) and compressor.partition(":")[0].strip().lower() not in _NUMCODECS
    given: Any = compressor if plain or named else None
    layout = plan(shape, dtype, zarr_format=zarr_format, axis_names=axis_names, compressor=given, **options)
    if plain or named:
        return layout
    return with_compressor(layout, compressor, zarr_format, axis_labels(len(layout.shape), axis_names))


def _of_numcodecs(name: str) -> Json:
    """The JSON of a compressor of numcodecs, with its level if one follows."""
    kind, colon, level = name.strip().lower().partition(":")
    if colon and not level.isdecimal():
        raise ArgumentError(f"{level!r} in the compressor {name!r} is no level", hint="'bz2:9'")
    content: Json = {"id": kind}
    if colon:
        content[_NUMCODECS[kind]] = int(level)
    import numcodecs

    try:
        found: Json = numcodecs.get_codec(content).get_config()
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"the compressor {name!r} cannot be had: {error}", hint=_HINT) from None
    return found


def _put_codec(document: Json, wanted: Json, dtype: DType, zarr_format: ZarrFormat) -> None:
    """Put a codec into a document."""
    source: ZarrFormat = 2 if "id" in wanted else 3
    chosen = wanted if source == zarr_format else _converted(wanted, source, zarr_format, dtype)
    if zarr_format == 2:
        document["compressor"] = chosen
        return
    chain = document["codecs"]
    if chain[0]["name"] == "sharding_indexed":
        chain = chain[0]["configuration"]["codecs"]
    chain[1:2] = complete_chain([chosen], dtype.itemsize, len(document["shape"]))


def codec_json(codec: Any) -> Json:
    """A codec as the document of its own version names it: with ``"id"`` in zarr v2, ``"name"`` in v3.

    Raises
    ------
    ArgumentError
        If it is none.
    """
    found = codec
    for method in ("to_dict", "get_config"):
        if not isinstance(found, Mapping) and not isinstance(codec, type) and hasattr(codec, method):
            found = getattr(codec, method)()
    if not isinstance(found, Mapping) or not {"id", "name"} & found.keys():
        raise ArgumentError(f"{codec!r} is no compressor", hint=_HINT)
    content: Json = json.loads(json.dumps(dict(found), default=_plain))
    settings = content if "id" in content else content.get("configuration") or {}
    if BLOSC.name in (content.get("id"), content.get("name")):
        for key, known in _BLOSC.items():
            if key in settings and settings[key] not in known:
                raise ArgumentError(f"blosc knows no {key} {settings[key]!r}", hint=_HINT)
    elif "id" in content:
        _require_known(content)
    return content


def _require_known(content: Json) -> None:
    import numcodecs

    try:
        numcodecs.get_codec(content)
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"{content.get('id')!r} is no compressor: {error}", hint=_HINT) from None


def _plain(value: Any) -> Any:
    return getattr(value, "value", None) if hasattr(value, "value") else str(value)


def _converted(codec: Json, source: ZarrFormat, target: ZarrFormat, dtype: DType) -> Json:
    """A codec in the other version, by way of a document that has it."""
    document = plan((1,), dtype, zarr_format=source, axis_names=["x"]).document(source, ["x"])
    if source == 2:
        document["compressor"] = codec
    else:
        document["codecs"][1:] = complete_chain([codec], dtype.itemsize, 1)
    data = json.dumps(document).encode()
    found = convert_array(ArrayDocument("", source, data), target, ["x"] if target == 3 else None)
    name = codec.get("id") or codec.get("name")
    if isinstance(found, Unconvertible):
        raise ArgumentError(f"the codec {name!r} has no form in zarr v{target}: {found.reason}", hint=_HINT)
    converted: Json = found.content["compressor"] if target == 2 else found.content["codecs"][-1]
    return converted


def fill_json(value: Any, dtype: DType) -> Any:
    """A fill value as both versions of zarr write it.

    Raises
    ------
    ArgumentError
        If it is no value of the data type.
    """
    given = np.zeros((), bool)
    try:
        given = np.asarray(value)
        if given.shape:
            raise ValueError
        with np.errstate(all="ignore"):
            filled = given.astype(dtype)
            exact = given.dtype.kind in "biuf" and bool(filled.astype(np.float64) == given.astype(np.float64))
    except (TypeError, ValueError, OverflowError):
        exact, filled = False, np.zeros((), dtype)
    if given.shape or (not exact and not (dtype.kind == "f" and given.dtype.kind in "iuf")):
        raise ArgumentError(f"the fill value {value!r} is no value of the type {dtype.name}")
    if dtype.kind != "f" or np.isfinite(filled):
        return filled.item()
    return "NaN" if np.isnan(filled) else "Infinity" if filled > 0 else "-Infinity"
