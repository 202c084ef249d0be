"""Compressors as callers of ngff-zarr pass them: names, numcodecs, zarr's codecs, or their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from platestore.arrays import codecs
from platestore.arrays.codecs import COMPRESSORS, Compressor
from platestore.arrays.layout import ArrayLayout
from platestore.errors import ArgumentError, UnsupportedError
from platestore.storage.hierarchy import ZarrFormat

_SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
_HINT = (
    f"one of {', '.join(COMPRESSORS)} (a level may follow: 'zstd:9'), a codec of numcodecs or zarr, or None"
)


@dataclass(frozen=True, slots=True)
class Wish:
    """How chunks are to be compressed.

    Attributes
    ----------
    known : Compressor
        One of the vocabulary; of another one the nearest, which only stands in for it.
    blosc : dict or None
        Settings of a blosc that is outside the vocabulary, in zarr v3's words.
    """

    known: Compressor
    blosc: dict[str, Any] | None = None

    def apply(self, layout: ArrayLayout, zarr_format: ZarrFormat) -> ArrayLayout:
        """The layout of an array that is compressed so."""
        if self.blosc is None:
            return layout
        sharded = layout.shards is not None
        content = codecs.new_document(zarr_format, layout.dtype, self.known, layout.checksum, sharded)
        if zarr_format == 2:
            shuffle = _SHUFFLES.index(self.blosc["shuffle"])
            plain = {k: self.blosc[k] for k in ("cname", "clevel", "blocksize")}
            content["compressor"] = {"id": "blosc", **plain, "shuffle": shuffle}
        else:
            chain = content["codecs"][0]["configuration"]["codecs"] if sharded else content["codecs"]
            configuration = {**self.blosc, "typesize": layout.dtype.itemsize}
            chain[1] = {"name": "blosc", "configuration": configuration}
        return replace(layout, compressor=None, template=json.dumps(content))


def parse_compressor(options: Mapping[str, Any]) -> Wish:
    """Understand ``compressor=`` and ``compressors=``.

    Parameters
    ----------
    options : mapping
        Of these two keys, at most one.

    Raises
    ------
    ArgumentError
        If both are given, or it is no compressor.
    UnsupportedError
        If it is one that cannot be written.
    """
    if len(options) > 1:
        raise ArgumentError("compressor and compressors say the same", hint="pass one of them")
    for value in options.values():
        return _parse(value)
    return Wish(Compressor())


def _parse(value: Any) -> Wish:
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        if len(value) > 1:
            raise UnsupportedError("one compressor is written, not several", hint=_HINT)
        value = value[0] if value else None
    if value is None:
        return Wish(Compressor("none", 0))
    if isinstance(value, Compressor):
        return Wish(value)
    if isinstance(value, str):
        return Wish(Compressor.parse("blosc-lz4" if value == "auto" else value))
    name, settings = _described(value)
    if name == "blosc":
        return _blosc(settings)
    if name in ("zstd", "gzip", "zlib") and not settings.get("checksum"):
        if name == "zlib":
            raise UnsupportedError("zlib is not written", hint="gzip is: compressor='gzip'")
        return Wish(_compressor(name, settings.get("level")))
    raise UnsupportedError(f"the compressor {value!r} cannot be written", hint=_HINT)


def _described(value: Any) -> tuple[str, dict[str, Any]]:
    """Name and settings of a codec, from its JSON."""
    for method in ("get_config", "to_dict"):  # numcodecs, zarr
        if not isinstance(value, Mapping) and hasattr(value, method):
            value = getattr(value, method)()
    if not isinstance(value, Mapping):
        raise ArgumentError(f"{value!r} is no compressor", hint=_HINT)
    content = dict(value)
    if "name" in content:
        return str(content["name"]).removeprefix("numcodecs."), dict(content.get("configuration") or {})
    return str(content.pop("id", "?")), content


def _blosc(settings: Mapping[str, Any]) -> Wish:
    cname, level = _text(settings.get("cname", "lz4")), settings.get("clevel", 5)
    shuffle, blocksize = settings.get("shuffle", "shuffle"), settings.get("blocksize") or 0
    if isinstance(shuffle, int):  # numcodecs: -1 leaves it to blosc, which shuffles bytes or bits
        shuffle = _SHUFFLES[shuffle] if 0 <= shuffle < len(_SHUFFLES) else "shuffle"
    shuffle = _text(shuffle)
    if shuffle == "bitshuffle" and not blocksize and cname in ("lz4", "zstd"):
        return Wish(_compressor(f"blosc-{cname}", level))
    known = _compressor("blosc-lz4", level)
    if cname not in ("lz4", "lz4hc", "blosclz", "zstd", "snappy", "zlib") or shuffle not in _SHUFFLES:
        raise ArgumentError(f"blosc knows no {cname!r} with shuffle {shuffle!r}", hint=_HINT)
    content = {"cname": cname, "clevel": known.level, "shuffle": shuffle, "blocksize": blocksize}
    return Wish(known, content)


def _compressor(name: str, level: Any) -> Compressor:
    return Compressor.parse(name if level is None else f"{name}:{level}")


def _text(value: Any) -> str:
    return str(getattr(value, "value", value))
