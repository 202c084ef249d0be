"""Array documents in one form: short names spelled out, what is left out put back.

zarr 3.1 lets the bare name of a codec stand for one without configuration, and a data type be an object; some
writers leave out what a reader could guess. Everything here reads one form only, and tells the guesses.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from platestore.spec import compressors
from platestore.spec.findings import Finding
from platestore.spec.values import Json

_BITS = re.compile(r"(?:u?int|float|complex|r)(\d{1,4})")
_RULE, _RULE_V2 = "Zarr v3 core, array metadata: ", "Zarr v2, arrays: "
# Keys that a document of v2 must have, with what readers take that do without.
_V2_DEFAULTS: dict[str, str | None] = {"compressor": None, "filters": None, "fill_value": None, "order": "C"}
#: Types of two 8-byte numbers, or of none that has a size.
_BIG_ENOUGH = "uint64"


def plain_array(content: Json, zarr_format: int) -> tuple[Json, list[Finding]]:
    """The document of an array in the form that is read here.

    Parameters
    ----------
    content : dict
        Content of a ``.zarray`` or ``zarr.json``, whatever is in it; it is not changed.
    zarr_format : int
        2 or 3.

    Returns
    -------
    content : dict
        The same document with codecs and chunk keys as objects, and the data type as a name.
    findings : list of Finding
        What was missing and is guessed (the byte order, settings of a compressor, the fill value; in v2,
        keys): strict readers refuse it.
    """
    if zarr_format == 2:
        return _plain_v2(content)
    out = dict(content)
    findings: list[Finding] = []
    dtype = out.get("data_type")
    if isinstance(dtype, dict) and isinstance(dtype.get("name"), str) and not dtype.get("configuration"):
        dtype = out["data_type"] = dtype["name"]
    if isinstance(out.get("chunk_key_encoding"), str):
        out["chunk_key_encoding"] = {"name": out["chunk_key_encoding"]}
    if "fill_value" in out and out["fill_value"] is None and isinstance(dtype, str):
        out["fill_value"] = False if dtype == "bool" else 0
        text = f"is null, and is taken for {'false' if dtype == 'bool' else 0}"
        findings.append(_flaw("fill_value", text, "a value of the data type"))
    out["codecs"] = _chain(out.get("codecs"), dtype, "codecs", findings)
    if "codecs" not in content:
        del out["codecs"]
    return out, findings


#: Keys of the document of an array that a reader of zarr v3 knows.
KNOWN = frozenset(
    {
        *("zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value"),
        *("codecs", "attributes", "storage_transformers", "dimension_names"),
    }
)


def is_understood(content: Json) -> bool:
    """Whether there is no key in the document of an array that a reader has to know and does not."""
    unknown = (content[key] for key in set(content) - KNOWN)
    return all(isinstance(value, dict) and value.get("must_understand") is False for value in unknown)


def _plain_v2(content: Json) -> tuple[Json, list[Finding]]:
    missing = [key for key in _V2_DEFAULTS if key not in content]
    out = {**content, **{key: _V2_DEFAULTS[key] for key in missing}}
    if out["filters"] == []:
        out["filters"] = None
    text = "is missing, and is taken for {}"
    return out, [_flaw(key, text.format(_V2_DEFAULTS[key] or "null"), "a value", _RULE_V2) for key in missing]


def _chain(codecs: Any, dtype: Any, where: str, findings: list[Finding]) -> Any:
    """A chain of codecs; what is none stays as it is."""
    if not isinstance(codecs, list):
        return codecs
    return [_codec(codec, dtype, f"{where}[{i}]", findings) for i, codec in enumerate(codecs)]


def _codec(codec: Any, dtype: Any, where: str, findings: list[Finding]) -> Any:
    found = {"name": codec} if isinstance(codec, str) else copy.copy(codec)
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return codec
    name, given = found["name"], found.get("configuration")
    settings = dict(given) if isinstance(given, dict) else {}
    place = f"{where}.configuration"
    if name == "sharding_indexed":
        for key, kind in (("codecs", dtype), ("index_codecs", _BIG_ENOUGH)):
            if key in settings:
                settings[key] = _chain(settings[key], kind, f"{place}.{key}", findings)
    elif name == "bytes" and settings.get("endian") is None and _itemsize(dtype) > 1:
        settings["endian"] = "little"
        text = f"names no byte order for {dtype}, and is taken for 'little'"
        findings.append(_flaw(f"{place}.endian", text, "'little' or 'big'"))
    elif name in compressors.KNOWN:
        settings, missing = compressors.KNOWN[name].read_settings(settings, _itemsize(dtype))
        if missing:
            text = f"{name} lacks {', '.join(missing)}, which only writers need"
            findings.append(_flaw(place, text, ", ".join(missing)))
    if settings or given is not None:
        found["configuration"] = settings
    return found


def _itemsize(dtype: Any) -> int:
    """Bytes of an element; 0 where the name does not tell."""
    bits = _BITS.fullmatch(dtype) if isinstance(dtype, str) else None
    return int(bits[1]) // 8 if bits is not None else 0


def _flaw(location: str, message: str, expected: str, spec: str = _RULE) -> Finding:
    rule = f"{spec}'{location}' is required, and other readers refuse the array without (MUST)"
    return Finding("array-document", location, message, expected=expected, rule=rule)
