"""Going through a store by its directories and its documents, and noting where they disagree.

Everything is looked at from outside: no node is opened, and nothing is changed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from platestore.acquisition.runlog import DIRECTORY, is_running
from platestore.checking.whole import leftovers, rebuild
from platestore.checking.whole.consolidated import stale_consolidated
from platestore.checking.whole.disk import DiskDirectory
from platestore.checking.whole.facts import (
    acquisition_ids,
    array_facts,
    arrays_of,
    fields_of,
    label_images_of,
    labels_listed_above,
    members,
    read_image,
    wells_of,
)
from platestore.checking.whole.images import Array, channels_of
from platestore.checking.whole.notes import Notes
from platestore.checking.whole.problems import Fix, Problem, Step
from platestore.errors import UnsafeTargetError
from platestore.spec import pyramids, versions
from platestore.spec.findings import Level
from platestore.spec.multiscales import ImagesMeta
from platestore.spec.names import natural_key
from platestore.spec.values import Json
from platestore.storage.base import join
from platestore.storage.extensions import plain_array
from platestore.storage.hierarchy import OF_AN_ARRAY, array_key

#: Groups of others are not followed further down than this.
_DEEPEST = 24


class Audit(Notes):
    """One look at a store, or a part of it.

    Parameters
    ----------
    storage : Storage
        The store.
    pixels : PixelAudit
        Looks at the chunks of arrays.
    """

    def run(self, path: str) -> list[Problem]:
        """Look at a node and everything below it."""
        root = self.storage.local_path("")
        if root is not None and not path:
            self.problems += leftovers.beside(root)
        here = self.disk[path]
        role = self.disk.role(path)
        if role in ("empty", "other", "array") and here.state in ("broken", "bare"):
            text = here.problem or "there is no zarr group or array here"
            self._note("document-lost", here.document or path, text, hint="restore it from a backup")
        else:
            self._any(here)
        self.problems += stale_consolidated(self.disk, self._seen)
        if not self.disk.is_listed:
            text = "the store cannot be listed: what its documents do not name was not looked for"
            self._note("not-listed", path, text, level="advice")
        return [self._within(problem) for problem in self.problems]

    def _within(self, problem: Problem) -> Problem:
        """A problem, without a repair where a link leads out of the store: nothing is changed there."""
        for fix in (problem.fix, problem.after):
            if fix is None or os.path.isabs(fix.path):
                continue
            try:
                self.storage.check_links(fix.path, writing=True)
            except UnsafeTargetError as error:
                hint = f"{error.message}; repair it there"
                return Problem(replace(problem.finding, hint=hint))
        return problem

    def _any(self, here: DiskDirectory) -> None:
        """A directory, as what it is."""
        role = self.disk.role(here.path)
        if role == "unreadable":
            self._unreadable(here)
        elif role == "array":
            self._array(here.path)
        else:
            {
                "plate": self._plate,
                "row": self._row,
                "well": self._well,
                "image": self._image,
                "labels": self._labels,
                "series": self._series,
            }.get(role, self._group)(here)

    # --- kinds of nodes ---------------------------------------------------------------------------

    def _group(self, here: DiskDirectory) -> None:
        """A group without OME-NGFF metadata: what is in it is looked at as it is."""
        self._begin(here)
        elsewhere = self._misplaced(here)
        if elsewhere is not None:
            self._note("metadata-misplaced", here.path, elsewhere, hint="move it there")
        else:
            self._note("no-metadata", here.path, "the group has no OME-NGFF metadata", level="advice")
        if here.path.count("/") < _DEEPEST:
            for child in self.disk.children(here.path):
                self._any(child)

    def _plate(self, here: DiskDirectory) -> None:
        self._begin(here)
        if not self._is_supported(here):
            return
        document = self._document(here, "plate", "plate", holds=bool(wells_of(self.disk, here.path, ())))
        entries = rebuild.objects(document.get("wells")) if document is not None else []
        listed = [str(w.get("path")) for w in entries]
        present = wells_of(self.disk, here.path, listed)
        if document is not None:
            self._compare("plate", here, listed, present, "plate.wells")
            self._indices(here, document, present)
        for row in sorted({p.partition("/")[0] for p in present}, key=natural_key):
            self._row_group(self.disk[join(here.path, row)], {p for p in present if p.startswith(f"{row}/")})
        self._others(here, {p.partition("/")[0] for p in present})
        for path in dict.fromkeys([*(p for p in listed if p in present), *sorted(present - set(listed))]):
            with self._milder(path not in listed):
                self._well(self.disk[join(here.path, path)])

    def _indices(self, here: DiskDirectory, document: Json, wells: set[str]) -> None:
        """Indices, rows, columns and acquisitions against what a right document would say."""
        fields = {p: fields_of(self.disk, join(here.path, p)) for p in wells}
        right = rebuild.plate(document, fields, name="")
        fix = Fix(Step.PLATE, here.path, f"correct the document of {self.storage.where(here.path)}")
        before = {str(w.get("path")): w for w in reversed(rebuild.objects(document.get("wells")))}
        for i, entry in enumerate(right["wells"]):
            old = before.get(entry["path"], entry)
            if any(old.get(key) != entry[key] for key in ("rowIndex", "columnIndex")):
                text = f"{entry['path']} has the indices {old.get('rowIndex')}, {old.get('columnIndex')}; "
                text += f"its row and column are {entry['rowIndex']}, {entry['columnIndex']}"
                self._note("well-index", here.path, text, location=f"plate.wells[{i}]", fix=fix)
        if len(rebuild.objects(document.get("wells"))) > len(before):
            self._note("well-duplicate", here.path, "a well is listed more than once", fix=fix)
        exchanged = rebuild.are_exchanged(document, wells)
        if exchanged:
            text = "rows and columns are exchanged: wells use the names of each as those of the other"
            self._note("plate-exchanged", here.path, text, location="plate.rows", fix=fix)
        for key in ("acquisitions",) if exchanged else ("rows", "columns", "acquisitions"):
            if document.get(key) != right.get(key):
                old, new = document.get(key), right.get(key)
                # More of them than are listed: that follows from wells which are not listed.
                grown = isinstance(old, list) and isinstance(new, list) and new[: len(old)] == old
                text = f"{key} do not fit the wells and fields that are there"
                level: Level = "warning" if grown else "error"
                self._note(f"plate-{key}", here.path, text, level=level, location=f"plate.{key}", fix=fix)

    def _row(self, here: DiskDirectory) -> None:
        plate = self.disk[here.path.rpartition("/")[0]].part("plate", "plate") if here.path else None
        listed = [str(w.get("path")) for w in rebuild.objects((plate or {}).get("wells"))]
        row = here.path.rpartition("/")[2]
        found = wells_of(self.disk, here.path.rpartition("/")[0], listed) if here.path else ()
        wells = [w.partition("/")[2] for w in sorted(found, key=natural_key) if w.startswith(f"{row}/")]
        self._row_group(here, {f"{here.path}/{w}" for w in wells})
        for name in wells:
            self._well(self.disk[join(here.path, name)])

    def _row_group(self, here: DiskDirectory, wells: set[str]) -> None:
        self._begin(here)
        if here.state == "unreadable":
            self._unreadable(here)
        if here.state in ("bare", "broken"):
            fix = Fix(Step.GROUP, here.path, f"write the document of the row {self.storage.where(here.path)}")
            text = here.problem or "the row has no document of a group"
            level: Level = "error" if here.state == "broken" else "warning"
            self._note("document-lost", here.document or here.path, text, level=level, fix=fix)
        self._others(here, {w.rpartition("/")[2] for w in wells})

    def _well(self, here: DiskDirectory) -> None:
        self._begin(here)
        if not self._is_supported(here):
            return
        present = list(fields_of(self.disk, here.path))
        document = self._document(here, "well", "well", holds=bool(present))
        if document is not None:
            listed = [str(i.get("path")) for i in rebuild.objects(document.get("images"))]
            self._compare("well", here, listed, present, "well.images")
            right = rebuild.well(document, present, acquisition_ids(self.disk, here.path))
            lost = [
                i
                for i in right["images"]
                if i not in rebuild.objects(document.get("images")) and i["path"] in listed
            ]
            if lost or len(set(listed)) < len(listed):
                fix = Fix(Step.WELL, here.path, f"correct the document of {self.storage.where(here.path)}")
                text = "a field is listed twice, or its acquisition is missing or impossible"
                self._note("well-images", here.path, text, location="well.images", fix=fix)
            present = list(dict.fromkeys([*(n for n in listed if n in present), *present]))
        self._others(here, set(present))
        known = set(present if document is None else listed)
        for name in present:
            with self._milder(name not in known):
                self._image(self.disk[join(here.path, name)])

    def _series(self, here: DiskDirectory) -> None:
        self._begin(here)
        if not self._is_supported(here):
            return
        for child in self.disk.children(here.path):
            if self.disk.role(child.path) == "image":
                self._image(child)
            elif child.state == "array":
                self._note("document-unusable", child.path, "an array where an image should be")

    def _labels(self, here: DiskDirectory) -> None:
        self._begin(here)
        if not self._is_supported(here):
            return
        present = members(self.disk, here.path, "labels")
        above = labels_listed_above(self.disk, here.path)
        if above:
            where = self.storage.where(here.path)
            fix = Fix(Step.LABELS, here.path, f"move the list of label images into the document of {where}")
            text, key = versions.LABELS_MISPLACED, here.path.rpartition("/")[0]
            self._note("labels-misplaced", key, text, level="warning", location="labels", fix=fix)
        if above and here.state == "group" and not isinstance(here.part("labels", "labels"), list):
            document: Any = above  # which is where it will be
        else:
            document = self._document(here, "labels", "labels", holds=bool(present))
        if document is not None:
            listed = [name for name in document if isinstance(name, str)]
            present = label_images_of(self.disk, here.path, listed)
            self._compare("labels", here, listed, present, "labels")
        self._others(here, set(present))
        for name in present:
            self._image(self.disk[join(here.path, name)])

    def _image(self, here: DiskDirectory) -> None:
        self._begin(here)
        if not self._is_supported(here):
            return
        meta = read_image(here)
        arrays = arrays_of(self.disk, here, meta)
        document = self._document(here, "image", "multiscales", holds=bool(arrays))
        meta = meta if document is not None else None
        if document is not None and meta is None:
            hint = "`platestore validate` names the flaws; correct them, or restore the document"
            self._note("document-unusable", here.path, "its multiscales cannot be read", hint=hint)
        for path in arrays:
            self._stray(self.disk[join(here.path, path)])
        facts = {p: fact for p in arrays if (fact := array_facts(self.disk[join(here.path, p)])) is not None}
        for path in sorted(set(arrays) - set(facts)):
            self._lost_array(self.disk[join(here.path, path)])
        if meta is not None:
            self._compare("image", here, meta.paths(), arrays, "multiscales.datasets")
            self._facts(here, meta, facts)
        self._others(here, {*arrays, *(meta.paths() if meta else ())})
        self._run(here)
        self._pixels(here, meta, facts)
        labels = self.disk[join(here.path, "labels")]
        if "labels" in here.directories and labels.state == "array":
            text = "an array where the group of label images should be"
            self._note("document-unusable", labels.path, text)
        elif "labels" in here.directories and self.disk.role(labels.path) != "array":
            self._labels(labels)

    def _run(self, here: DiskDirectory) -> None:
        """An acquisition into a position that was not closed."""
        root = self.storage.local_path(here.path)
        if root is None or DIRECTORY not in here.hidden:
            return
        if is_running(root):
            self._note("acquisition-running", here.path, "frames are being acquired", level="advice")
            return
        hint = "`platestore recover` completes it"
        text = "an acquisition was not closed: frames may wait beside the image"
        self._note("acquisition-unfinished", here.path, text, level="warning", hint=hint)

    def _facts(self, here: DiskDirectory, meta: ImagesMeta, facts: dict[str, Array]) -> None:
        """Ranks and channels of an image against its arrays."""
        for image in meta.multiscales:
            for dataset in image.datasets:
                array = facts.get(dataset.path)
                if array is not None and len(array.shape) != len(image.axes):
                    text = f"has {len(array.shape)} dimensions, and the image {len(image.axes)} axes"
                    self._note("array-rank", join(here.path, dataset.path), text)
        whole = meta.multiscales and meta.multiscales[0].datasets
        if meta.omero is None or not whole or meta.multiscales[0].datasets[0].path not in facts:
            return
        size, named = channels_of(meta, facts), len(meta.omero.channels)
        if size is not None and size != named:
            fix = Fix(Step.IMAGE, here.path, f"name {size} channels in {self.storage.where(here.path)}")
            text = f"{named} channels are named, and the array has {size}"
            self._note("channel-count", here.path, text, location="omero.channels", level="warning", fix=fix)

    def _array_document(self, here: DiskDirectory) -> None:
        """What an array's document leaves out, and strict readers need."""
        zarr_format = here.zarr_format or 3
        fix = Fix(Step.SPELL, here.path, f"complete the document of {self.storage.where(here.path)}")
        for flaw in plain_array(here.content, zarr_format)[1]:
            key = array_key(here.path, zarr_format)
            self._note("array-document", key, flaw.message, level="warning", location=flaw.location, fix=fix)

    def _lost_array(self, here: DiskDirectory) -> None:
        """An array without a document that can be read."""
        self._seen.add(here.path)
        if here.state == "unreadable":
            self._unreadable(here)
            return
        where = self.storage.where(here.path)
        text = here.problem or "chunks without the document of an array"
        fix = Fix(
            Step.ARRAY, here.path, f"write the document of {where} as that of a like array, or set it aside"
        )
        self._note("array-document-lost", here.document or here.path, text, fix=fix)

    def _pixels(self, here: DiskDirectory, meta: ImagesMeta | None, facts: dict[str, Array]) -> None:
        listed: set[str] = set()
        for i, image in enumerate(meta.multiscales if meta else ()):
            if not pyramids.is_whole(image):
                words = f"compute the levels of {self.storage.where(here.path)}"
                fix = Fix(Step.PYRAMID, here.path, words) if i == 0 else None  # others it does not make
                text = "levels are initialised or being made anew, and not complete"
                where = f"multiscales[{i}].metadata"
                self._note("pyramid-unfinished", here.path, text, location=where, level="warning", fix=fix)
            paths = [d.path for d in image.datasets if d.path in facts]
            listed |= set(paths)
            if paths:
                self.problems += self.pixels.image(self.disk, here, image, paths, first=i == 0)
        for path in sorted(facts):
            if path in listed:
                self._array_document(self.disk[join(here.path, path)])
            else:
                self._array(join(here.path, path))

    def _array(self, path: str) -> None:
        self._seen.add(path)
        here = self.disk[path]
        if here.state == "array":
            if versions.kind_of(here.attributes, here.zarr_format or 3) != "unknown":
                self._note("metadata-misplaced", path, OF_AN_ARRAY, hint="move it there")
            self._array_document(here)
            self.problems += self.pixels.array(self.storage, here)
        else:
            self._lost_array(here)
