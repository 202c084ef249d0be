"""Editor of a bioformats2raw collection: several images without a plate, for reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from platestore.errors import NodeKeyError
from platestore.spec import rules
from platestore.spec.axes import AxisMeta
from platestore.spec.base import read_model
from platestore.spec.findings import Finding
from platestore.spec.names import normalise_key, split_path
from platestore.spec.own import OwnMeta
from platestore.spec.series import SeriesListMeta, SeriesMeta
from platestore.spec.versions import Kind
from platestore.storage.hierarchy import group_exists, read_group
from platestore.tree.editor import Editor
from platestore.tree.image import ImageEditor

#: What is said of a collection without images.
EMPTY = "lists no image, and there is no group 0"
MEND_PLATE = "where it holds a plate whose document was lost, `platestore check --repair` writes it again"


class SeriesEditor(Editor[SeriesMeta]):
    """Editor of a collection of images in the ``bioformats2raw.layout``; it is read, not changed.

    The images are those that the ``OME`` group lists, in its order. Without a list they are "0", "1",
    ... as far as there are groups of these names.
    """

    kind: ClassVar[Kind] = "series"
    title = "Bioformats2RawSeries"
    _paths: list[str] | None = None

    def parse(self, attributes: Mapping[str, Any]) -> tuple[SeriesMeta, OwnMeta, list[Finding]]:
        """Parse what the root says; the list of images may be elsewhere."""
        where = self.location.where
        parts = self.location.ngff.series_parts(attributes)
        meta, findings = read_model(SeriesMeta, parts, location="series", path=where)
        findings += rules.series_layout(meta.layout, "bioformats2raw.layout")
        return meta, self.own, findings

    def _forget(self) -> None:
        self._paths = None

    @property
    def summary(self) -> str:
        """The images."""
        return f" images={self.names()}"

    def names(self) -> list[str]:
        """Paths of the images."""
        if self._paths is None:
            self._paths = self._listed() or self._numbered()
            if not self._paths:
                self.warn([Finding("series-empty", "", f"{EMPTY} ({MEND_PLATE})", "warning")])
        return self._paths

    def _listed(self) -> list[str]:
        ome = self.location.child("OME")
        group = read_group(ome.storage, ome.path, ome.zarr_format)
        for attributes in (group.attributes if group else {}, self.group.attributes):
            parts = ome.ngff.series_parts(attributes)
            if "series" in parts:
                meta, _ = read_model(SeriesListMeta, parts, location="OME", path=ome.where)
                return [
                    split_path(path, location=f"series[{i}]", document=ome.where)
                    for i, path in enumerate(meta.series)
                ]
        return []

    def _numbered(self) -> list[str]:
        location = self.location
        out: list[str] = []
        while group_exists(location.storage, location.child(str(len(out))).path, location.zarr_format):
            out.append(str(len(out)))
        return out

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            return False
        return str(key).strip("/") in self.names()

    def __getitem__(self, key: int | str) -> Any:
        """An image by its path, or an array below it."""
        path = normalise_key(key)
        for listed in self.names():
            if path == listed or path.startswith(listed + "/"):
                position = self.open_child(ImageEditor, listed)
                return position[path[len(listed) + 1 :]] if path != listed else position
        raise NodeKeyError(
            f"there is no image {path!r}",
            path=self.location.where,
            hint=f"images: {', '.join(self.names()) or 'none'}",
        )

    def positions(self) -> Iterator[tuple[str, ImageEditor]]:
        """Paths and editors of the images."""
        return self.open_each(self.names(), lambda path: self.open_child(ImageEditor, path))

    def _first(self) -> ImageEditor:
        for _, position in self.positions():
            return position
        raise NodeKeyError("the collection has no image", path=self.location.where)

    @property
    def channel_names(self) -> list[str]:
        """Channel names of the first image."""
        return self._first().channel_names

    @property
    def axes(self) -> list[AxisMeta]:
        """Axes of the first image."""
        return self._first().axes
