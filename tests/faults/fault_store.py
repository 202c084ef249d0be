"""A zarr store that fails: stops the program, or reports an error, at a chosen change."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, Self

from fault_os import Crash
from zarr.storage import MemoryStore, WrapperStore


class Plan:
    """When a store fails, and the changes it saw; shared by a store and its read-only twin.

    Parameters
    ----------
    at : int, optional
        The change to fail at, from 0; none by default.
    when : {"before", "after"}
        Whether the program dies before or after it.
    error : int, optional
        An ``errno``: the change fails with it instead of stopping the program.
    """

    def __init__(self, at: int | None = None, *, when: str = "before", error: int | None = None) -> None:
        self.at = at
        self.when = when
        self.error = error
        self.log: list[tuple[str, str]] = []
        self.dead = False

    async def step(self, name: str, key: str, run: Callable[[], Awaitable[Any]]) -> Any:
        if self.dead:
            raise Crash
        index = len(self.log)
        self.log.append((name, key))
        if index != self.at:
            return await run()
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error), key)
        if self.when == "after":
            await run()
        self.dead = True
        raise Crash(f"{self.when} change {index}: {name} {key}")


class FaultStore(WrapperStore[MemoryStore]):
    """A store in memory whose changes are counted and fail by plan."""

    def __init__(self, store: MemoryStore, plan: Plan | None = None) -> None:
        super().__init__(store)
        self.plan = plan or Plan()

    def _with_store(self, store: MemoryStore) -> Self:
        return type(self)(store, self.plan)

    async def set(self, key: str, value: Any) -> None:
        await self.plan.step("set", key, lambda: self._store.set(key, value))

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        await self.plan.step("set_if_not_exists", key, lambda: self._store.set_if_not_exists(key, value))

    async def delete(self, key: str) -> None:
        await self.plan.step("delete", key, lambda: self._store.delete(key))

    async def delete_dir(self, prefix: str) -> None:
        await self.plan.step("delete_dir", prefix, lambda: self._store.delete_dir(prefix))

    async def clear(self) -> None:
        await self.plan.step("clear", "", self._store.clear)

    async def _set_many(self, values: Any) -> None:
        for key, value in values:
            await self.set(key, value)


def contents(store: MemoryStore, path: str = "") -> dict[str, bytes]:
    """Keys below a path and values of a store in memory."""
    prefix = f"{path}/" if path else ""
    items = store._store_dict.items()
    return {key[len(prefix) :]: value.to_bytes() for key, value in items if key.startswith(prefix)}


def memory_store(files: dict[str, bytes]) -> MemoryStore:
    """A store in memory with these keys and values."""
    from zarr.core.buffer import default_buffer_prototype

    wrap = default_buffer_prototype().buffer.from_bytes
    return MemoryStore({key: wrap(value) for key, value in files.items()})
