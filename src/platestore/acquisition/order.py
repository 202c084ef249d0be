"""The declared order in which frames come without coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from platestore.acquisition.runlog import Coordinates
from platestore.acquisition.setup import StreamOptions
from platestore.acquisition.track import Track
from platestore.errors import ArgumentError

_AXES = "ptcz"


def check_order(order: str, options: StreamOptions, axes: Sequence[str], positions: int) -> None:
    """Refuse an order that does not lead to every frame.

    Raises
    ------
    ArgumentError
        If axes are unknown, missing, named twice, or stand after a time axis without a known end.
    """
    if sorted(order) != sorted(set(order)) or set(order) - set(_AXES):
        raise ArgumentError(f"order is made of {_AXES!r}, each once, not {order!r}", hint='order="tpcz"')
    sizes: dict[str, int | None] = {**dict(zip(axes, options.shape, strict=False)), "p": positions}
    if sizes.get("t", 1) is None and order[:1] != "t":
        raise ArgumentError(
            f"time has no known end, and comes not first in the order {order!r}", hint='order="tpcz"'
        )
    missing = [axis for axis in _AXES if axis not in order and sizes.get(axis, 1) != 1]
    if missing:
        raise ArgumentError(f"the order {order!r} lacks {', '.join(missing)}")


class Order:
    """The places of a declared order, one after the other.

    Parameters
    ----------
    order : str
        The axes, the slowest first.
    tracks : sequence of Track
        The positions.
    """

    def __init__(self, order: str, tracks: Sequence[Track]) -> None:
        self._axes = order
        self._places = self._all(tracks)

    def next(self) -> tuple[Track, Coordinates]:
        """The next place."""
        try:
            return next(self._places)
        except StopIteration:
            raise ArgumentError(f"all frames of the order {self._axes!r} are there") from None

    def _all(self, tracks: Sequence[Track]) -> Iterator[tuple[Track, Coordinates]]:
        first = tracks[0]
        sizes = {"p": len(tracks), "t": first.time_points, "c": first.channels, "z": first.slices}
        return self._from(tracks, sizes, {}, self._axes)

    def _from(
        self, tracks: Sequence[Track], sizes: Mapping[str, int | None], known: dict[str, int], axes: str
    ) -> Iterator[tuple[Track, Coordinates]]:
        if not axes:
            at = known.get("t", 0), known.get("c", 0), known.get("z", 0)
            yield tracks[known.get("p", 0)], at
            return
        value, size = 0, sizes[axes[0]]
        while size is None or value < size:
            yield from self._from(tracks, sizes, {**known, axes[0]: value}, axes[1:])
            value += 1
