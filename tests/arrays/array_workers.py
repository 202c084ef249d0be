"""Arrays of every kind, and what other processes do with them (they must be able to import it)."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path

import numcodecs
import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, TransposeCodec
from zarr.codecs.numcodecs import LZMA
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore, MemoryStore

from platestore.arrays.image import ImageArray, open_array
from platestore.storage.base import StorageOptions
from platestore.storage.hierarchy import read_array
from platestore.storage.local import LocalStorage
from platestore.storage.zarr_store import ZarrStorage

SHAPE = (5, 6, 7)
CHUNKS = (2, 3, 4)
SHARDS = (4, 3, 8)
WRITABLE = StorageOptions(read_only=False, lock_timeout=30)

#: Zarr format, and what is asked of zarr when the array is created. TensorStore serves these.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # zarr v3 does not specify it
    _ODD_CODEC = LZMA(preset=0)
SERVED = {
    "v2": (2, {}),
    "v2 dotted": (2, {"chunk_key_encoding": {"name": "v2", "separator": "."}}),
    "v2 in Fortran order": (2, {"order": "F"}),
    "v2 zstd, float32": (2, {"compressors": numcodecs.Zstd(), "dtype": "float32"}),
    "v2 raw, bool": (2, {"compressors": None, "dtype": "bool"}),
    "v2 with a fill value": (2, {"fill_value": 9}),
    "v3": (3, {}),
    "v3 sharded": (3, {"shards": SHARDS}),
    "v3 sharded, float16": (3, {"shards": SHARDS, "dtype": "float16"}),
    "v3 sharded, int64, checksums": (3, {"shards": SHARDS, "dtype": "int64", "compressors": [Crc32cCodec()]}),
    "v3 transposed": (3, {"filters": [TransposeCodec(order=(2, 0, 1))]}),
    "v3 in big-endian bytes": (3, {"serializer": BytesCodec(endian="big")}),
    "v3 complex64": (3, {"dtype": "complex64"}),
    "v3 with NaN as fill value": (3, {"dtype": "float64", "fill_value": np.nan}),
    "v3 dotted": (3, {"chunk_key_encoding": {"name": "default", "separator": "."}}),
}
#: TensorStore does not.
REFUSED = {
    "v2 big-endian": (2, {"dtype": ">u2"}),
    "v2 delta": (2, {"filters": [numcodecs.Delta(dtype="<u2")]}),
    "v2 lz4": (2, {"compressors": numcodecs.LZ4()}),
    "v2 lzma, int16": (2, {"compressors": numcodecs.LZMA(preset=0), "dtype": "int16"}),
    "v3 lzma": (3, {"compressors": [_ODD_CODEC]}),
    "v3 sharded, lzma": (3, {"compressors": [_ODD_CODEC], "shards": SHARDS}),
    "v2 in memory": (2, {}),
    "v3 in memory": (3, {}),
    "v3 sharded in memory": (3, {"shards": SHARDS}),
}
EVERY = SERVED | REFUSED


def root_of(case, directory):
    """Where the array of a case is: a directory, or memory."""
    return MemoryStore() if "in memory" in case else directory


def numbers(shape=SHAPE, dtype="uint16", start=1):
    return (np.arange(start, start + np.prod(shape)).reshape(shape)).astype(dtype)


def make_zarr(root, case, shape=SHAPE, chunks=CHUNKS):
    """Create the array "0" with zarr itself."""
    zarr_format, kwargs = EVERY[case] if isinstance(case, str) else case
    kwargs = {"dtype": "uint16", **kwargs}
    store = LocalStore(root) if isinstance(root, (str, os.PathLike)) else root
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return zarr.create_array(
            store, name="0", shape=shape, chunks=chunks, zarr_format=zarr_format, **kwargs
        )


def make(root, case, shape=SHAPE, chunks=CHUNKS, **options):
    """Create it, and open it with this library."""
    made = make_zarr(root, case, shape, chunks)
    return reopened(root, made.metadata.zarr_format, **options)


def reopened(root, zarr_format, path="0", by_zarr=False, **options) -> ImageArray:
    """Open an array with this library; ``by_zarr`` as if TensorStore had refused it."""
    how = StorageOptions(**{"read_only": False, "lock_timeout": 30, **options})
    if isinstance(root, MemoryStore):
        storage = ZarrStorage(root, how)
    else:
        storage = LocalStorage(str(root), how)
    document = read_array(storage, path, zarr_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)  # of codecs that zarr v3 does not specify
        array = open_array(storage, document, list("tczyx")[-len(document.content["shape"]) :])
    if by_zarr:
        array._engine.refusal = "the test says so"
    return array


def plain(root, path="0"):
    """The same array as zarr alone has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)
        if isinstance(root, MemoryStore):
            return zarr.open_array(root, path=path, mode="r+")
        return zarr.open_array(f"{root}/{path}", mode="r+")


def chunk_files(root):
    """Files of chunks and shards, sorted."""
    return sorted(
        os.path.join(directory, name)
        for directory, _, names in os.walk(root)
        for name in names
        if not name.startswith(".z") and name != "zarr.json"
    )


# --- what other processes do ----------------------------------------------------------------------


def meet(gate, members):
    """Wait until as many processes are here."""
    (Path(gate) / str(os.getpid())).touch()
    deadline = time.monotonic() + 120
    while len(os.listdir(gate)) < members:
        if time.monotonic() > deadline:
            raise TimeoutError("the others did not come")
        time.sleep(0.002)


def write_blocks(job):
    """Write blocks, each full of its number, together with others; returns the process that did it."""
    array, blocks, gate, members = job
    meet(gate, members)
    for number, region in blocks:
        array[region] = np.full([s.stop - s.start for s in region], number, array.dtype)
    return os.getpid()


def everything(array):
    """Everything that a process may want to do with an array, and what came of it."""
    units = list(array.write_units())

    def dask_write():
        import dask.array

        array[...] = dask.array.from_array(numbers(dtype=array.dtype), chunks=(1, 4, 5))

    actions = {
        "read": lambda: int(array[...].astype("int64").sum()),
        "read a window": lambda: int(array[1, 2:4, ::2].astype("int64").sum()),
        "read lists": lambda: int(array.oindex[[0, 4], [1]].astype("int64").sum()),
        "read points": lambda: int(array.vindex[[0, 4], [1, 1], [2, 2]].astype("int64").sum()),
        "write a whole unit": lambda: array.__setitem__(units[0], numbers(dtype=array.dtype)[units[0]]),
        "write all": lambda: array.__setitem__(..., numbers(dtype=array.dtype)),
        "write units by dask": dask_write,
        "write one element": lambda: array.__setitem__((0, 0, 0), numbers(dtype=array.dtype)[0, 0, 0]),
        "write a part": lambda: array.__setitem__(
            np.s_[:, 1:2], np.ascontiguousarray(numbers(dtype=array.dtype)[:, 1:2])
        ),
        "write lists": lambda: array.oindex.__setitem__(
            ([0, 3], [2]), numbers(dtype=array.dtype)[np.ix_([0, 3], [2])]
        ),
        "write points": lambda: array.vindex.__setitem__(
            ([0, 3], [1, 1], [2, 2]), numbers(dtype=array.dtype)[[0, 3], [1, 1], [2, 2]]
        ),
        "tensorstore": lambda: int(array.tensorstore()[0, 0, 0].read().result()),
        "attributes": lambda: array.attrs.update(a=1),
    }
    out = {"pid": os.getpid()}
    for name, action in actions.items():
        try:
            out[name] = action()
        except Exception as error:  # noqa: BLE001 - the parent looks at it
            out[name] = f"{type(error).__name__}: {error}"
    out["pixels"] = array[...].tobytes()
    return out
