"""A well: the group of its fields of view (positions)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from platestore.errors import (
    InvalidMetadataError,
    NodeKeyError,
)
from platestore.nodes import intents
from platestore.nodes.draft import Draft
from platestore.nodes.node import NGFFNode
from platestore.nodes.position import Position
from platestore.spec.base import read_model
from platestore.spec.findings import Finding
from platestore.spec.names import normalise_key, split_path
from platestore.spec.own import Intent
from platestore.spec.versions import Kind
from platestore.spec.well import ImageMeta, WellGroupMeta

if TYPE_CHECKING:
    from platestore.nodes.plate import Plate


class Well(NGFFNode[WellGroupMeta]):
    """A well of a plate.

    Parameters
    ----------
    group : zarr.Group
        The group.
    parse_meta : bool
        Whether to read its metadata.
    channel_names : list of str, optional
        Channel names of new positions.
    axes : list of AxisMeta, optional
        Axes of new positions.
    overwriting_creation : bool
        Whether creating a position that exists replaces it.
    """

    _kind: ClassVar[Kind] = "well"

    def _parse_parts(self, parts: Mapping[str, Any]) -> tuple[WellGroupMeta, list[Finding]]:
        where = self._location.where
        if "well" not in parts and self._given_names is not None and self._owner is None:
            return WellGroupMeta(images=[]), []  # a new node over a bare group
        if "well" not in parts:
            raise InvalidMetadataError("there is no well metadata", path=where)
        meta, findings = read_model(WellGroupMeta, parts["well"], location="well", path=where)
        for i, image in enumerate(meta.images):
            split_path(image.path, location=f"well.images[{i}].path", document=where)
        return meta, findings

    def _parts(self, meta: WellGroupMeta) -> dict[str, Any]:
        return {"well": meta.to_json()}

    def _members_of(self, meta: WellGroupMeta) -> list[str]:
        return [image.path for image in meta.images]

    def _summary(self) -> str:
        return "" if self._meta is None else f" positions={[image.path for image in self._meta.images]}"

    # --- names and axes ---------------------------------------------------------------------------

    def _plate(self) -> Plate | None:
        """The plate of this well: the node it was reached from, or the group two levels up."""
        from platestore.nodes.plate import Plate, enclosing_plate

        node: NGFFNode[Any] | None = self._owner
        while node is not None and not isinstance(node, Plate):
            node = node._owner
        if node is None:
            node = enclosing_plate(self._location, 2)
            self._owner = node
        return node

    @property
    def channel_names(self) -> list[str]:
        """Channel names of the first position, or those that new positions get."""
        first = self._first()
        if first is not None:
            return first.channel_names
        plate = None if self._given_names is not None else self._plate()
        return super().channel_names if plate is None else plate.channel_names

    @property
    def axes(self) -> list[Any]:
        """Axes of the first position, or those that new positions get."""
        first = self._first()
        if first is not None:
            return first.axes
        plate = None if self._given_axes is not None else self._plate()
        return super().axes if plate is None else plate.axes

    def _first(self) -> Position | None:
        for _, position in self.positions():
            return position
        return None

    # --- positions --------------------------------------------------------------------------------

    def _images(self) -> list[ImageMeta]:
        """The fields, with those that a batch under way is adding."""
        images = list(self._state().images)
        node = self._owner
        while node is not None:
            for intent in node._own.intents or ():
                relative = self._location.path.removeprefix(node._location.path).strip("/")
                known = {image.path for image in images}
                added = (intent.images or {}).get(relative, [])
                images.extend(image for image in added if image.path not in known)
            node = node._owner
        return images

    def _keys(self) -> list[str]:
        return [image.path for image in self._images()]

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            return False
        name, _, rest = str(key).strip("/").partition("/")
        return name in self._keys() and (not rest or rest in self[name])

    def __getitem__(self, key: int | str) -> Any:
        """Get a position by name, or something below it by path.

        Raises
        ------
        NodeKeyError
            If the well lists no such position.
        """
        name, _, rest = normalise_key(key).partition("/")
        if name not in self._keys():
            listed = ", ".join(self._keys()) or "none"
            raise NodeKeyError(
                f"there is no position {name!r}", path=self._location.where, hint=f"positions: {listed}"
            )
        position = self._open_child(Position, name)
        return position[rest] if rest else position

    def positions(self) -> Iterator[tuple[str, Position]]:
        """Iterate over the positions, in the order of the metadata.

        One that cannot be opened is reported by a warning, and the others follow.

        Yields
        ------
        tuple of str and Position
            Name and node.
        """
        return self._open_each(self._keys(), lambda name: self._open_child(Position, name))

    def create_position(
        self, name: str, acquisition: int = 0, *, channel_names: Sequence[str] | None = None
    ) -> Position:
        """Create a position.

        Parameters
        ----------
        name : str
            Name of the position, alphanumeric.
        acquisition : int
            Identifier of the acquisition it belongs to.
        channel_names : sequence of str, optional
            Names of its channels, as of another imaging cycle; those of the plate's first position by
            default.

        Returns
        -------
        Position

        Raises
        ------
        NodeExistsError
            If it exists, unless the node was opened with ``overwriting_creation=True``.
        InvalidNameError
            If the name is not alphanumeric.
        """
        from platestore.nodes.growth import grow_plate, grow_well

        plate = self._plate()
        if plate is None:
            return grow_well(self, name, acquisition, channel_names)
        relative = self._location.path.removeprefix(plate._location.path).strip("/")
        row, _, column = relative.partition("/")
        spec = (row, column, name, None, None, acquisition)
        return grow_plate(
            plate, [spec], overwriting=self._overwriting, well=self, channel_names=channel_names
        )[0]

    def __delitem__(self, key: int | str) -> None:
        """Remove a position (its entry first, then its data), or something below it."""
        name, _, rest = normalise_key(key).partition("/")
        if rest:
            del self[name][rest]
            return
        plate = self._plate()
        if plate is None:
            self._delete(name)
            return
        from platestore.nodes.surgery import delete_counted, most_fields

        with plate._location.storage.lock(plate._location.path):
            relative = self._location.path.removeprefix(plate._location.path).strip("/")
            images = self._peek().images
            most = most_fields(plate, relative, len(images), len(images) - 1)
            if most == plate._state().field_count or all(image.path != name for image in images):
                self._delete(name)
            else:
                delete_counted(plate, f"{relative}/{name}", most)
                self.refresh()

    def _delete(self, name: str) -> None:
        with self._location.storage.lock(self._location.path):
            self._peek()
            intents.finish(self, self._unlist(name, "delete"))

    def _unlist(
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
                listed = ", ".join(i.path for i in draft.meta.images) or "none"
                raise NodeKeyError(
                    f"there is no position {name!r}", path=self._location.where, hint=f"positions: {listed}"
                )
            renewed = {**image.to_json(), **(new.to_json() if new is not None else {})}
            entry = {"index": draft.meta.images.index(image), "image": renewed}
            draft.meta.images = [i for i in draft.meta.images if i is not image]
            intent = Intent(operation=operation, id=intents.new_id(), path=name, target=staged, entry=entry)
            draft.add_intent(intent)
            return intent

        return self._commit(change)

    def _relist(self, draft: Draft[WellGroupMeta], intent: Intent) -> None:
        entry = intent.entry or {}
        if draft.meta.image(intent.path) is None:
            draft.meta.images.insert(entry.get("index", 0), ImageMeta.model_validate(entry["image"]))

    def _add_images(self, images: Sequence[ImageMeta]) -> None:
        """List positions that are in place."""

        def change(draft: Draft[WellGroupMeta]) -> None:
            known = {image.path for image in draft.meta.images}
            draft.meta.images = [*draft.meta.images, *(i for i in images if i.path not in known)]

        self._commit(change)
