"""An array's document that was lost, written again as that of the same array of another field.

It is written only if the chunks that are there fit it: their names lie on its grid, and one of them decodes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from platestore.checking.whole.disk import Disk
from platestore.checking.whole.likeness import fields_beside
from platestore.storage.base import DOCUMENTS, join
from platestore.storage.hierarchy import ZarrFormat, array_key
from platestore.storage.local import LocalStorage

_MOST = 64
# What says that a chunk cannot be one of an array.
_UNFIT = frozenset(
    {"chunk-outside", "chunk-damaged", "chunk-truncated", "shard-index", "shard-truncated", "chunk-foreign"}
)


def write_lost_document(
    storage: LocalStorage, path: str, zarr_format: ZarrFormat, clear: Callable[[str], None]
) -> str | None:
    """Write the document of an array again.

    Parameters
    ----------
    storage : LocalStorage
        The store.
    path : str
        The array.
    zarr_format : {2, 3}
        Version of zarr.
    clear : callable
        Takes the broken documents of a directory away.

    Returns
    -------
    str or None
        Path of the array whose document it has now; None if no array of another field fits. What was in
        the directory is as it was then.
    """
    disk = Disk(storage)
    image, _, name = path.rpartition("/")
    broken = {n: storage.read(join(path, n)) for n in DOCUMENTS}
    tried = []
    for other in itertools.islice(fields_beside(disk, image), _MOST):
        like = join(other, name)
        if disk[like].state != "array" or disk[like].zarr_format != zarr_format:
            continue
        data = {n: storage.read(join(like, n)) for n in DOCUMENTS}
        if data in tried:
            continue
        tried.append(data)
        with storage.lock(image):
            clear(path)
            for key in _documents_first(data, zarr_format):
                storage.write(join(path, key), data[key] or b"{}")
            if _fits(storage, path, zarr_format):
                return like
            clear(path)
            for key, content in broken.items():
                if content is not None:
                    storage.write(join(path, key), content)
    return None


def _documents_first(data: dict[str, bytes | None], zarr_format: ZarrFormat) -> list[str]:
    """Names of the documents, the one that makes it an array last."""
    last = array_key("", zarr_format)
    return [n for n, content in data.items() if content is not None and n != last] + [last]


def _fits(storage: LocalStorage, path: str, zarr_format: ZarrFormat) -> bool:
    from platestore.checking.pixels.image import audit_array

    audit = audit_array(storage, path, zarr_format, deep=True, workers=1)
    return audit.files > 0 and not any(f.code in _UNFIT for f in audit.findings)
