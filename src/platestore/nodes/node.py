"""The base of all nodes: state, commits, attributes, listing.

A node keeps the document it was opened with, or that its last own commit wrote, and the models parsed
from it. Every change goes through :meth:`NGFFNode._commit`, which hands a draft of the models to a
function and writes the result through the commit function of the storage.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from platestore.errors import (
    ArgumentError,
    DanglingError,
    InvalidMetadataError,
    NodeNotFoundError,
    StoreWarning,
    UnreadableWarning,
    UnsupportedError,
)
from platestore.nodes.draft import Draft
from platestore.nodes.listing import DirectoryListing
from platestore.nodes.location import Location, location_of
from platestore.spec import versions
from platestore.spec.axes import AxisMeta, check_axes, default_axes
from platestore.spec.base import Model, merge_three, read_model
from platestore.spec.findings import Finding
from platestore.spec.omero import check_channel_names
from platestore.spec.own import Intent, OwnMeta, check_intent
from platestore.storage.attributes import AttributesView
from platestore.storage.documents import Document, constants, is_current, may_hold_constants, parse
from platestore.storage.hierarchy import (
    MIXED,
    Group,
    attributes_key,
    commit_attributes,
    group_exists,
    require_group,
)

if TYPE_CHECKING:
    import zarr
    from zarr.abc.store import Store
    from zarr.storage import StorePath

    from platestore.copying.report import CopyReport

    # Not at run time: jedi, and so completion in IPython, fails on properties whose annotation it can
    # evaluate to a Literal.
    from platestore.spec.versions import Version

M = TypeVar("M", bound=Model)
T = TypeVar("T")


class NGFFNode(DirectoryListing, Generic[M]):
    """A node (a group) of an OME-NGFF hierarchy.

    Parameters
    ----------
    group : zarr.Group
        The group.
    parse_meta : bool
        Whether to read its metadata. Without it, ``channel_names`` must be given.
    channel_names : list of str, optional
        Channel names for what is created below this node.
    axes : list of AxisMeta, optional
        Axes for what is created below this node; T, C, Z, Y, X by default.
    overwriting_creation : bool
        Whether creating a child that exists replaces its data and metadata (otherwise
        ``FileExistsError``).
    """

    _kind: ClassVar[versions.Kind] = "unknown"
    _model: ClassVar[type[Model]] = Model

    def __init__(
        self,
        group: zarr.Group | Location,
        parse_meta: bool = True,
        channel_names: Sequence[str] | None = None,
        axes: Iterable[AxisMeta] | None = None,
        overwriting_creation: bool = False,
    ) -> None:
        if channel_names is None and not parse_meta:
            raise ArgumentError("without parse_meta, channel_names must be given")
        self._location = group if isinstance(group, Location) else location_of(group)
        self._given_names = None if channel_names is None else check_channel_names(channel_names)
        self._given_axes = None if axes is None else check_axes(axes)
        self._overwriting = bool(overwriting_creation)
        self._group: Group | None = None
        self._meta: M | None = None
        self._own = OwnMeta()
        self._exposed = False
        self._born: bytes | None = None
        self._recovering = False
        self._top = True
        self._owner: NGFFNode[Any] | None = None
        if parse_meta:
            self.refresh()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._location.where}{self._summary()}>"

    def _summary(self) -> str:
        return ""

    # --- state ------------------------------------------------------------------------------------

    def refresh(self) -> Self:
        """Read the node's document again, after another process changed it.

        Returns
        -------
        NGFFNode
            The node itself.

        Raises
        ------
        NodeNotFoundError
            If the node is gone.
        """
        location = self._location
        self._load(require_group(location.storage, location.path, location.zarr_format))
        return self

    def _load(self, group: Group) -> None:
        """Take over a document that was just read."""
        location = self._location
        versions.detect_version(group.attributes, location.zarr_format, path=location.where)
        strange = self._strange_numbers(group)
        meta, own, findings = self._parse(group.attributes)
        self._warn([*findings, *strange])
        self._group, self._meta, self._own, self._exposed = group, meta, own, False
        self._born = None
        self._forget()
        if own.intents and not self._recovering and not location.storage.options.read_only:
            self._recover()

    def _strange_numbers(self, group: Group) -> list[Finding]:
        """Numbers that JSON has not, as zarr itself writes them: a warning, but an error in the OME part."""
        found = []
        for path, value in constants(group.attributes) if may_hold_constants(group.document.data) else ():
            text = f"{path} is {value}, which is no number of JSON"
            if self._location.ngff.is_vital(path, self._kind):
                hint = "write a number there; the other attributes can be read without it"
                key = attributes_key(self._location.path, group.zarr_format)
                raise InvalidMetadataError(text, path=self._location.storage.where(key), hint=hint)
            found.append(Finding("json-constant", path, f"is {value}, which is no number of JSON", "warning"))
        return found

    def _forget(self) -> None:
        """Drop what was derived from the document; subclasses that cache extend it."""

    def _recover(self) -> None:
        """Finish the changes that an interrupted process recorded in this document."""
        from platestore.nodes.intents import recover

        recover(self)

    def _loaded(self) -> Group:
        if self._group is None and self._born is not None:
            # Just created: the document is in hand, as it was written.
            location, data = self._location, self._born
            key = attributes_key(location.path, location.zarr_format)
            document = Document(key, parse(data, where=location.where), data)
            self._load(Group(location.path, location.zarr_format, document))
        if self._group is None:
            self.refresh()
        assert self._group is not None
        return self._group

    def _state(self) -> M:
        self._loaded()
        assert self._meta is not None
        return self._meta

    def _parse(self, attributes: Mapping[str, Any]) -> tuple[M, OwnMeta, list[Finding]]:
        """Parse the models from attributes."""
        parts = versions.unpack(attributes, self._location.zarr_format, self._kind)
        own, own_findings = read_model(
            OwnMeta, versions.own_part(attributes), location="platestore", path=self._location.where
        )
        for intent in own.intents or ():
            check_intent(intent, document=self._location.where)
        if not own.version:
            meta, findings = self._parse_parts(parts)
            return meta, own, [*findings, *own_findings]
        # Still empty, which is no flaw of a store under construction.
        return self._parse_parts(parts)[0], own, own_findings

    def _parse_parts(self, parts: Mapping[str, Any]) -> tuple[M, list[Finding]]:
        raise NotImplementedError

    def _parts(self, meta: M) -> dict[str, Any]:
        """The JSON parts of a model, by the specification's keys."""
        raise NotImplementedError

    def _warn(self, findings: Sequence[Finding]) -> None:
        if findings:
            shown = "; ".join(map(str, findings[:3]))
            more = f"; and {len(findings) - 3} more" if len(findings) > 3 else ""
            warnings.warn(f"{self._location.where}: {shown}{more}", StoreWarning, stacklevel=4)

    # --- commits ----------------------------------------------------------------------------------

    def _commit(self, change: Callable[[Draft[M]], T], *, check: bool = True) -> T:
        """Change the node's document.

        Parameters
        ----------
        change : callable
            Edits a draft of the models; what it returns is returned.
        check : bool
            Whether to compare the findings of the whole document before and after. A change that
            checked what it adds can leave that out.
        """
        box: list[tuple[Draft[M], T]] = []
        group = self._loaded()

        def apply(attributes: dict[str, Any]) -> None:
            draft = self._draft(attributes)
            checked = check or self._exposed
            before = {str(f) for f in draft.meta.findings()} if checked and not self._exposed else None
            result = change(draft)
            if checked:
                self._require_no_new(draft.meta, before, attributes)
            versions.pack(
                attributes,
                self._location.version,
                self._kind,
                self._parts(draft.meta),
                draft.own.to_json(),
            )
            box.append((draft, result))

        document = self._write(group, apply)
        draft, result = box[0]
        self._group = Group(group.path, group.zarr_format, document)
        if draft.meta is not self._meta:
            self._exposed = False  # what was handed out is no longer what is kept
        self._meta, self._own = draft.meta, draft.own
        self._forget()
        return result

    def _write(self, group: Group, apply: Callable[[dict[str, Any]], None]) -> Document:
        location = self._location
        location.storage.require_writable(location.path)
        try:
            return commit_attributes(
                location.storage, location.path, group.zarr_format, apply, known=group.document
            )
        except BaseException:
            # The copy in hand may be half changed: it is read again when it is needed next.
            self._group = self._meta = self._born = None
            raise

    def _peek(self) -> M:
        """The models as they are on disk now, for checks under the lock; the node's state stays."""
        location, document = self._location, self._loaded().document
        if is_current(location.storage, document):
            meta, own = self._state(), self._own
        else:
            fresh = require_group(location.storage, location.path, location.zarr_format)
            meta, own, _ = self._parse(fresh.attributes)
        if own.intents and not self._recovering:
            # An earlier call, of this process or another, stopped half-way: complete that first.
            self._recover()
            return self._peek()
        return meta

    def _is_listed(self, key: str) -> bool:
        """Whether the document on disk lists a member now; another process may have removed it."""
        location = self._location
        fresh = type(self).__new__(type(self))
        self._hand_down(fresh, location)
        fresh._top, fresh._owner, fresh._recovering = False, self._owner, True
        try:
            fresh.refresh()
        except NodeNotFoundError:
            return False
        return key in fresh

    def _relist(self, draft: Draft[M], intent: Intent) -> None:
        """List again what an intent replaced."""
        raise NotImplementedError

    def _draft(self, attributes: dict[str, Any]) -> Draft[M]:
        """The models to edit: those in hand if they are current, else fresh ones."""
        if self._group is not None and attributes is self._group.attributes and self._meta is not None:
            return Draft(self._meta, self._own)
        if self._exposed and self._group is not None and self._meta is not None:
            # Somebody holds the model and may have edited it: carry the edits over.
            base = versions.unpack(self._group.attributes, self._location.zarr_format, self._kind)
            theirs = versions.unpack(attributes, self._location.zarr_format, self._kind)
            meta, _ = self._parse_parts(merge_three(base, self._parts(self._meta), theirs))
            return Draft(meta, self._parse(attributes)[1])
        meta, own, _ = self._parse(attributes)
        return Draft(meta, own)

    def _require_no_new(self, meta: M, before: set[str] | None, attributes: Mapping[str, Any]) -> None:
        """Refuse a change that makes the document break a rule that it did not break before."""
        members: Iterable[Finding] = ()
        if before is None:
            parts = versions.unpack(attributes, self._location.zarr_format, self._kind)
            former = self._parse_parts(parts)[0]
            before, members = {str(f) for f in former.findings()}, self._member_findings(former, meta)
        new = [f for f in meta.findings() if str(f) not in before and not f.code.endswith("-empty")]
        new += members
        if new:
            raise InvalidMetadataError(
                f"the change would break the specification: {'; '.join(map(str, new))}",
                path=self._location.where,
                hint="nothing was written",
            )

    def _member_findings(self, former: M, meta: M) -> Iterator[Finding]:
        """What a document edited by hand says of its members that is not so."""
        listed = set(self._members_of(former))
        for path in self._members_of(meta):
            place = self._location.child(path)
            if path not in listed and not group_exists(place.storage, place.path, place.zarr_format):
                yield Finding("member-missing", path, "is listed, but there is no such group")

    def _members_of(self, meta: M) -> list[str]:
        """Paths of the groups that a document lists."""
        return []

    # --- metadata ---------------------------------------------------------------------------------

    @property
    def metadata(self) -> M:
        """The node's metadata model. Edits of it are written by :meth:`dump_meta`."""
        meta = self._state()
        self._exposed = True
        return meta

    def dump_meta(self) -> None:
        """Write the metadata model, with the edits made to it.

        What others changed in the document meanwhile is kept; where both changed the same value, the
        edit made here wins.

        Raises
        ------
        InvalidMetadataError
            If the edits break a rule of the specification; nothing is written then.
        """
        self._commit(lambda draft: None)

    @property
    def version(self) -> Version:
        """OME-NGFF version."""
        return self._location.version

    @property
    def zattrs(self) -> MutableMapping[str, Any]:
        """Attributes of the group: a mapping whose assignments are committed at once."""
        return AttributesView(lambda: self._loaded().attributes, self._commit_raw, self._location.where)

    @property
    def maybe_wrapped_ome_attrs(self) -> MutableMapping[str, Any]:
        """The OME part of the attributes: ``zattrs["ome"]`` in 0.5, ``zattrs`` in 0.4."""

        def read() -> Mapping[str, Any]:
            return versions.container(self._loaded().attributes, self._location.zarr_format)

        def change_ome(change: Callable[[dict[str, Any]], None]) -> None:
            self._commit_raw(lambda attributes: versions.edit_container(attributes, self.version, change))

        return AttributesView(read, change_ome, self._location.where)

    def _commit_raw(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change attributes as JSON; the models must be readable afterwards, or nothing is written."""
        group = self._loaded()

        def apply(attributes: dict[str, Any]) -> None:
            former, _, findings = self._parse(attributes)
            before = {str(f) for f in findings}
            change(attributes)
            meta, _, findings = self._parse(copy.deepcopy(attributes))
            new = [str(f) for f in findings if str(f) not in before]
            new += map(str, self._member_findings(former, meta))
            if new:
                raise InvalidMetadataError(
                    f"the assignment would break the specification: {'; '.join(new)}",
                    path=self._location.where,
                    hint="nothing was written",
                )

        document = self._write(group, apply)
        self._load(Group(group.path, group.zarr_format, document))

    # --- names and axes ---------------------------------------------------------------------------

    @property
    def channel_names(self) -> list[str]:
        """Names of the channels."""
        return list(self._given_names or [])

    @property
    def axes(self) -> list[AxisMeta]:
        """The axes, slowest first."""
        return default_axes() if self._given_axes is None else list(self._given_axes)

    def get_channel_index(self, name: str) -> int:
        """Index of a channel.

        Parameters
        ----------
        name : str
            Name of the channel.

        Raises
        ------
        ArgumentError
            If there is no channel of this name.
        """
        from platestore.spec.edits import index_of

        return index_of(self.channel_names, name)

    def get_axis_index(self, axis_name: str) -> int:
        """Index of an axis, whatever the case of its name.

        Raises
        ------
        ArgumentError
            If there is no axis of this name.
        """
        names = [axis.name.lower() for axis in self.axes]
        if not isinstance(axis_name, str) or axis_name.lower() not in names:
            raise ArgumentError(f"there is no axis {axis_name!r}", hint=f"axes: {', '.join(names)}")
        return names.index(axis_name.lower())

    # --- this handle ------------------------------------------------------------------------------

    def is_root(self) -> bool:
        """Whether this is the node that was opened, rather than one reached from it."""
        return self._top

    def copy_to(self, dst: str | os.PathLike[str] | Store | StorePath, **options: Any) -> CopyReport:
        """Copy this node: as it is, in part, in another layout or version, or into an archive.

        Parameters
        ----------
        dst : path or zarr Store
            The copy; a path inside a plate adds a position, or a well, to that.
        **options
            As for :func:`platestore.copy`.

        Returns
        -------
        CopyReport
        """
        from platestore.copying.api import copy

        return copy(self, dst, **options)

    def close(self) -> None:
        """End the use of this node. Every change is on disk already; nothing is kept open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- members ----------------------------------------------------------------------------------

    def _keys(self) -> list[str]:
        """Names of the members, by the metadata and in its order."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def keys(self) -> list[str]:
        """Names of the members, in the order of the metadata."""
        return self._keys()

    def values(self) -> Iterator[Any]:
        """Iterate over the members.

        One that cannot be opened is reported by a warning, and the others follow.
        """
        return (member for _, member in self.items())

    def items(self) -> Iterator[tuple[str, Any]]:
        """Iterate over names and members.

        One that cannot be opened is reported by a warning, and the others follow.
        """
        return self._open_each(self._keys(), self.__getitem__)

    def _ipython_key_completions_(self) -> list[str]:
        """Keys that IPython offers after ``node["``."""
        return self._keys()

    def __len__(self) -> int:
        return len(self._keys())

    def __contains__(self, key: object) -> bool:
        raise NotImplementedError

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> Any:
        raise NotImplementedError

    def __setitem__(self, key: str, value: Any) -> None:
        raise UnsupportedError(f"a {type(self).__name__} has no item assignment", path=self._location.where)

    def __delitem__(self, key: str) -> None:
        raise UnsupportedError(f"a {type(self).__name__} has no item deletion", path=self._location.where)

    def _open_child(self, cls: type[N], *segments: str) -> N:
        """Open a node below this one, with what it inherits."""
        location = self._location.child(*segments)
        location.storage.check_links(location.path, writing=False)
        node = cls.__new__(cls)
        node._top, node._owner = False, self
        self._hand_down(node, location)
        try:
            node.refresh()
        except NodeNotFoundError:
            other = versions.assumed(2 if location.zarr_format == 3 else 3).name
            node._location = replace(location, version=other)
            if group_exists(location.storage, location.path, node._location.zarr_format):
                text = MIXED.format(node._location.zarr_format, location.zarr_format)
                warnings.warn(f"{location.where}: {text} [formats-mixed]", StoreWarning, stacklevel=3)
                node.refresh()
                return node
            hint = "remove the entry with `del`, or restore the data"
            raise self._gone(
                "/".join(segments), "is listed in the metadata, but is not there", hint
            ) from None
        return node

    def _gone(self, key: str, problem: str, hint: str) -> DanglingError:
        """The error for a member that is not there; who holds an old handle needs no advice to remove it."""
        where = self._location.child(key).where
        if self._is_listed(key):
            return DanglingError(problem, path=where, hint=hint)
        text = "was removed or renamed since this node was read"
        return DanglingError(text, path=where, hint="refresh() the node, or open the store again")

    def _adopt_child(self, cls: type[N], data: bytes, *segments: str) -> N:
        """A node that was just created, over the document it was created with: nothing is read."""
        node = cls.__new__(cls)
        node._top, node._owner = False, self
        self._hand_down(node, self._location.child(*segments))
        node._born = data
        return node

    def _open_each(self, keys: Iterable[str], opener: Callable[[str], T]) -> Iterator[tuple[str, T]]:
        """Open members one by one; one that cannot be opened is reported, and the others follow.

        One that was removed or renamed since this node was read is passed over: nothing is wrong.
        """
        for key in keys:
            try:
                member = opener(key)
            except (NodeNotFoundError, InvalidMetadataError) as error:
                if isinstance(error, InvalidMetadataError) or self._is_listed(key):
                    warnings.warn(str(error), UnreadableWarning, stacklevel=3)
            else:
                yield key, member

    def _hand_down(self, node: NGFFNode[Any], location: Location) -> None:
        node._location = location
        node._given_names = self._given_names
        node._given_axes = self._given_axes
        node._overwriting = self._overwriting
        node._group = node._meta = None
        node._own, node._born = OwnMeta(), None
        node._exposed = node._recovering = False


N = TypeVar("N", bound=NGFFNode[Any])
