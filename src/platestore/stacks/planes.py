"""Planes of TIFF files as one source of pixels, read in parts, by several threads."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from platestore.arrays.sources import Region, read_tiles
from platestore.arrays.types import DType, Pixels
from platestore.errors import (
    ArgumentError,
    DamagedChunkError,
    PlatestoreError,
    SourceChangedError,
    UnsupportedError,
)
from platestore.stacks.listing import find_series
from platestore.stacks.naming import Series

# Opening files is waiting, more than work.
_OPENING_THREADS = 16
_PIECE = 2**20
_FEW_ROWS = 2**16
_HEADER = 2**19
_ANEW = "restore it, or start the import anew with overwrite=True (--overwrite)"
# What the leading axis of a file of several planes may be called.
_ANY = frozenset("TCZIQRSH")


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane.

    Attributes
    ----------
    file : int
        Number of its file.
    page : int
        Number of its page in the file.
    offset : int
        Where its pixels begin, if they lie there as they are; otherwise -1.
    swapped : bool
        Whether they are in big-endian byte order.
    """

    file: int
    page: int
    offset: int = -1
    swapped: bool = False


@dataclass(frozen=True, slots=True)
class _Head:
    """What the header of one file says of its planes."""

    shape: tuple[int, ...]
    axes: str
    dtype: DType
    segment: tuple[int, int]
    planes: list[tuple[int, int, bool]]
    stamp: tuple[int, int]


class PlanesSource:
    """Planes of TIFF files.

    Parameters
    ----------
    files : list of str
        Absolute paths.
    planes : list of Plane
        The planes, in C order of the leading axes.
    shape : tuple of int
        Leading axes, then Y and X.
    dtype : numpy.dtype
        Type of the pixels.
    segment : tuple of int
        Rows and columns of what is decoded at once.
    stamps : list of tuple of int
        Size and time of the last change of each file.
    axes : str
        Names of the axes.
    channels : list of str, optional
        Names of the channels, where those of the files say them.
    """

    def __init__(
        self,
        files: list[str],
        planes: list[Plane],
        shape: tuple[int, ...],
        dtype: DType,
        segment: tuple[int, int],
        stamps: list[tuple[int, int]],
        axes: str,
        channels: list[str] | None = None,
    ) -> None:
        self.files = files
        self.axes = axes
        self.channels = channels
        self.shape = shape
        self.dtype = dtype
        self.tiles = (*(1,) * (len(shape) - 2), *segment)
        self._planes = planes
        self._segment = segment
        self._stamps = stamps
        self._raw = all(plane.offset >= 0 for plane in planes)
        self._checked: set[int] = set()

    @classmethod
    def open(cls, planes: Any) -> Self:
        """Look at files, which must all hold planes of one shape and type; their pixels are not read.

        Parameters
        ----------
        planes : path, or list of paths
            Files of one plane each, a folder of them, a pattern (also with ``{t}``, ``{c}`` and ``{z}``); or
            one file of several planes.

        Raises
        ------
        ImportError
            If tifffile is not installed.
        NodeNotFoundError, ArgumentError
            If files are missing, in the middle of a numbered series too, or differ in shape or type; or if
            their names do not say how they are arranged.
        DamagedChunkError, UnsupportedError
            If one cannot be read; the message names it.

        Examples
        --------
        >>> from platestore.stacks import PlanesSource
        >>> planes = PlanesSource.open("raw")
        >>> planes.axes, planes.shape, planes.dtype
        ('ZYX', (8, 64, 64), dtype('uint16'))
        """
        require_tifffile()
        series = find_series(planes)
        files = series.files
        several = "Z" not in series.axes
        with ThreadPoolExecutor(_OPENING_THREADS, thread_name_prefix="platestore") as pool:
            heads = list(pool.map(lambda path: _read_head(path, several), files))
        first = heads[0]
        for path, head in zip(files, heads, strict=True):
            _check_same(first, head, path, files[0])
        whole = [Plane(i, *plane) for i, head in enumerate(heads) for plane in head.planes]
        shape, axes = _spanned(series, first)
        return cls(
            files,
            whole,
            shape,
            first.dtype,
            (min(h.segment[0] for h in heads), min(h.segment[1] for h in heads)),
            [head.stamp for head in heads],
            axes,
            series.channels,
        )

    def to_json(self) -> dict[str, Any]:
        """All that :meth:`from_json` needs, as JSON."""
        return {
            "files": self.files,
            "planes": [[p.file, p.page, p.offset, int(p.swapped)] for p in self._planes],
            "shape": list(self.shape),
            "dtype": self.dtype.name,
            "segment": list(self._segment),
            "stamps": [list(stamp) for stamp in self._stamps],
            "axes": self.axes,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """A source as :meth:`to_json` described it; files that changed since then are an error when read."""
        require_tifffile()
        planes = [Plane(a, b, c, bool(d)) for a, b, c, d in content["planes"]]
        segment, stamps = content["segment"], [tuple(stamp) for stamp in content["stamps"]]
        return cls(
            content["files"],
            planes,
            tuple(content["shape"]),
            np.dtype(content["dtype"]),
            (segment[0], segment[1]),
            stamps,
            content["axes"],
        )

    def __repr__(self) -> str:
        return f"<PlanesSource {self.files[0]} ... shape={self.shape} dtype={self.dtype}>"

    # --- reading ----------------------------------------------------------------------------------

    def load(self, region: Region, out: Pixels, workers: int) -> None:
        """Read a box, plane by plane."""
        lead = self.shape[:-2]

        def read(part: Region, target: Pixels) -> None:
            number = int(np.ravel_multi_index([p.start for p in part[:-2]], lead))
            rows, columns = part[-2:]
            self._read(self._planes[number], rows, columns, target[(0,) * len(lead)])

        read_tiles(region, (*(1,) * len(lead), *self.shape[-2:]), out, read, workers)

    def loading_nbytes(self, workers: int) -> int:
        """Each thread has a piece of a plane, or what it is decoded from and to."""
        if self._raw:
            return workers * (_PIECE + self.shape[-1] * self.dtype.itemsize)
        return workers * (4 * math.prod(self._segment) * self.dtype.itemsize + _HEADER)

    def _read(self, plane: Plane, rows: slice, columns: slice, out: Pixels) -> None:
        path = self.files[plane.file]
        if plane.file not in self._checked:
            if _stamp(path) != self._stamps[plane.file]:
                raise SourceChangedError("the plane changed since it was looked at", path=path, hint=_ANEW)
            self._checked.add(plane.file)
        if plane.offset >= 0:
            self._read_raw(path, plane, rows, columns, out)
        else:
            _guarded(path, lambda: _decode(path, plane.page, rows, columns, out))

    def _read_raw(self, path: str, plane: Plane, rows: slice, columns: slice, out: Pixels) -> None:
        """Read pixels that lie in the file as they are."""
        width, size = self.shape[-1], self.dtype.itemsize
        whole = columns.stop - columns.start == width
        step = max(1, _PIECE // (width * size))
        with open(path, "rb", buffering=0) as file:
            file.seek(plane.offset + rows.start * width * size)
            if whole and not plane.swapped and out.flags.c_contiguous and out.dtype == self.dtype:
                _fill(file, out.data.cast("B"), path)
                return
            piece = np.empty((min(step, rows.stop - rows.start), width), self.dtype)
            for first in range(0, out.shape[0], step):
                part = piece[: min(step, out.shape[0] - first)]
                _fill(file, part.data.cast("B"), path)
                if plane.swapped:
                    part.byteswap(inplace=True)
                out[first : first + len(part)] = part[:, columns]


def _spanned(series: Series, first: _Head) -> tuple[tuple[int, ...], str]:
    """Shape and axes of files that are arranged in some way, each of them with planes along others."""
    if not series.axes:
        return (first.shape, first.axes) if len(first.shape) > 2 else ((1, *first.shape), "ZYX")
    inner = first.axes[:-2]
    if inner not in ("", "Z"):
        raise UnsupportedError(
            f"each file has the axes {first.axes}, and the pattern adds {series.axes}",
            path=series.files[0],
            hint="files of a pattern hold one plane each, or planes along Z",
        )
    return (*series.shape, *first.shape), f"{series.axes}{inner}YX"


def require_tifffile() -> None:
    """Refuse to go on without tifffile.

    Raises
    ------
    ImportError
        With the command that installs it.
    """
    try:
        import tifffile  # noqa: F401
    except ImportError as error:
        raise ImportError("TIFF files are read by tifffile: pip install 'platestore[tiff]'") from error


def _check_same(first: _Head, head: _Head, path: str, other: str) -> None:
    for what, expected, found in (
        ("shape", first.shape, head.shape),
        ("data type", first.dtype.name, head.dtype.name),
    ):
        if expected != found:
            raise ArgumentError(
                f"the plane has the {what} {found}, but that of {os.path.basename(other)} is {expected}",
                path=path,
                hint="the planes of a stack are all alike; nothing was written",
            )


def _fill(file: Any, view: memoryview, path: str) -> None:
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])
        if not count:
            raise DamagedChunkError("the file is cut off", path=path, hint="restore the plane")
        done += count


def _stamp(path: str) -> tuple[int, int]:
    try:
        info = os.stat(path)
    except FileNotFoundError:
        raise SourceChangedError("the plane is gone", path=path, hint=_ANEW) from None
    return info.st_size, info.st_mtime_ns


def _guarded(path: str, action: Callable[[], Any]) -> Any:
    """Do something with a TIFF file; whatever is wrong with it, the error names it."""
    try:
        return action()
    except (PlatestoreError, MemoryError):
        raise
    except Exception as error:
        raise DamagedChunkError(
            f"the plane cannot be read: {type(error).__name__}: {error}", path=path, hint="restore the file"
        ) from error


def _read_head(path: str, several: bool) -> _Head:
    """Read the header of a file, which may hold several planes or just one."""
    head: _Head = _guarded(path, lambda: _head(path, several))
    return head


def _head(path: str, several: bool) -> _Head:
    from tifffile import TiffFile

    stamp = _stamp(path)
    with TiffFile(path) as file:
        page: Any = file.pages[0]
        _check_page(page, path)
        if not several:
            if len(file.pages) > 1:
                raise ArgumentError(
                    f"the file holds {len(file.pages)} planes; of several files, each must hold one",
                    path=path,
                    hint="pass such a file by itself, or a pattern of what varies, as in 'T{t}_C{c}.tif'",
                )
            return _Head(
                page.shape, "YX", _native(page), _segment(page), [(0, *_place(page, file.byteorder))], stamp
            )
        series = file.series[0]
        if len(file.series) > 1:
            raise UnsupportedError(
                f"the file holds {len(file.series)} series of planes",
                path=path,
                hint="write each of them into a file of its own",
            )
        axes = series.axes.upper()
        if axes[-2:] != "YX" or not _ANY.issuperset(axes[:-2]) or len(set(axes)) != len(axes):
            raise UnsupportedError(
                f"the file has the axes {axes}, not planes of Y and X", path=path, hint="write gray planes"
            )
        if len(axes) > 3 and not set(axes[:-2]) <= set("TCZ"):
            raise UnsupportedError(
                f"the file has the axes {axes}, of which only T, C and Z are known", path=path
            )
        if len(axes) == 3 and not (axes[0] in "TC" and (file.is_ome or file.is_imagej)):
            axes = "ZYX"  # unless the file itself says otherwise, these are the planes of a stack
        planes = list(_pages(series, file, path))
        return _Head(series.shape, axes, _native(page), _segment(page), planes, stamp)


def _pages(series: Any, file: Any, path: str) -> Iterator[tuple[int, int, bool]]:
    """Number, offset and byte order of each plane of a series."""
    count = math.prod(series.shape[:-2])
    if series.dataoffset is not None:  # all of it in one piece
        nbytes = math.prod(series.shape[-2:]) * series.dtype.itemsize
        for i in range(count):
            yield i, series.dataoffset + i * nbytes, file.byteorder == ">"
        return
    if len(series.pages) != count:
        raise UnsupportedError(f"the file has {len(series.pages)} pages for {count} planes", path=path)
    for page in series.pages:
        if page is None or page.parent.filehandle.path != file.filehandle.path:
            raise UnsupportedError(
                "a plane of this file is missing, or lies in another file", path=path, hint="pass all files"
            )
        yield (page.index, *_place(page, file.byteorder))


def _check_page(page: Any, path: str) -> None:
    from tifffile import TIFF

    if page.axes != "YX":
        raise UnsupportedError(
            f"the plane has the axes {page.axes} (shape {page.shape}); planes have Y and X",
            path=path,
            hint="split colours into channels, and write gray planes",
        )
    if page.compression != 1 and page.compression not in TIFF.DECOMPRESSORS:
        raise UnsupportedError(
            f"the plane is compressed by {getattr(page.compression, 'name', page.compression)}",
            path=path,
            hint="pip install imagecodecs",
        )
    if page.dtype is None:
        raise UnsupportedError(f"the plane has pixels of {page.bitspersample} bits", path=path)


def _place(page: Any, byteorder: str) -> tuple[int, bool]:
    """Where the pixels of a page lie as they are (-1 if they must be decoded), and whether swapped."""
    if not (page.is_memmappable and page.is_contiguous):
        return -1, False
    return int(page.dataoffsets[0]), byteorder == ">" and page.dtype.itemsize > 1


def _segment(page: Any) -> tuple[int, int]:
    """Rows and columns that are decoded at once."""
    height, width = page.shape
    if _place(page, "<")[0] >= 0:
        return max(1, min(height, _FEW_ROWS // max(1, width * page.dtype.itemsize))), width
    if page.is_tiled:
        return min(height, page.tilelength), min(width, page.tilewidth)
    return max(1, min(height, page.rowsperstrip)), width


def _native(page: Any) -> DType:
    native: DType = np.dtype(page.dtype).newbyteorder("=")
    return native


def _decode(path: str, number: int, rows: slice, columns: slice, out: Pixels) -> None:
    """Decode the segments of a page that a box touches."""
    from tifffile import TiffFile

    with TiffFile(path) as file:
        page: Any = file.pages[number]
        height, width = page.chunks
        across = -(-page.shape[1] // width)
        options = {} if page.jpegtables is None else {"jpegtables": page.jpegtables}
        for i in range(rows.start // height, -(-rows.stop // height)):
            for j in range(columns.start // width, -(-columns.stop // width)):
                index = i * across + j
                count = page.databytecounts[index]
                file.filehandle.seek(page.dataoffsets[index])
                data = file.filehandle.read(count)
                if not count or len(data) != count:  # other programs take a segment of no bytes as zeros
                    raise ValueError(f"segment {index} is cut off")
                segment, _, _ = page.decode(data, index, **options)
                _put(segment, (i * height, j * width), (height, width), rows, columns, out)


def _put(
    segment: Pixels,
    corner: Sequence[int],
    size: Sequence[int],
    rows: slice,
    columns: slice,
    out: Pixels,
) -> None:
    """Put the part of a decoded segment that lies in a box into its place."""
    inner: list[slice] = []
    target: list[slice] = []
    for start, length, box in zip(corner, size, (rows, columns), strict=True):
        low, high = max(start, box.start), min(start + length, box.stop)
        inner.append(slice(low - start, high - start))
        target.append(slice(low - box.start, high - box.start))
    rows_in, columns_in = inner
    out[tuple(target)] = segment[0, rows_in, columns_in, 0]
