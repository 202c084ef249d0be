"""Editor of a well: the group of its fields of view (positions)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from platestore.errors import InvalidMetadataError, NodeKeyError
from platestore.spec.axes import AxisMeta
from platestore.spec.base import read_model
from platestore.spec.findings import Finding
from platestore.spec.names import normalise_key, split_path
from platestore.spec.own import Intent
from platestore.spec.values import Json
from platestore.spec.versions import Kind
from platestore.spec.well import ImageMeta, WellGroupMeta
from platestore.tree import intents
from platestore.tree.editor import AnyEditor, Draft, Editor
from platestore.tree.image import ImageEditor


class WellEditor(Editor[WellGroupMeta]):
    """Editor of a well of a plate."""

    kind: ClassVar[Kind] = "well"
    title = "Well"

    def parse_parts(self, parts: Mapping[str, Any]) -> tuple[WellGroupMeta, list[Finding]]:
        """Parse the list of positions."""
        where = self.location.where
        if "well" not in parts and self.given_names is not None and self.owner is None:
            return WellGroupMeta(images=[]), []  # a new node over a bare group
        if "well" not in parts:
            raise InvalidMetadataError("there is no well metadata", path=where)
        meta, findings = read_model(WellGroupMeta, parts["well"], location="well", path=where)
        for i, image in enumerate(meta.images):
            split_path(image.path, location=f"well.images[{i}].path", document=where)
        return meta, findings

    def parts(self, meta: WellGroupMeta) -> Json:
        """The JSON of the well."""
        return {"well": meta.to_json()}

    def _members_of(self, meta: WellGroupMeta) -> list[str]:
        return [image.path for image in meta.images]

    @property
    def summary(self) -> str:
        """Positions in hand."""
        return "" if self._meta is None else f" positions={[image.path for image in self._meta.images]}"

    # --- names and axes ---------------------------------------------------------------------------

    def plate(self) -> AnyEditor | None:
        """The plate of this well: the editor it was reached from, or that of the group two levels up."""
        node: AnyEditor | None = self.owner
        while node is not None and node.kind != "plate":
            node = node.owner
        if node is None:
            node = self.upkeep.plate_around(self.location, 2)
            self.owner = node
        return node

    @property
    def channel_names(self) -> list[str]:
        """Channel names of the first position, or those that new positions get."""
        first = self._first()
        if first is not None:
            return first.channel_names
        plate = None if self.given_names is not None else self.plate()
        return super().channel_names if plate is None else plate.channel_names

    @property
    def axes(self) -> list[AxisMeta]:
        """Axes of the first position, or those that new positions get."""
        first = self._first()
        if first is not None:
            return first.axes
        plate = None if self.given_axes is not None else self.plate()
        return super().axes if plate is None else plate.axes

    def _first(self) -> ImageEditor | None:
        for _, position in self.positions():
            return position
        return None

    # --- positions --------------------------------------------------------------------------------

    def fields(self) -> list[ImageMeta]:
        """The fields, with those that a batch under way is adding."""
        images = list(self.meta.images)
        node = self.owner
        while node is not None:
            for intent in node.own.intents or ():
                relative = self.location.path.removeprefix(node.location.path).strip("/")
                known = {image.path for image in images}
                added = (intent.images or {}).get(relative, [])
                images.extend(image for image in added if image.path not in known)
            node = node.owner
        return images

    def names(self) -> list[str]:
        """Names of the positions."""
        return [image.path for image in self.fields()]

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            return False
        name, _, rest = str(key).strip("/").partition("/")
        return name in self.names() and (not rest or rest in self[name])

    def __getitem__(self, key: int | str) -> Any:
        """A position by name, or something below it by path."""
        name, _, rest = normalise_key(key).partition("/")
        if name not in self.names():
            raise self.unknown(name, self.names())
        position = self.open_child(ImageEditor, name)
        return position[rest] if rest else position

    def unknown(self, name: str, names: Sequence[str]) -> NodeKeyError:
        """The error for a position that is not listed."""
        listed = ", ".join(names) or "none"
        return NodeKeyError(
            f"there is no position {name!r}", path=self.location.where, hint=f"positions: {listed}"
        )

    def positions(self) -> Iterator[tuple[str, ImageEditor]]:
        """Names and editors of the positions, in the order of the metadata."""
        return self.open_each(self.names(), lambda name: self.open_child(ImageEditor, name))

    def remove(self, name: str) -> None:
        """Remove a position: its entry first, then its data."""
        with self.location.storage.lock(self.location.path):
            self.peek()
            self.finish(self.unlist(name, "delete"))

    def unlist(
        self, name: str, operation: str, staged: str | None = None, new: ImageMeta | None = None
    ) -> Intent:
        """Take a position out of the document, and record what is done with its data.

        Parameters
        ----------
        name : str
            The position.
        operation : str
            ``"delete"`` or ``"replace"``.
        staged : str, optional
            Where the replacement was built.
        new : ImageMeta, optional
            Its entry.
        """

        def change(draft: Draft[WellGroupMeta]) -> Intent:
            image = draft.meta.image(name)
            if image is None:
                raise self.unknown(name, [i.path for i in draft.meta.images])
            renewed = {**image.to_json(), **(new.to_json() if new is not None else {})}
            entry = {"index": draft.meta.images.index(image), "image": renewed}
            draft.meta.images = [i for i in draft.meta.images if i is not image]
            intent = Intent(operation=operation, id=intents.new_id(), path=name, target=staged, entry=entry)
            draft.add_intent(intent)
            return intent

        return self.commit(change)

    def relist(self, draft: Draft[WellGroupMeta], intent: Intent) -> None:
        """List a position that was replaced in its old place."""
        entry = intent.entry or {}
        if draft.meta.image(intent.path) is None:
            draft.meta.images.insert(entry.get("index", 0), ImageMeta.model_validate(entry["image"]))

    def add_images(self, images: Sequence[ImageMeta]) -> None:
        """List positions that are in place."""

        def change(draft: Draft[WellGroupMeta]) -> None:
            known = {image.path for image in draft.meta.images}
            draft.meta.images = [*draft.meta.images, *(i for i in images if i.path not in known)]

        self.commit(change)
