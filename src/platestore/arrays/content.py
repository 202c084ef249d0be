"""What the document of an array says, field by field: one reading for everyone who asks.

A field that is missing or impossible raises one of :data:`DAMAGE` when it is asked for, so that each reader
is as strict as it must be: one that only needs the shape reads a document whose codecs are damaged.
"""

from __future__ import annotations

from typing import Any

from platestore.spec.values import Json
from platestore.storage.hierarchy import ZarrFormat

#: What reading a damaged document raises.
DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
_SHARDING = "sharding_indexed"
_KINDS_V2 = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}
#: A codec: its name, and its settings.
Codec = tuple[str, Json]


class ArrayContent:
    """The document of an array of zarr v3.

    Parameters
    ----------
    content : dict
        The document, spelled out (:func:`platestore.storage.extensions.plain_array`) or as it is.
    """

    def __init__(self, content: Json) -> None:
        self.json = content

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return read_shape(self.json["shape"])

    @property
    def dtype(self) -> str:
        """Name of the data type, such as ``"uint16"``; anything else as it is written."""
        name, configured = named(self.json["data_type"])
        return str(self.json["data_type"]) if configured else name

    @property
    def is_regular(self) -> bool:
        """Whether all chunks (or shards) have one shape."""
        return bool(self.json["chunk_grid"]["name"] == "regular")

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of what one file holds: a shard, or a chunk where there are no shards."""
        return read_shape(self.json["chunk_grid"]["configuration"]["chunk_shape"])

    @property
    def outer(self) -> list[Codec]:
        """The codecs of what one file holds."""
        chain = self.json["codecs"]
        if not isinstance(chain, list) or not chain:
            raise ValueError(f"{chain!r} are no codecs")
        return [named(codec) for codec in chain]

    @property
    def sharding(self) -> Json | None:
        """The settings of its shards, wherever they stand among the codecs; None if there are none."""
        return next((settings for name, settings in self.outer if name == _SHARDING), None)

    @property
    def reads_singly(self) -> bool:
        """Whether chunks inside shards can be read one by one: sharding is the only codec."""
        return len(self.outer) == 1 and self.outer[0][0] == _SHARDING

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk: inside a shard, where there are shards."""
        sharding = self.sharding
        return self.units if sharding is None else read_shape(sharding["chunk_shape"])

    @property
    def codecs(self) -> list[Codec]:
        """The codecs of a chunk."""
        sharding = self.sharding
        return self.outer if sharding is None else [named(codec) for codec in sharding["codecs"]]

    @property
    def compression(self) -> list[Codec]:
        """What people call the compressor: the codecs of a chunk but for that of the byte order."""
        return [codec for codec in self.codecs if codec[0] != "bytes"]

    @property
    def keys(self) -> tuple[str, str]:
        """Prefix and separator of the names of chunk files.

        Raises
        ------
        ValueError
            If the names are made in a way that is not known.
        """
        name, settings = named(self.json["chunk_key_encoding"])
        if name not in ("default", "v2"):
            raise ValueError(f"chunk files are named by the encoding {name!r}")
        separator = read_separator(settings.get("separator", "/" if name == "default" else "."))
        return (f"c{separator}" if name == "default" else ""), separator


class ArrayContentV2(ArrayContent):
    """The document of an array of zarr v2: chunks, no shards, and one compressor."""

    @property
    def dtype(self) -> str:
        """Name of the data type, without its byte order."""
        dtype = self.json["dtype"]
        if not isinstance(dtype, str):
            return str(dtype)
        kind, size = dtype.lstrip("<>|=")[:1], dtype.lstrip("<>|=")[1:]
        if kind == "b":
            return "bool"
        return f"{_KINDS_V2[kind]}{8 * int(size)}" if kind in _KINDS_V2 and size.isdigit() else dtype

    @property
    def is_regular(self) -> bool:
        """Always: v2 knows no other grid."""
        return True

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of a chunk."""
        return read_shape(self.json["chunks"])

    @property
    def outer(self) -> list[Codec]:
        """The compressor."""
        compressor = self.json.get("compressor")
        if not compressor:
            return []
        return [(compressor["id"], {key: value for key, value in compressor.items() if key != "id"})]

    @property
    def keys(self) -> tuple[str, str]:
        """No prefix, and the separator."""
        return "", read_separator(self.json.get("dimension_separator", "."))


def array_content(content: Json, zarr_format: ZarrFormat) -> ArrayContent:
    """The document of an array of either version of zarr."""
    return ArrayContentV2(content) if zarr_format == 2 else ArrayContent(content)


def named(extension: Any) -> Codec:
    """Name and settings of a codec or data type; zarr 3.1 also lets its bare name stand for it."""
    if isinstance(extension, str):
        return extension, {}
    return extension["name"], extension.get("configuration") or {}


def read_shape(values: Any) -> tuple[int, ...]:
    """A shape from JSON."""
    if not isinstance(values, list) or not all(type(v) is int and v >= 0 for v in values):
        raise ValueError(f"{values!r} is no shape")
    return tuple(values)


def read_separator(value: Any) -> str:
    """A separator of the numbers in the names of chunk files."""
    if value not in (".", "/"):
        raise ValueError(f"{value!r} is no separator of chunk keys")
    return str(value)
