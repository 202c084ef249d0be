"""Documents of arrays: what they say, and whether a reader could make sense of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from platestore.checking.hierarchy import elements
from platestore.checking.hierarchy.documents import Node, shown
from platestore.checking.hierarchy.elements import RULES, invalid
from platestore.spec.findings import Finding
from platestore.spec.values import Json
from platestore.storage.extensions import plain_array

_V2_DTYPE = re.compile(r"[<>|=]?([a-zA-Z])(\d{0,6})")
_V2_KINDS = {"i": "int", "u": "uint", "f": "float", "c": "complex"}
_PIXELS = re.compile(r"bool|u?int(?:8|16|32|64)|float(?:16|32|64)")
_INTEGERS = re.compile(r"u?int(?:8|16|32|64)")
#: A dimension that no reader can index, and a chunk that no codec takes.
_MAX_SIZE = 2**63 - 1
_MAX_CHUNK = 2**31 - 1
_V2_KEYS = ("shape", "chunks", "dtype", "compressor", "fill_value", "order", "filters")
_V3_KEYS = ("shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs")
_RULE_V2, _RULE_V3 = RULES[2], RULES[3]


@dataclass(frozen=True, slots=True)
class ArrayFacts:
    """What an array's document says.

    Attributes
    ----------
    shape : tuple of int or None
        Shape, in elements; None where the document has no usable one, as for the others.
    dtype : str or None
        Name of the data type, such as ``"uint16"``.
    names : list of str or None
        Names of the dimensions, in zarr v3.
    separator : str or None
        What stands between the numbers in the names of chunks.
    file : str
        The document.
    """

    shape: tuple[int, ...] | None
    dtype: str | None
    names: list[Any] | None
    separator: str | None
    file: str

    @property
    def is_integer(self) -> bool:
        """Whether pixels are integers of up to 64 bits."""
        return self.dtype is not None and _INTEGERS.fullmatch(self.dtype) is not None

    @property
    def is_pixels(self) -> bool:
        """Whether pixels are of a type that viewers show."""
        return self.dtype is not None and _PIXELS.fullmatch(self.dtype) is not None


def array_facts(node: Node) -> tuple[ArrayFacts, list[Finding]]:
    """Read an array's document.

    Parameters
    ----------
    node : Node
        An array.

    Returns
    -------
    facts : ArrayFacts
        What it says.
    findings : list of Finding
        What no reader could make sense of.
    """
    content = node.content
    if not isinstance(content, dict):
        flaw = Finding("array-document", "", f"is {shown(content)}, not an object", file=node.file)
        return ArrayFacts(None, None, None, None, node.file), [flaw]
    facts, findings = (_from_v2 if node.zarr_format == 2 else _from_v3)(content, node.file)
    return facts, [replace(finding, file=node.file) for finding in findings]


def _from_v2(content: Json, file: str) -> tuple[ArrayFacts, list[Finding]]:
    findings = [_lacks(key, _RULE_V2) for key in _V2_KEYS if key not in content]
    shape = _sizes(content, "shape", findings, _RULE_V2)
    chunks = _sizes(content, "chunks", findings, _RULE_V2, least=1)
    dtype = _v2_dtype(content.get("dtype"))
    if dtype is None and "dtype" in content:
        findings.append(invalid("dtype", content["dtype"], "a data type", _RULE_V2))
    if content.get("order", "C") not in ("C", "F"):
        findings.append(invalid("order", content["order"], "'C' or 'F'", _RULE_V2))
    separator = content.get("dimension_separator", ".")
    if separator not in (".", "/"):
        findings.append(invalid("dimension_separator", separator, "'.' or '/'", _RULE_V2))
        separator = None
    for key in ("compressor", "filters"):
        value = content.get(key)
        for item in value if key == "filters" and isinstance(value, list) else [value]:
            if item is not None and not (isinstance(item, dict) and isinstance(item.get("id"), str)):
                findings.append(invalid(key, item, "an object with an 'id'", _RULE_V2))
            elif item is not None:
                findings += elements.codec_findings(item["id"], f"{key}.id", 2)
    findings += _chunk_findings(shape, chunks, "chunks", dtype)
    findings += elements.type_findings(dtype, "dtype", 2)
    findings += elements.fill_findings(dtype, content, 2)
    return ArrayFacts(shape, dtype, None, separator, file), findings


def _v2_dtype(dtype: Any) -> str | None:
    if isinstance(dtype, list):
        return "structured"
    found = _V2_DTYPE.match(dtype) if isinstance(dtype, str) else None
    if found is None:
        return None
    kind, size = found.groups()
    if kind == "b":
        return "bool"
    return f"{_V2_KINDS[kind]}{8 * int(size)}" if kind in _V2_KINDS and size else str(dtype)


def _from_v3(raw: Json, file: str) -> tuple[ArrayFacts, list[Finding]]:
    content, flaws = plain_array(raw, 3)
    findings = flaws + [_lacks(key, _RULE_V3) for key in _V3_KEYS if key not in content]
    shape = _sizes(content, "shape", findings, _RULE_V3)
    dtype = content.get("data_type")
    if isinstance(dtype, dict):
        dtype = dtype.get("name")
    if not isinstance(dtype, str) and "data_type" in content:
        findings.append(invalid("data_type", content["data_type"], "a name", _RULE_V3))
    known = dtype if isinstance(dtype, str) else None
    chunks = None
    grid = _configured(content, "chunk_grid", findings)
    if grid is not None and grid[0] == "regular":
        chunks = _sizes(
            grid[1], "chunk_shape", findings, _RULE_V3, least=1, prefix="chunk_grid.configuration."
        )
    elif grid is not None:
        message = f"is {shown(grid[0])}; readers know the regular grid only"
        findings.append(Finding("array-extension", "chunk_grid.name", message, "warning"))
    keys = _configured(content, "chunk_key_encoding", findings)
    separator = None if keys is None else keys[1].get("separator", "." if keys[0] == "v2" else "/")
    if separator not in (None, ".", "/"):
        where = "chunk_key_encoding.configuration.separator"
        findings.append(invalid(where, separator, "'.' or '/'", _RULE_V3))
    inner = _inner_chunks(content, chunks, findings)
    names = content.get("dimension_names")
    if names is not None and not _are_names(names, shape):
        expected = "a name or null for each dimension"
        findings.append(invalid("dimension_names", names, expected, _RULE_V3))
        names = None
    findings += _chunk_findings(shape, inner or chunks, "chunk_grid", known)
    findings += elements.type_findings(known, "data_type", 3)
    findings += elements.fill_findings(known, content, 3)
    findings += elements.chain_findings(content, None if shape is None else len(shape))
    findings += elements.extension_findings(content)
    return ArrayFacts(shape, known, names, separator, file), findings


def _are_names(names: Any, shape: tuple[int, ...] | None) -> bool:
    if not isinstance(names, list) or not all(name is None or isinstance(name, str) for name in names):
        return False
    return shape is None or len(names) == len(shape)


def _configured(content: Json, key: str, findings: list[Finding]) -> tuple[str, Json] | None:
    """Name and configuration of an extension point."""
    value = content.get(key)
    if isinstance(value, str):
        return value, {}
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        configuration = value.get("configuration", {})
        if isinstance(configuration, dict):
            return value["name"], configuration
    if key in content:
        findings.append(invalid(key, value, "an object with a 'name'", _RULE_V3))
    return None


def _inner_chunks(
    content: Json, chunks: tuple[int, ...] | None, findings: list[Finding]
) -> tuple[int, ...] | None:
    """The chunks inside a shard, if there are shards."""
    codecs = content.get("codecs")
    if "codecs" not in content:
        return None
    if not isinstance(codecs, list) or not codecs:
        findings.append(invalid("codecs", codecs, "a list of codecs", _RULE_V3))
        return None
    inner = None
    for i, codec in enumerate(codecs):
        pair = _configured({f"codecs[{i}]": codec}, f"codecs[{i}]", findings)
        if pair is None or pair[0] != "sharding_indexed":
            continue
        where = f"codecs[{i}].configuration."
        chunks = _turned(chunks, codecs[:i])
        inner = _sizes(pair[1], "chunk_shape", findings, _RULE_V3, least=1, prefix=where)
        if inner and chunks and (len(inner) != len(chunks) or any(map(_rest, chunks, inner))):
            text = f"shards of {list(chunks)} do not hold whole chunks of {list(inner)}"
            findings.append(Finding("array-document", f"{where}chunk_shape", text, rule=_SHARD_RULE))
    return inner


def _turned(chunks: tuple[int, ...] | None, codecs: list[Any]) -> tuple[int, ...] | None:
    """The shape of a chunk behind codecs that exchange dimensions; None where they cannot."""
    for codec in codecs:
        order = codec.get("configuration", {}).get("order") if isinstance(codec, dict) else None
        if order is None or chunks is None:
            continue
        if not isinstance(order, list) or sorted(map(str, order)) != sorted(map(str, range(len(chunks)))):
            return None
        chunks = tuple(chunks[n] for n in order)
    return chunks


_SHARD_RULE = "Zarr v3, sharding codec: the shape of a shard is a multiple of that of its chunks (MUST)"


def _rest(whole: int, part: int) -> int:
    return whole % part


def _sizes(
    content: Json, key: str, findings: list[Finding], rule: str, *, least: int = 0, prefix: str = ""
) -> tuple[int, ...] | None:
    """A list of sizes; None, with a finding, if it is none."""
    values = content.get(key)
    if isinstance(values, list) and all(type(v) is int and least <= v <= _MAX_SIZE for v in values):
        return tuple(values)
    if key in content or prefix:
        expected = f"a list of integers of {least} to 2^63 - 1"
        findings.append(invalid(prefix + key, _first_wrong(values, least), expected, rule))
    return None


def _first_wrong(values: Any, least: int) -> Any:
    if not isinstance(values, list):
        return values
    return next(v for v in values if type(v) is not int or not least <= v <= _MAX_SIZE)


def _chunk_findings(
    shape: tuple[int, ...] | None, chunks: tuple[int, ...] | None, location: str, dtype: str | None
) -> Iterator[Finding]:
    if shape is None or chunks is None:
        return
    if len(shape) != len(chunks):
        text = f"chunks have {len(chunks)} dimensions, the array has {len(shape)}"
        yield Finding("array-document", location, text, rule="Zarr: chunks have the rank of the array (MUST)")
    bits = "".join(c for c in dtype or "" if c.isdigit())
    nbytes = max(1, int(bits[:4] or 8) // 8)
    for size in chunks:
        nbytes *= size
        if nbytes > _MAX_CHUNK:
            text = "a chunk has 2 GiB or more; most codecs take less"
            hint = "copy the store with smaller chunks"
            yield Finding("chunk-size", location, text, "warning", expected="less than 2 GiB", hint=hint)
            return


def _lacks(key: str, rule: str) -> Finding:
    return Finding("array-document", key, "is missing", rule=f"{rule}'{key}' is required (MUST)")
