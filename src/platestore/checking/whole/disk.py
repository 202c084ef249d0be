"""What lies in the directories of a store, whatever its documents say; each is listed and read once."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from platestore.checking.whole.naming import named_members
from platestore.errors import InvalidMetadataError, PlatestoreError, UnsafeTargetError, UnsupportedError
from platestore.spec import versions
from platestore.spec.values import Json
from platestore.storage.base import DOCUMENTS, Storage, is_chunk_name, join
from platestore.storage.documents import MAX_DOCUMENT_BYTES, constants, may_hold_constants, parse
from platestore.storage.hierarchy import ZarrFormat

State = Literal["group", "array", "broken", "bare", "unreadable", "gone"]
Role = Literal["plate", "row", "well", "image", "labels", "series", "array", "unreadable", "empty", "other"]

_V3, _V2_GROUP, _V2_ARRAY, _V2_ATTRIBUTES = "zarr.json", ".zgroup", ".zarray", ".zattrs"
#: Members that have a meaning of their own, and are no wells, fields or levels.
SPECIAL = frozenset({"labels", "OME"})
# A chunk lies no deeper in its array than an image has dimensions, and the "c" of zarr v3.
_DEEPEST_CHUNK = 6
_DEEPEST = 24
_INDEX = re.compile(r"\d+")
_ROLE_OF_KIND: dict[str, Role] = {"label": "image"}
_ROLE_ABOVE: dict[Role, Role] = {"array": "image", "image": "well", "well": "row", "row": "plate"}


@dataclass(slots=True)
class DiskDirectory:
    """One directory of a store.

    Attributes
    ----------
    path : str
        Path in the store.
    state : str
        What its own document makes it: a group or an array; ``"broken"`` if the document cannot be parsed,
        ``"bare"`` if there is none, ``"unreadable"``, or ``"gone"``.
    zarr_format : {2, 3}, optional
        Version of zarr, by the document.
    content : dict
        The document of an array.
    attributes : dict
        The attributes.
    directories, hidden, files : list of str
        Names in it; those of directories that begin with a dot are the hidden ones.
    problem : str
        What is wrong with the document.
    document : str
        Key of the document that is broken.
    stray : str
        Key of a torn document of the other version of zarr.
    strange : str
        Where a document has a number that JSON has not.
    """

    path: str
    state: State = "gone"
    zarr_format: ZarrFormat | None = None
    content: Json = field(default_factory=dict)
    attributes: Json = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    problem: str = ""
    document: str = ""
    stray: str = ""
    strange: str = ""

    @property
    def kind(self) -> versions.Kind:
        """What a group is by its attributes."""
        if self.state in ("array", "unreadable", "gone") or self.zarr_format is None:
            return "unknown"
        return versions.kind_of(self.attributes, self.zarr_format)

    def part(self, kind: versions.Kind, key: str) -> Any:
        """A part of the metadata, or None."""
        if self.state in ("array", "unreadable", "gone") or self.zarr_format is None:
            return None
        ngff = versions.of(self.attributes, self.zarr_format)
        return ngff.unpack(self.attributes, kind).get(key)

    @property
    def own(self) -> Json:
        """Platestore's namespace, without the documents that wait in it."""
        return versions.own_part(self.attributes)

    @property
    def intents(self) -> list[Any]:
        """Records of unfinished changes."""
        found = self.own.get("intents")
        return found if isinstance(found, list) else []


class Disk:
    """The directories of a store.

    Parameters
    ----------
    storage : Storage
        The store.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        #: Whether directories can be listed; otherwise what documents name is looked at.
        self.is_listed = True
        self._named: dict[str, set[str]] = {}
        self._known: dict[str, DiskDirectory] = {}
        self._roles: dict[str, Role] = {}

    def __getitem__(self, path: str) -> DiskDirectory:
        if path not in self._known:
            self._known[path] = self._read(path)
        return self._known[path]

    def children(self, path: str) -> Iterator[DiskDirectory]:
        """Directories in a directory, without hidden ones."""
        for name in self[path].directories:
            yield self[join(path, name)]

    def role(self, path: str) -> Role:
        """What a directory is: by its metadata if that says so, else by what lies in it.

        A group that is whole and says nothing of OME-NGFF is taken for a row or a plate at most: images and
        wells say what they are, and others may keep arrays in a store, too.
        """
        if path not in self._roles:
            self._roles[path] = self._role(path)
        return self._roles[path]

    def listed_role(self, path: str) -> Role:
        """What a directory is that a document lists: what lies in it counts, if its document is silent."""
        found = self.role(path)
        if found != "other" or self[path].state != "group":
            return found
        return self._content(path)

    def members(self, path: str, role: Role) -> list[str]:
        """Names of the directories in a directory that are something."""
        names = self[path].directories
        return [name for name in names if name not in SPECIAL and self.role(join(path, name)) == role]

    # --- reading ----------------------------------------------------------------------------------

    def _read(self, path: str) -> DiskDirectory:
        out = DiskDirectory(path)
        try:
            directories, files = self._list(path)
        except FileNotFoundError:
            return out
        except UnicodeEncodeError:
            return out  # no file has such a name
        except (OSError, PlatestoreError) as error:
            out.state, out.problem = "unreadable", str(error)
            return out
        out.files = files
        directories = [name for name in directories if not self._leads_up(join(path, name))]
        out.directories = [name for name in directories if not name.startswith(".")]
        out.hidden = [name for name in directories if name.startswith(".")]
        try:
            self._read_documents(out)
        except InvalidMetadataError as error:
            out.state, out.problem = "broken", error.message
        except (OSError, PlatestoreError) as error:
            out.state, out.problem = "unreadable", str(error)
        if not self.is_listed:
            self._name_members(out)
        return out

    def _list(self, path: str) -> tuple[list[str], list[str]]:
        """What is in a directory; of one that cannot be listed, the documents that are there."""
        if self.is_listed:
            try:
                return self.storage.list(path)
            except UnsupportedError:
                self.is_listed = False
        files: list[str] = []
        refused: dict[str, OSError] = {}
        for name in sorted(DOCUMENTS):
            try:
                if self.storage.exists(join(path, name)):
                    files.append(name)
            except OSError as error:
                refused[name] = error  # as some servers answer for what is not there
        if refused and (not files or (_V2_ATTRIBUTES in refused and _V3 not in files)):
            raise next(iter(refused.values()))
        if not files and not self._named.get(path):
            raise FileNotFoundError(path)
        return [], files

    def _name_members(self, out: DiskDirectory) -> None:
        """Take what documents name for what is in a directory."""
        attributes, zarr_format = out.attributes, out.zarr_format or 3
        paths = list(named_members(attributes, zarr_format))
        optional = {"image": ["labels"], "label": [], "series": ["OME"]}.get(out.kind, [])
        if out.kind == "series" and not paths:
            numbers = itertools.takewhile(
                lambda n: self._is_there(join(out.path, n)), map(str, itertools.count())
            )
            paths = list(numbers)
        for name in (*paths, *(name for name in optional if self._is_there(join(out.path, name)))):
            above = out.path
            for segment in name.split("/"):
                self._named.setdefault(above, set()).add(segment)
                above = join(above, segment)
        out.directories = sorted(self._named.get(out.path, ()))

    def _is_there(self, path: str) -> bool:
        try:
            return any(self.storage.exists(join(path, name)) for name in (_V3, _V2_GROUP, _V2_ARRAY))
        except (OSError, PlatestoreError):
            return False

    def _leads_up(self, path: str) -> bool:
        """Whether a directory is a link to one that it lies in: a walk through it would not end."""
        local = self.storage.local_path(path)
        if local is None or not os.path.islink(local):
            return False
        target, here = os.path.realpath(local), os.path.realpath(os.path.dirname(local))
        return here == target or here.startswith(target.rstrip(os.sep) + os.sep)

    def _read_documents(self, out: DiskDirectory) -> None:
        names = set(out.files)
        content = self._v3(out, names)
        if content is not None:
            out.zarr_format = 3
            out.state = "array" if content.get("node_type") == "array" else "group"
            attributes = content.get("attributes", {})
            if not isinstance(attributes, dict):
                raise InvalidMetadataError("'attributes' is no JSON object")
            out.content, out.attributes = content, attributes
            return
        out.zarr_format = 2 if names & {_V2_GROUP, _V2_ARRAY, _V2_ATTRIBUTES} else None
        # Attributes that are whole count, whatever became of the document beside them.
        if _V2_ATTRIBUTES in names:
            out.attributes = self._parse(out, _V2_ATTRIBUTES)
        if names & {_V2_GROUP, _V2_ARRAY}:
            out.content = self._parse(out, _V2_ARRAY if _V2_ARRAY in names else _V2_GROUP)
            out.state = "array" if _V2_ARRAY in names else "group"
        else:
            out.state = "bare"

    def _v3(self, out: DiskDirectory, names: set[str]) -> Json | None:
        """The document of zarr v3; None if there is none, or a torn one beside whole documents of v2."""
        if _V3 not in names:
            return None
        try:
            content = self._parse(out, _V3)
            if content.get("node_type") not in ("group", "array"):
                raise InvalidMetadataError(f"'node_type' is {content.get('node_type')!r}")
            return content
        except InvalidMetadataError:
            try:
                found = [self._parse(out, name) for name in names & {_V2_GROUP, _V2_ARRAY}]
            except InvalidMetadataError:
                found = []
            if not found:
                out.zarr_format, out.document = 3, join(out.path, _V3)
                raise
        out.stray = join(out.path, _V3)
        return None

    def _parse(self, out: DiskDirectory, name: str) -> Json:
        out.document = join(out.path, name)
        data = self.storage.read(out.document)
        if data is None:
            local = self.storage.local_path(out.document)
            if local is not None and os.path.islink(local):
                raise UnsafeTargetError("is a link to what is not there", path=local)
            raise InvalidMetadataError("the document vanished while it was read")
        try:
            content = parse(data, where=self.storage.where(out.document))
        except InvalidMetadataError as error:
            if _is_json(data):
                # More than is read: somebody can mend it, so nothing is lost.
                raise UnsafeTargetError(error.message, path=self.storage.where(out.document)) from None
            raise
        if may_hold_constants(data):
            out.strange = next((f"{path} is {number}" for path, number in constants(content)), "")
        return content

    # --- what it is -------------------------------------------------------------------------------

    def _role(self, path: str) -> Role:
        here = self[path]
        if here.state == "array":
            return "array"
        if here.state == "unreadable":
            return "unreadable"
        if here.state == "gone":
            return "other"
        kind = here.kind
        if kind == "series" and self._has_wells(path):
            return "plate"  # whose document lost the key that says so
        if kind != "unknown":
            return _ROLE_OF_KIND.get(kind, kind)  # type: ignore[arg-type]
        if path.count("/") > _DEEPEST or "OME" in here.directories:
            return "other"  # no node of a plate lies so deep; collections of images are not guessed
        if here.state != "group":
            return "array" if self._holds_chunks(path) else self._content(path)
        found = self._content(path)
        if found in ("image", "well", "labels"):
            return "other"
        certain = versions.only_ours(here.attributes) or (found == "plate" and self._has_wells(path))
        return found if certain else "other"

    def _has_wells(self, path: str) -> bool:
        """Whether there are groups below groups that say that they are wells."""
        return any(well.kind == "well" for row in self.children(path) for well in self.children(row.path))

    def _content(self, path: str) -> Role:
        """What a directory is by what lies in it."""
        below = {self.role(child.path) for child in self.children(path) if _name(child.path) not in SPECIAL}
        if "array" in below and not any(map(self._may_be_level, self.children(path))):
            below = below - {"array"} | {"other"}
        for role, above in _ROLE_ABOVE.items():
            if role in below:
                return "labels" if role == "image" and _name(path) == "labels" else above
        if "unreadable" in below:
            return "unreadable"
        return "empty" if below <= {"empty"} else "other"

    def _may_be_level(self, here: DiskDirectory) -> bool:
        """Whether an array can be one of an image: 2 to 5 dimensions, or an unknown number."""
        return self.role(here.path) == "array" and may_be_level(here)

    def _holds_chunks(self, path: str) -> bool:
        """Whether there are chunks, but no document below: an array that lost its own."""
        return self.indices(path) > 1

    def indices(self, path: str) -> int:
        """How many indices the names of chunks below a directory have; 0 if there are other files, too."""
        count = 0
        for _ in range(_DEEPEST_CHUNK):
            here = self[path]
            files = [name for name in here.files if name not in DOCUMENTS and not name.startswith(".")]
            if not all(map(is_chunk_name, [*files, *here.directories])):
                return 0
            if files:
                return count + len(_INDEX.findall(files[0]))
            if not here.directories:
                return 0
            count += len(_INDEX.findall(here.directories[0]))
            path = join(path, here.directories[0])
            if self[path].state != "bare":
                return 0
        return 0


def _is_json(data: bytes) -> bool:
    """Whether lenient readers can read a document."""
    try:
        return len(data) > MAX_DOCUMENT_BYTES or isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


def may_be_level(array: DiskDirectory) -> bool:
    """Whether an array can be a level of an image, as far as its document tells: 2 to 5 dimensions."""
    shape = array.content.get("shape")
    return not isinstance(shape, list) or 2 <= len(shape) <= 5


def _name(path: str) -> str:
    return path.rpartition("/")[2]
