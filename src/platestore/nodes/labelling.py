"""What positions can do with label images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from platestore.errors import NodeKeyError
from platestore.nodes.node import NGFFNode
from platestore.spec import versions
from platestore.spec.multiscales import ImagesMeta
from platestore.storage.documents import read_document
from platestore.storage.hierarchy import Group, attributes_key, read_group, require_group

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.arrays.codecs import CompressorLike
    from platestore.nodes.labels import LabelImage, LabelsGroup
    from platestore.nodes.position import Position

#: Name of the group that lists the label images of a position.
LABELS = "labels"


class Labelled(NGFFNode[ImagesMeta]):
    """The label images of a position."""

    def create_labels_group(self) -> LabelsGroup:
        """Create the group that lists the label images, if it is not there yet.

        Returns
        -------
        LabelsGroup
            It lists nothing when it is new.

        Raises
        ------
        ReadOnlyError
            If it would have to be created, and the store was opened for reading.
        NodeExistsError
            If there is data in its place that is no group.
        """
        from platestore.nodes.label_creation import ensure_labels_group

        return self.labels_group or ensure_labels_group(cast("Position", self))

    @property
    def labels_group(self) -> LabelsGroup | None:
        """The group of the label images, or None if there is none."""
        location = self._location.child(LABELS)
        listing = self._listing()
        if listing is None and location.zarr_format == 2:
            # Without attributes it lists nothing, but it is there.
            group = read_group(location.storage, location.path, 2)
            return None if group is None else self._labels_node(group)
        return listing

    def _listing(self) -> LabelsGroup | None:
        """The group of the label images, if it lists any: one document is read."""
        location = self._location.child(LABELS)
        storage, fmt = location.storage, location.zarr_format
        storage.check_links(location.path, writing=False)
        document = read_document(storage, attributes_key(location.path, fmt))
        if document is None and fmt == 2 and versions.labels_of_image(self._loaded().attributes, fmt):
            group = read_group(storage, location.path, fmt)
            return None if group is None else self._labels_node(group)
        if document is None or document.content.get("node_type") == "array":
            return None
        return self._labels_node(Group(location.path, fmt, document))

    def _labels_node(self, group: Group) -> LabelsGroup:
        from platestore.nodes.labels import LabelsGroup

        node: LabelsGroup = self._over(LabelsGroup, group)
        return node

    def _over(self, cls: Any, group: Group) -> Any:
        """A node below this one over a group that was just read."""
        node = cls.__new__(cls)
        node._top, node._owner = False, self
        inner = group.path.removeprefix(self._location.path).strip("/")
        self._hand_down(node, self._location.child(inner))
        node._load(group)
        return node

    def _open_group(self, path: str) -> Any:
        """Open a group below this one as what its document says it is."""
        from platestore.nodes.labels import LabelImage, LabelsGroup
        from platestore.nodes.position import Position

        location = self._location.child(path)
        location.storage.check_links(location.path, writing=False)
        group = require_group(location.storage, location.path, location.zarr_format)
        classes = {"label": LabelImage, "labels": LabelsGroup}
        return self._over(
            classes.get(versions.kind_of(group.attributes, location.zarr_format), Position), group
        )

    @property
    def label_names(self) -> list[str]:
        """Names of the label images, in the order of the metadata."""
        listing = self._listing()
        return [] if listing is None else listing._keys()

    @property
    def has_labels(self) -> bool:
        """Whether there is a label image."""
        return bool(self.label_names)

    def labels(self) -> Iterator[tuple[str, LabelImage]]:
        """Iterate over the label images, in the order of the metadata.

        One that cannot be opened is reported by a warning, and the others follow.

        Yields
        ------
        tuple of str and LabelImage
            Name and node.
        """
        listing = self._listing()
        return iter(()) if listing is None else listing.labels()

    def get_label(self, name: str) -> LabelImage:
        """Get a label image.

        Parameters
        ----------
        name : str
            Its name, as listed.

        Returns
        -------
        LabelImage

        Raises
        ------
        NodeKeyError
            If no label image of this name is listed.
        DanglingError
            If it is listed, but not there.
        """
        listing = self._listing()
        if listing is None or name not in listing._keys():
            names = [] if listing is None else listing._keys()
            raise NodeKeyError(
                f"there is no label image {name!r}",
                path=self._location.where,
                hint=f"labels: {', '.join(names) or 'none'}",
            )
        label: LabelImage = listing[name]
        return label

    def create_label(
        self,
        name: str,
        data: npt.ArrayLike,
        colors: Mapping[int, Sequence[int]] | Sequence[Mapping[str, Any]] | None = None,
        properties: Mapping[int, Mapping[str, Any]] | Sequence[Mapping[str, Any]] | None = None,
        chunks: Sequence[int] | None = None,
        shards_ratio: Sequence[int] | None = None,
        pyramid_levels: int | str | None = None,
        *,
        shards: Sequence[int] | str | None = None,
        compressor: CompressorLike | None = None,
        checksum: bool = False,
        pyramid_method: str | None = None,
    ) -> LabelImage:
        """Create a label image: its pixels, its levels, and then its entry in the list.

        It is listed when all of it is written, so no reader sees half of it. It has the axes of the
        position and the transformations of its finest level.

        Parameters
        ----------
        name : str
            Name of the label image, as for an image.
        data : array-like
            Integers, 0 for the background, with one dimension per axis of the position. Each dimension
            is that of the image or, where it does not matter, 1. A channel axis may be left out; it is
            written with length 1.
        colors : dict or list of dict, optional
            How values are shown: ``{1: (255, 0, 0)}`` or ``[{"label-value": 1, "rgba": [255, 0, 0, 255]}]``,
            integers from 0 to 255. By default each value in ``data`` gets a color of its own; with more
            than 1,024 values, data that are not in memory, or ``{}``, only the background gets one
            (transparent), and viewers choose the others.
        properties : dict or list of dict, optional
            What is known of values: ``{1: {"area": 12}}`` or ``[{"label-value": 1, "area": 12}]``.
        chunks, shards_ratio, shards, compressor, checksum
            As for :meth:`create_image`.
        pyramid_levels : int or "auto", optional
            Number of levels, the first included; by default as many as the image has, in the same steps,
            as the specification demands.
        pyramid_method : str, optional
            How levels are made; by default with the most frequent value (``"mode"``).

        Returns
        -------
        LabelImage

        Raises
        ------
        NodeExistsError
            If it exists, unless the node was opened with ``overwriting_creation=True``.
        ArgumentError
            If a name, shape, type, color or property is wrong, or there is no image yet; nothing was
            written then.
        """
        from platestore.nodes.label_creation import LabelPlan, create_label

        plan = LabelPlan(chunks, shards_ratio, shards, compressor, checksum, pyramid_levels, pyramid_method)
        return create_label(cast("Position", self), name, data, colors, properties, plan)

    def delete_label(self, name: str) -> None:
        """Remove a label image: its entry first, then its data.

        Raises
        ------
        NodeKeyError
            If no label image of this name is listed.
        """
        self._location.storage.require_writable(self._location.path)
        listing = self._listing()
        if listing is None or name not in listing._keys():
            self.get_label(name)  # says what there is
        else:
            del listing[name]
