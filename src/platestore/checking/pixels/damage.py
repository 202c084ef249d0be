"""Chunks that could not be decoded, gathered by the threads that tried."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from platestore.arrays.grid import Box, Place, box_of
from platestore.checking.pixels.survey import ChunkSurvey

_SHOWN = 5


@dataclass(slots=True)
class _File:
    """Damaged chunks of one file."""

    places: list[Place]
    message: str
    is_unreadable: bool


class Damage:
    """What could not be decoded of one array.

    Parameters
    ----------
    survey : ChunkSurvey
        The array; files that were found damaged by it are not told of again.
    """

    def __init__(self, survey: ChunkSurvey) -> None:
        self._survey = survey
        self._files: dict[Place, _File] = {}
        self._lock = threading.Lock()
        self._boxes: npt.NDArray[np.float64] | None = None

    def add(self, place: Place, error: Exception) -> None:
        """Note a chunk that could not be decoded."""
        unit = self._survey.unit_of(place)
        message = str(getattr(error, "message", error)) or type(error).__name__
        is_unreadable = isinstance(error, PermissionError)
        with self._lock:
            self._boxes = None
            self._files.setdefault(unit, _File([], message, is_unreadable)).places.append(place)

    def tell(self) -> None:
        """Put it among the findings of the array, one for each file."""
        for unit, file in sorted(self._files.items()):
            if unit in self._survey.flawed:
                continue
            file.places.sort()
            names = ", ".join(map(str, file.places[:_SHOWN]))
            if len(file.places) > _SHOWN:
                names += f" and {len(file.places) - _SHOWN} more"
            several = "s" if len(file.places) > 1 else ""
            code = "unreadable" if file.is_unreadable else "chunk-damaged"
            self._survey.damage(code, unit, f"chunk{several} {names}: {file.message}")

    def touches(self, box: Box) -> bool:
        """Whether any chunk that cannot be decoded lies in a part of the array."""
        with self._lock:
            if self._boxes is None:
                self._boxes = self._gather()
            boxes = self._boxes
        if not len(boxes):
            return False
        starts = np.array([part.start for part in box], np.float64)
        stops = np.array([part.stop for part in box], np.float64)
        return bool(((boxes[:, 0] < stops) & (boxes[:, 1] > starts)).all(axis=1).any())

    def _gather(self) -> npt.NDArray[np.float64]:
        """Starts and stops of all damaged chunks."""
        survey = self._survey
        shape = survey.grid.shape
        found = [box_of(p, survey.chunks, shape) for f in self._files.values() for p in f.places]
        found += [box_of(unit, survey.grid.units, shape) for unit in survey.flawed]
        rows = [[[part.start for part in box], [part.stop for part in box]] for box in found]
        return np.array(rows, np.float64).reshape(len(rows), 2, len(shape))
