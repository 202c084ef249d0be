"""Decoding every chunk that is there, each once, into memory that is used again."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from platestore.arrays.chunkcodec import ChunkFormat
from platestore.arrays.chunkfiles import ChunkReader
from platestore.arrays.grid import Place, box_of
from platestore.arrays.layout import MAX_CHUNK_BYTES
from platestore.arrays.types import Pixels
from platestore.checking.pixels.damage import Damage
from platestore.checking.pixels.survey import ChunkSurvey
from platestore.checking.pixels.threads import in_threads
from platestore.errors import UnsupportedError

#: Told of each chunk that was decoded: its place, its pixels inside of the array, and the fill value.
Visit = Callable[[Place, Pixels, Any], None]


class Decoder(Protocol):
    """Decodes chunks of one array; several threads may at once."""

    #: What chunks that are not there read as.
    fill: Any

    def decode(self, place: Place) -> Pixels | None:
        """The pixels of a chunk inside of the array, until this thread decodes the next.

        None if there is no such chunk.
        """


class _ThreadBlock(threading.local):
    block: Pixels | None = None


class ChunkDecoder:
    """Decodes by the codecs themselves.

    Parameters
    ----------
    survey : ChunkSurvey
        The array.
    format : ChunkFormat
        How its chunks lie in files.
    """

    def __init__(self, survey: ChunkSurvey, format: ChunkFormat) -> None:
        self._reader = ChunkReader(survey.storage, survey.path, format)
        self._format = format
        self._local = _ThreadBlock()
        self.fill = format.fill

    def decode(self, place: Place) -> Pixels | None:
        """The pixels of a chunk inside of the array."""
        codec = self._format.codec
        block = self._local.block
        if block is None:
            block = self._local.block = np.empty(codec.chunks, codec.dtype)
        if not self._reader.read(place, block):
            return None
        box = box_of(place, codec.chunks, self._format.shape)
        return block[tuple(slice(0, part.stop - part.start) for part in box)]


class ZarrDecoder:
    """Decodes through zarr, for other codecs, orders and data types.

    Parameters
    ----------
    survey : ChunkSurvey
        The array.
    """

    def __init__(self, survey: ChunkSurvey) -> None:
        import zarr

        from platestore.storage import zarr_compat

        store = survey.storage.zarr_store(writable=False, guarded=True)
        document = survey.document
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of data types that are not in the specification yet
            self._array = zarr.Array(
                zarr_compat.async_array(store, document.path, document.data, document.zarr_format)
            )
        self._survey = survey
        self.fill = self._array.fill_value

    def decode(self, place: Place) -> Pixels | None:
        """The pixels of a chunk inside of the array."""
        box = box_of(place, self._survey.grid.units, self._survey.grid.shape)
        return np.asarray(self._array[box])


def decoder_of(survey: ChunkSurvey) -> Decoder:
    """What decodes the chunks of an array.

    Raises
    ------
    UnsupportedError
        If chunks are larger than codecs take; zarr raises errors of its own for what it does not know.
    """
    if survey.format is not None and survey.format.codec.nbytes > MAX_CHUNK_BYTES:
        nbytes = survey.format.codec.nbytes
        raise UnsupportedError(f"a chunk would have {nbytes} bytes, and codecs take less than 2 GiB")
    return ZarrDecoder(survey) if survey.format is None else ChunkDecoder(survey, survey.format)


def usable_decoder(survey: ChunkSurvey) -> Decoder | None:
    """What decodes the chunks of an array; None, with a finding, where nothing here can."""
    try:
        return decoder_of(survey)
    except Exception as error:  # noqa: BLE001 - zarr raises whatever a codec or data type that is not there does
        text = f"its chunks cannot be decoded: {getattr(error, 'message', error)}"
        hint = "install the package that brings the codec; `platestore copy` copies the array as it is"
        survey.report("codec-unknown", None, text, level="warning", hint=hint)
        return None


def decode_all(survey: ChunkSurvey, damage: Damage, workers: int | None, visit: Visit | None = None) -> int:
    """Decode every chunk that is there.

    Parameters
    ----------
    survey : ChunkSurvey
        The array.
    damage : Damage
        Where chunks that cannot be decoded are noted.
    workers : int, optional
        Number of threads.
    visit : callable, optional
        Told of each chunk that was.

    Returns
    -------
    int
        Bytes of all chunks that were decoded.
    """
    decoder = usable_decoder(survey)
    if decoder is None:
        return 0
    done = _Count()

    def work(place: Place) -> None:
        try:
            block = decoder.decode(place)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - codecs raise whatever they like
            damage.add(place, error)
            return
        if block is not None:
            done.add(math.prod(survey.chunks) * block.dtype.itemsize)
            if visit is not None:
                visit(place, block, decoder.fill)

    in_threads(sound_places(survey), work, workers)
    return done.value


class _Count:
    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self, number: int) -> None:
        with self._lock:
            self.value += number


def sound_places(survey: ChunkSurvey) -> Iterator[Place]:
    """All chunks that are there, in files that were not found damaged."""
    for unit in sorted(survey.files):
        if unit not in survey.flawed:
            yield from survey.places_in(unit)
