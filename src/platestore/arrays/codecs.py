"""Compressors, by one name for zarr v2 and v3.

The default is blosc with lz4 and bitshuffle at level 5: on real fluorescence images it compresses
about as well as zstd, four times as fast (``docs/benchmarks.md``).
"""

from __future__ import annotations

from typing import Any

_BLOSC = {"cname": "lz4", "clevel": 5, "blocksize": 0}
_BITSHUFFLE_V2 = 2


def v2_compressor() -> dict[str, Any]:
    """The default compressor as ``.zarray`` names it."""
    return {"id": "blosc", **_BLOSC, "shuffle": _BITSHUFFLE_V2}


def v3_codecs(itemsize: int) -> list[dict[str, Any]]:
    """The default codec chain as ``zarr.json`` names it.

    Parameters
    ----------
    itemsize : int
        Bytes per element; one-byte types have no byte order.
    """
    to_bytes: dict[str, Any] = {"name": "bytes"}
    if itemsize > 1:
        to_bytes["configuration"] = {"endian": "little"}
    blosc = {**_BLOSC, "typesize": itemsize, "shuffle": "bitshuffle"}
    return [to_bytes, {"name": "blosc", "configuration": blosc}]


def v3_sharding(inner: tuple[int, ...], itemsize: int) -> list[dict[str, Any]]:
    """The codec chain of a sharded array with the default codecs inside."""
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    configuration = {
        "chunk_shape": list(inner),
        "codecs": v3_codecs(itemsize),
        "index_codecs": index,
        "index_location": "end",
    }
    return [{"name": "sharding_indexed", "configuration": configuration}]
