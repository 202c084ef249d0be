"""Documents of groups in the copy, and what lies in groups beside what the specification names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from platestore.arrays.convert import Converted, Unconvertible, convert_array
from platestore.arrays.grid import array_grid
from platestore.copying.files import leads_up
from platestore.copying.looks import look_at_array
from platestore.copying.plan import Plan, Rename, TreeCopy
from platestore.copying.report import ArrayReport
from platestore.copying.stamps import Stamp
from platestore.errors import InvalidMetadataError, NodeNotFoundError
from platestore.spec import versions
from platestore.spec.values import Json
from platestore.spec.versions import Kind, Version, assumed
from platestore.storage.base import DOCUMENTS, Storage, belongs, join
from platestore.storage.hierarchy import (
    ArrayDocument,
    array_attributes,
    array_files,
    group_files,
    read_array,
    read_group,
)
from platestore.tree.editor import AnyEditor
from platestore.tree.location import Location

_NODES = ("plate", "well", "image", "label", "series")


class _NoEqualError(Exception):
    """An array of others has no form in the other version."""


class GroupWriter:
    """Plans the documents of groups.

    Parameters
    ----------
    plan : Plan
        Gets them.
    version : {"0.4", "0.5"}
        Version of the copy.
    only_ome : bool
        Whether what others wrote stays behind.
    """

    def __init__(self, plan: Plan, version: Version, *, only_ome: bool) -> None:
        self.plan = plan
        self.version = version
        self.zarr_format = versions.adapter(version).zarr_format
        self.only_ome = only_ome
        self._places: dict[str, str] = {}

    def register(self, where: str, target: str) -> None:
        """Remember where a position goes."""
        self._places[where] = target

    def place_of(self, node: AnyEditor, path: str) -> str | None:
        """Where the node at a path of the same store goes; None if it is not copied."""
        return self._places.get(node.location.storage.where("" if path == "." else path))

    def write(self, node: AnyEditor, target: str, parts: Json | None) -> None:
        """Plan the document of a node.

        Parameters
        ----------
        node : Editor
            The node.
        target : str
            Its path in the copy.
        parts : dict, optional
            JSON of the parts that make it up, by key, where they are not as in the source.
        """
        location = node.location
        attributes = node.group.attributes
        own: Json | None = None
        if parts is not None:
            own = {key: value for key, value in node.own.to_json().items() if key != "intents"}
        self.attributes(location, attributes, node.kind, target, parts, own)

    def attributes(
        self,
        location: Location,
        attributes: Json,
        kind: Kind,
        target: str,
        parts: Json | None = None,
        own: Json | None = None,
    ) -> None:
        """Plan the document of a group from its attributes in the source."""
        where = location.where
        self.plan.add_stamp(where, repr(attributes).encode())
        converted = versions.convert(attributes, location.zarr_format, self.version, kind)
        if self.only_ome:
            converted = versions.adapter(self.version).without_others(converted, kind)
        if parts is not None:
            kept = {key: value for key, value in (own or {}).items() if key != "version"}
            versions.adapter(self.version).pack(converted, kind, parts, kept)
        files = group_files(self.zarr_format, converted, where=where)
        self.plan.add_documents(target, files)

    def bare(self, location: Location, target: str) -> None:
        """Plan a group that the specification gives no document (a row): attributes of others come along."""
        group = read_group(location.storage, location.path, location.zarr_format)
        self.attributes(location, group.attributes if group is not None else {}, "unknown", target)

    # --- files ------------------------------------------------------------------------------------

    def tree(
        self,
        storage: Storage,
        array: ArrayDocument,
        inner: str,
        target: str,
        rename: Rename | None = None,
        *,
        along: bool = True,
    ) -> TreeCopy:
        """The chunks of an array, to be copied as they are, and what they look like.

        Parameters
        ----------
        storage : Storage
            Where the array is.
        array : ArrayDocument
            The array.
        inner : str
            Directory in it that holds all its chunks.
        target : str
            Path of the array in the copy.
        rename : callable, optional
            Gives the new names of the chunk files.
        along : bool
            Whether files that are none of its chunks come along: what is said of them depends on it.
        """
        stamp, folders, strays = look_at_array(storage, array, inner, rename)
        if strays is not None:
            grid = array_grid(array)
            self.plan.add_strays(strays, "" if grid is None else grid.pattern, target, come_along=along)
        kept = None if folders is None else self.plan.keep(folders)
        return TreeCopy(storage, join(array.path, inner), target, False, stamp, rename, folders=kept)

    def new(self, kind: Kind, target: str, parts: Json, own: Json) -> None:
        """Plan a group that no source has."""
        attributes = {} if kind == "unknown" else versions.bare_attributes(self.version, kind, parts, own)
        self.plan.add_documents(target, group_files(self.zarr_format, attributes, where=target))

    def contents(self, location: Location) -> tuple[list[str], list[str]]:
        """Names of the directories and of the files in a group, without what is no part of a store."""
        try:
            directories, files = location.storage.list(location.path)
        except NodeNotFoundError:
            return [], []
        return [n for n in directories if belongs(n)], [n for n in files if belongs(n) and n not in DOCUMENTS]

    def others(
        self,
        location: Location,
        target: str,
        known: Iterable[str],
        taken: Iterable[str],
        *,
        listed: bool,
        contents: tuple[list[str], list[str]] | None = None,
    ) -> set[str]:
        """Plan what lies in a group beside what its document names: tables, unknown groups, files.

        Parameters
        ----------
        location : Location
            The group.
        target : str
            Its path in the copy.
        known : iterable of str
            Names of members that are copied, or left behind, for what they are.
        taken : iterable of str
            Names that are not to be used, for another source has them.
        listed : bool
            Whether the group's document lists its positions: one that is not listed is no part of the plate.
        contents : tuple of list, optional
            What is in the group, as :meth:`contents` gives it; it is listed by default.

        Returns
        -------
        set of str
            The names.
        """
        known, taken = set(known), set(taken)
        directories, files = self.contents(location) if contents is None else contents
        found = [name for name in directories if name not in known]
        if self.only_ome:
            places = [location.child(name).where for name in (*found, *files) if name not in known]
            self.plan.left += places
            return set()
        mine = [n for n in self._present(location, files) if n not in known]
        taken |= {name for name in (*mine, *found) if join(target, name) in self.plan.documents}
        for name in sorted(taken.intersection((*mine, *found))):
            self.plan.notes.append(
                f"{location.child(name).where}: its place in the copy is taken; not copied"
            )
        names = tuple(name for name in mine if name not in taken)
        if names:
            self._files(location, target, names)
        for name in found:
            if name in taken:
                continue
            child = location.child(name)
            if self._is_circle(child):
                continue
            if listed and holds_nodes(child):
                self.plan.notes.append(f"{child.where}: is not listed, and not copied")
            else:
                self._foreign(child, join(target, name))
        return {*names, *found}

    def _present(self, location: Location, files: Iterable[str]) -> list[str]:
        """Names of the files of others in a group; a link to nothing is noted."""
        out = []
        for name in files:
            if location.storage.size_of(join(location.path, name)) is None:
                self.plan.notes.append(f"{location.child(name).where}: is a link to nothing; not copied")
            else:
                out.append(name)
        return out

    def _is_circle(self, location: Location) -> bool:
        """Whether a directory is a link to one that it lies in, which is noted."""
        place = location.storage.local_path(location.path)
        circle = place is not None and leads_up(place)
        if circle:
            self.plan.notes.append(f"{location.where}: is a link to a directory that it lies in; not copied")
        return circle

    def _files(self, location: Location, target: str, names: tuple[str, ...]) -> None:
        stamp = Stamp()
        for name in names:
            stamp += Stamp(1, location.storage.size_of(join(location.path, name)) or 0)
            self.plan.add_stamp(location.child(name).where, stamp)
        self.plan.remark_lost(target, names)
        tree = TreeCopy(location.storage, location.path, target, documents=False, stamp=stamp, only=names)
        self.plan.trees.append(tree)
        self.plan.estimate += stamp.nbytes

    def _foreign(self, location: Location, target: str) -> None:
        """Plan a group, array or directory of others, in the version of the copy if it has a form there."""
        plan = self.plan
        before = (len(plan.documents), len(plan.trees), len(plan.arrays), plan.estimate)
        try:
            self._walk(location, target, convert=True)
        except _NoEqualError as error:
            for path in list(plan.documents)[before[0] :]:  # a dictionary keeps the order of what came
                del plan.documents[path]
            del plan.trees[before[1] :]
            del plan.arrays[before[2] :]
            plan.estimate = before[3]
            plan.notes.append(f"{target}: stays in zarr v{location.zarr_format}, since {error}")
            self._walk(location, target, convert=False)

    def _walk(self, location: Location, target: str, *, convert: bool) -> None:
        storage = location.storage
        directories, files = storage.list(location.path)
        documents = [name for name in files if name in DOCUMENTS and name != ".zmetadata"]
        here = _own_version(location, documents)
        array = read_array(storage, location.path, here.zarr_format)
        # What is in the other format already, in either store, is left as it is.
        converts = convert and here.zarr_format == location.zarr_format != self.zarr_format
        inner, rename = "", None
        if not converts or not documents:
            kept = [(name, storage.read(join(location.path, name)) or b"") for name in documents]
            self.plan.add_documents(target, kept)
        elif array is not None:
            inner, rename = self._array(location, array, target)
        else:
            group = read_group(storage, location.path, location.zarr_format)
            self.attributes(location, group.attributes if group else {}, "unknown", target)
        if array is not None:
            tree = self.tree(storage, array, inner, target, rename, along=not inner and rename is None)
            stamp = tree.stamp
            self.plan.add_stamp(f"{location.where}/*", stamp)
            self.plan.trees.append(tree)
            self.plan.estimate += stamp.nbytes
            self.plan.arrays.append(ArrayReport(target, "files", "as it is", stamp.files, stamp.nbytes))
            return
        names = tuple(self._present(location, (n for n in files if belongs(n) and n not in DOCUMENTS)))
        if names:
            self._files(location, target, names)
        for name in directories:
            if belongs(name) and not self._is_circle(location.child(name)):
                self._walk(location.child(name), join(target, name), convert=convert)

    def _array(self, location: Location, array: ArrayDocument, target: str) -> tuple[str, Rename | None]:
        converted = convert_array(array, self.zarr_format, None)
        if isinstance(converted, Unconvertible):
            raise _NoEqualError(converted.reason)
        attributes = array_attributes(location.storage, array.path, array.zarr_format)
        files = array_files(self.zarr_format, converted.content, attributes, where=target)
        self.plan.add_documents(target, files)
        return chunk_files(converted)


def chunk_files(converted: Converted) -> tuple[str, Rename | None]:
    """Where the chunks of a converted array lie: below a directory, or in files that are renamed."""
    old, new = converted.source_prefix, converted.target_prefix
    if not converted.is_nested_anew:
        if old == new:
            return "", None
        if old.endswith("/") and not new:
            return old[:-1], None
    return "", converted.rename


def _own_version(location: Location, documents: Iterable[str]) -> Location:
    """A place, in the version that its documents are of: others may mix them."""
    names = set(documents)
    found = (3 if "zarr.json" in names else 2) if names else location.zarr_format
    return location if found == location.zarr_format else replace(location, version=assumed(found).name)


def holds_nodes(location: Location) -> bool:
    """Whether a group is a node of the specification, or a row with wells."""
    if _kind(location) in _NODES:
        return True
    try:
        names = location.storage.list(location.path)[0]
    except NodeNotFoundError:
        return False
    return any(_kind(location.child(name)) == "well" for name in names if belongs(name))


def is_image(location: Location) -> bool:
    """Whether a group is an image or a label image."""
    return _kind(location) in ("image", "label")


def _kind(location: Location) -> Kind:
    """What a group is by its attributes."""
    try:
        group = read_group(location.storage, location.path, location.zarr_format)
    except InvalidMetadataError:
        return "unknown"
    return "unknown" if group is None else group.kind
