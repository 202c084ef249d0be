r"""The document of an array in the other zarr format, such that the bytes of its chunks stay as they are.

Both formats compress the same elements in the same way in most cases; only their documents and the
names of the chunk files differ. What has no equal in the other format is named, with the reason: such an
array has to be decoded and encoded again.

==================  ==================================  ===================================================
\                   v2 (``.zarray``)                    v3 (``zarr.json``)
==================  ==================================  ===================================================
chunk files         ``0.1`` or ``0/1``                  the same (encoding ``v2``), or below ``c``
order of elements   ``order``: ``"C"`` or ``"F"``       no codec, or ``transpose`` with all axes reversed
byte order          in ``dtype``                        in the codec ``bytes``
compressor          blosc, zstd, gzip, none, others     blosc, zstd, gzip, none
==================  ==================================  ===================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from platestore.arrays.codecs import Found, read_array_document
from platestore.arrays.content import DAMAGE, named, read_separator
from platestore.arrays.types import DType
from platestore.errors import ArgumentError, InvalidMetadataError, UnsupportedError
from platestore.spec import compressors
from platestore.spec.compressors import NoFormError
from platestore.spec.values import Json
from platestore.storage.hierarchy import ArrayDocument, ZarrFormat

_NAMED_NUMBERS = ("NaN", "Infinity", "-Infinity")
#: Fields that an array of v3 may have and that are understood here.
_FIELDS_V3 = {
    *("zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding"),
    *("fill_value", "codecs", "attributes", "dimension_names", "storage_transformers"),
}


@dataclass(frozen=True, slots=True)
class Converted:
    """An array's document in the other format, and where the chunk files go.

    Attributes
    ----------
    content : dict
        Content of ``.zarray`` or ``zarr.json``, without attributes.
    source_prefix, target_prefix : str
        A chunk file whose key (relative to the array) is ``source_prefix + rest`` is
        ``target_prefix + rest`` in the other format. Files with other keys are no chunks.
    is_nested_anew : bool
        Whether ``rest`` has ``.`` between the numbers in the source, and ``/`` in the target.
    """

    content: Json
    source_prefix: str
    target_prefix: str
    is_nested_anew: bool = False

    def rename(self, key: str) -> str | None:
        """The key of a chunk file in the other format; None for a file that is no chunk."""
        if not key.startswith(self.source_prefix):
            return None
        rest = key.removeprefix(self.source_prefix)
        if self.is_nested_anew:
            if not all(part.isdecimal() for part in rest.split(".")):
                return None
            rest = rest.replace(".", "/")
        return self.target_prefix + rest


@dataclass(frozen=True, slots=True)
class Unconvertible:
    """Why the chunks of an array cannot stay as they are.

    Attributes
    ----------
    reason : str
        A clause in plain words, as in "its chunks are compressed with lzma, which zarr v3 lacks".
    """

    reason: str


def convert_array(
    document: ArrayDocument, zarr_format: ZarrFormat, dimension_names: Sequence[str] | None
) -> Converted | Unconvertible:
    """The document that an array has in a zarr format, with chunks that stay as they are.

    Parameters
    ----------
    document : ArrayDocument
        The array's document.
    zarr_format : {2, 3}
        Version of zarr that is wanted. If the array is of this version already, its own document is given
        back (with ``dimension_names``), and chunk files keep their keys.
    dimension_names : sequence of str, optional
        Names of the axes, one per dimension, which v3 keeps in the document; v2 has no place for them.

    Returns
    -------
    Converted or Unconvertible
        What says how chunks are read is the same in both. What only matters to chunks that are written
        later may differ: v2 has no setting for the checksums of zstd that every program understands, nor
        for the ``typesize`` of blosc. Fields of v3 that nobody has to understand are left out in v2.

    Raises
    ------
    ArgumentError
        If the number of names is not that of the dimensions.
    InvalidMetadataError
        If the document is damaged.
    """
    content = document.content
    try:
        found = read_array_document(content, document.zarr_format, document.path)
    except UnsupportedError as error:
        return Unconvertible(error.message)
    if dimension_names is not None and len(dimension_names) != len(found.shape):
        raise ArgumentError(
            f"{len(dimension_names)} names do not fit an array of {len(found.shape)} dimensions",
            path=document.path or None,
        )
    try:
        if document.zarr_format == zarr_format:
            converted = Converted({k: v for k, v in content.items() if k != "attributes"}, "", "")
        elif zarr_format == 3:
            converted = _to_v3(content, found)
        else:
            converted = _to_v2(content, found)
    except NoFormError as error:
        return Unconvertible(str(error))
    except DAMAGE as error:
        raise InvalidMetadataError(
            f"the array's document is damaged: {type(error).__name__}: {error}", path=document.path or None
        ) from None
    if zarr_format == 3 and dimension_names is not None:
        converted.content["dimension_names"] = list(dimension_names)
    return converted


def nested(converted: Converted) -> Converted:
    """The same array of v2 with its chunks in directories, as OME-NGFF 0.4 demands."""
    content = converted.content
    if (content.get("dimension_separator") or ".") == "/":
        return converted
    several = len(content["shape"]) > 1  # the names of others are the same
    return replace(converted, content={**content, "dimension_separator": "/"}, is_nested_anew=several)


# --- from v2 to v3 --------------------------------------------------------------------------------


def _to_v3(content: Json, found: Found) -> Converted:
    dtype = np.dtype(found.dtype)
    if dtype.itemsize > 1 and found.dtype[0] not in "<>":
        raise NoFormError(f"its data type {found.dtype!r} names no byte order")
    filters = content.get("filters")
    if filters:
        names = ", ".join(str(f["id"]) for f in filters)
        raise NoFormError(f"its chunks are filtered ({names}), which zarr v3 lacks")
    separator = read_separator(content.get("dimension_separator") or ".")
    codecs: list[Json] = []
    if content["order"] not in ("C", "F"):
        raise ValueError(f"{content['order']!r} is no order of elements")
    if content["order"] == "F" and len(found.shape) > 1:
        reverse = list(reversed(range(len(found.shape))))
        codecs.append({"name": "transpose", "configuration": {"order": reverse}})
    codecs.append({"name": "bytes"})
    if dtype.itemsize > 1:
        codecs[-1]["configuration"] = {"endian": "big" if found.dtype[0] == ">" else "little"}
    compressor = content.get("compressor")
    if compressor is not None:
        settings = {key: value for key, value in compressor.items() if key != "id"}
        codecs.append(_compressor_v3(str(compressor["id"]), settings, dtype.itemsize))
    converted = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(found.shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(found.chunks)}},
        "chunk_key_encoding": {"name": "v2", "configuration": {"separator": separator}},
        "fill_value": _fill(content.get("fill_value"), dtype, 2),
        "codecs": codecs,
        "storage_transformers": [],
    }
    return Converted(converted, "", "")


def _compressor_v3(name: str, given: Json, itemsize: int) -> Json:
    """The codec of v3 for a compressor of v2."""
    if name not in compressors.KNOWN:
        raise NoFormError(f"its chunks are compressed with {name}, which zarr v3 lacks")
    return compressors.KNOWN[name].to_v3(given, itemsize)


# --- from v3 to v2 --------------------------------------------------------------------------------


def _to_v2(content: Json, found: Found) -> Converted:
    for field in content.keys() - _FIELDS_V3:
        value = content[field]
        if not isinstance(value, dict) or value.get("must_understand") is not False:
            raise NoFormError(f"its document has the field {field!r}, whose meaning is not known")
    if content.get("storage_transformers"):
        raise NoFormError("its storage is transformed (storage_transformers), which zarr v2 lacks")
    chain = [named(codec) for codec in content["codecs"]]
    names = [name for name, _ in chain]
    if "sharding_indexed" in names:
        raise NoFormError("its chunks lie in shards, which zarr v2 lacks")
    if "crc32c" in names:
        raise NoFormError("its chunks carry checksums (crc32c), which zarr v2 lacks")
    order = _order(chain.pop(0)[1]["order"], len(found.shape)) if names[0] == "transpose" else "C"
    dtype = np.dtype(found.dtype)
    if not chain or chain[0][0] != "bytes" or len(chain) > 2:
        raise NoFormError(f"its chunks are encoded by {', '.join(names)} in turn, which zarr v2 cannot say")
    endian = _endian(chain.pop(0)[1], dtype.itemsize)
    separator, prefix = _keys_v3(content["chunk_key_encoding"], len(found.shape))
    converted = {
        "zarr_format": 2,
        "shape": list(found.shape),
        "chunks": list(found.chunks),
        "dtype": dtype.newbyteorder(endian).str,
        "fill_value": _fill(content["fill_value"], dtype, 3),
        "order": order,
        "filters": None,
        "dimension_separator": separator,
        "compressor": _compressor_v2(*chain[0], dtype.itemsize) if chain else None,
    }
    # The only chunk of an array without dimensions is "c" by default, and "0" in v2.
    return Converted(converted, prefix, "0" if prefix == "c" else "")


def _order(axes: list[int], ndim: int) -> str:
    """The order of elements in v2 for the axes of a ``transpose``."""
    if axes == list(range(ndim)):
        return "C"
    if axes == list(reversed(range(ndim))):
        return "F"
    raise NoFormError(f"its chunks are transposed by {axes}; zarr v2 has only a reversal of all axes")


def _endian(configuration: Json, itemsize: int) -> Literal["<", ">"]:
    """The byte order that a ``bytes`` codec states, as numpy writes it."""
    unknown = configuration.keys() - {"endian"}
    if unknown:
        raise NoFormError(f"its codec bytes has settings that are not known: {', '.join(unknown)}")
    endian = configuration.get("endian")
    if endian not in ("little", "big") and (itemsize > 1 or endian is not None):
        raise NoFormError(f"its codec bytes states no byte order (endian is {endian!r})")
    return ">" if endian == "big" else "<"


def _keys_v3(encoding: Any, ndim: int) -> tuple[str, str]:
    """Separator and prefix of the chunk keys of an array of v3."""
    name, configuration = named(encoding)
    if name not in ("default", "v2"):
        raise NoFormError(f"its chunk files are named by the encoding {name!r}, which zarr v2 lacks")
    separator = read_separator(configuration.get("separator", "/" if name == "default" else "."))
    if name == "v2":
        return separator, ""
    return separator, f"c{separator}" if ndim else "c"


def _compressor_v2(name: str, given: Json, itemsize: int) -> Json:
    """The compressor of v2 for a codec of v3."""
    if name not in compressors.KNOWN:
        raise NoFormError(f"its chunks are encoded by {name}, which zarr v2 lacks")
    return compressors.KNOWN[name].to_v2(given, itemsize)


# --- what both directions share -------------------------------------------------------------------


def _fill(value: Any, dtype: DType, zarr_format: ZarrFormat) -> Any:
    """A fill value in the spelling that both formats take."""
    if value is None and zarr_format == 2:
        # Nothing is promised of chunks that are missing; readers give zeros.
        return {"b": False, "f": 0.0, "c": [0.0, 0.0]}.get(dtype.kind, 0)
    if dtype.kind == "b":
        if isinstance(value, bool) or value in (0, 1):
            return bool(value)
    elif dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if type(value) in (int, float) and limits.min <= value <= limits.max and int(value) == value:
            return int(value)
    elif dtype.kind == "f":
        return _real(value, dtype, zarr_format)
    elif isinstance(value, list) and len(value) == 2:
        part = np.dtype(f"f{dtype.itemsize // 2}")
        return [_real(item, part, zarr_format) for item in value]
    raise _no_fill(value, dtype)


def _real(value: Any, dtype: DType, zarr_format: ZarrFormat) -> float | str:
    if value in _NAMED_NUMBERS:
        return str(value)
    if zarr_format == 3 and isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]+", value):
        return _from_bits(value, dtype)
    if type(value) in (int, float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise _no_fill(value, dtype)


def _from_bits(text: str, dtype: DType) -> float | str:
    """A number that is written as its bits: as a number, or by its name."""
    digits = text.removeprefix("0x")
    if len(digits) != 2 * dtype.itemsize:
        raise _no_fill(text, dtype)
    kind = dtype.newbyteorder(">")
    number = float(np.frombuffer(bytes.fromhex(digits), kind)[0])
    if math.isnan(number):
        if bytes.fromhex(digits) != np.array(np.nan, kind).tobytes():
            raise NoFormError(f"its fill value {text} is a special NaN, which zarr v2 cannot write")
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def _no_fill(value: Any, dtype: DType) -> NoFormError:
    return NoFormError(f"its fill value {value!r} is none of {dtype.name}")
