"""The arrays that users hold: ``zarr.Array`` with the field's conveniences, and safe metadata."""

from __future__ import annotations

import contextlib
import math
import operator
import re
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import zarr

from platestore.arrays.casting import exact
from platestore.arrays.engine import Engine, open_tensorstore, refuse_in_child
from platestore.arrays.pixels import PixelArray
from platestore.arrays.types import Pixels
from platestore.errors import ArgumentError, InvalidMetadataError, StoreWarning, UnsupportedError
from platestore.spec.own import NAMESPACE
from platestore.storage import zarr_compat
from platestore.storage.attributes import AttributesView
from platestore.storage.base import Storage
from platestore.storage.documents import commit, constants, may_hold_constants
from platestore.storage.hierarchy import (
    ArrayDocument,
    array_attributes,
    array_key,
    commit_attributes,
    read_array,
)

if TYPE_CHECKING:
    import dask.array
    import tensorstore
    from zarr.core.common import MemoryOrder

    # Not at run time, for completion in IPython: see platestore.nodes.node.
    from platestore.storage.hierarchy import ZarrFormat

# "0/0/1" and "0.0.1" in v2, "c/0/0/1" and "c.0.0.1" in v3.
_CHUNK_KEY = re.compile(r"(?:c[./])?(\d+(?:[./]\d+)*)")

# Mark, in our namespace of the array's attributes, of a cut whose chunks are not all removed yet.
_TRIM = "trim"
_MOST_ELEMENTS = 2**62
_MOST_CHUNK_BYTES = 2**31


class ShapeKeeper(Protocol):
    """Changes the shape of an array together with what depends on it; the array's node gives one."""

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Exclude other writers of all of it."""

    def resize(self, shape: tuple[int, ...]) -> None:
        """Give the array another shape, and all others theirs; or nothing, if one cannot follow."""


class ImageArray(PixelArray):
    """An image of up to five dimensions: a ``zarr.Array`` that knows its axes.

    Indexing, ``oindex``, ``shape``, ``dtype``, ``chunks``, ``shards`` and everything else of
    ``zarr.Array`` work as they do there. Changes of its metadata (``attrs``, ``update_attributes``,
    ``resize``, ``append``) are committed under a lock, so that two writers do not undo each other.

    Instances come from ``position["0"]`` and the creation methods of positions.
    """

    # Set by _open; zarr.Array is a frozen dataclass, so it is no dataclass field.
    _axis_names: tuple[str, ...]
    _keeper: ShapeKeeper | None

    @classmethod
    def _open(
        cls,
        storage: Storage,
        document: ArrayDocument,
        axis_names: Sequence[str],
        keeper: ShapeKeeper | None,
    ) -> Self:
        """Build the array from its document in hand; nothing is read."""
        array = cls(_build(storage, document))
        object.__setattr__(array, "_storage", storage)
        object.__setattr__(array, "_axis_names", tuple(name.lower() for name in axis_names))
        object.__setattr__(array, "_keeper", keeper)
        object.__setattr__(array, "_engine", Engine(storage, document, array.dtype))
        return array

    def _take(self, document: ArrayDocument) -> None:
        """Go over to another document of the array; no handle over the old one stays."""
        zarr_compat.swap_metadata(self, _build(self._storage, document))
        object.__setattr__(self, "_engine", Engine(self._storage, document, self.dtype))

    def __reduce__(self) -> tuple[Any, ...]:
        # Without handles: they are opened where the copy is used.
        document, names = self._engine.document, self._axis_names
        return _reopen, (type(self), self._storage, document, names, self._keeper)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self._storage.where(self.path)} shape={self.shape} dtype={self.dtype}>"
        )

    @property
    def _format(self) -> ZarrFormat:
        return 2 if self.metadata.zarr_format == 2 else 3

    @property
    def order(self) -> MemoryOrder:
        """Order of the pixels in memory, ``"C"`` or ``"F"``, as of ``zarr.Array``."""
        return super().order

    def _axis_size(self, name: str, from_end: int) -> int:
        """Size along an axis: by name, else by the conventional TCZYX place; 1 if there is none."""
        if len(self._axis_names) == self.ndim:
            return self.shape[self._axis_names.index(name)] if name in self._axis_names else 1
        return self.shape[-from_end] if self.ndim >= from_end else 1

    @property
    def frames(self) -> int:
        """Number of time points (size of the T axis)."""
        return self._axis_size("t", 5)

    @property
    def channels(self) -> int:
        """Number of channels (size of the C axis)."""
        return self._axis_size("c", 4)

    @property
    def slices(self) -> int:
        """Number of Z slices (size of the Z axis)."""
        return self._axis_size("z", 3)

    @property
    def height(self) -> int:
        """Height in pixels (size of the Y axis)."""
        return self._axis_size("y", 2)

    @property
    def width(self) -> int:
        """Width in pixels (size of the X axis)."""
        return self._axis_size("x", 1)

    def numpy(self) -> Pixels:
        """The whole image in memory.

        Returns
        -------
        numpy.ndarray
            Of this array's shape and data type; the same as ``array[:]``.

        Examples
        --------
        >>> image.numpy().mean(axis=(0, 2, 3, 4))  # of each channel
        array([100., 200.])
        """
        return np.asarray(self[...])

    def dask_array(self) -> dask.array.Array:
        """The image as a lazy dask array, one block per chunk (per shard, where there are shards).

        Each call gives an array of its own to dask: one that was persisted before the pixels changed is not
        taken for one that reads them afterwards.

        Examples
        --------
        >>> lazy = image.dask_array()
        >>> lazy.chunksize
        (1, 1, 4, 64, 64)
        >>> lazy.mean(axis=(0, 2, 3, 4)).compute()
        array([100., 200.])
        """
        import dask.array

        blocks = self.shards or self.chunks
        lazy: dask.array.Array = dask.array.from_array(self, chunks=blocks)  # type: ignore[no-untyped-call]
        return lazy

    def __dask_tokenize__(self) -> str:
        # Pixels on disk change: what dask made of the array before is not what it would make of it now.
        return uuid.uuid4().hex

    def tensorstore(self, **kwargs: Any) -> tensorstore.TensorStore:
        """Open the array with TensorStore.

        Parameters
        ----------
        **kwargs
            Passed to ``tensorstore.open``; ``read`` and ``write`` follow this store's mode.

        Returns
        -------
        tensorstore.TensorStore
            A handle on the same array.

        Raises
        ------
        ArgumentError
            If ``read`` or ``write`` is among the arguments.
        UnsupportedError
            If the store is no local directory, or TensorStore does not know the array's type or codecs.
        ForkError
            In a forked child of a process that used TensorStore.

        Examples
        --------
        >>> store = image.tensorstore()
        >>> store[0, 1, 2, :2, :2].read().result()
        array([[200, 200],
               [200, 200]], dtype=uint16)
        """
        if "read" in kwargs or "write" in kwargs:
            raise ArgumentError(
                "read= and write= follow the mode of the store", hint='open it with mode="r+"'
            )
        if self._storage.local_path(self.path) is None:
            raise UnsupportedError(
                "TensorStore opens arrays in local directories only", path=self._storage.url
            )
        writable = self._storage.is_writable(self.path)
        return open_tensorstore(self._storage, self._engine.document, writable=writable, **kwargs)

    @property
    def attrs(self) -> MutableMapping[str, Any]:  # type: ignore[override]
        """Attributes of the array; assignments are committed at once."""
        return AttributesView(self._read_attributes, self._commit_attributes, self._storage.where(self.path))

    def _read_attributes(self) -> dict[str, Any]:
        return array_attributes(self._storage, self.path, self._format)

    def _commit_attributes(self, change: Callable[[dict[str, Any]], None]) -> None:
        commit_attributes(self._storage, self.path, self._format, change)

    def update_attributes(self, new_attributes: Mapping[str, Any]) -> Self:
        """Merge attributes into those of the array.

        Examples
        --------
        >>> image.update_attributes({"objective": "20x"}).attrs
        {'objective': '20x'}
        """
        self.attrs.update(new_attributes)
        return self

    def resize(self, new_shape: int | Sequence[int]) -> None:  # type: ignore[override]
        """Change the shape of the array in place, and with it the levels and label images of its image.

        What is cut off is gone: growing again gives the fill value. The array of an image's first level
        takes the other levels along, by their factors, and the label images along the axes that they share
        with the image; what is new there is marked as not computed until ``compute_pyramid()`` was called.
        The change is recorded before it begins, and completed by the next writer if it is interrupted.

        Parameters
        ----------
        new_shape : int or sequence of int
            The new shape, of the same number of dimensions.

        Raises
        ------
        ArgumentError
            If it is no shape of this number of dimensions, or the array is that of another level than the
            first, or of a label image that would not fit its image.
        InvalidMetadataError
            If levels or label images do not fit the array as it is, and cannot follow it.

        Examples
        --------
        >>> image.resize((3, 2, 4, 64, 64))
        >>> image[:, 1, 0, 0, 0]  # new time points are empty
        array([200,   0,   0], dtype=uint16)
        """
        shape = _as_shape(new_shape, self.ndim)
        if self._keeper is None:
            self._resize_alone(shape)
        else:
            with self._keeper.lock(), self._storage.lock(self.path):
                self._require_writable()
                self._keeper.resize(shape)
                self.refresh()

    def _resize_alone(self, shape: tuple[int, ...]) -> None:
        """Change the shape of this array only.

        What is cut of chunks that stay is cleared, then the document changes, then the other chunks go. After
        an interruption it can be repeated.
        """
        with self._storage.lock(self.path):
            self.refresh()
            self._require_writable()
            unfinished = _TRIM in self._read_attributes().get(NAMESPACE, {})
            if unfinished:  # an interrupted cut left chunks that growing would bring back
                self._remove_chunks_beyond(self.shape)
            smaller = any(n < o for n, o in zip(shape, self.shape, strict=True))
            if self._cuts_through(shape):
                refuse_in_child("cutting through a chunk or shard", self._storage.where(self.path))
            if smaller:
                self._commit_attributes(lambda own: own.setdefault(NAMESPACE, {}).update({_TRIM: True}))
                for _, index in self._chunk_keys():
                    self._clear_beyond(index, shape)
            self._commit_shape(shape)
            if smaller:
                self._remove_chunks_beyond(shape)
            if smaller or unfinished:
                self._commit_attributes(_unmark_trim)

    def _cuts_through(self, shape: Sequence[int]) -> bool:
        """Whether a new shape ends within a chunk or shard that has pixels now."""
        return any(n < o and n % u for n, o, u in zip(shape, self.shape, self._units, strict=True))

    def _commit_shape(self, shape: tuple[int, ...]) -> None:
        key = array_key(self.path, self._format)
        commit(self._storage, key, lambda content: content.update(shape=list(shape)))
        self.refresh()

    def _remove_chunks_beyond(self, shape: tuple[int, ...]) -> None:
        kept = [-(-n // u) for n, u in zip(shape, self.shards or self.chunks, strict=True)]
        for key, index in list(self._chunk_keys()):
            if any(i >= k for i, k in zip(index, kept, strict=True)):
                self._storage.remove(key)

    def _chunk_keys(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Keys and grid indices of the chunks (shards) that exist; a sparse array has few, however large."""
        prefix = f"{self.path}/" if self.path else ""
        for key in self._storage.keys(self.path):
            numbers = _CHUNK_KEY.fullmatch(key.removeprefix(prefix))
            if numbers is not None:
                index = tuple(int(n) for n in re.split(r"[./]", numbers[1]))
                if len(index) == self.ndim:
                    yield key, index

    def _clear_beyond(self, index: tuple[int, ...], shape: tuple[int, ...]) -> None:
        """Set the part of a boundary chunk that a smaller shape cuts off to the fill value."""
        units = self.shards or self.chunks
        if any(i * u >= new for i, u, new in zip(index, units, shape, strict=True)):
            return  # it lies outside, and is removed as a whole
        starts = [i * u for i, u in zip(index, units, strict=True)]
        stops = [min(a + u, n) for a, u, n in zip(starts, units, self.shape, strict=True)]
        fill = self.dtype.type(0) if self.fill_value is None else self.fill_value
        for axis, new in enumerate(shape):
            if new < stops[axis]:
                first = [new if i == axis else start for i, start in enumerate(starts)]
                self[tuple(slice(f, s) for f, s in zip(first, stops, strict=True))] = fill

    def append(self, data: npt.ArrayLike, axis: int = 0) -> tuple[int, ...]:
        """Grow the array along one axis and write data there; levels and label images follow, as in resize.

        Parameters
        ----------
        data : array-like
            Of this array's shape on all other axes, with values that its data type holds exactly.
        axis : int
            The axis to grow.

        Returns
        -------
        tuple of int
            The new shape.

        Raises
        ------
        ArgumentError
            If the shapes do not fit, the data type cannot hold the values, or as for :meth:`resize`.

        Examples
        --------
        >>> image.append(np.ones((1, 2, 4, 64, 64), "uint16"), axis=0)
        (2, 2, 4, 64, 64)
        >>> image[:, 0, 0, 0, 0]
        array([100,   1], dtype=uint16)
        """
        block = exact(data, self.dtype, what="appended to")
        if not -self.ndim <= axis < self.ndim:
            raise ArgumentError(f"axis {axis} is not an axis of a {self.ndim}-dimensional array")
        axis %= self.ndim
        # Under the lock, so that writers who append in turn, from other handles too, lose nothing.
        keeper = contextlib.nullcontext() if self._keeper is None else self._keeper.lock()
        with keeper, self._storage.lock(self.path):
            self.refresh()
            others = [s for i, s in enumerate(self.shape) if i != axis]
            if block.ndim != self.ndim or [s for i, s in enumerate(block.shape) if i != axis] != others:
                raise ArgumentError(
                    f"data of shape {block.shape} cannot be appended to {self.shape} along axis {axis}"
                )
            start = self.shape[axis]
            if start % self._units[axis]:
                refuse_in_child("appending within a chunk or shard", self._storage.where(self.path))
            self.resize([s + block.shape[axis] if i == axis else s for i, s in enumerate(self.shape)])
            self[tuple(slice(start, None) if i == axis else slice(None) for i in range(self.ndim))] = block
        return self.shape

    def refresh(self) -> Self:
        """Read the array's document again, after another process changed its shape.

        Raises
        ------
        InvalidMetadataError
            If the array is gone.

        Examples
        --------
        >>> other = ps.open_ome_zarr("plate.zarr/A/1/0", mode="r+")
        >>> other.resize((3, 2, 4, 64, 64))
        >>> image.shape, image.refresh().shape
        ((1, 2, 4, 64, 64), (3, 2, 4, 64, 64))
        """
        document = read_array(self._storage, self.path, self._format)
        if document is None:
            raise InvalidMetadataError("the array is gone", path=self._storage.where(self.path))
        self._take(document)
        return self


def open_array(
    storage: Storage,
    document: ArrayDocument,
    axis_names: Sequence[str],
    cls: type[ImageArray] = ImageArray,
    keeper: ShapeKeeper | None = None,
) -> ImageArray:
    """Open an array from its document in hand; with a keeper, changes of its shape go through that."""
    if may_hold_constants(document.data):
        places = [f"{path} is {value}" for path, value in constants(document.content)]
        if places:
            where = storage.where(document.path)
            more = f" and {len(places) - 3} more" if len(places) > 3 else ""
            text = f"{where}: {', '.join(places[:3])}{more}, which is no number of JSON [json-constant]"
            warnings.warn(text, StoreWarning, stacklevel=3)
    return cls._open(storage, document, axis_names, keeper)


def _reopen(
    cls: type[ImageArray],
    storage: Storage,
    document: ArrayDocument,
    axis_names: Sequence[str],
    keeper: ShapeKeeper | None,
) -> ImageArray:
    return cls._open(storage, document, axis_names, keeper)


def resize_array(storage: Storage, document: ArrayDocument, shape: Sequence[int]) -> None:
    """Change the shape of one array, whatever it belongs to; after an interruption it can be repeated."""
    array = open_array(storage, document, ())
    array._resize_alone(tuple(shape))


def check_resize(storage: Storage, document: ArrayDocument, shape: Sequence[int]) -> None:
    """Refuse what :func:`resize_array` would refuse.

    Raises
    ------
    ReadOnlyError, UnsafeTargetError
        If the array may not be written.
    ForkError
        If a chunk would be cut in a process that cannot.
    """
    array = open_array(storage, document, ())
    array._require_writable()
    if array._cuts_through(shape):
        refuse_in_child("cutting through a chunk or shard", storage.where(document.path))


def _build(storage: Storage, document: ArrayDocument) -> zarr.AsyncArray[Any]:
    where = storage.where(document.path)
    store = storage.zarr_store(writable=storage.is_writable(document.path), guarded=True)
    keep_fill = storage.options.missing == "raise"
    try:
        array = zarr_compat.async_array(
            store, document.path, document.data, document.zarr_format, write_empty_chunks=keep_fill
        )
    except UnsupportedError as error:
        raise UnsupportedError(error.message, path=where, hint=error.hint) from None
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        if zarr_compat.is_unknown_codec(error):
            raise UnsupportedError(
                f"its chunks need a codec that is not available: {error}",
                path=where,
                hint="install the package that brings it (numcodecs or zarr finds it then); "
                "`platestore copy` copies such an array as it is",
            ) from error
        raise InvalidMetadataError(
            f"the array's document cannot be used: {type(error).__name__}: {error}", path=where
        ) from error
    _require_possible(array, where)
    flaws = document.flaws
    if flaws and (document.path, "flaws") not in storage.warned:
        storage.warned.add((document.path, "flaws"))
        warnings.warn(f"{where}: {'; '.join(map(str, flaws))}", StoreWarning, stacklevel=5)
    return array


def _require_possible(array: zarr.AsyncArray[Any], where: str) -> None:
    """Refuse sizes that no memory and no library can handle, as hostile documents have them.

    TensorStore ends the program where it cannot allocate a chunk.
    """
    chunks = tuple(array.chunks)
    if any(n >= _MOST_ELEMENTS for n in array.shape) or any(not 0 < c < _MOST_ELEMENTS for c in chunks):
        raise InvalidMetadataError(
            f"shape {array.shape} and chunks {chunks} are no sizes of an array", path=where
        )
    nbytes = math.prod(chunks) * array.dtype.itemsize
    if nbytes > _MOST_CHUNK_BYTES:
        raise InvalidMetadataError(
            f"a chunk has {nbytes / 2**30:.0f} GiB; more than {_MOST_CHUNK_BYTES >> 30} are not decoded",
            path=where,
            hint="write the array with smaller chunks",
        )


def _unmark_trim(attributes: dict[str, Any]) -> None:
    own = attributes.get(NAMESPACE, {})
    own.pop(_TRIM, None)
    if not own:
        attributes.pop(NAMESPACE, None)


def _as_shape(value: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    try:
        shape = tuple(operator.index(v) for v in ((value,) if isinstance(value, int) else value))
    except TypeError:
        raise ArgumentError(f"a shape must be integers, not {value!r}") from None
    if len(shape) != ndim or min(shape) < 1 or max(shape) >= 2**63:
        raise ArgumentError(f"{shape} is not a shape of {ndim} dimensions of 1 or more")
    return shape
