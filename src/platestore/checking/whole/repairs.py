"""Carrying out repairs. Nothing that may hold pixels is deleted; documents are kept as they were.

Documents of existing groups change in the commit function only, under its lock, and are made from what is
on disk at that moment. The order is that of :class:`Step`: leaves before the lists they are in.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from platestore.checking.whole import images, rebuild
from platestore.checking.whole.array_documents import write_lost_document
from platestore.checking.whole.disk import Disk, DiskDirectory
from platestore.checking.whole.facts import (
    acquisition_ids,
    array_facts,
    arrays_of,
    damaged_own_keys,
    fields_of,
    is_damaged,
    is_inside,
    label_images_of,
    labels_listed_above,
    read_image,
    wells_of,
)
from platestore.checking.whole.likeness import annotated_image, like_image
from platestore.checking.whole.problems import Fix, Step
from platestore.checking.whole.quarantine import Quarantine
from platestore.errors import NodeNotFoundError, PlatestoreError, ReadOnlyError, StoreWarning
from platestore.images.pyramids import compute_again
from platestore.spec import pyramids, versions
from platestore.spec.edits import channel_names
from platestore.spec.multiscales import ImagesMeta
from platestore.spec.own import OwnMeta
from platestore.spec.reductions import FOR_IMAGES, FOR_LABELS, METHODS
from platestore.spec.values import Json
from platestore.storage.base import DOCUMENTS, join
from platestore.storage.documents import commit
from platestore.storage.extensions import plain_array
from platestore.storage.hierarchy import (
    ZarrFormat,
    array_key,
    commit_attributes,
    create_node,
    group_files,
)
from platestore.storage.local import LocalStorage
from platestore.tree.image import LabelImageEditor

# Whatever one repair meets, the others are done, and all that was done is told.
_UNFORESEEN = (PlatestoreError, OSError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)


class Repairs:
    """The repairs of one round.

    Parameters
    ----------
    storage : LocalStorage
        The store, for writing.
    zarr_format : {2, 3}
        Version of zarr that lost documents are written in.
    quarantine : Quarantine
        Where things go that are taken out.
    resources : mapping
        ``max_memory`` and ``workers``, for levels that are computed.
    """

    def __init__(
        self,
        storage: LocalStorage,
        zarr_format: ZarrFormat,
        quarantine: Quarantine,
        resources: Mapping[str, Any],
    ) -> None:
        self.storage = storage
        self.zarr_format = zarr_format
        self.quarantine = quarantine
        self.resources = resources
        self._beside = Disk(storage)  # for like fields, which are many
        self.done: list[str] = []
        self.failed: list[str] = []

    def run(self, fixes: Iterable[Fix]) -> None:
        """Carry out repairs, each once, in the order of their steps; one that fails stops no other."""
        for fix in sorted(dict.fromkeys(fixes), key=lambda f: (f.step, f.path)):
            try:
                said = self._STEPS[fix.step](self, fix.path)
            except _UNFORESEEN as error:
                self.failed.append(f"could not {fix.text}: {error}")
                self.quarantine.log(self.failed[-1])
            else:
                if said:
                    self.done.append(said)
                    self.quarantine.log(said)

    # --- taking away ------------------------------------------------------------------------------

    def _finish(self, path: str) -> str:
        self._keep(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StoreWarning)
            self._open(path)
        return f"completed the recorded change of {self.storage.where(path)}"

    def _drop_records(self, path: str) -> str:
        """Drop records of unfinished changes that nobody could complete."""
        self._keep(path)
        zarr_format: ZarrFormat = 2 if Disk(self.storage)[path].zarr_format == 2 else 3

        def change(attributes: Json) -> None:
            own = attributes[versions.NAMESPACE]
            for key in damaged_own_keys(versions.own_part(attributes)):
                del own[key]
            if "intents" in own:
                own["intents"] = [i for i in own["intents"] or () if not is_damaged(i)]

        commit_attributes(self.storage, path, zarr_format, change)
        return f"dropped a damaged record of a change from {self.storage.where(path)}"

    def _open(self, path: str) -> Any:
        """A node for writing; opening it completes what was begun there."""
        from platestore.tree.opening import open_editor

        return open_editor(self.storage.local_path(path), mode="r+")

    def _remove(self, key: str) -> str:
        """Delete a lock or temporary document, or a group without anything but documents."""
        full = key if os.path.isabs(key) else self.storage.local_path(key)
        if not os.path.isabs(key):
            self.storage.check_links(key.rpartition("/")[0], writing=True)
        if not os.path.isdir(full):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(full)
            return f"deleted {full}"
        for directory, folders, files in os.walk(full):
            if not set(files) <= DOCUMENTS or any(
                os.path.islink(os.path.join(directory, f)) for f in folders
            ):
                return ""  # it holds more than documents now
        for item in self.storage.keys(key):
            self.quarantine.keep_document(item)
        self.storage.remove_tree(key)
        return f"removed {full}, which held nothing"

    def _set_aside(self, key: str) -> str:
        try:
            target = self.quarantine.take(key)
        except FileNotFoundError:
            return ""  # gone meanwhile, as with all that was in a directory that was set aside
        return f"moved {key if os.path.isabs(key) else self.storage.where(key)} to {target}"

    def _salvage(self, key: str) -> str:
        from platestore.checking.pixels.salvage import salvage_shard

        array = self._array_of(key)
        kept_as = self.quarantine.keep(key)
        kept, lost = salvage_shard(self.storage, array.path, array.zarr_format or 3, key)
        words = f"{kept} of {kept + lost} chunks"
        return f"wrote {words} of {self.storage.where(key)} anew; the damaged file is {kept_as}"

    def _array_of(self, key: str) -> DiskDirectory:
        disk, path = Disk(self.storage), key
        while path:
            path = path.rpartition("/")[0]
            if disk[path].state == "array":
                return disk[path]
        raise NodeNotFoundError("there is no array around this chunk", path=self.storage.where(key))

    # --- documents --------------------------------------------------------------------------------

    def _array(self, path: str) -> str:
        self._keep(path)
        like = write_lost_document(self.storage, path, self.zarr_format)
        where = self.storage.where(path)
        if like is not None:
            return f"wrote the document of {where} as that of {self.storage.where(like)}"
        image, _, name = path.rpartition("/")
        meta = read_image(Disk(self.storage)[image])
        if meta is not None and name in meta.paths():
            raise NodeNotFoundError(
                "no array of another field fits its chunks",
                path=where,
                hint="write its document by hand: type and codecs mostly are those of its other levels",
            )
        return self._set_aside(path)

    def _spell(self, path: str) -> str:
        """Put into an array's document what is guessed of it."""
        self._keep(path)
        zarr_format: ZarrFormat = 2 if Disk(self.storage)[path].zarr_format == 2 else 3

        def change(content: Json) -> None:
            content.update(plain_array(content, zarr_format)[0])

        commit(self.storage, array_key(path, zarr_format), change)
        return f"completed the document of {self.storage.where(path)}"

    def _group(self, path: str) -> str:
        self._write(path, "unknown", {}, {})
        return f"wrote the document of the group {self.storage.where(path)}"

    def _image(self, path: str) -> str:
        disk = Disk(self.storage)
        here = disk[path]
        is_label = disk.role(path.rpartition("/")[0]) == "labels"
        meta = read_image(here) if isinstance(here.part("image", "multiscales"), list) else None
        self._require_readable(disk, path, meta.paths() if meta is not None else [])
        there = {
            p: f
            for p in arrays_of(disk, here, read_image(here))
            if (f := array_facts(disk[join(path, p)])) is not None
        }
        name = self.storage.name_of(path)
        like = annotated_image(disk, path) if is_label else like_image(self._beside, path, there)
        new = images.rebuild(meta, there, like, name=name, is_label=is_label)
        parts = new.to_json()
        self._write(path, "label" if is_label or "image-label" in parts else "image", parts, here.own)
        said = f"the document of {self.storage.where(path)} lists {', '.join(new.paths()) or 'no array'}"
        if meta is not None or not new.paths():
            return said
        if like is None:
            return f"{said}; its axes and channels are a guess, and its scale is 1: nothing told them"
        return f"{said}; axes, scales and channels are those of {self.storage.where(like.path)}"

    def _require_readable(self, disk: Disk, path: str, listed: Iterable[str]) -> None:
        """Refuse to make a list while it is not known what of it is there."""
        for name in listed:
            if is_inside(name) and disk.role(join(path, name)) == "unreadable":
                raise ReadOnlyError("the array cannot be read", path=self.storage.where(join(path, name)))

    def _labels(self, path: str) -> str:
        disk = Disk(self.storage)
        old = disk[path].part("labels", "labels")
        above = labels_listed_above(disk, path)
        old = [*(old if isinstance(old, list) else ()), *above]
        names = rebuild.labels(old, label_images_of(disk, path, old))
        self._write(path, "labels", {"labels": names}, disk[path].own)
        if above:
            image = disk[path.rpartition("/")[0]]
            self._keep(image.path)
            ngff = versions.of(image.attributes, image.zarr_format or 3)

            def drop(attributes: Json) -> None:
                ngff.edit(attributes, lambda ome: ome.pop("labels", None))

            commit_attributes(self.storage, image.path, image.zarr_format or 3, drop)
        return f"the document of {self.storage.where(path)} lists {', '.join(names) or 'no label image'}"

    def _well(self, path: str) -> str:
        disk = Disk(self.storage)
        old = disk[path].part("well", "well")
        new = rebuild.well(old, fields_of(disk, path), acquisition_ids(disk, path))
        self._write(path, "well", {"well": new}, disk[path].own)
        return f"the document of {self.storage.where(path)} lists {len(new['images'])} fields"

    def _plate(self, path: str) -> str:
        disk = Disk(self.storage)
        here = disk[path]
        old = here.part("plate", "plate")
        listed = (
            [str(w.get("path")) for w in rebuild.objects(old.get("wells"))] if isinstance(old, dict) else []
        )
        wells = {well: fields_of(disk, join(path, well)) for well in sorted(wells_of(disk, path, listed))}
        new = rebuild.plate(old, wells, name=self.storage.name_of(path))
        own = here.own if isinstance(old, dict) else self._own_of_plate(disk, path, wells)
        self._write(path, "plate", {"plate": new}, own)
        return f"the document of {self.storage.where(path)} lists {len(new['wells'])} wells"

    def _own_of_plate(self, disk: Disk, path: str, wells: Mapping[str, rebuild.Fields]) -> Json:
        """What new positions of a plate get: axes and channels as those of the first one."""
        for well, fields in wells.items():
            for name in fields:
                meta = read_image(disk[join(path, well, name)])
                if meta is not None and meta.multiscales:
                    own = OwnMeta(channel_names=channel_names(meta, 0), axes=meta.multiscales[0].axes)
                    return own.to_json()
        return {}

    def _write(
        self, path: str, kind: versions.Kind, parts: Mapping[str, Any], own: Mapping[str, Any]
    ) -> None:
        """Write the OME part of a group's document: change it, or write it where it is lost."""
        here = Disk(self.storage)[path]
        self._keep(path)
        zarr_format = here.zarr_format if here.zarr_format is not None else self.zarr_format
        ngff = versions.of(here.attributes, zarr_format)

        def change(attributes: Json) -> None:
            if kind != "unknown":
                ngff.pack(attributes, kind, parts, own)

        if here.state == "group":
            commit_attributes(self.storage, path, zarr_format, change)
            return
        with self.storage.lock(path):
            attributes = dict(here.attributes)
            change(attributes)
            files = group_files(zarr_format, attributes, where=self.storage.where(path))
            create_node(self.storage, path, files)
            for name in DOCUMENTS - {name for name, _ in files}:
                self.storage.remove(join(path, name))  # torn, or of another kind of node

    def _keep(self, path: str) -> None:
        for name in DOCUMENTS:
            self.quarantine.keep_document(join(path, name))

    def _consolidated(self, path: str) -> str:
        self._keep(path)
        self.storage.drop_consolidated(path)
        here = Disk(self.storage)[path]
        if here.zarr_format == 3:
            commit_attributes(self.storage, path, 3, lambda attributes: None)
        return f"dropped the stale consolidated metadata of {self.storage.where(path)}"

    # --- pixels -----------------------------------------------------------------------------------

    def _pyramid(self, path: str) -> str:
        node = self._open(path)
        meta: ImagesMeta = node.meta
        image = meta.multiscales[0]
        self._keep(path)
        for dataset in image.datasets[1:]:
            self.quarantine.keep_tree(join(path, dataset.path))
        known = pyramids.described(image)
        method = known[0] if known is not None else _method(image.type)
        if known is None and isinstance(node, LabelImageEditor):
            method = FOR_LABELS
        compute_again(node, method, **self.resources)
        return f"computed the levels of {self.storage.where(path)} ({method})"

    _STEPS: Mapping[Step, Callable[[Repairs, str], str]] = {
        Step.FINISH: _finish,
        Step.DROP: _drop_records,
        Step.REMOVE: _remove,
        Step.SET_ASIDE: _set_aside,
        Step.SALVAGE: _salvage,
        Step.ARRAY: _array,
        Step.SPELL: _spell,
        Step.GROUP: _group,
        Step.IMAGE: _image,
        Step.LABELS: _labels,
        Step.WELL: _well,
        Step.PLATE: _plate,
        Step.CONSOLIDATED: _consolidated,
        Step.PYRAMID: _pyramid,
    }


def _method(said: str | None) -> str:
    """The method that a document names, if it is one of ours."""
    return said if said in METHODS else FOR_IMAGES
