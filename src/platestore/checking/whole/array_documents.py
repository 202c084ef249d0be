"""An array's document that was lost, written again as that of the same array of another field.

It is written only if the other levels fit it, and the chunks: they lie on its grid, and decode.
"""

from __future__ import annotations

import itertools
import re

from platestore.arrays.metadata import summarise
from platestore.checking.whole.disk import Disk, DiskDirectory
from platestore.checking.whole.facts import array_facts, read_image
from platestore.checking.whole.likeness import fields_beside
from platestore.spec.transforms import scale_of
from platestore.storage.base import DOCUMENTS, join
from platestore.storage.documents import serialise
from platestore.storage.hierarchy import ArrayDocument, ZarrFormat, array_key
from platestore.storage.local import LocalStorage

_MOST = 64
_NUMBERS = re.compile(r"\d+")
# What says that a chunk cannot be one of an array.
_UNFIT = frozenset(
    {"chunk-outside", "chunk-damaged", "chunk-truncated", "shard-index", "shard-truncated", "chunk-foreign"}
)


def write_lost_document(storage: LocalStorage, path: str, zarr_format: ZarrFormat) -> str | None:
    """Write the document of an array again.

    Parameters
    ----------
    storage : LocalStorage
        The store.
    path : str
        The array.
    zarr_format : {2, 3}
        Version of zarr.

    Returns
    -------
    str or None
        Path of the array whose document it has now; None if no array of another field fits. What was in
        the directory is as it was then. Attributes that are whole stay.
    """
    disk = Disk(storage)
    image, _, name = path.rpartition("/")
    kept = {".zattrs"} if disk[path].attributes else set()
    tried = []
    for other in itertools.islice(fields_beside(disk, image), _MOST):
        like = join(other, name)
        if disk[like].state != "array" or disk[like].zarr_format != zarr_format:
            continue
        data = {n: storage.read(join(like, n)) for n in DOCUMENTS - kept}
        if data in tried or not _agrees(disk, image, name, disk[like]):
            continue
        tried.append(data)
        names = _documents_first(data, zarr_format)
        written = {join(path, key): data[key] or b"{}" for key in names}
        if not _fits(_Overlaid(storage, written), path, zarr_format):
            continue
        with storage.lock(image):
            for key, content in written.items():
                storage.write(key, content)
        return like
    return None


class _Overlaid(LocalStorage):
    """A store as if it had some documents: what is tried is not written."""

    def __init__(self, storage: LocalStorage, documents: dict[str, bytes]) -> None:
        super().__init__(storage.root, storage.options)
        self._documents = documents

    def read(self, key: str) -> bytes | None:
        """Content of a document, or None."""
        return self._documents[key] if key in self._documents else super().read(key)

    def exists(self, key: str) -> bool:
        """Whether there is a document."""
        return key in self._documents or super().exists(key)


def _documents_first(data: dict[str, bytes | None], zarr_format: ZarrFormat) -> list[str]:
    """Names of the documents, the one that makes it an array last."""
    last = array_key("", zarr_format)
    return [n for n, content in data.items() if content is not None and n != last] + [last]


def _agrees(disk: Disk, image: str, name: str, like: DiskDirectory) -> bool:
    """Whether a document can be that of an array by what is left of its image.

    The other levels have its type, and their shapes and scales are those of its levels. Of an array without
    other levels, chunks reach the last place of the grid: its shape would be a guess otherwise.
    """
    array, meta = array_facts(like), read_image(disk[image])
    found = meta.find(name) if meta is not None else None
    if array is None:
        return False
    levels = found[0].datasets if found is not None else []
    known = {d.path: array_facts(disk[join(image, d.path)]) for d in levels if d.path != name}
    others = {path: facts for path, facts in known.items() if facts is not None}
    if not others:
        return _reaches(disk, join(image, name), like)
    scales = {d.path: scale_of(d.coordinate_transformations, len(array.shape)) for d in levels}
    for path, facts in others.items():
        if facts.dtype != array.dtype or len(facts.shape) != len(array.shape):
            return False
        for n, m, s, r in zip(array.shape, facts.shape, scales[name], scales[path], strict=True):
            fine, coarse, ratio = (n, m, r / s) if r >= s else (m, n, s / r)
            if not fine // ratio - 1 <= coarse <= -(-fine // ratio):
                return False
    return True


def _reaches(disk: Disk, path: str, like: DiskDirectory) -> bool:
    """Whether there are chunks at the last place along each axis of a grid."""
    data = serialise(like.content, where=like.path)
    facts = summarise(ArrayDocument(like.path, like.zarr_format or 3, data))
    grid = [-(-n // u) for n, u in zip(facts.shape, facts.shards or facts.chunks, strict=True)]
    last = [0] * len(grid)
    for key in disk.storage.keys(path):
        place = [int(n) for n in _NUMBERS.findall(key[len(path) :])]
        if len(place) == len(grid):
            last = [max(a, b + 1) for a, b in zip(last, place, strict=True)]
    return last == grid


def _fits(storage: LocalStorage, path: str, zarr_format: ZarrFormat) -> bool:
    from platestore.checking.pixels.image import audit_array

    audit = audit_array(storage, path, zarr_format, deep=True, workers=1)
    return audit.files > 0 and not any(f.code in _UNFIT for f in audit.findings)
