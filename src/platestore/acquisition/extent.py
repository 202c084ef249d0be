"""How much of an image is there while it is being acquired: for those who read meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from platestore.acquisition.runlog import RunLog
from platestore.arrays.metadata import summarise
from platestore.spec.values import Json
from platestore.tree.image import ImageEditor


@dataclass(frozen=True, slots=True)
class Extent:
    """What of an image is there.

    Attributes
    ----------
    time_points : int
        Complete time points, from the first one on.
    frames : int
        Frames that came so far; of a finished image, those that it has room for.
    running : bool
        Whether it is being acquired, or was when its process ended.
    """

    time_points: int
    frames: int
    running: bool

    def to_json(self) -> Json:
        """The extent as JSON."""
        return {"time_points": self.time_points, "frames": self.frames, "running": self.running}


def running_extent(position: ImageEditor) -> Extent | None:
    """The extent of a position that is being acquired; None for any other one."""
    location = position.location
    if location.storage.local_path(location.path) is None:
        return None
    log = RunLog(location)
    if not log.exists():
        return None
    told = log.told()
    return Extent(int(told.get("complete", 0)), int(told.get("frames", 0)), True)


def read_extent(position: ImageEditor) -> Extent:
    """The extent of a position, as it is on disk now."""
    running = running_extent(position)
    if running is not None:
        return running
    position.refresh()
    datasets = position.meta.multiscales[0].datasets
    if not datasets:
        return Extent(0, 0, False)
    shape = summarise(position.array_document(datasets[0].path)).shape
    sizes = dict(zip(position.axis_names, shape, strict=True))
    time_points = sizes.get("t", 1)
    return Extent(time_points, time_points * sizes.get("c", 1) * sizes.get("z", 1), False)
