"""Adding wells and positions: many at once, all or nothing.

Order of writing: positions (with their arrays), then the documents of new wells, then the plate, which
is the commit point, then the documents of wells that were there before. Where more than one existing
document must change, the plate's commit carries the whole list as an intent: readers of this library
see the complete batch from then on, and an interrupted batch is completed by the next writer.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

from platestore.errors import ArgumentError, NodeExistsError
from platestore.spec import edits, versions
from platestore.spec.names import check_field_name
from platestore.spec.omero import check_channel_names
from platestore.spec.own import Intent
from platestore.spec.plate import PlateMeta, raise_field_count
from platestore.spec.well import ImageMeta, WellGroupMeta
from platestore.storage.base import join
from platestore.storage.hierarchy import (
    array_files,
    create_node,
    ensure_group,
    group_exists,
    group_files,
    require_group,
)
from platestore.tree import intents
from platestore.tree.case import check_axis_case, check_case
from platestore.tree.editor import Draft
from platestore.tree.image import ImageEditor
from platestore.tree.leftovers import require_free
from platestore.tree.leftovers import require_group as require_row
from platestore.tree.plate import PlateEditor
from platestore.tree.removal import remove
from platestore.tree.specs import ArrayPlan, Spec, Staged, check_index, read_spec
from platestore.tree.surgery import check_places, place_well
from platestore.tree.well import WellEditor


def grow_plate(
    plate: PlateEditor,
    items: Sequence[Any],
    *,
    planned: ArrayPlan | None = None,
    overwriting: bool = False,
    well: WellEditor | None = None,
    staged: Staged | None = None,
    channel_names: Sequence[str] | None = None,
) -> list[ImageEditor]:
    """Create positions and the wells they need.

    Parameters
    ----------
    plate : PlateEditor
        The plate.
    items : sequence of tuple
        The positions.
    planned : ArrayPlan, optional
        An array that each gets.
    overwriting : bool
        Whether positions that exist are replaced, one after the other, after the new ones are listed.
    well : WellEditor, optional
        The node of a well among them, which shall show the result.
    staged : Staged, optional
        The one position, or the well with all of them, that was built elsewhere in the store.
    channel_names : sequence of str, optional
        Names of their channels; those that the plate hands down by default.

    Returns
    -------
    list of ImageEditor
    """
    specs = [read_spec(item) for item in items]
    names = None if channel_names is None else check_channel_names(channel_names)
    location = plate.location
    location.storage.require_writable(location.path)
    paths = [f"{spec.well}/{spec.name}" for spec in specs]
    if len(set(paths)) != len(paths):
        twice = sorted({path for path in paths if paths.count(path) > 1})
        raise ArgumentError(f"positions named more than once: {', '.join(twice)}")
    with contextlib.ExitStack() as locks:
        locks.enter_context(location.storage.lock(location.path))
        batch = _Batch(plate, specs, planned, overwriting, well, staged, names, locks)
        batch.run()
    if staged is not None:
        return [plate[spec.well][spec.name] for spec in specs]
    # The first document of a new group is the one that holds its attributes.
    return [
        plate.adopt_child(ImageEditor, batch.position_files(spec.name)[0][1], spec.well, spec.name)
        for spec in specs
    ]


_ARRAY = "/"  # the key of the array's documents, which no position can have as a name


class _Batch:
    """One call of :func:`grow_plate`, under the plate's lock."""

    def __init__(
        self,
        plate: PlateEditor,
        specs: Sequence[Spec],
        planned: ArrayPlan | None,
        overwriting: bool,
        well: WellEditor | None,
        staged: Staged | None,
        channel_names: list[str] | None,
        locks: contextlib.ExitStack,
    ) -> None:
        self.staged = staged
        self.channel_names = channel_names
        self.plate = plate
        self.location = plate.location
        self.planned = planned
        self.meta = plate.peek()
        wanted = {spec.well for spec in specs}
        listed = [well.path for well in self.meta.wells if well.path in wanted]
        for path in sorted(listed):
            locks.enter_context(self.location.storage.lock(self.location.child(path).path))
        self.existing = {path: self._well(path, well) for path in listed}
        self.new: dict[str, list[Spec]] = {}
        self.added: dict[str, list[Spec]] = {}
        self.replaced: list[Spec] = []
        self.made: list[str] = []
        self.rows: set[str] = set()
        self.begun: set[str] = set()  # new wells whose directory is there
        self.fresh: set[str] = set()  # of these, those that were not there before
        # Without arrays, or names of their own, they are alike in every call, too.
        self._files = plate.blank_documents if planned is None and channel_names is None else {}
        for spec in specs:
            self._sort(spec, overwriting)
        wells = [(s[0].row, s[0].column, s[0].row_index, s[0].column_index) for s in self.new.values()]
        check_places(plate, self.meta, wells)
        self._check_case()

    def _well(self, path: str, given: WellEditor | None) -> WellEditor:
        """A well as it is now: the caller's node, if it is that one, so that it shows the result."""
        if given is not None and given.location.path == self.location.child(path).path:
            return given.refresh()
        return self.plate.open_child(WellEditor, path)

    def _sort(self, spec: Spec, overwriting: bool) -> None:
        """Decide what happens to one position; refuse what must not be touched."""
        well = self.existing.get(spec.well)
        place = self.location.child(spec.well, spec.name)
        place.storage.check_links(place.path, writing=True)
        if well is not None and spec.name in well.names():
            if not overwriting:
                raise NodeExistsError(
                    "the position exists",
                    path=place.where,
                    hint="open with overwriting_creation=True to replace it",
                )
            self.replaced.append(spec)
            return
        if self.staged is not None and self.staged.is_well and well is not None:
            raise NodeExistsError("the well exists", path=well.location.where)
        if not overwriting and not self._is_moved(spec):
            if well is not None:
                require_free(place, "group")
            elif spec.well not in self.new:
                require_row(self.location.child(spec.row))
                require_free(self.location.child(spec.well), "group")
        (self.new if well is None else self.added).setdefault(spec.well, []).append(spec)

    def _is_moved(self, spec: Spec) -> bool:
        """Whether an interrupted call moved what was staged into its place."""
        if self.staged is None:
            return False
        there = self.location.child(spec.well, *([] if self.staged.is_well else [spec.name]))
        storage, fmt = self.location.storage, self.location.zarr_format
        return group_exists(storage, there.path, fmt) and not group_exists(storage, self.staged.path, fmt)

    def _check_case(self) -> None:
        """Names that differ only in case are one name on some file systems."""
        check_axis_case(self.location, self.meta, self.new)
        for path, specs in {**self.new, **self.added}.items():
            well = self.existing.get(path)
            listed = well.names() if well else ()
            check_case(self.location, listed, (spec.name for spec in specs), "positions")

    def run(self) -> None:
        """Write everything, in the order that never leaves a dangling reference."""
        try:
            if self.staged is not None and self.staged.is_well:
                self._move_well(self.staged)
            else:
                for specs in (*self.new.values(), *self.added.values()):
                    for spec in specs:
                        self._write_position(spec.well, spec.name)
                for path, specs in self.new.items():
                    self._write_well(path, specs)
            intent = self._commit()
        except Exception:
            self._take_back()
            raise
        if intent is not None:
            self.plate.finish(intent)
        for spec in self.replaced:
            self._replace(spec)

    def _take_back(self) -> None:
        """Remove what was made, unless the commit failed so late that it is listed all the same."""
        if self.staged is not None:
            return  # the next call finds it
        with contextlib.suppress(Exception):
            fresh = require_group(self.location.storage, self.location.path, self.location.zarr_format)
            meta, own, _ = self.plate.parse(fresh.attributes)
            listed = any(well.path in self.new for well in meta.wells) or any(
                set(intent.images or ()) & set(self.added) for intent in own.intents or ()
            )
            for path, specs in self.added.items():
                fields = self.plate.open_child(WellEditor, path).names()
                listed = listed or any(spec.name in fields for spec in specs)
            if not listed:
                for path in reversed(self.made):
                    self.location.storage.remove_tree(path)

    def _write_position(self, well: str, name: str) -> None:
        storage = self.location.storage
        path = join(self.location.path, well, name)
        if self.plate.overwriting:
            storage.remove_tree(path)  # an unlisted leftover
        if well in self.new and well not in self.begun:
            row = join(self.location.path, well.partition("/")[0])
            if row not in self.rows:
                ensure_group(storage, row, self.location.zarr_format)
                self.rows.add(row)
            well_path = join(self.location.path, well)
            self.made.append(well_path)
            self.begun.add(well)
            if storage.make_directory(well_path):
                self.fresh.add(well)
        if self.staged is not None:
            # It is not taken back if listing it fails: it took longer to make than to list.
            if group_exists(storage, self.staged.path, self.location.zarr_format):
                storage.move_tree(self.staged.path, path)
            return
        self.made.append(path)
        create_node(storage, path, self.position_files(name))
        if self.planned is not None:
            create_node(storage, join(path, self.planned.name), self._array_files())

    def _move_well(self, staged: Staged) -> None:
        """Move a whole well into its place."""
        storage = self.location.storage
        (well,) = self.new
        ensure_group(storage, join(self.location.path, well.partition("/")[0]), self.location.zarr_format)
        if group_exists(storage, staged.path, self.location.zarr_format):
            storage.move_tree(staged.path, join(self.location.path, well))

    def position_files(self, name: str) -> list[tuple[str, bytes]]:
        """Documents of a position; all of one name are alike, and serialised once."""
        if name not in self._files:
            names, axes = self.plate.inheritance()
            names = names if self.channel_names is None else self.channel_names
            meta = edits.empty_image(axes, names, name)
            if self.planned is not None:
                layout = self.planned.layout
                edits.list_image(
                    meta, self.planned.name, layout.shape, None, self.planned.transform, layout.dtype.name
                )
            version = self.location.version
            attributes = versions.bare_attributes(version, "image", meta.to_json(), {})
            self._files[name] = group_files(self.location.zarr_format, attributes, where=self.location.where)
        return self._files[name]

    def _array_files(self) -> list[tuple[str, bytes]]:
        if _ARRAY not in self._files and self.planned is not None:
            axes = [axis.name for axis in self.plate.inheritance()[1]]
            document = self.planned.layout.document(self.location.zarr_format, axes)
            self._files[_ARRAY] = array_files(self.location.zarr_format, document, where=self.location.where)
        return self._files[_ARRAY]

    def _write_well(self, path: str, specs: Sequence[Spec]) -> None:
        meta = WellGroupMeta(images=[_image(spec) for spec in specs])
        attributes = versions.bare_attributes(self.location.version, "well", {"well": meta.to_json()}, {})
        files = group_files(self.location.zarr_format, attributes, where=self.location.where)
        storage, full = self.location.storage, join(self.location.path, path)
        for name, data in files:
            (storage.create if path in self.fresh else storage.write)(join(full, name), data)

    def _commit(self) -> Intent | None:
        """List everything; what is returned must still be finished."""
        images = {path: [_image(spec) for spec in specs] for path, specs in self.added.items()}
        acquisitions, most = self._acquisitions(), self._most_fields()
        if not self.new and not acquisitions and len(images) <= 1:
            if most is not None:  # at every moment it is no less than the fields of any well
                self.plate.commit(lambda draft: setattr(draft.meta, "field_count", most), check=False)
            for path, fields in images.items():
                self.existing[path].add_images(fields)
            return None
        intent = None
        if images:
            intent = Intent(operation="add-images", id=intents.new_id(), path="", images=images)

        def change(draft: Draft[PlateMeta]) -> None:
            for specs in self.new.values():
                s = specs[0]
                draft.meta.wells.append(place_well(draft, s.row, s.column, s.row_index, s.column_index))
            for acquisition, fields in acquisitions.items():
                raise_field_count(draft.meta, acquisition, fields)
            if most is not None:
                draft.meta.field_count = most
            if intent is not None:
                draft.add_intent(intent)

        self.plate.commit(change, check=False)
        return intent

    def _most_fields(self) -> int | None:
        """What ``field_count`` becomes with this batch; None if it stays, or the plate never said it."""
        said = self.meta.field_count
        counts = [len(specs) for specs in self.new.values()]
        counts += [len(self.existing[path].fields()) + len(specs) for path, specs in self.added.items()]
        if not counts or (said is None and self.meta.wells) or max(counts) <= (said or 0):
            return None
        return max(counts)

    def _acquisitions(self) -> dict[int, int]:
        """What the plate's list of acquisitions must say after this batch, where it says something else.

        Returns
        -------
        dict of int to int
            The greatest number of fields in one well, by acquisition.
        """
        declared = self.meta.acquisitions
        counts: dict[int, int] = {}
        by_well: dict[str, list[Spec]] = {}
        for spec in (*itertools.chain(*self.new.values(), *self.added.values()), *self.replaced):
            by_well.setdefault(spec.well, []).append(spec)
        for path, specs in by_well.items():
            well, names = self.existing.get(path), {spec.name for spec in specs}
            fields = [i.acquisition or 0 for i in well.fields() if i.path not in names] if well else []
            fields += [spec.acquisition for spec in specs]
            for acquisition in {spec.acquisition for spec in specs}:
                counts[acquisition] = max(counts.get(acquisition, 0), fields.count(acquisition))
        if declared is None:
            if not set(counts) - {0}:
                return {}
            # The first other acquisition: the fields there were belong to acquisition 0 from now on.
            for _, well in self.plate.wells():
                present = [image.acquisition or 0 for image in well.fields()]
                for acquisition in set(present):
                    counts[acquisition] = max(counts.get(acquisition, 0), present.count(acquisition))
            return dict(sorted(counts.items()))
        known = {a.id: a.maximumfieldcount or 0 for a in declared}
        return {a: n for a, n in counts.items() if known.get(a, 0) < n}

    def _replace(self, spec: Spec) -> None:
        """Redo one position: build the new one beside the old, unlist, swap, list."""
        well = self.existing[spec.well]
        staged = intents.staging_name(spec.name)
        storage = self.location.storage
        path = join(self.location.path, spec.well, staged)
        create_node(storage, path, self.position_files(spec.name))
        if self.planned is not None:
            create_node(storage, join(path, self.planned.name), self._array_files())
        with storage.lock(well.location.path):
            well.finish(well.unlist(spec.name, "replace", staged, _image(spec)))


def _image(spec: Spec) -> ImageMeta:
    return ImageMeta(path=spec.name, acquisition=spec.acquisition)


def grow_well(
    well: WellEditor, name: str, acquisition: int, channel_names: Sequence[str] | None = None
) -> ImageEditor:
    """Create a position in a well that is not part of a plate."""
    check_field_name(name, "position")
    names = well.channel_names if channel_names is None else check_channel_names(channel_names)
    number = check_index(acquisition, "acquisition") or 0
    location = well.location
    place = location.child(name)
    with location.storage.lock(location.path):
        listed = well.peek().image(name) is not None
        if not well.overwriting:
            if listed:
                raise NodeExistsError("the position exists", path=place.where)
            require_free(place, "group")
        elif listed:
            remove(well, name)
        place.storage.remove_tree(place.path)
        meta = edits.empty_image(well.axes, names, name)
        attributes = versions.bare_attributes(location.version, "image", meta.to_json(), {})
        create_node(
            location.storage, place.path, group_files(location.zarr_format, attributes, where=place.where)
        )
        well.add_images([ImageMeta(path=name, acquisition=number)])
    position: ImageEditor = well[name]
    return position


def add_well(
    plate: PlateEditor, row: str, column: str, row_index: int | None, column_index: int | None
) -> None:
    """Create and list a well without positions."""
    check_field_name(row, "row")
    check_field_name(column, "column")
    location, path = plate.location, f"{row}/{column}"
    place = location.child(path)
    with location.storage.lock(location.path):
        listed = {well.path for well in plate.peek().wells}
        if path in listed and plate.overwriting:
            remove(plate, path)
        elif path in listed:
            raise NodeExistsError(
                "the well exists", path=place.where, hint="open with overwriting_creation=True to replace it"
            )
        elif not plate.overwriting:
            require_row(location.child(row))
            require_free(place, "group")
        check_places(plate, plate.peek(), [(row, column, row_index, column_index)])
        place.storage.check_links(place.path, writing=True)
        check_axis_case(location, plate.peek(), [path])
        ensure_group(location.storage, location.child(row).path, location.zarr_format)
        meta = WellGroupMeta(images=[])
        attributes = versions.bare_attributes(location.version, "well", {"well": meta.to_json()}, {})
        create_node(
            location.storage, place.path, group_files(location.zarr_format, attributes, where=place.where)
        )

        def change(draft: Draft[PlateMeta]) -> None:
            if not draft.meta.wells:
                draft.meta.field_count = draft.meta.field_count or 1  # the least that is valid
            draft.meta.wells.append(place_well(draft, row, column, row_index, column_index))

        plate.commit(change, check=False)


def add_position(
    well: WellEditor, name: str, acquisition: int, channel_names: Sequence[str] | None = None
) -> ImageEditor:
    """Create a position in a well, through its plate where there is one."""
    plate = well.plate()
    if not isinstance(plate, PlateEditor):
        return grow_well(well, name, acquisition, channel_names)
    relative = well.location.path.removeprefix(plate.location.path).strip("/")
    row, _, column = relative.partition("/")
    spec = (row, column, name, None, None, acquisition)
    return grow_plate(plate, [spec], overwriting=well.overwriting, well=well, channel_names=channel_names)[0]


def finish_add_images(plate: PlateEditor, intent: Intent) -> None:
    """List the new positions of wells that were there before."""
    for path, images in (intent.images or {}).items():
        plate[path].add_images(images)
    plate.drop_intent(intent)


def count_fields(plate: PlateEditor) -> None:
    """Count the fields of every well, and write the largest number with what was edited by hand."""
    count = max((len(well.names()) for _, well in plate.wells()), default=0)

    def change(draft: Draft[PlateMeta]) -> None:
        draft.meta.field_count = count or None

    plate.commit(change)
