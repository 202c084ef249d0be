"""What documents of arrays say of their elements: types, fill values, and the chain of codecs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from platestore.checking.hierarchy.documents import shown
from platestore.spec.findings import Finding
from platestore.spec.values import Json
from platestore.storage.extensions import KNOWN

# The core of zarr, and what is registered beside it: which codecs make bytes of an array.
_TO_BYTES = frozenset({"bytes", "sharding_indexed", "vlen-utf8", "vlen-bytes", "packbits"})
_OTHER_CODECS = frozenset({"transpose", "gzip", "zstd", "blosc", "crc32c"})
#: What numcodecs brings, by the names of zarr v2.
_V2_CODECS = frozenset(
    {
        *("blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "delta", "fixedscaleoffset", "quantize"),
        *("bitround", "shuffle", "astype", "packbits", "categorize", "base64", "json2", "msgpack2", "pickle"),
        *("crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3", "vlen-utf8", "vlen-bytes"),
        *("vlen-array", "zfpy", "pcodec", "n5_wrapper"),
    }
)
_CORE = re.compile(r"(u?int|float)(\d+)")
_SIZES = {"int": {8, 16, 32, 64}, "uint": {8, 16, 32, 64}, "float": {16, 32, 64, 96, 128}}
_SPECIAL = frozenset({"NaN", "Infinity", "-Infinity"})
_HEX = re.compile(r"0x[0-9a-fA-F]+")
#: Where the rules of the two versions of zarr are.
RULES = {2: "Zarr v2, arrays: ", 3: "Zarr v3 core, array metadata: "}


def type_findings(dtype: str | None, key: str, zarr_format: int) -> Iterator[Finding]:
    """Types that look like those of the core, and are none: ``uint24``."""
    found = _CORE.fullmatch(dtype or "")
    if found is not None and int(found[2]) not in _SIZES[found[1]]:
        yield invalid(key, dtype, "a type that there is", RULES[zarr_format])


def fill_findings(dtype: str | None, content: Json, zarr_format: int) -> Iterator[Finding]:
    """A fill value that no element can have."""
    found = _CORE.fullmatch(dtype or "")
    if "fill_value" not in content or (found is None and dtype != "bool"):
        return
    value = content["fill_value"]
    if zarr_format == 2 and (value is None or isinstance(value, bool)):
        return
    if found is None:
        if not isinstance(value, bool) and (not _is_number(value) or value not in (0, 1)):
            yield invalid("fill_value", value, "true or false", RULES[zarr_format])
    elif found[1] == "float":
        named = isinstance(value, str) and (value in _SPECIAL or _HEX.fullmatch(value) is not None)
        if not named and not _is_number(value):
            yield invalid(
                "fill_value", value, "a number, 'NaN', 'Infinity' or '-Infinity'", RULES[zarr_format]
            )
    else:
        bits = int(found[2])
        low, high = (0, 2**bits - 1) if found[1] == "uint" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        if not _is_number(value) or value != math.floor(value) or not low <= value <= high:
            yield invalid("fill_value", value, f"an integer of {low} to {high}", RULES[zarr_format])


def chain_findings(content: Json, rank: int | None) -> Iterator[Finding]:
    """Codecs that do not go together, in zarr v3."""
    codecs = content.get("codecs")
    if not isinstance(codecs, list) or not all(isinstance(c, (str, dict)) for c in codecs) or not codecs:
        return
    names = [c if isinstance(c, str) else c.get("name") for c in codecs]
    if set(map(str, names)) <= _TO_BYTES | _OTHER_CODECS and sum(n in _TO_BYTES for n in names) != 1:
        yield invalid(
            "codecs", ", ".join(map(str, names)), "one codec that makes bytes of an array", RULES[3]
        )
    for i, codec in enumerate(codecs):
        yield from _unknown_codecs(codec, f"codecs[{i}]")
        if isinstance(codec, dict) and codec.get("name") == "transpose" and rank is not None:
            configuration = codec.get("configuration")
            order = configuration.get("order") if isinstance(configuration, dict) else None
            if not isinstance(order, list) or sorted(map(str, order)) != sorted(map(str, range(rank))):
                expected = f"each of the {rank} dimensions once"
                yield invalid(f"codecs[{i}].configuration.order", order, expected, RULES[3])


def _unknown_codecs(codec: Any, where: str) -> Iterator[Finding]:
    """Codecs that readers may not know, also those of the chunks in a shard."""
    name = codec.get("name") if isinstance(codec, dict) else codec
    if isinstance(name, str):
        yield from codec_findings(name, f"{where}.name", 3)
    configuration = codec.get("configuration") if isinstance(codec, dict) else None
    inner = configuration.get("codecs") if isinstance(configuration, dict) else None
    for i, item in enumerate(inner if isinstance(inner, list) else ()):
        if isinstance(item, (str, dict)):
            yield from _unknown_codecs(item, f"{where}.configuration.codecs[{i}]")


def codec_findings(name: str, location: str, zarr_format: int) -> Iterator[Finding]:
    """A codec that is neither of the core of zarr nor of what comes with it."""
    plain = name.removeprefix("numcodecs.") if zarr_format == 3 else name
    known = plain in _V2_CODECS if zarr_format == 2 or plain != name else name in _TO_BYTES | _OTHER_CODECS
    if not known:
        text = f"is {shown(name)}; readers decode such chunks only where that codec is installed"
        hint = "copy the store with one that everybody has: `platestore copy --compressor zstd`"
        yield Finding("codec-unknown", location, text, "warning", found=shown(name), hint=hint)


def extension_findings(content: Json) -> Iterator[Finding]:
    """What readers of zarr v3 have to refuse, or may not know."""
    for key in sorted(set(content) - KNOWN):
        value = content[key]
        if not (isinstance(value, dict) and value.get("must_understand") is False):
            rule = (
                RULES[3]
                + "a reader fails at a key that it does not know, unless must_understand is false (MUST)"
            )
            yield Finding("array-extension", key, "is no key of an array", "error", rule=rule)
    if content.get("storage_transformers"):
        text = "readers know no storage transformers"
        yield Finding("array-extension", "storage_transformers", text, "warning")
    keys = content.get("chunk_key_encoding")
    name = keys.get("name") if isinstance(keys, dict) else keys
    if isinstance(name, str) and name not in ("default", "v2"):
        text = f"is {shown(name)}; readers know 'default' and 'v2'"
        yield Finding("array-extension", "chunk_key_encoding.name", text, "warning")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def invalid(location: str, value: Any, expected: str, rule: str) -> Finding:
    """A value that no reader could make sense of."""
    return Finding(
        "array-document",
        location,
        f"is {shown(value)}, not {expected}",
        expected=expected,
        found=shown(value),
        rule=f"{rule}'{location}' is {expected} (MUST)",
    )
