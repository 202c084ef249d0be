"""Editors of images: positions, label images, and the group that lists the label images of a position.

A label image is an image of another kind: the same arrays, levels and transformations, and in its document
how its values are shown. The list of a position's label images is in the ``labels`` group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from platestore.arrays.metadata import summarise
from platestore.errors import ArgumentError, InvalidMetadataError, NodeKeyError, NodeNotFoundError
from platestore.spec import edits, versions
from platestore.spec.axes import AxisMeta, channel_index
from platestore.spec.base import read_model
from platestore.spec.findings import Finding
from platestore.spec.labels import SOURCE, ImageLabelMeta, LabelImageMeta, LabelsMeta
from platestore.spec.multiscales import ImagesMeta
from platestore.spec.names import normalise_key, split_path
from platestore.spec.own import Intent, OwnMeta
from platestore.spec.reductions import FOR_IMAGES, FOR_LABELS
from platestore.spec.values import Json
from platestore.spec.versions import Kind
from platestore.storage.base import join
from platestore.storage.documents import read_document
from platestore.storage.hierarchy import (
    ArrayDocument,
    Group,
    attributes_key,
    find_array,
    group_exists,
    read_array,
    read_group,
    require_group,
)
from platestore.tree import intents
from platestore.tree.editor import Draft, Editor
from platestore.tree.holder import editor_of
from platestore.tree.misfits import misfits

if TYPE_CHECKING:
    from platestore.arrays.image import ImageArray

#: Name of the group that lists the label images of a position.
LABELS = "labels"


class ImageEditor(Editor[ImagesMeta]):
    """Editor of a position: one image group, its arrays and label images."""

    kind: ClassVar[Kind] = "image"
    title = "Position"
    #: How windows are reduced unless something else is asked for.
    pyramid_method: ClassVar[str] = FOR_IMAGES
    # Whether the document's rendering settings could not be read, and stay as they are.
    _omero_kept = False

    # --- document ---------------------------------------------------------------------------------

    def parse(self, attributes: Mapping[str, Any]) -> tuple[ImagesMeta, OwnMeta, list[Finding]]:
        """Parse the models; metadata in a place where no reader looks are an error that says so."""
        zarr_format = self.location.zarr_format
        if "multiscales" not in self.location.ngff.unpack(attributes, self.kind):
            content = {"attributes": attributes} if zarr_format == 3 else attributes
            elsewhere = versions.misplaced(content, zarr_format)
            if elsewhere is not None:
                raise InvalidMetadataError(elsewhere, path=self.location.where, hint="move it there")
        return super().parse(attributes)

    def parse_parts(self, parts: Mapping[str, Any]) -> tuple[ImagesMeta, list[Finding]]:
        """Parse the images; rendering settings that cannot be read are left alone."""
        where = self.location.where
        if "multiscales" not in parts:
            # A position that another tool left empty.
            axes = super().axes
            return edits.empty_image(axes, self.given_names or [], self.location.name), []
        try:
            return self._checked(*read_model(ImagesMeta, parts, location="image", path=where))
        except InvalidMetadataError as error:
            if "omero" not in parts or ".omero" not in str(error):
                raise
            # Rendering settings are no reason to keep the pixels from anyone.
            self._omero_kept = True
            images = {"multiscales": parts["multiscales"]}
            meta, findings = self._checked(*read_model(ImagesMeta, images, location="image", path=where))
            return meta, [*findings, Finding("omero", "omero", f"is ignored: {error.message}")]

    def _checked(self, meta: ImagesMeta, findings: list[Finding]) -> tuple[ImagesMeta, list[Finding]]:
        if not meta.multiscales:
            raise InvalidMetadataError("'multiscales' lists no image", path=self.location.where)
        for i, image in enumerate(meta.multiscales):
            for j, dataset in enumerate(image.datasets):
                field = f"multiscales[{i}].datasets[{j}].path"
                split_path(dataset.path, location=field, document=self.location.where)
        return meta, findings

    def parts(self, meta: ImagesMeta) -> Json:
        """The JSON of the images."""
        parts = meta.to_json()
        if meta.omero is None and not self._omero_kept:
            parts["omero"] = None  # taken out, and not just unreadable
        return parts

    def _member_findings(self, former: ImagesMeta, meta: ImagesMeta) -> Iterator[Finding]:
        """Arrays that a document edited by hand lists anew, or with other axes, and that do not fit it."""
        return misfits(self.location, former, meta)

    @property
    def summary(self) -> str:
        """Images and channels in hand."""
        if self._meta is None:
            return ""
        return f" images={self._meta.paths()} channels={self.channel_names}"

    def relist(self, draft: Draft[ImagesMeta], intent: Intent) -> None:
        """List an image again after its array was replaced."""
        place: Json = intent.entry or {}
        edits.relist_image(draft.meta, intent.path, place, place.get("dtype", "uint16"))

    # --- axes and channels ------------------------------------------------------------------------

    @property
    def axes(self) -> list[AxisMeta]:
        """The axes, slowest first."""
        return list(self.meta.multiscales[0].axes)

    @property
    def axis_names(self) -> list[str]:
        """Names of the axes in lower case."""
        return [axis.name.lower() for axis in self.axes]

    @property
    def channel_names(self) -> list[str]:
        """Names of the channels; "0", "1", ... for images that name none."""
        meta = self.meta
        if meta.omero is not None:
            return edits.channel_names(meta, 0)
        return edits.channel_names(meta, self._count_channels(meta))

    def _count_channels(self, meta: ImagesMeta) -> int:
        axis = channel_index(meta.multiscales[0].axes)
        if axis is None or not meta.multiscales[0].datasets:
            return 1
        shape = summarise(self.array_document(meta.multiscales[0].datasets[0].path)).shape
        return shape[axis] if axis < len(shape) else 1

    def dtype_of_image(self) -> str | None:
        """Name of the data type of the first level; None if there is no image."""
        datasets = self.meta.multiscales[0].datasets
        if not datasets:
            return None
        try:
            return summarise(self.array_document(datasets[0].path)).dtype
        except NodeNotFoundError:
            return None

    # --- arrays -----------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Names of the arrays."""
        return self.meta.paths()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, (str, int)) and not isinstance(key, bool) and self.name_of(key) in self.names()

    def name_of(self, key: int | str) -> str:
        """The name of an array: a string is one; an integer is an image's name, or the index of a level."""
        if isinstance(key, int) and not isinstance(key, bool):
            images = [image.datasets for image in self.meta.multiscales]
            if not any(d and d[0].path == str(key) for d in images) and 0 <= key < len(images[0]):
                return normalise_key(images[0][key].path)
        return normalise_key(key)

    def image_key(self, image: int | str) -> str:
        """The name of an array, or "*", which stands for all."""
        return self.name_of(image) if isinstance(image, int) else str(image)

    def array_document(self, path: str) -> ArrayDocument:
        """Read the document of an array that the metadata lists."""
        location = self.location.child(path)
        location.storage.check_links(location.path, writing=False)
        document = find_array(location.storage, location.path, location.zarr_format)
        if document is None:
            hint = "remove the entry with `del position[name]`, or restore the array"
            raise self.gone(path, "is listed in the metadata, but there is no such array", hint)
        return document

    @property
    def array_class(self) -> type[ImageArray]:
        """The class of the arrays."""
        from platestore.arrays.image import ImageArray

        return ImageArray

    def __getitem__(self, key: int | str) -> Any:
        """An array by its name, or an editor below this one by its path; see :class:`Position`."""
        from platestore.arrays.image import open_array

        path = self.name_of(key)
        listed = self.meta.find(path)
        if listed is not None:
            document = self.array_document(path)
            names = [axis.name for axis in listed[0].axes]
            keeper = self.upkeep.keeper(self, path)
            return open_array(self.location.storage, document, names, self.array_class, keeper)
        return self._unlisted(path)

    def _unlisted(self, path: str) -> Any:
        from platestore.arrays.image import open_array

        location = self.location.child(path)
        storage = location.storage
        storage.check_links(location.path, writing=False)
        parent, _, name = path.rpartition("/")
        if path and group_exists(storage, location.path, location.zarr_format):
            return self.open_group(path)
        if path and read_array(storage, location.path, location.zarr_format) is not None:
            if parent and group_exists(storage, join(self.location.path, parent), location.zarr_format):
                return self.open_group(parent)[name]
            return open_array(storage, self.array_document(path), self.axis_names, self.array_class)
        listed = ", ".join(self.names()) or "none"
        raise NodeKeyError(f"there is no image {path!r}", path=self.location.where, hint=f"images: {listed}")

    def opened(self, name: str, document: bytes) -> ImageArray:
        """The array over a document that was just written: nothing is read."""
        from platestore.arrays.image import open_array

        location = self.location.child(name)
        return open_array(
            location.storage,
            ArrayDocument(location.path, location.zarr_format, document),
            [axis.name for axis in self.axes],
            self.array_class,
            self.upkeep.keeper(self, name),
        )

    # --- label images -----------------------------------------------------------------------------

    @property
    def labels_group(self) -> LabelsEditor | None:
        """The group of the label images, or None if there is none."""
        location = self.location.child(LABELS)
        listing = self.listing()
        if listing is None and location.zarr_format == 2:
            # Without attributes it lists nothing, but it is there.
            group = read_group(location.storage, location.path, 2)
            return None if group is None else self.open_over(LabelsEditor, group)
        return listing

    def listing(self) -> LabelsEditor | None:
        """The group of the label images, if it lists any: one document is read."""
        location = self.location.child(LABELS)
        storage, fmt = location.storage, location.zarr_format
        storage.check_links(location.path, writing=False)
        document = read_document(storage, attributes_key(location.path, fmt))
        if document is None and fmt == 2 and location.ngff.labels_of_image(self.group.attributes):
            group = read_group(storage, location.path, fmt)
            return None if group is None else self.open_over(LabelsEditor, group)
        if document is None or document.content.get("node_type") == "array":
            return None
        return self.open_over(LabelsEditor, Group(location.path, fmt, document))

    def open_group(self, path: str) -> Any:
        """Open a group below this one as what its document says it is."""
        location = self.location.child(path)
        location.storage.check_links(location.path, writing=False)
        group = require_group(location.storage, location.path, location.zarr_format)
        kind = group.kind
        if kind == "labels":
            return self.open_over(LabelsEditor, group)
        return self.open_over(LabelImageEditor if kind == "label" else ImageEditor, group)

    @property
    def label_names(self) -> list[str]:
        """Names of the label images, in the order of the metadata."""
        listing = self.listing()
        return [] if listing is None else listing.names()

    def labels(self) -> Iterator[tuple[str, LabelImageEditor]]:
        """Names and editors of the label images, in the order of the metadata."""
        listing = self.listing()
        return iter(()) if listing is None else listing.labels()

    def get_label(self, name: str) -> LabelImageEditor:
        """The editor of a label image."""
        listing = self.listing()
        if listing is None or name not in listing.names():
            names = [] if listing is None else listing.names()
            raise NodeKeyError(
                f"there is no label image {name!r}",
                path=self.location.where,
                hint=f"labels: {', '.join(names) or 'none'}",
            )
        label: LabelImageEditor = listing[name]
        return label


class TiledEditor(ImageEditor):
    """Editor of a position whose arrays are grids of tiles."""

    title = "TiledPosition"

    @property
    def array_class(self) -> type[ImageArray]:
        """The class of the arrays."""
        from platestore.arrays.tiled import TiledImageArray

        return TiledImageArray


class LabelImageEditor(ImageEditor):
    """Editor of a multiscale image of whole numbers, one for each object in the image it belongs to."""

    kind: ClassVar[Kind] = "label"
    title = "LabelImage"
    pyramid_method: ClassVar[str] = FOR_LABELS
    # Whether the document's image-label could not be read, and stays as it is.
    _label_kept = False

    def parse_parts(self, parts: Mapping[str, Any]) -> tuple[ImagesMeta, list[Finding]]:
        """Parse the image, and how its values are shown."""
        image = {key: value for key, value in parts.items() if key != "image-label"}
        meta, findings = super().parse_parts(image)
        label, more = self._read_label(parts)
        whole = LabelImageMeta(multiscales=meta.multiscales, omero=meta.omero, image_label=label)
        return whole, [*findings, *more]

    def _read_label(self, parts: Mapping[str, Any]) -> tuple[ImageLabelMeta | None, list[Finding]]:
        self._label_kept = False
        if "image-label" not in parts:
            return None, []
        try:
            return read_model(
                ImageLabelMeta, parts["image-label"], location="image-label", path=self.location.where
            )
        except InvalidMetadataError as error:
            # Colors are no reason to keep the pixels from anyone.
            self._label_kept = True
            return None, [Finding("image-label", "image-label", f"is ignored: {error.message}")]

    def parts(self, meta: ImagesMeta) -> Json:
        """The JSON of the image, and of how its values are shown."""
        parts = super().parts(meta)
        if "image-label" not in parts and not self._label_kept:
            parts["image-label"] = None  # taken out, and not just unreadable
        return parts

    @property
    def summary(self) -> str:
        """Levels in hand."""
        return "" if self._meta is None else f" levels={self._meta.paths()}"

    @property
    def label_meta(self) -> ImageLabelMeta:
        """How values are shown; empty where the document does not say it."""
        meta = self.meta
        return (meta.image_label if isinstance(meta, LabelImageMeta) else None) or ImageLabelMeta()

    @property
    def source(self) -> str:
        """Path of the image that is annotated, relative to the label image."""
        source = self.label_meta.source
        return SOURCE if source is None or source.image is None else source.image


class LabelsEditor(Editor[LabelsMeta]):
    """Editor of the group of a position's label images: their names, in order."""

    kind: ClassVar[Kind] = "labels"
    title = "LabelsGroup"

    def parse_parts(self, parts: Mapping[str, Any]) -> tuple[LabelsMeta, list[Finding]]:
        """Parse the list, with what the image lists in its own document."""
        where, elsewhere = self.location.where, self._listed_above()
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
        owner, location = self.owner, self.location
        if not isinstance(owner, ImageEditor):
            return []
        names = location.ngff.labels_of_image(owner.group.attributes)
        return [
            name
            for name in names
            if group_exists(location.storage, location.child(name).path, location.zarr_format)
        ]

    def parts(self, meta: LabelsMeta) -> Json:
        """The JSON of the list."""
        return {"labels": list(meta.labels)}

    @property
    def summary(self) -> str:
        """Label images in hand."""
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
        if isinstance(self.owner, ImageEditor):
            return self.owner.axes
        for _, label in self.labels():
            return label.axes
        return super().axes

    def names(self) -> list[str]:
        """Names of the label images."""
        return list(self.meta.labels)

    @property
    def own_list(self) -> list[str] | None:
        """The label images that its own document lists; None if it has no list."""
        parts = self.location.ngff.unpack(self.group.attributes, "labels")
        return list(parts["labels"]) if "labels" in parts else None

    def listed(self, path: str, names: Sequence[str]) -> tuple[str, str] | None:
        """The listed label image that a path leads to or into, and what is left of the path."""
        for name in names:
            plain = normalise_key(name)
            if path == plain or path.startswith(f"{plain}/"):
                return name, path[len(plain) + 1 :]
        return None

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            return False
        found = self.listed(str(key).strip("/"), self.names())
        return found is not None and (not found[1] or found[1] in self[found[0]])

    def __getitem__(self, key: int | str) -> Any:
        """A label image by name, or an array below it by path."""
        found = self.listed(normalise_key(key), self.names())
        if found is None:
            raise self.unknown(key, self.names())
        label = self.open_child(LabelImageEditor, normalise_key(found[0]))
        return label[found[1]] if found[1] else label

    def unknown(self, key: object, names: Sequence[str]) -> NodeKeyError:
        """The error for a label image that is not listed."""
        listed = ", ".join(names) or "none"
        return NodeKeyError(
            f"there is no label image {str(key)!r}", path=self.location.where, hint=f"labels: {listed}"
        )

    def labels(self) -> Iterator[tuple[str, LabelImageEditor]]:
        """Names and editors of the label images, in the order of the metadata."""
        return self.open_each(
            self.names(), lambda name: self.open_child(LabelImageEditor, normalise_key(name))
        )

    def unlist(self, name: str, operation: str, staged: str | None = None) -> Intent:
        """Take a label image out of the list, and record what is done with its data."""

        def change(draft: Draft[LabelsMeta]) -> Intent:
            entry = {"index": draft.meta.labels.index(name)}
            draft.meta.labels = [n for n in draft.meta.labels if n != name]
            intent = Intent(operation=operation, id=intents.new_id(), path=name, target=staged, entry=entry)
            draft.add_intent(intent)
            return intent

        return self.commit(change)

    def install(self, name: str, staged: str) -> None:
        """Put a label image that was built under another name in its place, and list it.

        One of that name that is listed goes. Call it under the lock; whatever interrupts it, the next
        change of the group completes it.
        """

        def change(draft: Draft[LabelsMeta]) -> Intent:
            intent = Intent(operation="replace", id=intents.new_id(), path=name, target=staged, entry={})
            draft.add_intent(intent)
            return intent

        listed = name in self.names()
        self.finish(self.unlist(name, "replace", staged) if listed else self.commit(change))

    def relist(self, draft: Draft[LabelsMeta], intent: Intent) -> None:
        """List a label image that was replaced in its old place."""
        if intent.path not in draft.meta.labels:
            index = (intent.entry or {}).get("index", len(draft.meta.labels))
            names = list(draft.meta.labels)
            names.insert(index, intent.path)
            draft.meta.labels = names

    def append(self, name: str) -> None:
        """List a label image that is in place, as the last one."""

        def change(draft: Draft[LabelsMeta]) -> None:
            draft.meta.labels = [*(n for n in draft.meta.labels if n != name), name]

        self.commit(change)


def image_editor(position: object) -> ImageEditor:
    """The editor of a position or label image that somebody passed.

    Raises
    ------
    ArgumentError
        If it is none.
    """
    editor = editor_of(position)
    if not isinstance(editor, ImageEditor):
        raise ArgumentError(f"a {type(position).__name__} is no position")
    return editor
