"""Groups and arrays as documents: which files they are in zarr v2 and v3.

v2 keeps ``.zgroup`` or ``.zarray`` beside ``.zattrs``; v3 keeps one ``zarr.json`` with ``attributes``.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from platestore.errors import InvalidMetadataError, NodeNotFoundError, StoreWarning, UnsupportedError
from platestore.spec import versions
from platestore.spec.findings import Finding
from platestore.spec.values import Json
from platestore.spec.versions import ZarrFormat as ZarrFormat
from platestore.storage.base import Storage, is_chunk_name, join
from platestore.storage.documents import Document, commit, parse, read_document, serialise
from platestore.storage.extensions import plain_array

NodeType = Literal["group", "array"]


@dataclass(slots=True)
class Group:
    """A group's attributes as they were at one moment.

    Attributes
    ----------
    path : str
        Path of the group.
    zarr_format : {2, 3}
        Version of zarr.
    document : Document
        The document that holds the attributes.
    """

    path: str
    zarr_format: ZarrFormat
    document: Document

    @property
    def attributes(self) -> Json:
        """The attributes."""
        return attributes_of(self.document.content, self.zarr_format)

    @property
    def ngff(self) -> versions.Adapter:
        """The version of OME-NGFF that it states."""
        return versions.of(self.attributes, self.zarr_format)

    @property
    def kind(self) -> versions.Kind:
        """What it is by its attributes."""
        return self.ngff.kind_of(self.attributes)


def attributes_key(path: str, zarr_format: ZarrFormat) -> str:
    """The document that holds a node's attributes."""
    return join(path, ".zattrs" if zarr_format == 2 else "zarr.json")


def attributes_of(content: Json, zarr_format: ZarrFormat) -> Json:
    """The attributes in that document."""
    if zarr_format == 2:
        return content
    attributes = content.setdefault("attributes", {})
    if not isinstance(attributes, dict):
        raise InvalidMetadataError(f"'attributes' is a JSON {type(attributes).__name__}, not an object")
    return attributes


def read_group(storage: Storage, path: str, zarr_format: ZarrFormat | None = None) -> Group | None:
    """Read a group.

    Parameters
    ----------
    storage : Storage
        Where it is.
    path : str
        Path of the group.
    zarr_format : {2, 3}, optional
        Version of zarr, if known; otherwise v3 is tried first, as the specification prefers.

    Returns
    -------
    Group or None
        None if there is no group (there may be an array).
    """
    if zarr_format != 2:
        document = _read_v3(storage, path, sought=zarr_format == 3)
        if document is not None:
            if document.content.get("node_type") == "array":
                return None
            _check_v3(document, storage)
            return Group(path, 3, document)
        if zarr_format == 3:
            return None
    document = read_document(storage, join(path, ".zattrs"))
    if document is None:
        if not storage.exists(join(path, ".zgroup")):
            return None
        return Group(path, 2, Document(join(path, ".zattrs"), {}))
    if not storage.exists(join(path, ".zgroup")):
        return None  # the attributes of an array, or of a group that is not complete
    return Group(path, 2, document)


def _read_v3(storage: Storage, path: str, *, sought: bool) -> Document | None:
    """The ``zarr.json`` of a group; where it was not asked for, one that is refused may not be there.

    Stores that nobody may list refuse what is not there, too.
    """
    try:
        return read_document(storage, join(path, "zarr.json"))
    except OSError:
        if sought or not storage.exists(join(path, ".zgroup")):
            raise
        return None


def _check_v3(document: Document, storage: Storage) -> None:
    where = storage.where(document.key)
    if document.content.get("zarr_format") != 3:
        raise InvalidMetadataError(
            f"'zarr_format' is {document.content.get('zarr_format')!r}, not 3", path=where
        )
    if not isinstance(document.content.get("attributes", {}), dict):
        raise InvalidMetadataError("'attributes' is not a JSON object", path=where)


def misplaced_metadata(storage: Storage, path: str, content: Json, zarr_format: ZarrFormat) -> str | None:
    """Where the OME-NGFF metadata of a group lie that has none in its place; None if there are none.

    Parameters
    ----------
    storage : Storage
        Where the group is.
    path : str
        Path of the group.
    content : dict
        Its ``zarr.json``, or its ``.zattrs``.
    zarr_format : {2, 3}
        Version of zarr.
    """
    found = versions.misplaced(content, zarr_format)
    if found is None and zarr_format == 3:
        beside = read_document(storage, join(path, ".zattrs"))
        if beside is not None and versions.kind_of(beside.content, 2) != "unknown":
            return "the metadata lies in .zattrs, as in zarr v2, and the zarr.json beside it counts"
    return found


def find_array(storage: Storage, path: str, zarr_format: ZarrFormat) -> ArrayDocument | None:
    """Read an array's document, whatever its version of zarr; one other than that of its group is told."""
    found = read_array(storage, path, zarr_format)
    if found is None:
        found = read_array(storage, path, 2 if zarr_format == 3 else 3)
        if found is not None and (path, MIXED) not in storage.warned:
            storage.warned.add((path, MIXED))
            text = f"{storage.where(path)}: {MIXED.format(found.zarr_format, zarr_format)} [formats-mixed]"
            warnings.warn(text, StoreWarning, stacklevel=4)
    return found


#: What is said of metadata of an image in the document of an array.
OF_AN_ARRAY = "is an array with metadata of OME-NGFF in its own document; their place is the group around it"
#: What is said of a node that is of another version of zarr than what lists it.
MIXED = "is of zarr v{}, in a hierarchy of zarr v{}"


def require_group(storage: Storage, path: str, zarr_format: ZarrFormat | None = None) -> Group:
    """Read a group that must exist.

    Raises
    ------
    NodeNotFoundError
        If it does not.
    """
    group = read_group(storage, path, zarr_format)
    if group is None:
        raise NodeNotFoundError("there is no zarr group", path=storage.where(path))
    return group


def group_exists(storage: Storage, path: str, zarr_format: ZarrFormat) -> bool:
    """Whether there is a group, as far as its document tells."""
    if zarr_format == 2:
        return storage.exists(join(path, ".zgroup"))
    return read_group(storage, path, 3) is not None


def group_files(zarr_format: ZarrFormat, attributes: Json, *, where: str) -> list[tuple[str, bytes]]:
    """Names and contents of the documents of a new group; the one that makes it a group is the last."""
    if zarr_format == 2:
        files = [(".zgroup", b'{"zarr_format": 2}')]
        return [(".zattrs", serialise(attributes, where=where)), *files] if attributes else files
    content = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return [("zarr.json", serialise(content, where=where))]


def array_files(
    zarr_format: ZarrFormat, document: Json, attributes: Json | None = None, *, where: str
) -> list[tuple[str, bytes]]:
    """Names and contents of the documents of a new array; the one that makes it an array is the last."""
    attributes = attributes or {}
    if zarr_format == 2:
        return [
            (".zattrs", serialise(attributes, where=where)),
            (".zarray", serialise(document, where=where)),
        ]
    return [("zarr.json", serialise({**document, "attributes": attributes}, where=where))]


def create_node(storage: Storage, path: str, files: list[tuple[str, bytes]]) -> None:
    """Write the documents of a node into a directory that nothing refers to yet.

    Documents that an interrupted creation left there are replaced.
    """
    fresh = storage.make_directory(path)
    for name, data in files:
        (storage.create if fresh else storage.write)(join(path, name), data)


def ensure_group(storage: Storage, path: str, zarr_format: ZarrFormat) -> None:
    """Make a group without attributes (a row) if there is no node."""
    name = ".zgroup" if zarr_format == 2 else "zarr.json"
    if storage.make_directory(path) or not storage.exists(join(path, name)):
        for name, data in group_files(zarr_format, {}, where=path):
            storage.write(join(path, name), data)


def commit_attributes(
    storage: Storage,
    path: str,
    zarr_format: ZarrFormat,
    change: Callable[[Json], None],
    *,
    known: Document | None = None,
) -> Document:
    """Change the attributes of a group or array, through the commit function."""

    def apply(content: Json) -> None:
        content.pop("consolidated_metadata", None) if zarr_format == 3 else None
        change(attributes_of(content, zarr_format))

    def may_create() -> bool:
        # In v2 a group without attributes has no .zattrs; but a group that is gone must not come back.
        return zarr_format == 2 and any(storage.exists(join(path, name)) for name in (".zgroup", ".zarray"))

    return commit(storage, attributes_key(path, zarr_format), apply, known=known, may_create=may_create)


@dataclass(frozen=True, slots=True)
class ArrayDocument:
    """An array's metadata document, parsed but not interpreted.

    Attributes
    ----------
    path : str
        Path of the array.
    zarr_format : {2, 3}
        Version of zarr.
    data : bytes
        The document's bytes.
    """

    path: str
    zarr_format: ZarrFormat
    data: bytes

    @property
    def content(self) -> Json:
        """The parsed document, with everything spelled out."""
        return plain_array(parse(self.data, where=self.path), self.zarr_format)[0]

    @property
    def flaws(self) -> tuple[Finding, ...]:
        """What strict readers miss in it, and is guessed here."""
        try:
            return _flaws(self.data, self.zarr_format)
        except InvalidMetadataError as error:
            raise InvalidMetadataError(error.message, path=self.path, hint=error.hint) from None


@functools.lru_cache(maxsize=128)
def _flaws(data: bytes, zarr_format: ZarrFormat) -> tuple[Finding, ...]:
    """The flaws of an array's document; the positions of a plate have the same one, which is parsed once."""
    return tuple(plain_array(parse(data, where=""), zarr_format)[1])


def array_key(path: str, zarr_format: ZarrFormat) -> str:
    """The document that describes an array."""
    return join(path, ".zarray" if zarr_format == 2 else "zarr.json")


def read_array(storage: Storage, path: str, zarr_format: ZarrFormat) -> ArrayDocument | None:
    """Read an array's document, or None if there is no array.

    One of v2 that names no separator means ``.``; but programs that forget the key nest their chunks.
    Then the document in hand names the separator that they have.
    """
    data = storage.read_document(array_key(path, zarr_format))
    if data is None or (zarr_format == 3 and b'"group"' in data and _is_group(data, storage.where(path))):
        return None
    if zarr_format == 2 and b'"dimension_separator"' not in data and _is_nested(storage, path, data):
        data = _with_separator(storage, path, data)
    return ArrayDocument(path, zarr_format, data)


def _is_nested(storage: Storage, path: str, data: bytes) -> bool:
    """Whether the chunks of an array of v2 lie in directories, and none beside its document."""
    try:
        directories, files = storage.list(path)
    except NodeNotFoundError:
        return False
    except UnsupportedError:  # the store cannot be listed: the first chunk has to do
        shape = parse(data, where=storage.where(path)).get("shape")
        first = "0" * (len(shape) if isinstance(shape, list) else 0)
        keys = [join(path, separator.join(first)) for separator in "/."]
        return len(first) > 1 and storage.exists(keys[0]) and not storage.exists(keys[1])
    return any(name.isdecimal() for name in directories) and not any(map(is_chunk_name, files))


def _with_separator(storage: Storage, path: str, data: bytes) -> bytes:
    content = parse(data, where=storage.where(path))
    if path not in storage.warned:
        storage.warned.add(path)
        warnings.warn(
            f"{storage.where(path)}: its document names no dimension_separator, which means '.', but its "
            "chunks are nested; they are read as they lie (`platestore copy` writes a document that says so)",
            StoreWarning,
            stacklevel=4,
        )
    return serialise({**content, "dimension_separator": "/"}, where=storage.where(path))


def _is_group(data: bytes, where: str) -> bool:
    return parse(data, where=where).get("node_type") == "group"


def array_attributes(storage: Storage, path: str, zarr_format: ZarrFormat) -> Json:
    """The attributes of an array."""
    document = read_document(storage, attributes_key(path, zarr_format))
    return {} if document is None else copy.deepcopy(attributes_of(document.content, zarr_format))
