"""The base of all editors: the document of one node, its models, and the one way to change it.

An editor keeps the document it was opened with, or that its last own commit wrote, and the models parsed
from it. Every change goes through :meth:`Editor.commit`, which hands a draft of the models to a function
and writes the result through the commit function of the storage. What users hold (``nodes``) keeps an
editor each; operations on stores take editors.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeAlias, TypeVar

from platestore.errors import (
    DanglingError,
    InvalidMetadataError,
    NodeNotFoundError,
    StoreWarning,
    UnreadableWarning,
)
from platestore.spec import versions
from platestore.spec.axes import AxisMeta, check_axes, default_axes
from platestore.spec.base import Model, merge_three, read_model
from platestore.spec.findings import Finding
from platestore.spec.omero import check_channel_names
from platestore.spec.own import Intent, OwnMeta, check_intent
from platestore.spec.values import Json
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
from platestore.tree.location import Location

if TYPE_CHECKING:
    from platestore.arrays.image import ShapeKeeper

M = TypeVar("M", bound=Model)
T = TypeVar("T")


@dataclass(slots=True)
class Draft(Generic[M]):
    """What a change may edit: the models of one document.

    Attributes
    ----------
    meta : Model
        The specification's part.
    own : OwnMeta
        platestore's namespace.
    """

    meta: M
    own: OwnMeta

    def add_intent(self, intent: Intent) -> None:
        """Record a change that needs more files."""
        self.own.intents = [*(self.own.intents or []), intent]

    def drop_intent(self, identifier: str) -> None:
        """Take away the record of a change that is complete."""
        left = [i for i in self.own.intents or [] if i.id != identifier]
        self.own.intents = left or None


class Upkeep(Protocol):
    """What an editor asks of the modules above it, which know nodes of every kind.

    Whoever opens the first editor of a store gives it one; members inherit it.
    """

    def finish(self, editor: AnyEditor, intent: Intent) -> None:
        """Do, or complete, what an intent says. Called under the lock of the editor's directory."""

    def keeper(self, editor: AnyEditor, name: str) -> ShapeKeeper:
        """What changes the shape of a listed array together with what depends on it."""

    def plate_around(self, location: Location, levels: int) -> AnyEditor | None:
        """The plate some levels above a node, if there is one in the same store."""


class Editor(Generic[M]):
    """The document of one node, and the members that it lists.

    Parameters
    ----------
    location : Location
        Where the node is.
    upkeep : Upkeep
        What completes interrupted changes.
    channel_names, axes : optional
        Channel names and axes for what is created below this node.
    overwriting : bool
        Whether creating a child that exists replaces its data and metadata.
    """

    kind: ClassVar[versions.Kind] = "unknown"
    #: What users call such a node.
    title: ClassVar[str] = "NGFFNode"

    def __init__(
        self,
        location: Location,
        upkeep: Upkeep,
        *,
        channel_names: Sequence[str] | None = None,
        axes: Iterable[AxisMeta] | None = None,
        overwriting: bool = False,
    ) -> None:
        self.location = location
        self.upkeep = upkeep
        self.given_names = None if channel_names is None else check_channel_names(channel_names)
        self.given_axes = None if axes is None else check_axes(axes)
        self.overwriting = overwriting
        self.own = OwnMeta()
        self.is_top = True
        self.owner: AnyEditor | None = None
        self.recovering = False
        self._group: Group | None = None
        self._meta: M | None = None
        self._exposed = False
        self._born: bytes | None = None

    def __editor__(self) -> Self:
        return self

    @property
    def summary(self) -> str:
        """The members in hand, for ``repr``."""
        return ""

    # --- state ------------------------------------------------------------------------------------

    def refresh(self) -> Self:
        """Read the document again, after another process changed it.

        Raises
        ------
        NodeNotFoundError
            If the node is gone.
        """
        location = self.location
        self.load(require_group(location.storage, location.path, location.zarr_format))
        return self

    def load(self, group: Group) -> None:
        """Take over a document that was just read."""
        location = self.location
        versions.detect_version(group.attributes, location.zarr_format, path=location.where)
        strange = self._strange_numbers(group)
        meta, own, findings = self.parse(group.attributes)
        self.warn([*findings, *strange])
        self._group, self._meta, self.own, self._exposed = group, meta, own, False
        self._born = None
        self._forget()
        if own.intents and not self.recovering and not location.storage.options.read_only:
            self.recover()

    def _strange_numbers(self, group: Group) -> list[Finding]:
        """Numbers that JSON has not, as zarr itself writes them: a warning, but an error in the OME part."""
        found = []
        for path, value in constants(group.attributes) if may_hold_constants(group.document.data) else ():
            text = f"{path} is {value}, which is no number of JSON"
            if self.location.ngff.is_vital(path, self.kind):
                hint = "write a number there; the other attributes can be read without it"
                key = attributes_key(self.location.path, group.zarr_format)
                raise InvalidMetadataError(text, path=self.location.storage.where(key), hint=hint)
            found.append(Finding("json-constant", path, f"is {value}, which is no number of JSON", "warning"))
        return found

    def _forget(self) -> None:
        """Drop what was derived from the document; subclasses that cache extend it."""

    @property
    def group(self) -> Group:
        """The document in hand; read first, if there is none."""
        if self._group is None and self._born is not None:
            # Just created: the document is in hand, as it was written.
            location, data = self.location, self._born
            key = attributes_key(location.path, location.zarr_format)
            document = Document(key, parse(data, where=location.where), data)
            self.load(Group(location.path, location.zarr_format, document))
        if self._group is None:
            self.refresh()
        assert self._group is not None
        return self._group

    @property
    def meta(self) -> M:
        """The models in hand; read first, if there are none."""
        if self._group is None or self._meta is None:
            self.group  # noqa: B018 - reads them
        assert self._meta is not None
        return self._meta

    def expose(self) -> M:
        """The models, for somebody who may edit them and calls :meth:`commit` later."""
        meta = self.meta
        self._exposed = True
        return meta

    def parse(self, attributes: Mapping[str, Any]) -> tuple[M, OwnMeta, list[Finding]]:
        """Parse the models from attributes."""
        parts = self.location.ngff.unpack(attributes, self.kind)
        own, own_findings = read_model(
            OwnMeta, versions.own_part(attributes), location="platestore", path=self.location.where
        )
        for intent in own.intents or ():
            check_intent(intent, document=self.location.where)
        if not own.version:
            meta, findings = self.parse_parts(parts)
            return meta, own, [*findings, *own_findings]
        # Still empty, which is no flaw of a store under construction.
        return self.parse_parts(parts)[0], own, own_findings

    def parse_parts(self, parts: Mapping[str, Any]) -> tuple[M, list[Finding]]:
        """Parse the model of the specification's part."""
        raise NotImplementedError

    def parts(self, meta: M) -> Json:
        """The JSON parts of a model, by the specification's keys."""
        raise NotImplementedError

    def warn(self, findings: Sequence[Finding]) -> None:
        """Tell of flaws that were read over."""
        if findings:
            shown = "; ".join(map(str, findings[:3]))
            more = f"; and {len(findings) - 3} more" if len(findings) > 3 else ""
            warnings.warn(f"{self.location.where}: {shown}{more}", StoreWarning, stacklevel=4)

    # --- commits ----------------------------------------------------------------------------------

    def commit(self, change: Callable[[Draft[M]], T], *, check: bool = True) -> T:
        """Change the node's document.

        Parameters
        ----------
        change : callable
            Edits a draft of the models; what it returns is returned.
        check : bool
            Whether to compare the findings of the whole document before and after. A change that
            checked what it adds can leave that out.
        """
        group = self.group
        draft: Draft[M] | None = None
        result: T

        def apply(attributes: Json) -> None:
            nonlocal draft, result
            draft = self._draft(attributes)
            result = change(draft)
            if check or self._exposed:
                self._require_no_new(draft.meta, attributes)
            parts, own = self.parts(draft.meta), draft.own.to_json()
            self.location.ngff.pack(attributes, self.kind, parts, own)

        document = self._write(group, apply)
        assert draft is not None
        self._group = Group(group.path, group.zarr_format, document)
        if draft.meta is not self._meta:
            self._exposed = False  # what was handed out is no longer what is kept
        self._meta, self.own = draft.meta, draft.own
        self._forget()
        return result

    def _write(self, group: Group, apply: Callable[[Json], None]) -> Document:
        location = self.location
        location.storage.require_writable(location.path)
        try:
            return commit_attributes(
                location.storage, location.path, group.zarr_format, apply, known=group.document
            )
        except BaseException:
            # The copy in hand may be half changed: it is read again when it is needed next.
            self._group = self._meta = self._born = None
            raise

    def peek(self) -> M:
        """The models as they are on disk now, for checks under the lock; the editor's state stays."""
        location, document = self.location, self.group.document
        if is_current(location.storage, document):
            meta, own = self.meta, self.own
        else:
            fresh = require_group(location.storage, location.path, location.zarr_format)
            meta, own, _ = self.parse(fresh.attributes)
        if own.intents and not self.recovering:
            # An earlier call, of this process or another, stopped half-way: complete that first.
            self.recover()
            return self.peek()
        return meta

    def _draft(self, attributes: Json) -> Draft[M]:
        """The models to edit: those in hand if they are current, else fresh ones."""
        if self._group is not None and attributes is self._group.attributes and self._meta is not None:
            return Draft(self._meta, self.own)
        if self._exposed and self._group is not None and self._meta is not None:
            # Somebody holds the model and may have edited it: carry the edits over.
            base = self.location.ngff.unpack(self._group.attributes, self.kind)
            theirs = self.location.ngff.unpack(attributes, self.kind)
            meta, _ = self.parse_parts(merge_three(base, self.parts(self._meta), theirs))
            return Draft(meta, self.parse(attributes)[1])
        meta, own, _ = self.parse(attributes)
        return Draft(meta, own)

    def _require_no_new(self, meta: M, attributes: Mapping[str, Any]) -> None:
        """Refuse a change that makes the document break a rule that it did not break before."""
        new = [f for f in meta.findings() if not f.code.endswith("-empty")]
        if new or self._exposed:  # only then it matters what it was before
            former = self.parse_parts(self.location.ngff.unpack(attributes, self.kind))[0]
            before = {str(f) for f in former.findings()}
            new = [f for f in new if str(f) not in before]
            new += self._member_findings(former, meta) if self._exposed else ()
        if new:
            raise InvalidMetadataError(
                f"the change would break the specification: {'; '.join(map(str, new))}",
                path=self.location.where,
                hint="nothing was written",
            )

    def _member_findings(self, former: M, meta: M) -> Iterator[Finding]:
        """What a document edited by hand says of its members that is not so."""
        listed = set(self._members_of(former))
        for path in self._members_of(meta):
            place = self.location.child(path)
            if path not in listed and not group_exists(place.storage, place.path, place.zarr_format):
                yield Finding("member-missing", path, "is listed, but there is no such group")

    def _members_of(self, meta: M) -> list[str]:
        """Paths of the groups that a document lists."""
        return []

    def commit_raw(self, change: Callable[[Json], None]) -> None:
        """Change attributes as JSON; the models must be readable afterwards, or nothing is written."""
        group = self.group

        def apply(attributes: Json) -> None:
            former, _, findings = self.parse(attributes)
            before = {str(f) for f in findings}
            change(attributes)
            meta, _, findings = self.parse(copy.deepcopy(attributes))
            new = [str(f) for f in findings if str(f) not in before]
            new += map(str, self._member_findings(former, meta))
            if new:
                raise InvalidMetadataError(
                    f"the assignment would break the specification: {'; '.join(new)}",
                    path=self.location.where,
                    hint="nothing was written",
                )

        document = self._write(group, apply)
        self.load(Group(group.path, group.zarr_format, document))

    @property
    def attributes(self) -> AttributesView:
        """Attributes of the group: a mapping whose assignments are committed at once."""
        return AttributesView(lambda: self.group.attributes, self.commit_raw, self.location.where)

    @property
    def ome_attributes(self) -> AttributesView:
        """The part of the attributes that the specification describes, wherever the version keeps it."""
        location = self.location

        def read() -> Mapping[str, Any]:
            return location.ngff.container(self.group.attributes)

        def change_ome(change: Callable[[Json], None]) -> None:
            self.commit_raw(lambda attributes: location.ngff.edit(attributes, change))

        return AttributesView(read, change_ome, location.where)

    # --- changes of more than one file ------------------------------------------------------------

    def recover(self) -> None:
        """Complete every change that is recorded in the document.

        If the process that recorded one is still at work, this waits for its lock, and then finds nothing
        left to do.
        """
        with self.location.storage.lock(self.location.path):
            outermost, self.recovering = not self.recovering, True
            try:
                self.refresh()
                for intent in list(self.own.intents or ()):
                    self.finish(intent)
            finally:
                self.recovering = not outermost

    def finish(self, intent: Intent) -> None:
        """Do, or complete, what an intent says. Call it under the lock of the node's directory."""
        outermost, self.recovering = not self.recovering, True
        try:
            self.upkeep.finish(self, intent)
        finally:
            self.recovering = not outermost

    def drop_intent(self, intent: Intent) -> None:
        """Take away the record of a change that is complete."""
        self.commit(lambda draft: draft.drop_intent(intent.id), check=False)

    def relist(self, draft: Draft[M], intent: Intent) -> None:
        """List again what an intent replaced."""
        raise NotImplementedError

    # --- names and axes ---------------------------------------------------------------------------

    @property
    def channel_names(self) -> list[str]:
        """Names of the channels."""
        return list(self.given_names or [])

    @property
    def axes(self) -> list[AxisMeta]:
        """The axes, slowest first."""
        return default_axes() if self.given_axes is None else list(self.given_axes)

    # --- members ----------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Names of the members, by the metadata and in its order."""
        raise NotImplementedError

    def __contains__(self, key: object) -> bool:
        raise NotImplementedError

    def __getitem__(self, key: Any) -> Any:
        raise NotImplementedError

    def items(self) -> Iterator[tuple[str, Any]]:
        """Names and members; one that cannot be opened is reported by a warning, and the others follow."""
        return self.open_each(self.names(), self.__getitem__)

    def is_listed(self, key: str) -> bool:
        """Whether the document on disk lists a member now; another process may have removed it."""
        fresh = self._inheriting(type(self), self.location)
        fresh.owner, fresh.recovering = self.owner, True
        try:
            fresh.refresh()
        except NodeNotFoundError:
            return False
        return key in fresh

    def open_child(self, cls: type[N], *segments: str) -> N:
        """Open a node below this one, with what it inherits."""
        location = self.location.child(*segments)
        location.storage.check_links(location.path, writing=False)
        node = self._inheriting(cls, location)
        try:
            node.refresh()
        except NodeNotFoundError:
            other = versions.assumed(2 if location.zarr_format == 3 else 3).name
            node.location = replace(location, version=other)
            if group_exists(location.storage, location.path, node.location.zarr_format):
                text = MIXED.format(node.location.zarr_format, location.zarr_format)
                warnings.warn(f"{location.where}: {text} [formats-mixed]", StoreWarning, stacklevel=3)
                node.refresh()
                return node
            hint = "remove the entry with `del`, or restore the data"
            raise self.gone("/".join(segments), "is listed in the metadata, but is not there", hint) from None
        return node

    def gone(self, key: str, problem: str, hint: str) -> DanglingError:
        """The error for a member that is not there; who holds an old handle needs no advice to remove it."""
        where = self.location.child(key).where
        if self.is_listed(key):
            return DanglingError(problem, path=where, hint=hint)
        text = "was removed or renamed since this node was read"
        return DanglingError(text, path=where, hint="refresh() the node, or open the store again")

    def adopt_child(self, cls: type[N], data: bytes, *segments: str) -> N:
        """An editor over a node that was just created, with its document in hand: nothing is read."""
        node = self._inheriting(cls, self.location.child(*segments))
        node._born = data
        return node

    def open_over(self, cls: type[N], group: Group) -> N:
        """An editor below this one over a group that was just read."""
        inner = group.path.removeprefix(self.location.path).strip("/")
        node = self._inheriting(cls, self.location.child(inner))
        node.load(group)
        return node

    def open_each(self, keys: Iterable[str], opener: Callable[[str], T]) -> Iterator[tuple[str, T]]:
        """Open members one by one; one that cannot be opened is reported, and the others follow.

        One that was removed or renamed since this node was read is passed over: nothing is wrong.
        """
        for key in keys:
            try:
                member = opener(key)
            except (NodeNotFoundError, InvalidMetadataError) as error:
                if isinstance(error, InvalidMetadataError) or self.is_listed(key):
                    warnings.warn(str(error), UnreadableWarning, stacklevel=3)
            else:
                yield key, member

    def _inheriting(self, cls: type[N], location: Location) -> N:
        node = cls(location, self.upkeep, overwriting=self.overwriting)
        node.given_names, node.given_axes = self._handed_down()
        node.is_top, node.owner = False, self
        return node

    def _handed_down(self) -> tuple[list[str] | None, list[AxisMeta] | None]:
        """Channel names and axes that members inherit."""
        return self.given_names, self.given_axes


#: An editor of a node of any kind.
AnyEditor: TypeAlias = Editor[Any]
N = TypeVar("N", bound=AnyEditor)
