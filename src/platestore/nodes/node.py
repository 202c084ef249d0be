"""The base of what users hold: a thin face over the editor of one node."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from platestore.copying.api import copy
from platestore.copying.report import CopyReport
from platestore.errors import ArgumentError, UnsupportedError
from platestore.spec.axes import AxisMeta
from platestore.spec.base import Model
from platestore.spec.edits import index_of
from platestore.tree.editor import AnyEditor, Editor
from platestore.tree.listing import children, print_tree
from platestore.tree.location import Location, location_of
from platestore.tree.removal import remove
from platestore.tree.upkeep import UPKEEP

if TYPE_CHECKING:
    import zarr
    from zarr.abc.store import Store
    from zarr.storage import StorePath

    # Not at run time: jedi, and so completion in IPython, fails on properties whose annotation it can
    # evaluate to a Literal.
    from platestore.spec.versions import Version

M = TypeVar("M", bound=Model)

_NODES: dict[type[AnyEditor], type[NGFFNode[Any]]] = {}


class NGFFNode(Generic[M]):
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

    _editor_class: ClassVar[type[AnyEditor]] = Editor
    _editor: Editor[M]

    def __init_subclass__(cls, editor: type[AnyEditor] | None = None) -> None:
        super().__init_subclass__()
        if editor is not None:
            cls._editor_class = editor
            _NODES[editor] = cls

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
        location = group if isinstance(group, Location) else location_of(group)
        self._editor = self._editor_class(
            location,
            UPKEEP,
            channel_names=channel_names,
            axes=axes,
            overwriting=bool(overwriting_creation),
        )
        if parse_meta:
            self._editor.refresh()

    def __editor__(self) -> Editor[M]:
        return self._editor

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._editor.location.where}{self._editor.summary}>"

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

        Examples
        --------
        >>> other = ps.open_ome_zarr("plate.zarr/A/1/0", mode="r+")
        >>> other.rename_channel("GFP", "mCherry")
        >>> position.refresh().channel_names
        ['DAPI', 'mCherry']
        """
        self._editor.refresh()
        return self

    # --- metadata ---------------------------------------------------------------------------------

    @property
    def metadata(self) -> M:
        """The node's metadata model. Edits of it are written by :meth:`dump_meta`."""
        return self._editor.expose()

    def dump_meta(self) -> None:
        """Write the metadata model, with the edits made to it.

        What others changed in the document meanwhile is kept; where both changed the same value, the
        edit made here wins.

        Raises
        ------
        InvalidMetadataError
            If the edits break a rule of the specification; nothing is written then.

        Examples
        --------
        >>> plate.metadata.name = "screen 7"
        >>> plate.dump_meta()
        >>> ps.open_ome_zarr("plate.zarr").metadata.name
        'screen 7'
        """
        self._editor.commit(lambda draft: None)

    @property
    def version(self) -> Version:
        """OME-NGFF version."""
        return self._editor.location.version

    @property
    def zattrs(self) -> MutableMapping[str, Any]:
        """Attributes of the group: a mapping whose assignments are committed at once."""
        return self._editor.attributes

    @property
    def maybe_wrapped_ome_attrs(self) -> MutableMapping[str, Any]:
        """The OME part of the attributes: ``zattrs["ome"]`` in 0.5, ``zattrs`` in 0.4."""
        return self._editor.ome_attributes

    # --- names and axes ---------------------------------------------------------------------------

    @property
    def channel_names(self) -> list[str]:
        """Names of the channels."""
        return self._editor.channel_names

    @property
    def axes(self) -> list[AxisMeta]:
        """The axes, slowest first."""
        return self._editor.axes

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

        Examples
        --------
        >>> position.channel_names
        ['DAPI', 'GFP']
        >>> position.get_channel_index("GFP")
        1
        """
        return index_of(self.channel_names, name)

    def get_axis_index(self, axis_name: str) -> int:
        """Index of an axis, whatever the case of its name.

        Raises
        ------
        ArgumentError
            If there is no axis of this name.

        Examples
        --------
        >>> position.axis_names
        ['t', 'c', 'z', 'y', 'x']
        >>> position.get_axis_index("Z")
        2
        """
        names = [axis.name.lower() for axis in self.axes]
        if not isinstance(axis_name, str) or axis_name.lower() not in names:
            raise ArgumentError(f"there is no axis {axis_name!r}", hint=f"axes: {', '.join(names)}")
        return names.index(axis_name.lower())

    # --- this handle ------------------------------------------------------------------------------

    def is_root(self) -> bool:
        """Whether this is the node that was opened, rather than one reached from it.

        Examples
        --------
        >>> plate.is_root(), position.is_root()
        (True, False)
        """
        return self._editor.is_top

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

        Examples
        --------
        >>> report = position.copy_to("crop.zarr", crop="16:48,0:32")
        >>> ps.open_ome_zarr("crop.zarr")["0"].shape
        (1, 2, 4, 32, 32)
        """
        return copy(self, dst, **options)

    def close(self) -> None:
        """End the use of this node. Every change is on disk already; nothing is kept open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- the directory ----------------------------------------------------------------------------

    @property
    def zgroup(self) -> zarr.Group:
        """The ``zarr.Group`` of this node, opened anew at each access.

        Attributes and children that are written through it bypass the locks and checks of this library,
        and are outside its guarantees.
        """
        from platestore.storage import zarr_compat

        location = self._editor.location
        return zarr_compat.open_group(
            location.storage.zarr_store(),
            location.path,
            zarr_format=location.zarr_format,
            read_only=location.storage.options.read_only,
        )

    def group_keys(self) -> list[str]:
        """Sorted names of the child groups, as listed in the directory.

        Examples
        --------
        >>> plate.group_keys()
        ['A', 'B']
        """
        return children(self._editor.location)[0]

    def array_keys(self) -> list[str]:
        """Sorted names of the child arrays, as listed in the directory.

        Examples
        --------
        >>> position.array_keys()
        ['0']
        """
        return children(self._editor.location)[1]

    def is_leaf(self) -> bool:
        """Whether the directory holds no child group.

        Examples
        --------
        >>> plate.is_leaf(), position.is_leaf()
        (False, True)
        """
        return not self.group_keys()

    def print_tree(self, level: int | None = None) -> None:
        """Print the hierarchy below this node, as listed in the directories.

        Parameters
        ----------
        level : int, optional
            How deep; everything by default.

        Examples
        --------
        >>> plate["A"].print_tree()
        A
        └── 1
            └── 0
                └── 0 (1, 2, 4, 64, 64) uint16
        """
        print_tree(self._editor.location, level)

    # --- members ----------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[str]:
        return iter(self._editor.names())

    def keys(self) -> list[str]:
        """Names of the members, in the order of the metadata.

        Examples
        --------
        >>> plate.keys(), plate["A/1"].keys(), position.keys()
        (['A', 'B'], ['0'], ['0'])
        """
        return self._editor.names()

    def values(self) -> Iterator[Any]:
        """Iterate over the members.

        One that cannot be opened is reported by a warning, and the others follow.

        Examples
        --------
        >>> [row.name for row in plate.values()]
        ['A', 'B']
        """
        return (member for _, member in self.items())

    def items(self) -> Iterator[tuple[str, Any]]:
        """Iterate over names and members.

        One that cannot be opened is reported by a warning, and the others follow.

        Examples
        --------
        >>> for name, image in position.items():
        ...     print(name, image.shape, image.dtype)
        0 (1, 2, 4, 64, 64) uint16
        """
        return shown(self._editor.items())

    def _ipython_key_completions_(self) -> list[str]:
        """Keys that IPython offers after ``node["``."""
        return self._editor.names()

    def __len__(self) -> int:
        return len(self._editor.names())

    def __contains__(self, key: object) -> bool:
        return key in self._editor

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> Any:
        return over(self._editor[key])

    def __setitem__(self, key: str, value: Any) -> None:
        raise UnsupportedError(
            f"a {type(self).__name__} has no item assignment", path=self._editor.location.where
        )

    def __delitem__(self, key: Any) -> None:
        remove(self._editor, key)


def over(member: Any) -> Any:
    """The node that users hold over an editor; arrays are what they are."""
    if not isinstance(member, Editor):
        return member
    cls = next(_NODES[kind] for kind in type(member).__mro__ if kind in _NODES)
    node = cls.__new__(cls)
    node._editor = member
    return node


def shown(members: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Names and nodes, from names and editors."""
    return ((name, over(member)) for name, member in members)
