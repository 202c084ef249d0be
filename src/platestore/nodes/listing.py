"""What lies in the directory of a node, whatever its metadata list."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from platestore.errors import InvalidMetadataError, UnreadableWarning
from platestore.nodes.tree import print_tree
from platestore.storage.base import join
from platestore.storage.hierarchy import group_exists, read_array

if TYPE_CHECKING:
    import zarr

    from platestore.nodes.location import Location


class DirectoryListing:
    """The methods of a node that look at its directory."""

    _location: Location

    @property
    def zgroup(self) -> zarr.Group:
        """The ``zarr.Group`` of this node, opened anew at each access.

        Attributes and children that are written through it bypass the locks and checks of this library,
        and are outside its guarantees.
        """
        from platestore.storage import zarr_compat

        location = self._location
        return zarr_compat.open_group(
            location.storage.zarr_store(),
            location.path,
            zarr_format=location.zarr_format,
            read_only=location.storage.options.read_only,
        )

    def group_keys(self) -> list[str]:
        """Sorted names of the child groups, as listed in the directory."""
        return self._children()[0]

    def array_keys(self) -> list[str]:
        """Sorted names of the child arrays, as listed in the directory."""
        return self._children()[1]

    def _children(self) -> tuple[list[str], list[str]]:
        location = self._location
        groups, arrays = [], []
        for name in location.storage.list(location.path)[0]:
            path = join(location.path, name)
            if name.startswith("."):
                continue  # our temporary directories
            try:
                if read_array(location.storage, path, location.zarr_format) is not None:
                    arrays.append(name)
                elif group_exists(location.storage, path, location.zarr_format):
                    groups.append(name)
            except InvalidMetadataError as error:
                warnings.warn(str(error), UnreadableWarning, stacklevel=3)
        return groups, arrays

    def is_leaf(self) -> bool:
        """Whether the directory holds no child group."""
        return not self.group_keys()

    def print_tree(self, level: int | None = None) -> None:
        """Print the hierarchy below this node, as listed in the directories.

        Parameters
        ----------
        level : int, optional
            How deep; everything by default.
        """
        print_tree(self._location, level)
