"""Planning the copy of a position or of a label image: its document, and what becomes of each array."""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from platestore.arrays.layout import layout_of, level_layout
from platestore.arrays.metadata import summarise
from platestore.arrays.options import LayoutOptions
from platestore.copying.encoding import NO_SHARDS, Encoding, choose_encoding, target_document, unit_count
from platestore.copying.groups import GroupWriter
from platestore.copying.levels import LevelChoice, choose_levels, method_of
from platestore.copying.options import CopyOptions
from platestore.copying.plan import LevelsCopy, PixelCopy, Plan
from platestore.copying.report import ArrayReport
from platestore.copying.selection import Pick, is_whole, level_pick, picked_transform
from platestore.copying.stamps import Stamp
from platestore.errors import ArgumentError
from platestore.spec import edits, pyramids
from platestore.spec.geometry import Factors, level_transform, next_shape
from platestore.spec.labels import LabelImageMeta
from platestore.spec.multiscales import DatasetMeta, ImagesMeta, MultiScaleMeta
from platestore.spec.omero import OMEROMeta
from platestore.spec.reductions import reduction
from platestore.storage.base import join
from platestore.storage.hierarchy import ArrayDocument, array_attributes, array_files
from platestore.tree.axes_case import lower_dimensions, lowered
from platestore.tree.image import ImageEditor, LabelImageEditor
from platestore.tree.levels import documents_of

_BROADCAST = ("t", "c", "z")
_BESIDE_SPACE = ("t", "c")


class MainImage:
    """The image that a selection is made in, for others (labels) to follow.

    Parameters
    ----------
    names : sequence of str
        Names of its axes, in lower case.
    shape : sequence of int
        Its shape.
    picks : tuple
        What is taken of it.
    """

    def __init__(self, names: Sequence[str], shape: Sequence[int], picks: tuple[Pick, ...]) -> None:
        self.names = list(names)
        self.shape = tuple(shape)
        self.picks = picks

    @property
    def is_whole(self) -> bool:
        """Whether all of it is taken."""
        return bool(is_whole(self.picks, self.shape))

    def follow(self, names: Sequence[str], shape: Sequence[int], where: str) -> tuple[Pick, ...]:
        """The same part of another image of the same field.

        Raises
        ------
        ArgumentError
            If the other one has another resolution, and the part does not begin and end between its pixels.
        """
        out: list[Pick] = []
        for name, size in zip(names, shape, strict=True):
            pick: Pick | None = slice(0, size, 1)
            if name in self.names:
                axis = self.names.index(name)
                full, part = self.shape[axis], self.picks[axis]
                if size == full:
                    pick = part
                elif not is_whole((part,), (full,)) and not (size == 1 and name in _BROADCAST):
                    factor = round(full / size)
                    # Along time and channels another length is no other resolution.
                    fits = (
                        name not in _BESIDE_SPACE
                        and factor >= 1
                        and size in (-(-full // factor), full // factor)
                    )
                    pick = level_pick(part, factor, full, size) if fits else None
            if pick is None:
                full = self.shape[self.names.index(name)]
                raise ArgumentError(
                    f"has {size} pixels along {name}, the image {full}: what is taken of the image "
                    "is no whole number of its pixels",
                    path=where,
                    hint="choose bounds that are, or leave labels out (labels=False, --no-labels)",
                )
            out.append(pick)
        return tuple(out)


class ImagePlanner:
    """Plans images, one after the other, into one plan.

    Parameters
    ----------
    plan : Plan
        Gets the work.
    options : CopyOptions
        What is asked for.
    groups : GroupWriter
        Makes the documents of groups.
    """

    def __init__(self, plan: Plan, options: CopyOptions, groups: GroupWriter) -> None:
        self.plan = plan
        self.options = options
        self.groups = groups
        self.zarr_format = groups.zarr_format
        self._edits = bool(options.selection) or options.levels != "all" or options.pyramid is not None
        self._edits = self._edits or options.axes_case is not None
        # Arrays of one plate have the same document more often than not.
        self._main_names: list[str] = []
        self._encodings: dict[tuple[bytes, str, tuple[str, ...]], Encoding] = {}

    def image(self, node: ImageEditor, target: str, main: MainImage | None = None) -> MainImage | None:
        """Plan one position (or label image), without its labels.

        Parameters
        ----------
        node : ImageEditor
            The position or label image.
        target : str
            Its path in the copy.
        main : MainImage, optional
            The image that a label image follows.

        Returns
        -------
        MainImage or None
            The first image; None if the position holds none.
        """
        meta = node.meta
        if self._edits or isinstance(node, LabelImageEditor):
            meta = copy.deepcopy(meta)
        changed = False
        others = set(meta.paths())
        channels: Pick | None = None
        for image in meta.multiscales:
            if self.options.axes_case is not None:
                changed = True
                image.axes = lowered(image.axes)
            if not image.datasets:
                continue
            documents = documents_of(node, image)
            shapes = [summarise(d).shape for d in documents]
            names = [axis.name.lower() for axis in image.axes]
            if main is None:
                where = node.location.where
                selection = self.options.selection
                picks = selection.resolve(names, shapes[0], node.channel_names, where=where)
                main = MainImage(names, shapes[0], picks)
            else:
                picks = main.follow(names, shapes[0], node.location.child(image.datasets[0].path).where)
            self._main_names = main.names
            if channels is None and "c" in names:
                channels = picks[names.index("c")]
            choice = self._choose(node, image, documents, shapes, picks, others)
            changed = self._arrays(node, image, documents, shapes, choice, target) or changed
        if main is None and self.options.selection.channels is not None and meta.omero is not None:
            names = [c.label or "" for c in meta.omero.channels]
            channels = tuple(edits.index_of(names, name) for name in self.options.selection.channels)
            _select_channels(meta.omero, channels)
            changed = True
        if main is not None and not main.is_whole and meta.omero is not None:
            _select_channels(meta.omero, channels)
            _select_defaults(meta.omero, main)
        changed = self._label_source(node, meta, target) or changed
        self._document(node, meta if changed else None, target)
        return main

    def _choose(
        self,
        node: ImageEditor,
        image: MultiScaleMeta,
        documents: Sequence[ArrayDocument],
        shapes: Sequence[tuple[int, ...]],
        picks: tuple[Pick, ...],
        others: set[str],
    ) -> LevelChoice:
        fallback = node.pyramid_method
        return choose_levels(
            image,
            shapes,
            picks,
            levels=self.options.levels,
            pyramid=self.options.pyramid,
            method=method_of(image, summarise(documents[0]).dtype, fallback),
            taken=others - {d.path for d in image.datasets},
            where=node.location.where,
        )

    def _document(self, node: ImageEditor, meta: ImagesMeta | None, target: str) -> None:
        """Plan the group's document: as it is, or with the changed models."""
        own = node.own
        if meta is None and own.intents:
            meta = node.meta  # what is unfinished in the source does not concern the copy
        parts = None if meta is None else node.parts(meta)
        self.groups.write(node, target, parts)

    # --- arrays -----------------------------------------------------------------------------------

    def _arrays(
        self,
        node: ImageEditor,
        image: MultiScaleMeta,
        documents: Sequence[ArrayDocument],
        shapes: Sequence[tuple[int, ...]],
        choice: LevelChoice,
        target: str,
    ) -> bool:
        """Plan the arrays of one image, and edit its metadata; whether anything changes in that."""
        axis_names = [axis.name for axis in image.axes]
        last: ArrayDocument | None = None
        for k, picks in enumerate(choice.picks):
            array, name = documents[k], choice.names[k]
            encoding = self._encoding(array, picks, axis_names, node.location.storage.where(array.path))
            last = self._write_array(array, node, join(target, name), encoding)
            self._work(node, array, last, picks, encoding)
        assert last is not None
        if choice.remade:
            self._remake(node, image, documents, choice, last, target)
        return self._edit(image, choice, shapes)

    def _encoding(
        self, array: ArrayDocument, picks: tuple[Pick, ...], axis_names: Sequence[str], where: str
    ) -> Encoding:
        key = (array.data, repr(picks), (*axis_names, "", *self._main_names))
        if key not in self._encodings:
            layout = self._layout(axis_names)
            encoding = choose_encoding(array, picks, self.zarr_format, layout, axis_names, where)
            if self.options.axes_case is not None:
                lower_dimensions(encoding.content)
            self._encodings[key] = encoding
        return self._encodings[key]

    def _layout(self, axis_names: Sequence[str]) -> LayoutOptions:
        """The layout that is asked for; a label image may lack some axes of the image it follows."""
        layout, main = self.options.layout, self._main_names
        names = [name.lower() for name in axis_names]
        if names == main:
            return layout

        def fitted(values: Any) -> Any:
            if isinstance(values, str) and not values[:1].isdigit() and values != NO_SHARDS:
                return "".join(name for name in values if name.lower() in names) or None
            if not isinstance(values, tuple) or len(values) != len(main):
                return values
            by_name = dict(zip(main, values, strict=True))
            return tuple(by_name.get(name, 1) for name in names)

        return replace(
            layout,
            chunks=fitted(layout.chunks),
            shards=fitted(layout.shards),
            shards_ratio=fitted(layout.shards_ratio),
        )

    def _write_array(
        self, array: ArrayDocument, node: ImageEditor, path: str, encoding: Encoding
    ) -> ArrayDocument:
        """Plan the documents of an array."""
        storage = node.location.storage
        attributes: dict[str, Any] = {}
        if not self.options.only_ome:
            attributes = array_attributes(storage, array.path, array.zarr_format)
        files = array_files(self.zarr_format, encoding.content, attributes, where=path)
        if self.zarr_format == 2 and not attributes:
            files = files[-1:]
        self.plan.add_documents(path, files)
        self.plan.add_stamp(storage.where(array.path), array.data)
        return target_document(path, self.zarr_format, encoding.content)

    def _work(
        self,
        node: ImageEditor,
        array: ArrayDocument,
        target: ArrayDocument,
        picks: tuple[Pick, ...],
        encoding: Encoding,
    ) -> None:
        """Plan what becomes of the pixels of an array."""
        storage, plan = node.location.storage, self.plan
        if self.options.levels == "none":
            plan.arrays.append(ArrayReport(target.path, "empty", "no pixels are asked for", 0, 0))
            return
        path = join(array.path, encoding.inner)
        along = encoding.as_files and not encoding.inner and encoding.rename is None
        tree = self.groups.tree(storage, array, encoding.inner, target.path, encoding.rename, along=along)
        stamp = tree.stamp
        plan.add_stamp(f"{storage.where(path)}/*", stamp)
        if encoding.is_nested_anew:
            plan.remark("chunk files such as 0.0 are renamed to 0/0, as OME-NGFF 0.4 demands", target.path)
        if encoding.as_files:
            plan.trees.append(tree)
            plan.estimate += stamp.nbytes
            plan.arrays.append(ArrayReport(target.path, "files", encoding.why, stamp.files, stamp.nbytes))
            return
        nbytes = summarise(target).nbytes
        plan.pixels.append(PixelCopy(storage, array, target, picks))
        plan.watched.append((storage, path, stamp))
        if encoding.is_forced:
            plan.remark(f"decoded and encoded anew, not copied as files: {encoding.why}", target.path)
        plan.estimate += self._estimate(array, stamp, nbytes)
        count = unit_count(encoding.content, self.zarr_format)
        plan.arrays.append(ArrayReport(target.path, "pixels", encoding.why, count, nbytes))

    @staticmethod
    def _estimate(array: ArrayDocument, stamp: Stamp, nbytes: int) -> int:
        """Bytes that pixels are expected to take: as many as in the source."""
        decoded = summarise(array).nbytes
        return min(nbytes, round(nbytes * stamp.nbytes / decoded)) if decoded else 0

    def _remake(
        self,
        node: ImageEditor,
        image: MultiScaleMeta,
        documents: Sequence[ArrayDocument],
        choice: LevelChoice,
        base: ArrayDocument,
        target: str,
    ) -> None:
        """Plan levels that are made anew from the last one that is taken."""
        layout = layout_of(base.data, self.zarr_format, where=base.path)
        axis_names = [axis.name for axis in image.axes]
        kept, made = len(choice.picks), []
        shape = layout.shape
        known = {d.path: a for d, a in zip(image.datasets, documents, strict=False)}
        why = f"made by {choice.method} from the level above"
        for name, step in zip(choice.names[kept:], choice.remade, strict=True):
            shape = next_shape(shape, step)
            content = level_layout(layout, shape).document(self.zarr_format, axis_names)
            path = join(target, name)
            source = known.get(name)
            if source is not None:
                made.append(self._write_array(source, node, path, Encoding(content, False, why)))
            else:
                self.plan.add_documents(path, array_files(self.zarr_format, content, where=path))
                made.append(target_document(path, self.zarr_format, content))
            count = unit_count(content, self.zarr_format)
            nbytes = summarise(made[-1]).nbytes
            if self.options.levels == "none":
                nbytes = 0
            self.plan.arrays.append(ArrayReport(path, "levels", why, count, nbytes))
            self.plan.estimate += nbytes // 2
        self.plan.levels.append(LevelsCopy(base, made, list(choice.remade), choice.method))

    # --- metadata ---------------------------------------------------------------------------------

    def _edit(self, image: MultiScaleMeta, choice: LevelChoice, shapes: Sequence[tuple[int, ...]]) -> bool:
        """Bring the metadata of one image in line with its levels; whether anything changes."""
        from platestore._version import __version__

        untouched = not choice.remade and len(choice.picks) == len(shapes)
        if untouched and all(is_whole(p, s) for p, s in zip(choice.picks, shapes, strict=True)):
            return False
        known = pyramids.described(image)
        datasets, current = [], image.datasets[0].coordinate_transformations
        for name, dataset, picks in zip(choice.names, image.datasets, choice.picks, strict=False):
            current = picked_transform(dataset.coordinate_transformations, _placed(picks, image))
            datasets.append(DatasetMeta(path=name, coordinate_transformations=current))
        for name, step in zip(choice.names[len(choice.picks) :], choice.remade, strict=True):
            current = level_transform(current, step, pooled=reduction(choice.method).is_pooled)
            datasets.append(DatasetMeta(path=name, coordinate_transformations=current))
        image.datasets = datasets
        if len(datasets) == 1:
            pyramids.forget(image)
        elif choice.remade and (known is not None or len(choice.picks) == 1):
            steps: list[Sequence[int]] = list(known[1][: len(choice.picks) - 1]) if known is not None else []
            pyramids.describe(image, choice.method, [*steps, *_lists(choice.remade)], __version__)
        if choice.remade:
            pyramids.unmark(image)
        return True

    def _label_source(self, node: ImageEditor, meta: ImagesMeta, target: str) -> bool:
        """Let a label image name the copy of the image it annotates."""
        if not isinstance(meta, LabelImageMeta) or meta.image_label is None:
            return False
        source = meta.image_label.source
        if source is None or not source.image:
            return False
        here = node.location.path
        annotated = posixpath.normpath(posixpath.join(here or ".", source.image))
        found = self.groups.place_of(node, annotated)
        if found is None:
            self.plan.notes.append(
                f"{target or here}: the image that it annotates ({source.image}) is not copied"
            )
            return False
        if posixpath.normpath(posixpath.join(target or ".", source.image)) == posixpath.normpath(
            found or "."
        ):
            return False
        source.image = posixpath.relpath(found or ".", target) + "/"
        return True


def _placed(picks: tuple[Pick, ...], image: MultiScaleMeta) -> tuple[Pick, ...]:
    """The picks that move an image in space and time: channels have no place."""
    rows = zip(picks, image.axes, strict=True)
    return tuple(slice(0, 1, 1) if axis.name.lower() == "c" else pick for pick, axis in rows)


def _lists(steps: Sequence[Factors]) -> list[list[int]]:
    return [list(step) for step in steps]


def _select_channels(omero: OMEROMeta, pick: Pick | None) -> None:
    if pick is None:
        return
    indices = pick if isinstance(pick, tuple) else range(pick.start, pick.stop, pick.step)
    omero.channels = [omero.channels[i] for i in indices if i < len(omero.channels)]


def _select_defaults(omero: OMEROMeta, main: MainImage) -> None:
    """Keep the plane and time point that viewers open with inside of what is taken."""
    if omero.rdefs is None:
        return
    for name, key in (("t", "default_t"), ("z", "default_z")):
        value = getattr(omero.rdefs, key)
        if value is None or name not in main.names:
            continue
        pick = main.picks[main.names.index(name)]
        if isinstance(pick, tuple):
            continue
        count = len(range(pick.start, pick.stop, pick.step))
        setattr(omero.rdefs, key, min(max(0, (value - pick.start) // pick.step), count - 1))
