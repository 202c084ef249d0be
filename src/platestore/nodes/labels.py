"""Label images, and the group that lists them.

A label image is a position of another kind: the same arrays, levels and transformations, and in its
document how its values are shown. The list of a position's label images is in the ``labels`` group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from platestore.errors import ArgumentError, InvalidMetadataError, NodeKeyError
from platestore.nodes import intents
from platestore.nodes.draft import Draft
from platestore.nodes.node import NGFFNode
from platestore.nodes.position import Position
from platestore.spec import versions
from platestore.spec.axes import AxisMeta
from platestore.spec.base import read_model
from platestore.spec.findings import Finding
from platestore.spec.labels import SOURCE, ImageLabelMeta, LabelImageMeta, LabelsMeta
from platestore.spec.multiscales import ImagesMeta
from platestore.spec.names import normalise_key, split_path
from platestore.spec.own import Intent
from platestore.spec.versions import Kind
from platestore.storage.hierarchy import group_exists

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from platestore.arrays.image import ImageArray


class LabelImage(Position):
    """A multiscale image of whole numbers, one for each object in the image it belongs to.

    It has what a :class:`Position` has; its arrays are of integer type, and its levels are made with
    the most frequent value (``"mode"``) unless another method is named. It is created by
    ``position.create_label(...)`` and reached by ``position.get_label(name)``,
    ``position["labels/name"]`` or ``open_ome_zarr(".../labels/name")``.
    """

    _kind: ClassVar[Kind] = "label"
    _pyramid_method: ClassVar[str] = "mode"
    # Whether the document's image-label could not be read, and stays as it is.
    _label_kept = False

    def _parse_parts(self, parts: Mapping[str, Any]) -> tuple[ImagesMeta, list[Finding]]:
        image = {key: value for key, value in parts.items() if key != "image-label"}
        meta, findings = super()._parse_parts(image)
        label, more = self._read_label(parts)
        whole = LabelImageMeta(multiscales=meta.multiscales, omero=meta.omero, image_label=label)
        return whole, [*findings, *more]

    def _read_label(self, parts: Mapping[str, Any]) -> tuple[ImageLabelMeta | None, list[Finding]]:
        self._label_kept = False
        if "image-label" not in parts:
            return None, []
        try:
            return read_model(
                ImageLabelMeta, parts["image-label"], location="image-label", path=self._location.where
            )
        except InvalidMetadataError as error:
            # Colors are no reason to keep the pixels from anyone.
            self._label_kept = True
            return None, [Finding("image-label", "image-label", f"is ignored: {error.message}")]

    def _parts(self, meta: ImagesMeta) -> dict[str, Any]:
        parts = super()._parts(meta)
        if "image-label" not in parts and not self._label_kept:
            parts["image-label"] = None  # taken out, and not just unreadable
        return parts

    def _summary(self) -> str:
        return "" if self._meta is None else f" levels={self._meta.paths()}"

    def compute_pyramid(
        self, levels: int | str | None = None, method: str = "mode", *args: Any, **kwargs: Any
    ) -> None:
        """Compute the levels from level 0: as for a position, but with ``"mode"`` by default."""
        super().compute_pyramid(levels, method, *args, **kwargs)

    @property
    def metadata(self) -> LabelImageMeta:
        """The node's metadata model. Edits of it are written by :meth:`dump_meta`."""
        return cast("LabelImageMeta", super().metadata)

    def _label(self) -> ImageLabelMeta:
        meta = cast("LabelImageMeta", self._state())
        return meta.image_label or ImageLabelMeta()

    @property
    def colors(self) -> dict[int, tuple[int, ...]]:
        """Red, green, blue and opacity (0 to 255) by label value, where the document says them."""
        found = self._label().colors or ()
        # Of two entries for one value the last counts, as the specification has it.
        return {c.label_value: tuple(c.rgba) for c in found if c.rgba is not None}

    @property
    def properties(self) -> dict[int, dict[str, Any]]:
        """What the document says about label values, by value."""
        found = self._label().properties or ()
        return {p.label_value: {k: v for k, v in p.to_json().items() if k != "label-value"} for p in found}

    @property
    def source(self) -> str:
        """Path of the image that is annotated, relative to the label image."""
        source = self._label().source
        return SOURCE if source is None or source.image is None else source.image

    # --- arrays -----------------------------------------------------------------------------------

    def create_image(self, name: str, data: npt.ArrayLike, *args: Any, **kwargs: Any) -> ImageArray:
        """Create an array (a level) and write its pixels, which must be integers.

        The parameters are those of :meth:`Position.create_image`.

        Raises
        ------
        ArgumentError
            If the data type is no integer type, or as for :meth:`Position.create_image`.
        """
        import numpy as np

        check_label_dtype(data.dtype if hasattr(data, "dtype") else np.asarray(data).dtype)
        return super().create_image(name, data, *args, **kwargs)

    def create_zeros(
        self, name: str, shape: Sequence[int], dtype: npt.DTypeLike, *args: Any, **kwargs: Any
    ) -> ImageArray:
        """Create an array (a level) of zeros, of an integer type.

        The parameters are those of :meth:`Position.create_zeros`.

        Raises
        ------
        ArgumentError
            If the data type is no integer type, or as for :meth:`Position.create_zeros`.
        """
        check_label_dtype(dtype)
        return super().create_zeros(name, shape, dtype, *args, **kwargs)

    def __delitem__(self, key: int | str) -> None:
        """Remove an array; a level goes with that of the image, if both have as many.

        Raises
        ------
        ArgumentError
            If the image has a level that belongs to it.
        """
        from platestore.nodes.reshaping import check_own_level

        check_own_level(self, self._name_of(key))
        super().__delitem__(key)


def check_label_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The data type, if a label image may have it.

    Raises
    ------
    ArgumentError
        If it is no signed or unsigned integer type of 8 to 64 bits, as the specification demands.
    """
    from platestore.arrays.layout import check_dtype

    kind = check_dtype(dtype)
    if kind.kind in "iu":
        return kind
    hint = 'label its objects, or convert it: data.astype("uint8")'
    if kind.kind == "f":
        hint = 'round and convert it: numpy.rint(data).astype("uint32")'
    raise ArgumentError(f"label images hold integers, not {kind.name}", hint=hint)


class LabelsGroup(NGFFNode[LabelsMeta]):
    """The group of a position's label images: their names, in order.

    It is created by ``position.create_labels_group()`` and reached by ``position.labels_group``.
    """

    _kind: ClassVar[Kind] = "labels"

    def _parse_parts(self, parts: Mapping[str, Any]) -> tuple[LabelsMeta, list[Finding]]:
        where, elsewhere = self._location.where, self._listed_above()
        if "labels" not in parts and not elsewhere:
            return LabelsMeta(labels=[]), [Finding("labels-missing", "labels", "is not there: no list")]
        given = {"labels": [], **parts}
        meta, findings = read_model(LabelsMeta, given, location="group", path=where)
        for i, path in enumerate(meta.labels):
            split_path(path, location=f"labels[{i}]", document=where)
        lost = [name for name in elsewhere if name not in meta.labels]
        meta.labels = [*meta.labels, *lost]
        if lost:
            text = f"{versions.LABELS_MISPLACED}: {', '.join(lost)} (`platestore check --repair` moves it)"
            findings = [*findings, Finding("labels-misplaced", "labels", text, "warning")]
        return meta, findings

    def _listed_above(self) -> list[str]:
        """Label images that the image lists in its own document, and that are there."""
        owner, location = self._owner, self._location
        if not isinstance(owner, Position):
            return []
        names = versions.labels_of_image(owner._loaded().attributes, location.zarr_format)
        return [
            name
            for name in names
            if group_exists(location.storage, location.child(name).path, location.zarr_format)
        ]

    def _parts(self, meta: LabelsMeta) -> dict[str, Any]:
        return {"labels": list(meta.labels)}

    def _summary(self) -> str:
        return "" if self._meta is None else f" labels={self._meta.labels}"

    def _members_of(self, meta: LabelsMeta) -> list[str]:
        return [normalise_key(name) for name in meta.labels]

    @property
    def channel_names(self) -> list[str]:
        """Label images have no channels."""
        return []

    @property
    def axes(self) -> list[AxisMeta]:
        """Axes of the position, or else of the first label image."""
        if isinstance(self._owner, Position):
            return self._owner.axes
        for _, label in self.labels():
            return label.axes
        return super().axes

    def _keys(self) -> list[str]:
        return list(self._state().labels)

    @property
    def own_list(self) -> list[str] | None:
        """The label images that its own document lists; None if it has no list."""
        parts = versions.unpack(self._loaded().attributes, self._location.zarr_format, "labels")
        return list(parts["labels"]) if "labels" in parts else None

    def _listed(self, path: str, names: Sequence[str]) -> tuple[str, str] | None:
        """The listed label image that a path leads to or into, and what is left of the path."""
        for listed in names:
            plain = normalise_key(listed)
            if path == plain or path.startswith(f"{plain}/"):
                return listed, path[len(plain) + 1 :]
        return None

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            return False
        found = self._listed(str(key).strip("/"), self._keys())
        return found is not None and (not found[1] or found[1] in self[found[0]])

    def __getitem__(self, key: int | str) -> Any:
        """Get a label image by name, or an array below it by path.

        Raises
        ------
        NodeKeyError
            If the group lists no such label image.
        """
        found = self._listed(normalise_key(key), self._keys())
        if found is None:
            raise self._unknown(key, self._keys())
        label = self._open_child(LabelImage, normalise_key(found[0]))
        return label[found[1]] if found[1] else label

    def _unknown(self, key: object, names: Sequence[str]) -> NodeKeyError:
        listed = ", ".join(names) or "none"
        return NodeKeyError(
            f"there is no label image {str(key)!r}", path=self._location.where, hint=f"labels: {listed}"
        )

    def labels(self) -> Iterator[tuple[str, LabelImage]]:
        """Iterate over the label images, in the order of the metadata.

        One that cannot be opened is reported by a warning, and the others follow.

        Yields
        ------
        tuple of str and LabelImage
            Name and node.
        """
        return self._open_each(self._keys(), lambda name: self._open_child(LabelImage, normalise_key(name)))

    def __delitem__(self, key: int | str) -> None:
        """Remove a label image (its entry first, then its data), or an array below it.

        Raises
        ------
        NodeKeyError
            If the group lists no such label image.
        """
        found = self._listed(normalise_key(key), self._keys())
        if found is not None and found[1]:
            del self[found[0]][found[1]]
            return
        with self._location.storage.lock(self._location.path):
            names = self._peek().labels
            found = self._listed(normalise_key(key), names)
            if found is None or found[1]:
                raise self._unknown(key, names)
            intents.finish(self, self._unlist(found[0], "delete"))

    def _unlist(self, name: str, operation: str, staged: str | None = None) -> Intent:
        """Take a label image out of the list, and record what is done with its data."""

        def change(draft: Draft[LabelsMeta]) -> Intent:
            entry = {"index": draft.meta.labels.index(name)}
            draft.meta.labels = [n for n in draft.meta.labels if n != name]
            intent = Intent(operation=operation, id=intents.new_id(), path=name, target=staged, entry=entry)
            draft.add_intent(intent)
            return intent

        return self._commit(change)

    def _install(self, name: str, staged: str) -> None:
        """Put a label image that was built under another name in its place, and list it.

        One of that name that is listed goes. Call it under the lock; whatever interrupts it, the next
        change of the group completes it.
        """

        def change(draft: Draft[LabelsMeta]) -> Intent:
            intent = Intent(operation="replace", id=intents.new_id(), path=name, target=staged, entry={})
            draft.add_intent(intent)
            return intent

        listed = name in self._keys()
        intent = self._unlist(name, "replace", staged) if listed else self._commit(change)
        intents.finish(self, intent)

    def _relist(self, draft: Draft[LabelsMeta], intent: Intent) -> None:
        if intent.path not in draft.meta.labels:
            index = (intent.entry or {}).get("index", len(draft.meta.labels))
            names = list(draft.meta.labels)
            names.insert(index, intent.path)
            draft.meta.labels = names

    def _list(self, name: str) -> None:
        """List a label image that is in place."""

        def change(draft: Draft[LabelsMeta]) -> None:
            draft.meta.labels = [*(n for n in draft.meta.labels if n != name), name]

        self._commit(change)
