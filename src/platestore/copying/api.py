"""``platestore.copy``: from arguments to a finished copy."""

from __future__ import annotations

import contextlib
import operator
import os
import time as clock
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from platestore.arrays.options import LayoutOptions
from platestore.copying.destination import Destination, find_destination
from platestore.copying.files import can_share, free_bytes, scan, stamp_of
from platestore.copying.members import own_place, with_known_channels
from platestore.copying.options import CopyOptions, check_options, read_moves
from platestore.copying.place import LockedPlace, check_apart, installed, require_same
from platestore.copying.plan import Plan
from platestore.copying.planner import Planner, open_sources, version_of
from platestore.copying.plates import SameLook
from platestore.copying.report import CopyReport
from platestore.copying.run import Work
from platestore.errors import ArgumentError, NoSpaceError, UnsafeTargetError, VerifyError
from platestore.progress import Progress, shown
from platestore.resources import Resources
from platestore.settings import human_bytes, resident_bytes
from platestore.storage.base import Durability, StorageOptions
from platestore.tree.editor import AnyEditor
from platestore.tree.holder import HasEditor, editor_of
from platestore.tree.image import ImageEditor
from platestore.tree.opening import open_editor
from platestore.tree.plate import PlateEditor
from platestore.tree.well import WellEditor

if TYPE_CHECKING:
    from zarr.abc.store import Store
    from zarr.storage import StorePath

    from platestore.storage.zarr_store import ZarrStorage

#: New places: a mapping, a CSV file, or (number of the source, old, new).
Moves = Mapping[str, str] | str | os.PathLike[str] | Sequence[tuple[int | None, str, str]] | None
#: What can be copied: a path, a node, or a zarr store.
Copyable: TypeAlias = "str | os.PathLike[str] | HasEditor | Store | StorePath"
#: Where a copy can go.
Target: TypeAlias = "str | os.PathLike[str] | Store | StorePath"


def copy(
    src: Copyable | Sequence[Copyable],
    dst: Target,
    *,
    positions: str | Sequence[str] | None = None,
    wells: str | Sequence[str] | None = None,
    channels: str | Sequence[str] | None = None,
    time: str | int | slice | None = None,
    z: str | int | slice | None = None,
    crop: str | Mapping[str, Any] | None = None,
    levels: int | str = "all",
    labels: bool = True,
    acquisition: int | Sequence[int] | None = None,
    version: str | None = None,
    chunks: Sequence[int] | None = None,
    shards: str | int | Sequence[int] | None = None,
    shards_ratio: Sequence[int] | None = None,
    compressor: str | None = None,
    checksum: bool = False,
    pyramid: int | str | None = None,
    map: Moves = None,
    only_ome: bool = False,
    channels_differ: Literal["keep", "refuse"] = "keep",
    axes_case: Literal["lower"] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    verify: bool = False,
    dry_run: bool = False,
    max_memory: int | str | None = None,
    workers: int | None = None,
    lock_timeout: float = 60.0,
    durability: Durability = "process",
    progress: bool | Progress | None = None,
) -> CopyReport:
    """Copy plates, wells, positions or series: as they are, in part, in another layout, into one plate.

    An array whose encoding stays the same is copied as files, which are never decoded; so is one that only
    changes its version, where the other version has the same encoding. What else is asked for is done in one
    pass. The copy appears under its name when it is complete; a store that it replaces is there until then.

    Parameters
    ----------
    src : path, node, zarr Store, or sequence of them
        What is copied: a plate, well, position or series, in a directory, an ``.ozx`` archive or a zarr
        Store. Several are merged into one plate.
    dst : path or zarr Store
        The copy. A name that ends with ``.ozx`` makes an archive (RFC-9). A path inside a plate
        (``plate.zarr/B/2/0``) adds a position, or a well, to it, and makes the plate if there is none. A
        zarr Store, or a StorePath in one, must be empty; its root's document is written last, and nothing
        stays there if the copy is interrupted.
    positions, wells : str or sequence of str, optional
        Globs of paths (``"A/*/0"``, ``"B/1"``); each must match something.
    channels : str or sequence of str, optional
        Names of channels, in the order they get. ``"GFP,DAPI"`` names two, unless a channel is called so.
    time, z : str, int or slice, optional
        Ranges of time points and planes: ``"2:10"``, ``"::2"``, ``5``.
    crop : str or mapping, optional
        Range of pixels: ``"100:612,0:512"`` (Y, X). Translations are updated.
    levels : {"all", 0, "none"}
        Resolution levels: all, the full resolution only, or none: arrays without pixels, as a template. A
        level that a crop cuts between its pixels is made anew, by the method that is recorded.
    labels : bool
        Whether label images come along.
    acquisition : int or sequence of int, optional
        Acquisitions whose fields are taken.
    version : {"0.4", "0.5"}, optional
        OME-NGFF version of the copy; that of the (first) source by default.
    chunks, shards, shards_ratio, compressor, checksum
        As for :meth:`Position.create_image`; what is not given stays as it is, but shards without chunks
        get chunks that are planned for them. ``shards="none"`` takes shards away. Label images follow along
        the axes that they have.
    pyramid : int or "auto", optional
        Number of levels, level 0 included, that are made anew.
    map : mapping or path, optional
        New places of wells and positions, or a CSV file with the columns ``from`` and ``to``.
    only_ome : bool
        Whether attributes, tables and groups of others stay behind; the report names them.
    channels_differ : {"keep", "refuse"}
        What becomes of positions that are merged, or added to a plate, and whose channels differ (as those
        of imaging cycles do): each keeps its own, which the report says, or nothing is copied.
    axes_case : {"lower"}, optional
        Names of axes in lower case, which some readers ask for; as they are by default.
    overwrite, resume : bool
        Whether what is there is replaced when the copy is complete; whether an unfinished copy is continued.
    verify : bool
        Whether the copy is read again and compared before it gets its name.
    dry_run : bool
        Whether only the plan is made.
    max_memory : int or str, optional
        Bytes by which the process may grow; that of ``platestore.config`` by default.
    workers : int, optional
        Number of threads; that of ``platestore.config`` by default.
    lock_timeout : float
        Seconds to wait for another process that changes the plate that the copy is added to.
    durability : {"process", "metadata", "full"}
        What is flushed to the device before the copy gets its name.
    progress : bool or callable, optional
        True shows a bar; a function is called with the bytes done and the total.

    Returns
    -------
    CopyReport

    Raises
    ------
    ArgumentError
        If an argument is wrong, a glob matches nothing, or sources cannot be merged.
    NodeNotFoundError, InvalidMetadataError
        If a source cannot be read.
    NodeExistsError
        If the destination exists, or positions clash.
    NoSpaceError
        If there is not enough room.
    DamagedChunkError, SourceChangedError, VerifyError
        If a chunk of the source cannot be read, the source changed, or the copy differs from it.

    Examples
    --------
    >>> report = ps.copy("plate.zarr", "part.zarr", wells="A/1", channels="GFP")
    >>> part = ps.open_ome_zarr("part.zarr/A/1/0")
    >>> report.positions, part.channel_names, part["0"].shape
    (1, ['GFP'], (1, 1, 4, 64, 64))
    >>> report = ps.copy("plate.zarr", "plate.ozx")  # all of it, in one file
    """
    options = check_options(
        positions=positions,
        wells=wells,
        channels=channels,
        time=time,
        z=z,
        crop=crop,
        levels=levels,
        labels=labels,
        acquisition=acquisition,
        version=version,
        layout=LayoutOptions(
            _sizes(chunks), _sizes(shards_ratio), _sizes(shards), compressor, bool(checksum)
        ),
        pyramid=pyramid,
        moves=read_moves(map),
        only_ome=only_ome,
        channels_differ=channels_differ,
        axes_case=axes_case,
    )
    start, resident = clock.monotonic(), resident_bytes()
    given = _listed(src)
    with shown(progress, "copying") as tell:
        resources = Resources(max_memory, workers, tell)
        how = _RunOptions(
            overwrite=bool(overwrite),
            resume=bool(resume),
            verify=bool(verify),
            dry_run=bool(dry_run),
            max_memory=resources.memory,
            workers=resources.threads,
            lock_timeout=StorageOptions(lock_timeout=lock_timeout).lock_timeout,
            durability=StorageOptions(durability=durability).durability,
            progress=resources.progress,
            resident=resident,
        )
        report = _Copy(open_sources(given), options, find_destination(dst), how).run()
    report.seconds = clock.monotonic() - start
    return report


def _listed(src: Any) -> list[Any]:
    """Sources, of which there may be one or several."""
    single = isinstance(src, (str, bytes, os.PathLike)) or editor_of(src) is not None
    single = single or not isinstance(src, Iterable)
    given = [src] if single else list(src)
    if not given:
        raise ArgumentError("there is nothing to copy: src is empty")
    return given


def _sizes(value: Any) -> Any:
    """A shape as plain integers; sizes and axes as they are."""
    if value is None or isinstance(value, str) or not hasattr(value, "__len__"):
        return value
    return tuple(v if isinstance(v, str) or not hasattr(v, "__index__") else operator.index(v) for v in value)


@dataclass(frozen=True, slots=True)
class _RunOptions:
    """The arguments that say how, and not what."""

    overwrite: bool
    resume: bool
    verify: bool
    dry_run: bool
    max_memory: int
    workers: int
    lock_timeout: float
    durability: Durability
    progress: Progress | None
    resident: int


class _Copy:
    """One call of :func:`copy`."""

    def __init__(
        self, nodes: list[AnyEditor], options: CopyOptions, destination: Destination, how: _RunOptions
    ) -> None:
        self._nodes = nodes
        self._options = with_known_channels(options, nodes)
        self._destination = destination
        self._place = destination.place
        self._how = how
        self._sources = [node.location.where for node in nodes]

    def run(self) -> CopyReport:
        """Check everything, plan, and do it."""
        place, how = self._place, self._how
        done = False
        if self._destination.store is not None:
            self._require_other_store(self._destination.store)
            self._destination.check_store(overwrite=how.overwrite, resume=how.resume)
        else:
            check_apart(place, self._sources)
            done = how.resume and place.is_installed()
            if not done:
                place.check(overwrite=how.overwrite, resume=how.resume)
        if self._destination.made:
            self._make_plate()
        plate = note = None
        if self._destination.root is not None:
            if len(self._nodes) > 1:
                raise ArgumentError("only one position or well is added to a plate", path=place.final)
            self._destination.check_fits(self._nodes[0])
            plate = self._destination.plate(how.durability, how.lock_timeout)
            self._destination.check_free(plate)
            same = SameLook(self._options.channels_differ)
            same.check_pair(plate, self._nodes[0], self._options.selection.channels)
            note = same.note()
        version = version_of(self._nodes, self._options, self._destination, plate)
        plan = Planner(self._nodes, self._options, self._destination, version).make()
        report = CopyReport(self._sources, place.final, version, plan.positions, plan.arrays)
        plan.notes += [] if note is None else [note]
        report.notes, report.memory = plan.notes, self._memory(plan)
        report.unclaimed = plan.unclaimed
        if done:
            return self._finish(plan, report, plate)
        self._check_space(plan)
        if how.dry_run:
            report.dry_run, report.nbytes = True, plan.estimate
            report.files = plan.files()
        else:
            self._carry_out(plan, report, plate)
        return report

    def _make_plate(self) -> None:
        """Let the copy go into a plate that is made for it."""
        if len(self._nodes) > 1 or self._options.moves:
            what = "several sources" if len(self._nodes) > 1 else "map="
            raise ArgumentError(
                f"{what} and a place in a plate that is not there do not go together",
                path=self._place.final,
                hint="name the plate, and give the places in a map (map=, --map)",
            )
        self._destination.check_fits(self._nodes[0])
        self._options = replace(self._options, moves=self._destination.moves(self._nodes[0]))

    def _require_other_store(self, target: ZarrStorage) -> None:
        """Refuse to copy a store over itself."""
        for node in self._nodes:
            storage = node.location.storage
            if target.is_same_store(storage):
                one, other = f"{node.location.path}/".lstrip("/"), f"{target.branch}/".lstrip("/")
                if one.startswith(other) or other.startswith(one):
                    raise UnsafeTargetError("source and destination are in one store", path=target.url)

    def _memory(self, plan: Plan) -> int:
        if not plan.pixels and not plan.levels:
            return 0
        from platestore.copying.pixel_work import memory_needed

        how = self._how
        kind: Literal["directory", "archive", "store"] = "directory"
        if self._place.is_archive or self._destination.store is not None:
            kind = "archive" if self._place.is_archive else "store"
        return memory_needed(plan, how.max_memory, how.workers, kind)

    def _finish(self, plan: Plan, report: CopyReport, plate: PlateEditor | None) -> CopyReport:
        """Finish what was interrupted after the copy got its name."""
        place = self._place
        require_same(place, plan, self._journalled())
        report.resumed, report.dry_run = True, self._how.dry_run
        report.files, report.nbytes = plan.files(), plan.estimate
        if self._how.dry_run:
            return report
        if self._how.verify:
            storage = installed(place)
            work = Work(plan, storage, self._how.workers, self._how.max_memory, resume=True, sync=False)
            work.verify()
            report.verified = True
        if plate is not None and self._destination.inner not in plate:
            self._add(plate, place.final)
        place.remove()
        return report

    def _journalled(self) -> dict[str, Any]:
        return {**self._options.to_json(), "sources": self._sources}

    def _add(self, plate: PlateEditor, path: str) -> None:
        """Add the finished copy, which lies at a path, to the plate."""
        node = self._nodes[0]
        if isinstance(node, WellEditor):
            well = open_editor(path, mode="r")
            assert isinstance(well, WellEditor)  # a copy of one
            fields = [(image.path, image.acquisition) for image in well.meta.images]
        else:
            fields = [(self._destination.inner.rpartition("/")[2], own_place(node)[2])]
        self._destination.add(plate, fields, is_well=isinstance(node, WellEditor))

    def _check_space(self, plan: Plan) -> None:
        """Refuse a copy that there is no room for; a store that is no directory does not tell."""
        if self._destination.store is not None:
            return
        place, parent = self._place, self._place.final
        while not os.path.isdir(parent := os.path.dirname(parent)):
            pass
        there = 0
        if self._how.resume and os.path.isdir(place.work):
            there = stamp_of(scan(place.work), documents=True).nbytes
        free = free_bytes(parent)
        if plan.estimate - there > free and not self._shares(plan, parent):
            raise NoSpaceError(
                f"the copy takes about {human_bytes(plan.estimate - there)}, and "
                f"{human_bytes(free)} are free",
                path=parent,
            )

    def _shares(self, plan: Plan, directory: str) -> bool:
        """Whether the bytes are shared with the source, and take no room."""
        if self._place.is_archive or plan.pixels or plan.levels:
            return False
        for tree in plan.trees:
            root = tree.source.local_path(tree.path)
            if root is None:
                return False
            for folder in scan(root):
                for name, nbytes in folder.files:
                    if nbytes:
                        return can_share(os.path.join(root, folder.path, name), directory)
        return False

    def _carry_out(self, plan: Plan, report: CopyReport, plate: PlateEditor | None) -> None:
        how, target = self._how, self._destination.store
        if target is not None:
            self._into_store(target, plan, report)
            return
        work = LockedPlace(self._place, plan, how.durability, resume=how.resume, overwrite=how.overwrite)
        with work.opened(options=self._journalled()) as storage:
            run = Work(
                plan=plan,
                target=storage,
                workers=how.workers,
                max_memory=how.max_memory,
                resume=work.resumed,
                sync=how.durability == "full",
                progress=how.progress,
                finished=work.finished(),
                least=report.memory,
                resident=how.resident,
                mark=None if self._place.is_archive else work.mark_finished,
            )
            run.run()
            if how.verify:
                try:
                    run.verify()
                except VerifyError:
                    work.mark_failed()
                    raise
            run.finish()
            if plate is not None:
                self._add(plate, self._place.data)
                self._place.remove()
            else:
                work.install()
        report.files, report.nbytes = run.files, run.nbytes
        report.verified, report.resumed = how.verify, work.resumed

    def _into_store(self, target: ZarrStorage, plan: Plan, report: CopyReport) -> None:
        """Copy into a zarr store, whose root's document comes last."""
        how = self._how
        if how.overwrite:
            target.remove_tree("")
        run = Work(
            plan=plan,
            target=target,
            workers=how.workers,
            max_memory=how.max_memory,
            resume=False,
            sync=False,
            progress=how.progress,
            least=report.memory,
            resident=how.resident,
        )
        try:
            run.run()
            if how.verify:
                run.verify()
            run.finish()
        except BaseException:
            with contextlib.suppress(NotImplementedError):  # a zip
                target.remove_tree("")  # nothing could continue it, and it would be in the way of the next
            raise
        report.files, report.nbytes, report.verified = run.files, run.nbytes, how.verify


def plate_from_positions(
    store_path: str | os.PathLike[str], positions: Mapping[str, object], options: Mapping[str, Any]
) -> PlateEditor:
    """Do the work of :meth:`platestore.Plate.from_positions`."""
    if not positions:
        raise ArgumentError("there are no positions", path=os.fspath(store_path))
    if options.get("dry_run"):
        raise ArgumentError("with dry_run there is no plate to return", hint="call platestore.copy(...)")
    nodes = []
    for place, position in positions.items():
        editor = editor_of(position)
        if not isinstance(editor, ImageEditor):
            raise ArgumentError(f"{place!r} is no Position but a {type(position).__name__}")
        nodes.append(editor)
    moves = [(i, ".", new) for i, place in enumerate(positions) for _, _, new in read_moves({".": place})]
    report = copy(nodes, store_path, map=moves, **options)
    mode: Literal["r", "r+"] = "r" if report.destination.lower().endswith(".ozx") else "r+"
    plate = open_editor(report.destination, layout="hcs", mode=mode)
    assert isinstance(plate, PlateEditor)
    return plate
