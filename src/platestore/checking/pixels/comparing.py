"""What a build of a pyramid reads and "writes" when its levels are only held against those that are there."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from platestore.arrays.grid import Box, Place, box_of
from platestore.arrays.types import DType, Pixels
from platestore.checking.pixels.damage import Damage
from platestore.checking.pixels.decoding import Decoder
from platestore.checking.pixels.presence import places_of, same_as
from platestore.checking.pixels.survey import ChunkSurvey
from platestore.errors import MissingChunkError
from platestore.pyramid.targets import Reader

# Floats may differ by their rounding where another version, or machine, made them.
_TOLERANCE = {2: 2e-3, 4: 1e-5, 8: 1e-12}
_PIECE = 2**18


class _ThreadCounts(threading.local):
    def __init__(self) -> None:
        self.nbytes = [0]
        self.known = False


class AuditReader:
    """Reads level 0 for a build; what cannot be decoded is noted, and reads as if it were not there.

    Parameters
    ----------
    survey : ChunkSurvey
        Level 0.
    reader : Reader
        Reads its chunks.
    damage : Damage
        Where chunks that cannot be decoded are noted.
    """

    def __init__(self, survey: ChunkSurvey, reader: Reader, damage: Damage) -> None:
        self._survey = survey
        self._reader = reader
        self._damage = damage
        self._counts = Counts()

    def read(self, place: Place, out: Pixels) -> bool:
        """Decode a chunk; False if there is none that can be."""
        if not self._survey.has(place) or self._survey.unit_of(place) in self._survey.flawed:
            return False
        try:
            found = self._reader.read(place, out)
        except MissingChunkError:
            return False
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - codecs raise whatever they like
            self._damage.add(place, error)
            return False
        if found:
            self._counts.add(out.nbytes)
        return found

    @property
    def index_nbytes(self) -> int:
        """Bytes of the index of a shard, which is kept."""
        return self._reader.index_nbytes

    def largest_encoded(self) -> int:
        """The most bytes that reading one chunk takes beside the block."""
        return self._reader.largest_encoded()

    @property
    def nbytes(self) -> int:
        """Bytes that were decoded so far."""
        return self._counts.total


class Counts:
    """A sum that several threads add to."""

    def __init__(self) -> None:
        self._each: list[list[int]] = []
        self._local = _ThreadCounts()
        self._lock = threading.Lock()

    def add(self, number: int) -> None:
        """Add a number."""
        if not self._local.known:
            with self._lock:
                self._each.append(self._local.nbytes)
            self._local.known = True
        self._local.nbytes[0] += number

    @property
    def total(self) -> int:
        """The sum."""
        return sum(each[0] for each in self._each)


class CompareWriter:
    """Takes the chunks that a build makes of a level, and compares them with those that are there.

    Parameters
    ----------
    survey, base : ChunkSurvey
        The level, and level 0.
    decoder : Decoder
        Decodes the level's chunks.
    damage : Damage
        Where chunks of the level that cannot be decoded are noted.
    base_damage : Damage
        Chunks of level 0 that cannot be: what is made from them is not compared.
    factors : tuple of int
        Factors from level 0.
    exact : bool
        Whether integers must be equal, or may differ by one.
    halo : int
        How many pixels of level 0 beyond its windows a pixel may depend on.
    """

    most_open = 1
    index_nbytes = 0
    held_nbytes = 0

    def __init__(
        self,
        survey: ChunkSurvey,
        base: ChunkSurvey,
        decoder: Decoder,
        damage: Damage,
        base_damage: Damage,
        factors: tuple[int, ...],
        *,
        exact: bool = True,
        halo: int = 0,
    ) -> None:
        self._survey = survey
        self._base = base
        self._decoder = decoder
        self._damage = damage
        self._base_damage = base_damage
        self._factors = factors
        self._exact = exact
        self._halo = halo
        self._lock = threading.Lock()
        self._counts = Counts()
        #: Chunks that are not what level 0 gives, and those with data where level 0 has no chunks.
        self.stale: list[Place] = []
        self.lost: list[Place] = []

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of what one file holds."""
        return self._survey.grid.units

    @property
    def nbytes(self) -> int:
        """Bytes of the level that were decoded so far."""
        return self._counts.total

    def write(self, place: Place, block: Pixels | None) -> None:
        """Compare a chunk with what a build made of it; None stands for the fill value."""
        found: Pixels | None = None
        if self._survey.has(place):
            if self._survey.unit_of(place) in self._survey.flawed:
                return
            try:
                found = self._decoder.decode(place)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - codecs raise whatever they like
                self._damage.add(place, error)
                return
        if found is None and block is None:
            return
        if found is not None:
            self._counts.add(math.prod(self._survey.chunks) * found.dtype.itemsize)
        box = box_of(place, self._survey.chunks, self._survey.grid.shape)
        if block is not None:
            block = block[tuple(slice(0, part.stop - part.start) for part in box)]
        if not self._is_same(found, block):
            self._look_closer(place, box, found, block)

    def restrict(self, places: Iterable[Place]) -> None:
        """Nothing: all chunks come."""

    def discard(self) -> None:
        """Nothing is under way."""

    # --- comparing --------------------------------------------------------------------------------

    def _is_same(self, found: Pixels | None, block: Pixels | None) -> bool:
        if found is None or block is None:
            one = block if found is None else found
            assert one is not None
            return bool(same_as(one, self._decoder.fill).all())
        return bool(_equal(found, block) or not self._differences(found, block).any())

    def _differences(self, found: Pixels, block: Pixels) -> npt.NDArray[np.bool_]:
        """Where two blocks differ by more than they may."""
        if found.dtype.kind == "f":
            tolerance = _TOLERANCE.get(found.dtype.itemsize, 1e-12)
            with np.errstate(all="ignore"):
                close: npt.NDArray[np.bool_] = np.isclose(found, block, tolerance, 0, equal_nan=True)
            return ~close
        out: npt.NDArray[np.bool_] = found != block
        if not self._exact and found.dtype.kind in "iu":
            high, low = np.maximum(found, block), np.minimum(found, block)
            out &= (high - low) != 1  # of the same sign or not, one wraps round to nothing else
        return out

    def _look_closer(self, place: Place, box: Box, found: Pixels | None, block: Pixels | None) -> None:
        """Tell a chunk that is stale from one that still has what level 0 lost."""
        source = self._beneath(box)
        if self._base_damage.touches(source) or not self._base.is_listed or not self._survey.is_listed:
            return
        shape = tuple(part.stop - part.start for part in box)
        fill = np.zeros(shape, self._dtype(found, block))
        if self._decoder.fill is not None:
            fill[...] = self._decoder.fill
        mine, made = fill if found is None else found, fill if block is None else block
        differing = self._differences(mine, made)
        lost = False
        for absent in places_of(self._base, source):
            if not self._base.has(absent):
                part = self._above(absent, box)
                lost = lost or bool((differing[part] & ~same_as(mine[part], self._decoder.fill)).any())
                differing[part] = False
        with self._lock:
            if lost:
                self.lost.append(place)
            if differing.any():
                self.stale.append(place)

    @staticmethod
    def _dtype(found: Pixels | None, block: Pixels | None) -> DType:
        one = block if found is None else found
        assert one is not None
        return one.dtype

    def _beneath(self, box: Box) -> Box:
        """The part of level 0 that a part of the level is made from."""
        h = self._halo
        rows = zip(box, self._factors, self._base.grid.shape, strict=True)
        return tuple(slice(max(0, part.start * f - h), min(n, part.stop * f + h)) for part, f, n in rows)

    def _above(self, place: Place, box: Box) -> Box:
        """The pixels of a part of the level, relative to it, that depend on a chunk of level 0."""
        h = self._halo
        source = box_of(place, self._base.chunks, self._base.grid.shape)
        out = []
        for part, inside, f in zip(source, box, self._factors, strict=True):
            start, stop = max(0, part.start - h) // f, -(-(part.stop + h) // f)
            length = inside.stop - inside.start
            out.append(
                slice(min(length, max(0, start - inside.start)), min(length, max(0, stop - inside.start)))
            )
        return tuple(out)


def _equal(a: Pixels, b: Pixels) -> bool:
    """Whether two blocks are the same to the bit, as far as that can be told quickly."""
    if not (a.flags.c_contiguous and b.flags.c_contiguous and a.dtype == b.dtype):
        return False
    one, other = a.reshape(-1).view(np.uint8), b.reshape(-1).view(np.uint8)
    whole = one.size // 8 * 8
    if (one[whole:] != other[whole:]).any():
        return False
    words, others = one[:whole].view(np.uint64), other[:whole].view(np.uint64)
    return all(
        np.array_equal(words[start : start + _PIECE], others[start : start + _PIECE])
        for start in range(0, words.size, _PIECE)
    )
