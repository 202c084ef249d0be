"""A small plate with pictures that look like cells, for trying things out."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from platestore.errors import NodeExistsError, PlatestoreError
from platestore.nodes.opening import open_ome_zarr
from platestore.publish import targets
from platestore.spec.transforms import TransformationMeta
from platestore.spec.versions import DEFAULT_VERSION, check_version
from platestore.storage.files import temporary_name

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_WELLS = (("B", "2"), ("B", "3"), ("C", "4"), ("E", "6"), ("E", "7"), ("G", "11"))
_FIELDS = ("0", "1")
_SHAPE = (1, 2, 3, 256, 256)
_PIXEL = [1.0, 1.0, 2.0, 0.325, 0.325]


def build_demo(path: str | os.PathLike[str], *, version: str = DEFAULT_VERSION) -> None:
    """Build a 96-well plate with two fields in each of six wells.

    Parameters
    ----------
    path : str or Path
        Where; nothing may be there.
    version : {"0.4", "0.5"}
        OME-NGFF version.

    Raises
    ------
    NodeExistsError
        If something is there.

    Notes
    -----
    The plate is built under a hidden name beside its place, so that an interruption leaves nothing.
    """
    final = os.path.abspath(path)
    if targets.exists(final):
        raise NodeExistsError("something is there already", path=final, hint="choose another path")
    building = os.path.join(os.path.dirname(final), temporary_name(os.path.basename(final)))
    try:
        _build(building, version)
        targets.install(building, final, replace=False)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _build(path: str, version: str) -> None:
    specs = [(row, column, field) for row, column in _WELLS for field in _FIELDS]
    with open_ome_zarr(
        path,
        layout="hcs",
        mode="w-",
        channel_names=["DAPI", "GFP"],
        version=check_version(version),
        plate_format=96,
        name="demo",
    ) as plate:
        for seed, position in enumerate(plate.create_positions(specs)):
            scale = TransformationMeta(type="scale", scale=_PIXEL)
            position.create_image("0", demo_image(seed), chunks=(1, 1, 1, 256, 256), transform=[scale])
            for name, limit in (("DAPI", 4000), ("GFP", 2500)):
                position.set_contrast_limits(name, {"start": 100, "end": limit, "min": 0, "max": 65535})


def check_demo(path: str | os.PathLike[str]) -> int:
    """Read the plate back and compare every pixel.

    Returns
    -------
    int
        Number of images.

    Raises
    ------
    PlatestoreError
        If a picture differs from what was written.
    """
    import numpy as np

    count = 0
    with open_ome_zarr(path, layout="hcs") as plate:
        for seed, (name, position) in enumerate(plate.positions()):
            if not np.array_equal(position["0"].numpy(), demo_image(seed)):
                raise PlatestoreError("the pixels read back differ from those written", path=f"{path}/{name}")
            count += 1
    return count


def demo_image(seed: int) -> npt.NDArray[np.uint16]:
    """A field of cells: nuclei in the first channel, cell bodies in the second.

    Parameters
    ----------
    seed : int
        Chooses the cells; the same seed gives the same picture.

    Returns
    -------
    numpy.ndarray
        Of shape (1, 2, 3, 256, 256), uint16: T, C, Z, Y, X.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    _, channels, slices, height, width = _SHAPE
    y, x = np.mgrid[:height, :width].astype(np.float32)
    light = np.zeros((channels, slices, height, width), np.float32)
    for _ in range(int(random.integers(18, 30))):
        center = random.uniform((0, 0), (height, width))
        radii, angle = random.uniform(7, 13, 2), random.uniform(0, np.pi)
        distance = _elliptic(y - center[0], x - center[1], radii, angle)
        depth = random.uniform(0, slices - 1)
        for z in range(slices):
            focus = np.exp(-((z - depth) ** 2) / 1.5)
            light[0, z] += focus * random.uniform(1500, 3500) / (1 + np.exp(12 * (distance - 1)))
            light[1, z] += focus * random.uniform(600, 1600) * np.exp(-(distance**2) / 5)
    noisy = random.poisson((light + 120) / 4) * 4 + random.normal(0, 6, light.shape)
    return np.clip(noisy, 0, 65535).astype(np.uint16)[np.newaxis]


def _elliptic(dy: Any, dx: Any, radii: Any, angle: float) -> Any:
    """Distance from the centre of an ellipse, in units of its radius."""
    import numpy as np

    u = dy * np.cos(angle) + dx * np.sin(angle)
    v = dx * np.cos(angle) - dy * np.sin(angle)
    return np.sqrt((u / radii[0]) ** 2 + (v / radii[1]) ** 2)
