"""What a process does until it is killed, and what must be there afterwards.

Each kind of work announces a call before it starts and when it has returned. What had returned must be
there; the call that was cut short may be done or not, but nothing in between, to a reader and to a writer.
"""

from __future__ import annotations

import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import zarr
from fault_checker import problems, read_documents, read_tree, unfinished

import platestore as ps

STORE = "s.zarr"
#: A call, as it is announced.
Call = Any


class Work:
    """One kind of work on one store.

    Parameters
    ----------
    root : Path
        A directory; the store is in it.
    version : str
        OME-NGFF version of the store.
    """

    name: ClassVar[str]
    #: What must not be lost.
    unit: ClassVar[str] = "calls"
    #: Whether half-made positions may be left that nothing lists; ``check`` looks at these too.
    leaves_unlisted: ClassVar[bool] = False

    def __init__(self, root: Path, version: str) -> None:
        self.root = root
        self.version = version
        self.path = root / STORE

    def prepare(self) -> None:
        """Make the store."""
        raise NotImplementedError

    def calls(self, turn: int, rng: random.Random) -> Iterator[tuple[Call, Callable[[], object]]]:
        """In the process that is killed: calls without end, each with how it is announced."""
        raise NotImplementedError

    def settle(self, done: list[Call], begun: Call | None) -> None:
        """What must be true after a kill; AssertionError if it is not."""
        raise NotImplementedError

    def lost(self) -> int:
        """After something was found wrong: how much of what had returned is not there."""
        return 0

    def finish(self) -> None:
        """After the last kill: a repair leaves nothing to be found."""
        report = ps.check(self.path, deep=True, repair=True)
        assert report.whole, report.message
        assert ps.check(self.path, deep=True).whole

    # --- shared -----------------------------------------------------------------------------------

    def judge(self, done: list[Call], begun: Call | None) -> None:
        """The documents in use are whole, and what :meth:`settle` asks for holds; any warning is an error."""
        files = read_documents(self.path) if self.path.exists() else {}
        if files:
            assert not problems(files), problems(files)
            if not self.leaves_unlisted:
                found = [f for f in ps.check(self.path, deep=True).findings if f.level == "error"]
                assert not found, f"check finds {found[0]}"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.settle(done, begun)
        if files:
            files = read_documents(self.path)
            assert not problems(files), f"after it was opened to write: {problems(files)}"
            assert not unfinished(files), f"opened to write, and still unfinished: {unfinished(files)}"
            report = ps.validate(self.path)
            assert report.valid, f"validate: {report.message}"

    def _position(self, shape: tuple[int, ...], **layout: Any) -> ps.Position:
        position = ps.open_ome_zarr(
            self.path, layout="fov", mode="w-", channel_names=["c0"], version=self.version
        )
        position.create_zeros("0", shape, "uint16", **layout)
        return position


def until_killed(work: Work, turn: int, seed: int, pipe: Any) -> None:
    """Make calls for ever."""
    pipe.send(("go", None))
    for call, make in work.calls(turn, random.Random(seed)):
        pipe.send(("begin", call))
        make()
        pipe.send(("done", call))


class CreatePositions(Work):
    """Batches of positions in new and in shared wells, half of them with arrays: all of a batch, or none."""

    name = "create_positions"
    unit = "positions"
    leaves_unlisted = False
    _shape = (1, 1, 1, 4, 4)

    def prepare(self) -> None:
        plate = ps.open_ome_zarr(
            self.path, layout="hcs", mode="w-", channel_names=["DAPI"], version=self.version
        )
        plate.create_position("S", "1", "0")
        self.known = {"S/1/0"}

    def calls(self, turn: int, rng: random.Random) -> Iterator[tuple[Call, Callable[[], object]]]:
        plate = ps.open_ome_zarr(self.path, mode="r+")
        for step in range(10**6):
            specs = []
            for i in range(rng.randint(2, 16)):
                kind = rng.randrange(3)
                if kind == 0:
                    specs.append((f"R{turn % 7}", f"{turn}x{step}x{i}", "0"))
                elif kind == 1:
                    specs.append(("S", "1", f"{turn}x{step}x{i}"))
                else:
                    specs.append(("S", f"{i % 5 + 2}", f"{turn}x{step}x{i}"))
            array = {"shape": self._shape, "dtype": "uint16"} if rng.random() < 0.5 else {}
            names = ["/".join(spec) for spec in specs]
            yield names, lambda specs=specs, array=array: plate.create_positions(specs, **array)

    def settle(self, done: list[Call], begun: Call | None) -> None:
        for names in done:
            self.known.update(names)
        for mode in ("r", "r+", "r"):
            plate = ps.open_ome_zarr(self.path, mode=mode)
            listed = [name for name, position in plate.positions() if position.channel_names == ["DAPI"]]
            found = set(listed)
            assert len(listed) == len(found), "a position is listed twice"
            assert self.known <= found, f"lost: {sorted(self.known - found)[:5]}"
            extra = found - self.known
            assert extra in (set(), set(begun or ())), f"{len(extra)} of a batch of {len(begun or ())}"
        self.known |= extra

    def lost(self) -> int:
        try:
            return len(self.known - {name for name, _ in ps.open_ome_zarr(self.path).positions()})
        except Exception:  # noqa: BLE001 - all of them cannot be reached
            return len(self.known)


class WriteFrames(Work):
    """Frames, and volumes of frames, into shards, chunks of several frames, and chunks of one."""

    name = "frames"
    unit = "frames"
    _times, _frames, _size = 3, 8, 64
    _layouts = ("shard", "shard", "chunk", "plane")

    def prepare(self) -> None:
        kind = self._layouts[sum(map(ord, str(self.root))) % 4] if self.version == "0.5" else "chunk"
        layout: dict[str, Any] = {
            "shard": {"chunks": (1, 1, 2, 32, 32), "shards": "ZYX"},
            "chunk": {"chunks": (1, 1, self._frames, self._size, self._size)},
            "plane": {"chunks": (1, 1, 1, self._size, self._size)},
        }[kind]
        self.together = kind != "plane"
        self._position((self._times, 1, self._frames, self._size, self._size), **layout)
        self.values = np.zeros((self._times, self._frames), "uint16")

    def calls(self, turn: int, rng: random.Random) -> Iterator[tuple[Call, Callable[[], object]]]:
        image = ps.open_ome_zarr(self.path, mode="r+")["0"]
        for step in range(1, 10**6):
            value = (turn * 300 + step) % 65535 + 1
            t = rng.randrange(self._times)
            z = rng.randrange(self._frames) if rng.random() < 0.7 else None
            place = (t, 0, slice(None) if z is None else z)
            shape = (self._size, self._size) if z is not None else (self._frames, self._size, self._size)
            data = np.full(shape, value, "uint16")
            yield (t, z, value), lambda place=place, data=data: image.__setitem__(place, data)

    def settle(self, done: list[Call], begun: Call | None) -> None:
        for t, z, value in done:
            self.values[t, slice(None) if z is None else z] = value
        may = self.values.copy()
        if begun is not None:
            may[begun[0], slice(None) if begun[1] is None else begun[1]] = begun[2]
        for pixels in (
            ps.open_ome_zarr(self.path)["0"][...],
            zarr.open_array(self.path / "0", mode="r")[...],
        ):
            seen = pixels[:, 0, :, 0, 0]
            assert (pixels[:, 0] == seen[..., None, None]).all(), "a frame is mixed"
            assert ((seen == self.values) | (seen == may)).all(), "a frame is lost"
            if self.together and begun is not None:
                # What is in one file is old or new together.
                t = begun[0]
                assert (seen[t] == self.values[t]).all() or (seen[t] == may[t]).all(), "a shard is mixed"
        self.values = np.array(seen)


class ComputePyramid(Work):
    """Levels that are made, made anew by another method, and deleted."""

    name = "compute_pyramid"

    def prepare(self) -> None:
        from platestore.pyramid.kernels import reduce_block

        self.pixels = np.random.default_rng(1).integers(0, 60000, (1, 1, 8, 132, 140), dtype="uint16")
        layout = {"shards_ratio": (1, 1, 1, 2, 2)} if self.version == "0.5" else {}
        position = self._position(self.pixels.shape, chunks=(1, 1, 4, 32, 32), **layout)
        position["0"][...] = self.pixels
        self.levels = {}
        for method in ("mean", "max"):
            made = [self.pixels]
            for _ in range(3):
                made.append(reduce_block(made[-1], (1, 1, 2, 2, 2), method))
            self.levels[method] = made
        self.state: str = "delete"

    def calls(self, turn: int, rng: random.Random) -> Iterator[tuple[Call, Callable[[], object]]]:
        position = ps.open_ome_zarr(self.path, mode="r+")
        for step in range(10**6):
            method = ("mean", "max")[(step + turn) % 2]
            yield method, lambda m=method: position.compute_pyramid(4, m, workers=rng.choice((1, 2)))
            if rng.random() < 0.5:
                yield "delete", position.delete_pyramid

    def settle(self, done: list[Call], begun: Call | None) -> None:
        if done:
            self.state = done[-1]
        for mode in ("r", "r+", "r"):
            found = {name: image.numpy() for name, image in ps.open_ome_zarr(self.path, mode=mode).images()}
            assert (found.pop("0") == self.pixels).all(), "level 0 is not what it was"
            assert list(found) in ([], ["1", "2", "3"]), f"levels {list(found)}"
            state = "delete" if not found else next((m for m in self.levels if self._are(found, m)), "mixed")
            # Where levels are replaced, they are absent for a moment.
            may = {self.state} if begun is None else {self.state, begun, "delete"}
            assert state in may, f"the levels are those of {state}, not {may}"
        self.state = state

    def _are(self, found: dict[str, Any], method: str) -> bool:
        return all((found[str(k)] == self.levels[method][k]).all() for k in (1, 2, 3))

    def finish(self) -> None:
        super().finish()
        ps.open_ome_zarr(self.path, mode="r+").compute_pyramid(4, "max")
        found = {name: image.numpy() for name, image in ps.open_ome_zarr(self.path).images()}
        assert self._are(found, "max")


class Copy(Work):
    """Copies of a plate: files as they are, or other chunks, or another version."""

    name = "copy"
    unit = "copies"
    ending: ClassVar[str] = ".zarr"

    @property
    def kinds(self) -> dict[str, dict[str, Any]]:
        """Options of each kind."""
        other = "0.4" if self.version == "0.5" else "0.5"
        return {"plain": {}, "chunks": {"chunks": (1, 1, 2, 16, 16)}, "version": {"version": other}}

    def prepare(self) -> None:
        plate = ps.open_ome_zarr(
            self.path, layout="hcs", mode="w-", channel_names=["DAPI"], version=self.version
        )
        rng = np.random.default_rng(2)
        for position in plate.create_positions([("A", "1", "0"), ("A", "1", "1"), ("B", "2", "0")]):
            pixels = rng.integers(0, 999, (1, 1, 4, 64, 64), dtype="uint16")
            position.create_image("0", pixels, chunks=(1, 1, 4, 32, 32))
        (self.root / "expected").mkdir()
        (self.root / "to").mkdir()
        for kind, options in self.kinds.items():
            ps.copy(self.path, self.root / "expected" / f"{kind}{self.ending}", **options)

    def calls(self, turn: int, rng: random.Random) -> Iterator[tuple[Call, Callable[[], object]]]:
        for step in range(10**6):
            kind = rng.choice(list(self.kinds))
            target = f"{kind}-{turn}-{step}{self.ending}"
            options = {**self.kinds[kind], "workers": rng.choice((1, 2))}
            yield (
                (kind, target),
                lambda target=target, options=options: ps.copy(
                    self.path, self.root / "to" / target, **options
                ),
            )

    def settle(self, done: list[Call], begun: Call | None) -> None:
        for kind, name in done:
            self._compare(kind, name)
        if begun is not None:
            kind, name = begun
            target = self.root / "to" / name
            if target.exists():
                self._compare(kind, name)
            work = target.with_name(f"{name}.copying")
            if not target.exists() or (work / "journal.json").exists():
                ps.copy(self.path, target, resume=True, **self.kinds[kind])
            elif work.exists():
                work.rmdir()  # empty: killed when all was done
            self._compare(kind, name)
        assert sorted(os.listdir(self.root / "to")) == sorted(name for _, name in [*done, *_some(begun)])
        shutil.rmtree(self.root / "to")
        (self.root / "to").mkdir()

    def _compare(self, kind: str, name: str) -> None:
        expected, found = self.root / "expected" / f"{kind}{self.ending}", self.root / "to" / name
        assert _bytes_of(found) == _bytes_of(expected), f"{name} is not what a copy undisturbed is"

    def lost(self) -> int:
        return sum(
            _bytes_of(path)
            != _bytes_of(self.root / "expected" / f"{path.name.partition('-')[0]}{self.ending}")
            for path in (self.root / "to").iterdir()
            if not path.name.endswith(".copying")
        )


class Pack(Copy):
    """Archives of a plate, which are there complete or not at all, and are unpacked to what was packed."""

    name = "pack"
    unit = "archives"
    ending = ".ozx"

    @property
    def kinds(self) -> dict[str, dict[str, Any]]:
        """Options of each kind; archives are of version 0.5."""
        plain: dict[str, Any] = {} if self.version == "0.5" else {"version": "0.5"}
        return {"plain": plain, "chunks": {**plain, "chunks": (1, 1, 2, 16, 16)}}

    def prepare(self) -> None:
        super().prepare()
        for kind, options in self.kinds.items():
            ps.copy(self.path, self.root / f"unpacked-{kind}.zarr", **options)

    def _compare(self, kind: str, name: str) -> None:
        super()._compare(kind, name)
        ps.copy(self.root / "to" / name, self.root / "again.zarr")
        assert read_tree(self.root / "again.zarr") == read_tree(self.root / f"unpacked-{kind}.zarr")
        shutil.rmtree(self.root / "again.zarr")


def _some(begun: Call | None) -> list[Call]:
    return [] if begun is None else [begun]


def _bytes_of(path: Path) -> object:
    return read_tree(path) if path.is_dir() else path.read_bytes()


class RenameWell(Work):
    """Wells that move within their row and to others."""

    name = "rename_well"
    unit = "wells"

    def prepare(self) -> None:
        plate = ps.open_ome_zarr(
            self.path, layout="hcs", mode="w-", channel_names=["DAPI"], version=self.version
        )
        self.wells = {f"{row}/{column}": 0 for row in "AB" for column in (1, 2)}
        for number, well in enumerate(self.wells, 1):
            self.wells[well] = number
            for field in "01":
                position = plate.create_position(*well.split("/"), field)
                position.create_image("0", np.full((1, 1, 1, 4, 4), 10 * number + int(field), "uint16"))

    def calls(self, turn: int, rng: random.Random) -> Iterator[tuple[Call, Callable[[], object]]]:
        plate = ps.open_ome_zarr(self.path, mode="r+")
        wells = [well for well, _ in plate.wells()]
        for step in range(10**6):
            old = wells.pop(rng.randrange(len(wells)))
            new = f"{rng.choice(('A', 'B', f'R{turn % 5}'))}/{turn}x{step}"
            wells.append(new)
            yield (old, new), lambda old=old, new=new: plate.rename_well(old, new)

    def settle(self, done: list[Call], begun: Call | None) -> None:
        for old, new in done:
            self.wells[new] = self.wells.pop(old)
        after = dict(self.wells)
        if begun is not None:
            after[begun[1]] = after.pop(begun[0])
        seen: dict[str, int] = {}
        for mode in ("r", "r+", "r"):
            plate = ps.open_ome_zarr(self.path, mode=mode)
            seen = {}
            for path, well in plate.wells():
                values = [int(position["0"][0, 0, 0, 0, 0]) for _, position in well.positions()]
                seen[path] = values[0] // 10
                assert values == [10 * seen[path], 10 * seen[path] + 1], f"{path} holds {values}"
            assert seen in (self.wells, after), f"neither before nor after: {seen}"
        self.wells = seen

    def lost(self) -> int:
        try:
            return len(self.wells) - len(list(ps.open_ome_zarr(self.path).wells()))
        except Exception:  # noqa: BLE001 - all of them cannot be reached
            return len(self.wells)


class AppendChannel(Work):
    """Channels that are added to a position with levels and labels."""

    name = "append_channel"
    unit = "channels"

    def prepare(self) -> None:
        self.pixels = np.arange(2 * 16 * 16, dtype="uint16").reshape(1, 1, 2, 16, 16)
        layout = {"shards_ratio": (1, 1, 1, 2, 2)} if self.version == "0.5" else {}
        position = self._position(self.pixels.shape, chunks=(1, 1, 1, 8, 8), **layout)
        position["0"][...] = self.pixels
        position.compute_pyramid(2)
        position.create_label("cells", self.pixels % 5, pyramid_levels=2)
        self.small = position["1"].numpy()
        self.channels = ["c0"]

    def calls(self, turn: int, rng: random.Random) -> Iterator[tuple[Call, Callable[[], object]]]:
        position = ps.open_ome_zarr(self.path, mode="r+")
        for step in range(10**6):
            name = f"c{turn}x{step}"
            yield name, lambda name=name: position.append_channel(name)

    def settle(self, done: list[Call], begun: Call | None) -> None:
        self.channels += done
        for mode in ("r", "r+", "r"):
            position = ps.open_ome_zarr(self.path, mode=mode)
            names = position.channel_names
            assert names in (self.channels, [*self.channels, begun]), f"{names[-3:]} of {self.channels[-3:]}"
            for level, pixels in (("0", self.pixels), ("1", self.small)):
                found = position[level].numpy()
                # An array may have grown before the channel had a name.
                assert len(names) <= found.shape[1] <= len(self.channels) + (begun is not None)
                assert (found[:, :1] == pixels).all(), f"level {level} is not what it was"
                assert not found[:, 1:].any()
            label = position.get_label("cells")
            assert (label["0"].numpy() == self.pixels % 5).all(), "the labels are not what they were"
        self.channels = list(names)
        if len(names) > 40:  # many channels are slow to look at, and no other case
            shutil.rmtree(self.path)
            self.prepare()


WORKS: dict[str, type[Work]] = {
    work.name: work
    for work in (CreatePositions, WriteFrames, ComputePyramid, Copy, RenameWell, AppendChannel, Pack)
}
