"""Auditing the chunks of an image, or of one array; numpy is loaded when this is called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from platestore.checking.pixels.audits import ArrayAudit, ImageAudit
from platestore.errors import InvalidMetadataError, PlatestoreError
from platestore.spec.names import split_path
from platestore.spec.values import Json
from platestore.spec.versions import NAMESPACE
from platestore.storage.base import Storage, join
from platestore.storage.hierarchy import ZarrFormat, read_array

if TYPE_CHECKING:
    from platestore.checking.pixels.pyramid import StoredLevel
    from platestore.checking.pixels.survey import ChunkSurvey

_INCOMPLETE = "incomplete"


def audit_image(
    storage: Storage,
    path: str,
    image: Json,
    zarr_format: ZarrFormat,
    *,
    deep: bool,
    workers: int | None = None,
) -> ImageAudit:
    """Find out whether the pixels of an image are whole, in all of its levels.

    Parameters
    ----------
    storage : Storage
        Where it is.
    path : str
        Path of the image's group.
    image : dict
        One entry of its ``multiscales``, as it is in the document; levels that it names badly, or that are
        not there or cannot be read, are left out without a finding: they are flaws of the metadata.
    zarr_format : {2, 3}
        Version of zarr.
    deep : bool
        Whether every chunk is decoded, every checksum verified, and each level held against level 0.
        Otherwise names, lengths, headers and the indices of shards are looked at.
    workers : int, optional
        Number of threads; that of the settings by default.

    Returns
    -------
    ImageAudit
        With these codes: ``chunk-empty``, ``chunk-truncated``, ``chunk-damaged``, ``shard-truncated``,
        ``shard-index`` and ``unreadable`` (errors, one for each file), ``chunk-outside``, ``chunk-foreign``,
        ``chunk-missing`` (in the array that lacks them), ``level-stale``, ``level-shape``, ``level-size``,
        ``array-unwritten``, ``codec-unknown``.
    """
    levels = _levels(storage, path, image, zarr_format)
    if not levels:
        return ImageAudit()
    from platestore.checking.pixels import presence, pyramid

    unfinished, names = _unfinished(image), _paths(image)
    base, finished = levels[0], [level for level in levels if level.name not in unfinished]
    if base.name != names[0]:
        finished = []  # nothing to hold them against
    same_rank = [v for v in finished if len(v.survey.grid.shape) == len(base.survey.grid.shape)]
    pyramid.shape_flaws(same_rank)
    same_rank = pyramid.of_one_size(same_rank, image)
    nbytes, settled = 0, set(unfinished)
    if deep:
        if same_rank:
            whole = len(same_rank) == len(levels) == len(names)
            shapes = [v.survey.grid.shape for v in levels]
            recipe = pyramid.recipe_of(image, shapes) if whole else None
            nbytes += pyramid.audit_levels(same_rank, recipe, workers)
            if recipe is not None and base.survey.files:
                settled.update(v.name for v in levels[1:])  # where they have no chunks, they need none
        for level in levels:
            if level not in same_rank:
                nbytes += pyramid.audit_levels([level], None, workers)
    else:
        _note_codecs(level.survey for level in levels)
    if not deep and same_rank and base.survey.is_listed:
        for level in same_rank[1:]:
            presence.find_lost(base.survey, level.survey, level.name)
    out = ImageAudit(nbytes_decoded=nbytes)
    return _summed(out, levels, settled)


def audit_array(
    storage: Storage, path: str, zarr_format: ZarrFormat, *, deep: bool, workers: int | None = None
) -> ArrayAudit:
    """Find out whether the pixels of an array are whole.

    Parameters
    ----------
    storage : Storage
        Where it is.
    path : str
        Path of the array.
    zarr_format, deep, workers
        As for :func:`audit_image`.

    Returns
    -------
    ArrayAudit
        Empty if there is no array, or its document cannot be read.
    """
    found = _survey(storage, path, zarr_format)
    if found is None:
        return ArrayAudit(path)
    nbytes = 0
    if deep:
        from platestore.checking.pixels.pyramid import StoredLevel, audit_levels

        nbytes = audit_levels([StoredLevel("", found)], None, workers)
    else:
        _note_codecs([found])
    _note_unwritten(found)
    return ArrayAudit(
        path,
        found.findings,
        len(found.files),
        sum(found.files.values()),
        nbytes,
        found.missing,
        sorted(found.leftovers),
    )


def _survey(storage: Storage, path: str, zarr_format: ZarrFormat) -> ChunkSurvey | None:
    try:
        document = read_array(storage, path, zarr_format)
        if document is None:
            return None
        from platestore.checking.pixels.survey import survey

        return survey(storage, document)
    except (PlatestoreError, OSError, RecursionError):
        return None


def _paths(image: Json) -> list[str]:
    """Paths of the levels, as far as they can be paths."""
    datasets = image.get("datasets")
    rows = datasets if isinstance(datasets, list) else []
    return [row["path"] for row in rows if isinstance(row, dict) and isinstance(row.get("path"), str)]


def _levels(storage: Storage, path: str, image: Json, zarr_format: ZarrFormat) -> list[StoredLevel]:
    """The levels that are there, in their order."""
    out: dict[str, StoredLevel] = {}
    for name in _paths(image):
        try:
            inner = split_path(name, location="path", document=path)
        except InvalidMetadataError:
            continue
        found = None if inner in out else _survey(storage, join(path, inner), zarr_format)
        if found is not None:
            from platestore.checking.pixels.pyramid import StoredLevel

            out[inner] = StoredLevel(name, found)
    return list(out.values())


def _unfinished(image: Json) -> set[str]:
    """Names of the levels that were created, and not computed yet."""
    metadata = image.get("metadata")
    own = metadata.get(NAMESPACE) if isinstance(metadata, dict) else None
    names = own.get(_INCOMPLETE) if isinstance(own, dict) else None
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def _note_codecs(surveys: Iterable[ChunkSurvey]) -> None:
    """Note arrays that nothing here can decode, without decoding any."""
    for found in surveys:
        if found.format is None:
            from platestore.checking.pixels.decoding import usable_decoder

            usable_decoder(found)


def _note_unwritten(found: ChunkSurvey) -> None:
    told = any(finding.file == found.path for finding in found.findings)
    if not found.files and found.is_listed and all(found.grid.shape) and not told:
        text = "has no chunks: it was never written, or with the fill value only"
        found.report("array-unwritten", None, text, level="advice")


def _summed(out: ImageAudit, levels: list[StoredLevel], settled: set[str]) -> ImageAudit:
    """The findings and figures of all levels; some of them need not have any chunks."""
    files = stored = 0
    for level in levels:
        found = level.survey
        if level.name not in settled:
            _note_unwritten(found)
        out.findings.extend(found.findings)
        out.leftovers.extend(sorted(found.leftovers))
        out.missing[level.name] = found.missing
        files += len(found.files)
        stored += sum(found.files.values())
    return ImageAudit(out.findings, files, stored, out.nbytes_decoded, out.missing, out.leftovers)
