"""From a sequence of useq to a stream: positions, shape, channels, scale, order, and the place of each event.

useq-schema is needed to make sequences, and not to read them: everything is taken from attributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platestore.errors import ArgumentError
from platestore.spec.plate import standard_column, standard_row


@dataclass(frozen=True, slots=True)
class SequencePlan:
    """What a stream needs to know of a sequence.

    Attributes
    ----------
    positions : list of tuple of str
        ``(row, column, field)`` of each stage position, or of each tile of a grid around one. Positions of a
        ``WellPlatePlan`` lie in their wells; others in wells A/1, A/2, ... of their own.
    shape : tuple of int
        T, C, Z, Y, X; 1 where the sequence does not go along an axis.
    channel_names : list of str
        Names of the channels.
    scale : tuple of float
        Seconds between time points, 1, micrometres between planes, and of a pixel twice; 1 where the
        sequence does not say.
    order : str or None
        The order of frames, for a sequence that visits every place; None for any other one.
    """

    positions: list[tuple[str, str, str]]
    shape: tuple[int, int, int, int, int]
    channel_names: list[str]
    scale: tuple[float, float, float, float, float]
    order: str | None
    _tiles: int = 1

    def place(self, event: Any) -> dict[str, Any]:
        """Where the frame of an event goes: the arguments of ``append`` that say so.

        Parameters
        ----------
        event : useq.MDAEvent
            An event of the sequence.
        """
        index: Mapping[str, int] = {str(axis): value for axis, value in event.index.items()}
        number = index.get("p", 0) * self._tiles + index.get("g", 0)
        if number >= len(self.positions):
            raise ArgumentError(f"the sequence has no position for the event {dict(index)}")
        return {
            "position": self.positions[number],
            "t": index.get("t", 0),
            "c": index.get("c", 0),
            "z": index.get("z", 0),
        }


def plan_sequence(sequence: Any, *, frame_shape: Sequence[int], pixel_size_um: float = 1.0) -> SequencePlan:
    """Say what a stream needs to know of a sequence.

    Parameters
    ----------
    sequence : useq.MDASequence
        The sequence; axes that it does not go along may have the size 0.
    frame_shape : sequence of int
        Rows and columns of a frame.
    pixel_size_um : float
        Size of a pixel in micrometres.

    Returns
    -------
    SequencePlan

    Raises
    ------
    ArgumentError
        If it is no sequence.

    Examples
    --------
    >>> import useq
    >>> from platestore.acquisition.useq import plan_sequence
    >>> sequence = useq.MDASequence(channels=["DAPI"], z_plan={"range": 4, "step": 2})
    >>> plan_sequence(sequence, frame_shape=(64, 64)).shape
    (1, 1, 3, 64, 64)
    """
    if not all(hasattr(sequence, name) for name in ("sizes", "axis_order", "stage_positions", "channels")):
        raise ArgumentError(f"{type(sequence).__name__} is no sequence", hint="pass a useq.MDASequence")
    sizes = _sizes(sequence)
    height, width = frame_shape
    tiles = max(1, sizes.get("g", 0))
    names = [str(channel.config) for channel in sequence.channels] or ["channel 0"]
    shape = (max(1, sizes.get("t", 0)), len(names), max(1, sizes.get("z", 0)), int(height), int(width))
    scale = (_interval(sequence), 1.0, _step(sequence), float(pixel_size_um), float(pixel_size_um))
    positions = list(_positions(list(sequence.stage_positions), tiles))
    return SequencePlan(positions, shape, names, scale, _order(sequence, sizes), tiles)


def _sizes(sequence: Any) -> dict[str, int]:
    """The most places along each axis, those of sequences at single positions included."""
    found: dict[str, int] = {}
    inner = [p.sequence for p in sequence.stage_positions if getattr(p, "sequence", None) is not None]
    for each in [sequence, *inner]:
        for axis, size in each.sizes.items():
            name = str(getattr(axis, "value", axis))
            found[name] = max(found.get(name, 0), int(size))
    return found


def _positions(stage: Sequence[Any], tiles: int) -> Iterator[tuple[str, str, str]]:
    fields: dict[tuple[str, str], int] = {}
    for number, position in enumerate(stage or [None]):
        row, column = getattr(position, "plate_row", None), getattr(position, "plate_col", None)
        if row is None or column is None:
            well = standard_row(0), standard_column(number)
        else:
            well = standard_row(int(row)), standard_column(int(column))
        for _ in range(tiles):
            field = fields.get(well, 0)
            fields[well] = field + 1
            yield *well, str(field)


def _interval(sequence: Any) -> float:
    interval = getattr(sequence.time_plan, "interval", None)
    seconds = interval.total_seconds() if interval is not None and hasattr(interval, "total_seconds") else 0
    return float(seconds) or 1.0


def _step(sequence: Any) -> float:
    return abs(float(getattr(sequence.z_plan, "step", 0) or 0)) or 1.0


def _order(sequence: Any, sizes: Mapping[str, int]) -> str | None:
    """The order of a sequence that visits every place, where tiles come right after their position."""
    axes = "".join(str(getattr(axis, "value", axis)) for axis in sequence.axis_order)
    used = [axis for axis in axes if sizes.get(axis, 0) > 1]
    regular = all(getattr(p, "sequence", None) is None for p in sequence.stage_positions)
    every = all(
        getattr(c, "do_stack", True) and getattr(c, "acquire_every", 1) == 1 for c in sequence.channels
    )
    if not (regular and every) or ("g" in used and "p" in used and "pg" not in "".join(used)):
        return None
    return "".join(dict.fromkeys("p" if axis == "g" else axis for axis in axes if axis in "tpgcz"))
