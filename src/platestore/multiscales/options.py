"""How an image is written: the arguments of ``to_ngff_zarr`` that say how zarr stores its arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from platestore.arrays.codec_objects import codec_json, fill_json, with_compressor
from platestore.arrays.layout import ArrayLayout, layout_of
from platestore.errors import ArgumentError
from platestore.spec import versions
from platestore.spec.versions import ZarrFormat
from platestore.storage.documents import check_json

_COMPRESSORS = ("compressor", "compressors")
#: Those that change what is written.
_MEANT = (*_COMPRESSORS, "fill_value", "filters", "order", "serializer", "attributes")
# Arguments of zarr and dask that may say what is done anyway, and where to say something else.
_SAME: dict[str, tuple[tuple[Any, ...], str]] = {
    "dimension_separator": (("/", None), "OME-NGFF wants chunks nested: '/'"),
    "compute": ((True, None), "pixels are computed and written at once"),
    "return_stored": ((False, None), "read the image again with from_ngff_zarr()"),
    "zarr_format": ((None,), "version= says which: 2 with '0.4', 3 with '0.5'"),
    "zarr_version": ((None,), "version= says which: 2 with '0.4', 3 with '0.5'"),
    "shards": ((None,), "chunks_per_shard= says how many chunks a shard has"),
    "chunk_key_encoding": ((None,), "OME-NGFF wants chunks nested"),
    "dimension_names": ((None,), "they are the names of the axes"),
    "consolidated": ((False, None), "documents of an image are few; nothing is consolidated"),
    "consolidate_metadata": ((False, None), "documents of an image are few; nothing is consolidated"),
    "write_empty_chunks": ((False, None), "chunks of nothing but the fill value are not written"),
    "synchronizer": ((None,), "threads share the work without one"),
    "object_codec": ((None,), "pixels are numbers"),
    "storage_options": ((None,), "pass a zarr Store, such as FsspecStore"),
    "config": ((None,), "workers= and max_memory= say what may be used"),
}


@dataclass(frozen=True, slots=True)
class Options:
    """How an image is written: the arguments, checked.

    Attributes
    ----------
    version : {"0.4", "0.5"}
        Version of OME-NGFF.
    compressor : str, codec, mapping, sequence or None
        How chunks are compressed, as callers say it.
    chunks_per_shard : object
        As it was given.
    is_archive : bool
        Whether it is written into an archive.
    others : dict
        What else was asked for, by the names of zarr's arguments.
    attributes : dict
        Attributes of each array.
    """

    version: versions.Version
    compressor: Any
    chunks_per_shard: Any
    is_archive: bool
    others: Mapping[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def ngff(self) -> versions.Adapter:
        """What the version is and has."""
        return versions.adapter(self.version)

    @property
    def zarr_format(self) -> ZarrFormat:
        """Version of zarr."""
        return self.ngff.zarr_format

    @classmethod
    def parse(
        cls,
        version: object,
        chunks_per_shard: Any,
        others: Mapping[str, Any],
        *,
        is_archive: bool,
        where: str,
    ) -> Options:
        """Check arguments.

        Raises
        ------
        ArgumentError
            If one is wrong or unknown.
        UnsupportedVersionError
            If the version cannot be written.
        """
        checked = versions.check_version(version)
        ngff, newer = versions.adapter(checked), versions.sharding()
        if is_archive and not ngff.has_archives:
            raise ArgumentError(
                f"an .ozx archive holds zarr v{newer.zarr_format}, which OME-NGFF has from {newer.name} on",
                path=where,
                hint=f'pass version="{newer.name}"',
            )
        if "chunks" in others:
            raise ArgumentError(
                "chunks belong to the image",
                path=where,
                hint="pass them to to_multiscales(image, chunks=...), or set multiscales.chunks",
            )
        _check_same(others, ngff.zarr_format, where)
        if others.keys() >= {*_COMPRESSORS}:
            raise ArgumentError("compressor and compressors say the same", hint="pass one of them")
        compressor = next((others[key] for key in _COMPRESSORS if key in others), "auto")
        attributes = others.get("attributes") or {}
        if not isinstance(attributes, Mapping):
            raise ArgumentError(f"attributes must be a dict, not {attributes!r}", path=where)
        check_json(dict(attributes), where="attributes")
        # Those that change something; their names too are looked at when the axes are known.
        kept = {k: v for k, v in others.items() if k in _MEANT or k == "dimension_names"}
        found = cls(checked, compressor, chunks_per_shard, is_archive, kept, dict(attributes))
        found._check_order()
        return found

    def _check_order(self) -> None:
        order = self.others.get("order")
        if order not in (None, "C", "F"):
            raise ArgumentError(f"order must be 'C' or 'F', not {order!r}")

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse names of dimensions that are not those of the axes."""
        given = self.others.get("dimension_names")
        if given is not None and list(given) != list(names):
            raise ArgumentError(
                f"dimension_names are {list(given)}; the axes are {list(names)}", hint="leave them out"
            )

    def encoded(self, layout: ArrayLayout, dims: Sequence[str]) -> ArrayLayout:
        """The layout of an array, encoded as is asked for.

        Raises
        ------
        ArgumentError
            If a codec is none, or has no form in this version of zarr.
        """
        layout = with_compressor(layout, self.compressor, self.zarr_format, dims)
        wanted = {k: v for k, v in self.others.items() if v is not None and not _is_auto(v)}
        document = layout.document(self.zarr_format, dims)
        before = dict(document)
        if "fill_value" in wanted:
            document["fill_value"] = fill_json(wanted["fill_value"], layout.dtype)
        filters = [codec_json(f) for f in _listed(wanted.get("filters"))]
        serializer = codec_json(wanted["serializer"]) if "serializer" in wanted else None
        if self.zarr_format == 2:
            document["order"] = wanted.get("order", "C")
            document["filters"] = filters or None
            _require_kind(filters, "id", self.version)
            if serializer is not None and not _is_usual(serializer):
                name = serializer.get("name") or serializer.get("id")
                raise ArgumentError(
                    f"zarr v2 (OME-NGFF {self.version}) has no serializer, such as {name!r}",
                    hint=f'leave it out, or pass version="{versions.assumed(3).name}"',
                )
        else:
            _require_kind([*filters, *([serializer] if serializer else [])], "name", self.version)
            document["codecs"] = _inserted(document["codecs"], filters, serializer)
        return layout if document == before else layout_of(document, self.zarr_format)


def _check_same(others: Mapping[str, Any], zarr_format: int, where: str) -> None:
    """Refuse arguments that are not known, or ask for something that is not done."""
    unknown = [key for key in others if key not in _MEANT and key not in _SAME]
    if unknown:
        raise ArgumentError(
            f"unknown arguments: {', '.join(unknown)}",
            path=where,
            hint=f"these say how arrays are stored: {', '.join(_MEANT)}",
        )
    for key, value in others.items():
        if key not in _SAME or key == "dimension_names":
            continue
        allowed, hint = _SAME[key]
        if key in ("zarr_format", "zarr_version"):
            allowed = (None, zarr_format)
        if not any(value is a or (type(value) is type(a) and value == a) for a in allowed):
            raise ArgumentError(f"{key}={value!r} cannot be had", path=where, hint=hint)


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def _listed(value: Any) -> list[Any]:
    """One codec, or several."""
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _require_kind(codecs: Sequence[Mapping[str, Any]], key: str, version: str) -> None:
    """Refuse codecs of the other version of zarr."""
    ours, other = ("v2", "v3") if key == "id" else ("v3", "v2")
    for codec in codecs:
        if key not in codec:
            raise ArgumentError(
                f"{codec.get('id') or codec.get('name')!r} is a codec of zarr {other}",
                hint=f"version {version!r} is written with zarr {ours}",
            )


def _is_usual(codec: Mapping[str, Any]) -> bool:
    """Whether a codec writes pixels as they are here, which zarr v2 does without one."""
    settings = codec.get("configuration") or {}
    return codec.get("name") == "bytes" and settings.get("endian", "little") == "little"


def _inserted(
    chain: list[dict[str, Any]], filters: list[dict[str, Any]], serializer: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """A codec chain with others before the one that makes bytes of pixels, and in its place."""
    if chain[0]["name"] == "sharding_indexed":
        inside = dict(chain[0]["configuration"])
        inside["codecs"] = _inserted(inside["codecs"], filters, serializer)
        return [{**chain[0], "configuration": inside}]
    return [*filters, serializer or chain[0], *chain[1:]]
