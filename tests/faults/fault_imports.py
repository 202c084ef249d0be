"""Imports, jobs, levels of volumes and multiscale images that die, or meet an error, at one operation.

The scenes are those of ``test_faults_stacks``, and two more for groups of labelled arrays.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import test_faults_stacks as stacks
import xarray
from fault_os import Crash, OsFaults

import platestore as ps
from platestore import xarray as doors


def _levels(seed: int) -> dict[str, xarray.DataArray]:
    pixels = np.random.default_rng(seed).integers(0, 999, (4, 16, 16)).astype("uint16")
    sizes = dict(zip("zyx", pixels.shape, strict=True))
    steps = {name: xarray.DataArray(np.arange(n) * 0.5, dims=name) for name, n in sizes.items()}
    whole = xarray.DataArray(pixels, dims=list("zyx"), coords=steps)
    return {"0": whole, "1": whole[::2, ::2, ::2]}


def _group(seed: int) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        store = root / "here" / "out.zarr"
        doors.write_multiscale_group(
            store=store, path="", arrays=_levels(seed), ngff_version="0.5", overwrite=True
        )

    return write


def _position(root: Path) -> None:
    ps.open_ome_zarr(
        root / "here" / "out.zarr", layout="fov", mode="w-", channel_names=["a", "b"], version="0.5"
    )


def _labelled(root: Path) -> None:
    times = xarray.DataArray([0.0, 1.0], dims="t", attrs={"units": "s", "scale": 1.0, "translation": 0.0})
    pixels = np.random.default_rng(3).integers(1, 999, (2, 1, 2, 16, 16)).astype("uint16")
    coordinates = {"t": times, "c": ["b"]}
    labelled = xarray.DataArray(pixels, dims=list("tczyx"), coords=coordinates, attrs={"note": "x"})
    path = root / "here" / "out.zarr"
    try:
        ps.open_ome_zarr(path, mode="r+").write_xarray(labelled)
    except ps.NodeExistsError:  # it died after the pixels, before they were listed
        ps.open_ome_zarr(path, mode="r+", overwriting_creation=True).write_xarray(labelled)


def _listed_whole(root: Path, reference: Path, before: dict[str, bytes]) -> None:
    path = root / "here" / "out.zarr"
    expected = ps.open_ome_zarr(reference / "here" / "out.zarr")["0"].numpy()
    for _, image in ps.open_ome_zarr(path).images():
        assert (image.numpy() == expected).all(), "what is listed is not whole"


SCENES = {
    **stacks._SCENES,
    "write_multiscale_group": stacks._Scene(
        _group(1), _group(2), _group(2), stacks._old_or_new, may_stay=True
    ),
    "write_xarray": stacks._Scene(_position, _labelled, _labelled, _listed_whole, may_stay=True),
}


class Play:
    """A scene that is played again and again.

    Parameters
    ----------
    name : str
        Which one.
    directory : Path
        Where.
    """

    def __init__(self, name: str, directory: Path) -> None:
        self.scene = SCENES[name]
        self.reference, self.root = directory / "reference", directory / "work"
        self.found: list[str] = []
        self.states = 0
        stacks._put(self.scene, self.reference)
        with OsFaults(self.reference / "here") as faults:
            self.scene.call(self.reference)
        self.log = faults.log
        if self.scene.again is not self.scene.call:
            self.scene.again(self.reference)
        self.whole = stacks._tree_of(self.reference)

    def moments(self, most: int) -> list[int]:
        """Operations all over the course, the last one included."""
        length = len(self.log)
        return sorted({*range(0, length, -(-length // most)), length - 1})

    def disturb(self, at: int, *, when: str = "before", error: int | None = None) -> None:
        """Die at an operation, or let it fail; look at what is there, and make the call again."""
        shutil.rmtree(self.root, ignore_errors=True)
        stacks._put(self.scene, self.root)
        before = stacks._tree_of(self.root)
        name, path = self.log[min(at, len(self.log) - 1)]
        what = f"dead {when}" if error is None else "an error at"
        moment = f"{what} operation {at} of {len(self.log)} ({name} {path})"
        raised: BaseException | None = None
        with OsFaults(self.root / "here", at, when=when, error=error), warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                self.scene.call(self.root)
            except (Exception, Crash) as caught:  # noqa: BLE001 - it is judged
                raised = caught
        self.states += 1
        if error is not None and raised is not None and not isinstance(raised, (OSError, ps.PlatestoreError)):
            self.found.append(f"{moment}: surfaces as {raised!r}")
        try:
            self.scene.check(self.root, self.reference, before)
            self.scene.again(self.root)
            after = stacks._tree_of(self.root)
        except Exception as caught:  # noqa: BLE001 - whatever a user meets is a finding
            self.found.append(f"{moment}: {type(caught).__name__}: {caught}")
            return
        if self.scene.may_stay:
            after = {k: v for k, v in after.items() if not any(p.startswith(".") for p in k.split("/"))}
        if after != self.whole:
            changed = [key for key in {*after, *self.whole} if after.get(key) != self.whole.get(key)]
            self.found.append(f"{moment}, made again: differs in {sorted(changed)[:4]}")
