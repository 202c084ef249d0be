"""Compressors, by one name for zarr v2 and v3, and the array documents that hold them.

Documents are built here as JSON, so that creating an array costs two small files.

The default is blosc with lz4 and bitshuffle at level 5: on real fluorescence images it compresses
about as well as zstd, four times as fast (``docs/benchmarks.md``).

==============  =======  =======  ===========================================================
name            levels   default  what it is
==============  =======  =======  ===========================================================
``blosc-lz4``   0 to 9   5        blosc with bitshuffle; the fastest to write and to read
``blosc-zstd``  0 to 9   1        blosc with bitshuffle; some per cent smaller, a quarter as fast
``zstd``        0 to 22  3        plain Zstandard, at its own library's default level
``gzip``        0 to 9   6        plain gzip, at its own library's default level; slow
``none``                          pixels as they are
==============  =======  =======  ===========================================================

A level follows the name after a colon: ``"zstd:9"``.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

from platestore.arrays.content import DAMAGE, ArrayContent, Codec, array_content, named
from platestore.errors import ArgumentError, InvalidMetadataError, UnsupportedError
from platestore.spec import compressors
from platestore.spec.values import Json
from platestore.storage.hierarchy import ZarrFormat

if TYPE_CHECKING:
    from platestore.arrays.types import DType

#: The names that ``compressor=`` takes.
COMPRESSORS = (*compressors.CHOICES, compressors.NONE)

#: Checksum of a chunk, four bytes at its end; a changed bit is an error when it is read.
_CRC32C: Json = {"name": "crc32c"}

# Data types that numpy computes with.
_NUMBER_V2 = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|c8|c16)")
_NUMBER_V3 = re.compile(r"bool|u?int(?:8|16|32|64)|float(?:16|32|64)|complex(?:64|128)")


class NumcodecsCodec(Protocol):
    """A codec of numcodecs."""

    def get_config(self) -> Any:
        """Its JSON, as ``.zarray`` has it."""


class ZarrCodec(Protocol):
    """A codec of zarr-python."""

    def to_dict(self) -> Any:
        """Its JSON, as ``zarr.json`` has it."""


@dataclass(frozen=True, slots=True)
class Compressor:
    """One compressor of the vocabulary.

    Attributes
    ----------
    name : str
        One of ``COMPRESSORS``.
    level : int
        Its level; 0 for ``"none"``.

    Raises
    ------
    ArgumentError
        If the name is unknown, or the level is not one of this compressor's.
    """

    name: str = compressors.DEFAULT
    level: int = compressors.CHOICES[compressors.DEFAULT][1].default

    def __post_init__(self) -> None:
        if self.name not in COMPRESSORS:
            raise ArgumentError(
                f"the compressor {self.name!r} is unknown",
                hint=f"one of {', '.join(COMPRESSORS)}; a level may follow: 'zstd:3'",
            )
        low, high, _ = _levels(self.name)
        if isinstance(self.level, bool) or not isinstance(self.level, int) or not low <= self.level <= high:
            levels = "it has no levels" if low == high else f"its levels are {low} to {high}"
            raise ArgumentError(
                f"{self.name} has no level {self.level}", hint=f"{levels}; nothing was written"
            )

    def __str__(self) -> str:
        return self.name if self.name == compressors.NONE else f"{self.name}:{self.level}"

    @classmethod
    def parse(cls, value: str | Compressor | None) -> Self:
        """Understand what was passed as ``compressor=``.

        Parameters
        ----------
        value : str, Compressor or None
            A name, with or without a level (``"zstd"``, ``"zstd:3"``); None is the default.

        Returns
        -------
        Compressor

        Raises
        ------
        ArgumentError
            If the name or the level is unknown.
        """
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise ArgumentError(
                f"compressor must be a string, not {value!r}", hint=f"one of {', '.join(COMPRESSORS)}"
            )
        name, colon, level = value.strip().lower().partition(":")
        if not colon or name not in COMPRESSORS:
            return cls(name, _levels(name)[2])
        try:
            return cls(name, int(level))
        except ValueError as error:
            if isinstance(error, ArgumentError):
                raise
            raise ArgumentError(
                f"{level!r} in the compressor {value!r} is no level", hint="'zstd:3'"
            ) from None

    def v2(self) -> Json | None:
        """The compressor as ``.zarray`` names it; None for ``"none"``."""
        known = compressors.CHOICES.get(self.name)
        return None if known is None else known[0].v2(self.name, self.level)

    def v3(self, itemsize: int) -> list[Json]:
        """The compressor as ``zarr.json`` names it: no codec or one.

        Parameters
        ----------
        itemsize : int
            Bytes per element, which blosc shuffles by.
        """
        known = compressors.CHOICES.get(self.name)
        return [] if known is None else [known[0].v3(self.name, self.level, itemsize)]


def _levels(name: str) -> tuple[int, int, int]:
    """The least, the greatest and the default level of a compressor; zeros for one that has none."""
    known = compressors.CHOICES.get(name)
    return (0, 0, 0) if known is None else (known[1].least, known[1].greatest, known[1].default)


#: What is taken as ``compressor=``: a name, a codec of numcodecs or zarr, or the JSON of one.
CompressorLike: TypeAlias = "str | Compressor | NumcodecsCodec | ZarrCodec | Mapping[str, Any]"


#: What is used unless something else is asked for.
DEFAULT_COMPRESSOR = Compressor()


def v3_codecs(
    itemsize: int, compressor: Compressor = DEFAULT_COMPRESSOR, *, checksum: bool = False
) -> list[Json]:
    """A codec chain as ``zarr.json`` names it.

    Parameters
    ----------
    itemsize : int
        Bytes per element; one-byte types have no byte order.
    compressor : Compressor
        The compressor.
    checksum : bool
        Whether a crc32c follows each chunk.
    """
    to_bytes: Json = {"name": "bytes"}
    if itemsize > 1:
        to_bytes["configuration"] = {"endian": "little"}
    return [to_bytes, *compressor.v3(itemsize), *([dict(_CRC32C)] if checksum else [])]


def v3_sharding(
    inner: Sequence[int],
    itemsize: int,
    compressor: Compressor = DEFAULT_COMPRESSOR,
    *,
    checksum: bool = False,
) -> list[Json]:
    """The codec chain of a sharded array.

    Parameters
    ----------
    inner : sequence of int
        Shape of a chunk inside the shard.
    itemsize, compressor, checksum
        As for :func:`v3_codecs`; they say how the chunks inside are stored.
    """
    configuration = {
        "chunk_shape": list(inner),
        "codecs": v3_codecs(itemsize, compressor, checksum=checksum),
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, dict(_CRC32C)],
        "index_location": "end",
    }
    return [{"name": "sharding_indexed", "configuration": configuration}]


def complete_chain(chain: Sequence[Any], itemsize: int, ndim: int) -> list[Json]:
    """A codec chain of v3 as a strict reader takes it: every codec an object with all that it must say.

    What is left out gets zarr-python's defaults. Codecs that are not known here stay as they are.

    Parameters
    ----------
    chain : sequence of dict or str
        The codecs.
    itemsize : int
        Bytes per element.
    ndim : int
        Number of axes.
    """
    codecs = [{"name": codec} if isinstance(codec, str) else dict(codec) for codec in chain]
    return [_completed(codec, itemsize, ndim) for codec in codecs]


def _completed(codec: Json, itemsize: int, ndim: int) -> Json:
    """A v3 codec with what zarr fills in when it knows the array."""
    name = codec["name"]
    settings = dict(codec.get("configuration") or {})
    if name in compressors.KNOWN:
        settings = compressors.KNOWN[name].completed(settings, itemsize)
    elif name == "bytes":
        settings["endian"] = settings.get("endian") or "little"
        if itemsize == 1:
            del settings["endian"]
    elif name == "transpose" and settings.get("order") in ("C", "F"):
        settings["order"] = list(range(ndim))[:: 1 if settings["order"] == "C" else -1]
    elif name == "sharding_indexed":
        settings["codecs"] = complete_chain(settings.get("codecs") or [], itemsize, ndim)
        index = settings.get("index_codecs") or ["bytes", "crc32c"]
        settings["index_codecs"] = complete_chain(index, 8, ndim + 1)
        settings.setdefault("index_location", "end")
    return {**codec, "configuration": settings} if settings else {"name": name}


# --- documents ------------------------------------------------------------------------------------


def new_document(
    zarr_format: int, dtype: DType, compressor: Compressor, checksum: bool, sharded: bool
) -> Json:
    """The document of an array that follows no other, whose shapes :func:`with_shapes` fills in."""
    fill: bool | int | float = {"b": False, "f": 0.0}.get(dtype.kind, 0)
    if zarr_format == 2:
        return {
            "zarr_format": 2,
            "shape": [],
            "chunks": [],
            "dtype": dtype.newbyteorder("<").str,
            "fill_value": fill,
            "order": "C",
            "filters": None,
            "dimension_separator": "/",
            "compressor": compressor.v2(),
        }
    how: Any = {"itemsize": dtype.itemsize, "compressor": compressor, "checksum": checksum}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [],
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": []}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill,
        "codecs": v3_sharding((), **how) if sharded else v3_codecs(**how),
        "dimension_names": [],
        "storage_transformers": [],
    }


@dataclass(frozen=True, slots=True)
class Found:
    """What a document says of its array (``ArrayLayout`` describes the fields).

    ``dtype`` is a numpy name; ``compressor`` is None if the codecs are outside the vocabulary.
    """

    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    compressor: Compressor | None
    checksum: bool


def read_array_document(content: Json, zarr_format: ZarrFormat, where: str) -> Found:
    """Read the document of an array.

    Parameters
    ----------
    content : dict
        Content of ``.zarray`` or ``zarr.json``.
    zarr_format : {2, 3}
        Version of zarr.
    where : str
        Path of the array, for errors.

    Raises
    ------
    InvalidMetadataError
        If the document is damaged.
    UnsupportedError
        If its chunks form no regular grid, or its elements are no numbers.
    """
    try:
        found = _found(array_content(content, zarr_format), zarr_format, where)
        units = found.shards or found.chunks
        if not len(found.shape) == len(found.chunks) == len(units) or 0 in found.chunks or 0 in units:
            raise ValueError(f"chunks {units} do not fit the shape {found.shape}")
        if any(u % c for u, c in zip(units, found.chunks, strict=True)):
            raise ValueError(f"shards {units} are not whole chunks {found.chunks}")
    except DAMAGE as error:
        raise InvalidMetadataError(
            f"the array's document is damaged: {type(error).__name__}: {error}", path=where or None
        ) from None
    return found


def with_shapes(
    content: Json,
    shape: Sequence[int],
    chunks: Sequence[int],
    shards: Sequence[int] | None,
    dimension_names: Sequence[str],
) -> Json:
    """Put other shapes into the document of an array, which must be the caller's own copy."""
    content["shape"] = list(shape)
    if content["zarr_format"] == 2:
        content["chunks"] = list(chunks)
        return content
    content["chunk_grid"]["configuration"]["chunk_shape"] = list(shards or chunks)
    if shards:
        content["codecs"][0]["configuration"]["chunk_shape"] = list(chunks)
    content["data_type"] = dtype = named(content["data_type"])[0]
    content["codecs"] = complete_chain(content["codecs"], _itemsize(dtype), len(content["shape"]))
    content["dimension_names"] = list(dimension_names)
    return content


def _itemsize(dtype: str) -> int:
    """Bytes per element of a v3 array."""
    import numpy as np

    return np.dtype(dtype).itemsize


def holds_shapes(content: Json) -> bool:
    """Whether codecs hold shapes that a smaller chunk would contradict (shards behind other codecs)."""
    if content["zarr_format"] == 2:
        return False
    found = array_content(content, 3)
    inner = found.codecs if found.reads_singly else found.outer
    return '"sharding_indexed"' in json.dumps(inner)


def _found(content: ArrayContent, zarr_format: int, where: str) -> Found:
    dtype = content.json["dtype"] if zarr_format == 2 else content.dtype
    number = _NUMBER_V2 if zarr_format == 2 else _NUMBER_V3
    if not isinstance(dtype, str) or not number.fullmatch(dtype):
        raise UnsupportedError(f"elements of type {dtype!r} are no numbers", path=where or None)
    if not content.is_regular:
        name = content.json["chunk_grid"]["name"]
        raise UnsupportedError(
            f"the array's chunks form a {name!r} grid, not a regular one", path=where or None
        )
    shards = content.units if content.reads_singly else None
    if zarr_format == 2:
        filtered = bool(content.json.get("filters"))
        known, checksum = (None if filtered else _recognise_v2(content)), False
    else:
        known, checksum = _recognise_v3(content.outer if shards is None else content.codecs)
    return Found(
        content.shape, dtype, content.units if shards is None else content.chunks, shards, known, checksum
    )


def _recognise_v2(content: ArrayContent) -> Compressor | None:
    """The compressor that a ``.zarray`` names, or None if it is outside the vocabulary."""
    return _known(*content.outer[0]) if content.outer else Compressor(compressors.NONE, 0)


def _recognise_v3(chain: list[Codec]) -> tuple[Compressor | None, bool]:
    """The compressor of a codec chain (None outside the vocabulary), and whether chunks are checksummed."""
    codecs = list(chain)
    checksum = bool(codecs) and codecs[-1][0] == "crc32c"
    if checksum:
        codecs.pop()
    if not codecs or codecs[0][0] != "bytes" or len(codecs) > 2:
        return None, checksum
    if len(codecs) == 1:
        return Compressor(compressors.NONE, 0), checksum
    return _known(*codecs[1]), checksum


def _known(name: Any, settings: Mapping[str, Any]) -> Compressor | None:
    """The compressor of the vocabulary that a codec is."""
    known = compressors.KNOWN.get(name)
    found = None if known is None else known.choice_of(settings)
    try:
        return None if found is None else Compressor(found[0], operator.index(found[1]))  # type: ignore[arg-type]
    except (ArgumentError, TypeError):
        return None
