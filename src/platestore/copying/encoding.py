"""How one array is stored in the copy: with its files as they are where that can be, else encoded anew."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from platestore.arrays.content import array_content
from platestore.arrays.convert import Converted, Unconvertible, convert_array, nested
from platestore.arrays.grid import ArrayGrid, array_grid, cover
from platestore.arrays.layout import ArrayLayout, layout_of, level_layout
from platestore.arrays.metadata import summarise
from platestore.arrays.options import LayoutOptions
from platestore.copying.groups import chunk_files
from platestore.copying.plan import Rename
from platestore.copying.selection import Pick, is_whole, picked_shape
from platestore.errors import ArgumentError, UnsupportedError
from platestore.spec.values import Json
from platestore.storage.documents import serialise
from platestore.storage.hierarchy import ArrayDocument, ZarrFormat

#: What ``shards=`` says to take shards away.
NO_SHARDS = "none"


@dataclass(frozen=True, slots=True)
class Encoding:
    """How one array is stored in the copy.

    Attributes
    ----------
    content : dict
        Its document.
    as_files : bool
        Whether the files of its chunks are copied as they are.
    why : str
        The reason.
    inner : str
        Directory of these files in the array, where they all lie in one that the copy has not.
    rename : callable, optional
        Gives their new names.
    is_forced : bool
        Whether chunks are encoded anew since the version of the copy has no form for their encoding.
    is_nested_anew : bool
        Whether files whose names have dots get directories.
    """

    content: Json
    as_files: bool
    why: str
    inner: str = ""
    rename: Rename | None = None
    is_forced: bool = False
    is_nested_anew: bool = False


def choose_encoding(
    array: ArrayDocument,
    picks: Sequence[Pick],
    zarr_format: ZarrFormat,
    layout: LayoutOptions,
    axis_names: Sequence[str],
    where: str,
) -> Encoding:
    """Choose how a part of an array is stored in the copy.

    Parameters
    ----------
    array : ArrayDocument
        The array.
    picks : sequence of slice or of tuple of int
        What is taken of it.
    zarr_format : {2, 3}
        Version of zarr of the copy.
    layout : LayoutOptions
        What is asked for.
    axis_names : sequence of str
        Names of its axes.
    where : str
        Its path, for errors.

    Raises
    ------
    ArgumentError
        If the layout asked for cannot be had.
    """
    found = _layout(array, where)
    asked = None if not layout else _asked(array, found, picks, zarr_format, layout, axis_names, where)
    if asked is not None and not (found is not None and _same(asked, found, picks)):
        return Encoding(asked.document(zarr_format, axis_names), False, _describe(asked))
    return _kept(array, found, picks, zarr_format, axis_names, where)


def _layout(array: ArrayDocument, where: str) -> ArrayLayout | None:
    """The layout of an array; None if it is none of numbers on a regular grid."""
    try:
        return layout_of(array.data, array.zarr_format, where=where)
    except UnsupportedError:
        return None


def _kept(
    array: ArrayDocument,
    found: ArrayLayout | None,
    picks: Sequence[Pick],
    zarr_format: ZarrFormat,
    axis_names: Sequence[str],
    where: str,
) -> Encoding:
    """Keep the encoding, as far as it has a form in the other version."""
    content, why = array.content, "same encoding"
    content.pop("attributes", None)
    content.pop("consolidated_metadata", None)
    converted = Converted(content, "", "")
    if zarr_format != array.zarr_format:
        form = convert_array(array, zarr_format, axis_names)
        if isinstance(form, Unconvertible):
            if found is None:
                what = f"cannot be stored in zarr v{zarr_format}: {form.reason}"
                raise UnsupportedError(what, path=where)
            anew = _anew(found, picks, zarr_format, axis_names)
            return Encoding(anew, False, form.reason, is_forced=True)
        converted = form
        why = f"same chunks, described for zarr v{zarr_format}"
    if zarr_format == 2:
        converted = nested(converted)
    content, renamed = converted.content, converted.is_nested_anew
    if is_whole(picks, summarise(array).shape):
        return Encoding(content, True, why, *chunk_files(converted), is_nested_anew=renamed)
    if found is None:
        raise UnsupportedError("only arrays of numbers on a regular grid can be copied in part", path=where)
    mapped = _units(found, picks)
    shape = picked_shape(picks, found.shape)
    if mapped is None:
        cut = ", ".join(_cut_axes(found, picks, axis_names))
        smaller = level_layout(replace(found, template=json.dumps(content)), shape)
        return Encoding(smaller.document(zarr_format, axis_names), False, f"cut inside chunks along {cut}")
    content["shape"] = list(shape)
    old, new = array_grid(array), array_grid(target_document(array.path, zarr_format, content))
    if old is None or new is None:
        raise UnsupportedError("its chunk files have names that are not understood", path=where)
    return Encoding(content, True, "whole chunks", "", _UnitNames(old, new, mapped), is_nested_anew=renamed)


@dataclass(frozen=True, slots=True)
class _UnitNames:
    """New names of chunks or shards of which only some are taken."""

    old: ArrayGrid
    new: ArrayGrid
    places: tuple[dict[int, int], ...]

    def __call__(self, key: str) -> str | None:
        found = self.old.place_of(key)
        if found is None:
            return None
        new = tuple(moved.get(n, -1) for n, moved in zip(found, self.places, strict=True))
        return None if -1 in new else self.new.key(new)


def _units(found: ArrayLayout, picks: Sequence[Pick]) -> tuple[dict[int, int], ...] | None:
    """Where each unit of the array goes; None if the picks cut through one."""
    out = []
    for size, unit, pick in zip(found.shape, found.units, picks, strict=True):
        places = _axis_units(size, unit, pick)
        if places is None:
            return None
        out.append(places)
    return tuple(out)


def _axis_units(size: int, unit: int, pick: Pick) -> dict[int, int] | None:
    if unit == 1:
        indices = pick if isinstance(pick, tuple) else range(pick.start, pick.stop, pick.step)
        return {old: new for new, old in enumerate(indices)}
    if isinstance(pick, tuple) or pick.step != 1 or pick.start % unit:
        return None
    if pick.stop % unit and pick.stop != size:
        return None
    first = pick.start // unit
    return {n: n - first for n in range(first, -(-pick.stop // unit))}


def _cut_axes(found: ArrayLayout, picks: Sequence[Pick], axis_names: Sequence[str]) -> list[str]:
    rows = zip(axis_names, found.shape, found.units, picks, strict=True)
    return [name for name, size, unit, pick in rows if _axis_units(size, unit, pick) is None]


def _anew(
    found: ArrayLayout, picks: Sequence[Pick], zarr_format: ZarrFormat, axis_names: Sequence[str]
) -> Json:
    """The document of an array whose encoding has no form in the other version: same chunks, our codecs."""
    shape = picked_shape(picks, found.shape)
    chunks = _clipped(found.chunks, shape)
    options = LayoutOptions(
        chunks=chunks, compressor=None if found.compressor is None else str(found.compressor)
    )
    return options.layout(shape, found.dtype, zarr_format, axis_names).document(zarr_format, axis_names)


def _asked(
    array: ArrayDocument,
    found: ArrayLayout | None,
    picks: Sequence[Pick],
    zarr_format: ZarrFormat,
    layout: LayoutOptions,
    axis_names: Sequence[str],
    where: str,
) -> ArrayLayout:
    """The layout that is asked for, completed by what the array has."""
    if found is None:
        raise UnsupportedError("only arrays of numbers on a regular grid can be laid out anew", path=where)
    shape = picked_shape(picks, found.shape)
    options = layout
    if layout.compressor is None and found.compressor is not None:
        options = replace(options, compressor=str(found.compressor))
    if not layout.checksum and zarr_format == 3:
        options = replace(options, checksum=found.checksum)
    if layout.shards in (None, NO_SHARDS) and layout.shards_ratio is None:
        options = replace(options, shards=None, chunks=layout.chunks or _clipped(found.chunks, shape))
        if layout.shards is None and found.shards is not None and zarr_format == 3:
            options = replace(options, shards=_kept_shards(found, options.chunks or (), shape))
    try:
        planned = options.layout(shape, found.dtype, zarr_format, axis_names)
    except ArgumentError as error:
        raise type(error)(error.message, path=where, hint=error.hint) from None
    if array.zarr_format != zarr_format:
        return planned
    alike = (planned.shards is None) == (found.shards is None)
    assert found.template is not None
    template = json.loads(found.template)
    if layout.compressor is None and found.compressor is None and alike:  # codecs that only the array names
        if zarr_format == 2:
            template = nested(Converted(template, "", "")).content
        return replace(
            found,
            shape=planned.shape,
            chunks=planned.chunks,
            shards=planned.shards,
            template=json.dumps(template),
        )
    fill = template.get("fill_value")
    return replace(planned, template=_with_fill(planned, zarr_format, axis_names, fill))


def _clipped(chunks: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))


def _kept_shards(found: ArrayLayout, chunks: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Shards of about the size they have, in whole chunks of a new shape."""
    assert found.shards is not None
    cover = (-(-n // c) * c for n, c in zip(shape, chunks, strict=True))
    return tuple(
        min(max(c, s // c * c), all_of_it)
        for s, c, all_of_it in zip(found.shards, chunks, cover, strict=True)
    )


def _with_fill(
    layout: ArrayLayout, zarr_format: ZarrFormat, axis_names: Sequence[str], fill: Any
) -> str | None:
    """The document of a new layout with the array's own fill value, so that missing chunks read the same."""
    content = layout.document(zarr_format, axis_names)
    if fill is None or content["fill_value"] == fill:
        return layout.template  # which names the codecs that are none of ours
    return json.dumps({**content, "fill_value": fill})


def _same(asked: ArrayLayout, found: ArrayLayout, picks: Sequence[Pick]) -> bool:
    """Whether what is asked for is what there is."""
    return (
        is_whole(picks, found.shape)
        and (asked.chunks, asked.shards, asked.checksum) == (found.chunks, found.shards, found.checksum)
        and asked.compressor == found.compressor
        and (asked.compressor is not None or _codecs(asked) == _codecs(found))
    )


def _codecs(layout: ArrayLayout) -> Any:
    """The codecs of a layout that has others than those of the vocabulary."""
    content = json.loads(layout.template) if layout.template is not None else {}
    return content.get("compressor"), content.get("codecs")


def _describe(layout: ArrayLayout) -> str:
    chunks = "x".join(map(str, layout.chunks))
    shards = "" if layout.shards is None else f", shards {'x'.join(map(str, layout.shards))}"
    return f"chunks {chunks}{shards}, {layout.compressor}"


def target_document(path: str, zarr_format: ZarrFormat, content: Json) -> ArrayDocument:
    """An array of the copy, as the readers and writers of pixels take it."""
    return ArrayDocument(path, zarr_format, serialise(content, where=path))


def unit_count(content: Json, zarr_format: ZarrFormat) -> int:
    """Number of chunks or shards that a whole array has."""
    found = array_content(content, zarr_format)
    return math.prod(cover(found.shape, found.units))
