"""The zarr stores of this project pass zarr's own tests of stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from zarr.core.buffer import Buffer, cpu
from zarr.storage import LocalStore, MemoryStore

pytest.importorskip("pytest_asyncio")
testing = pytest.importorskip("zarr.testing.store")

from platestore.multiscales.mappings import MappingStore  # noqa: E402
from platestore.storage.zarr_compat import (  # noqa: E402
    GuardedLocalStore,
    GuardedStore,
    SyncingLocalStore,
)

pytestmark = pytest.mark.quick(1)


class _Common:
    """What zarr's tests leave to the author of a store."""

    buffer_cls = cpu.Buffer

    def test_store_supports_writes(self, store: Any) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: Any) -> None:
        assert store.supports_listing

    def test_store_supports_partial_writes(self, store: Any) -> None:
        assert not getattr(store, "supports_partial_writes", False)


class _Guarded(_Common):
    """Stores in which an empty chunk is a torn write, and not pixels."""

    @pytest.fixture(autouse=True)
    def _no_empty_chunk(self, request: pytest.FixtureRequest) -> None:
        params = getattr(getattr(request.node, "callspec", None), "params", {})
        if params.get("data") == b"" and not str(params.get("key")).endswith("zarr.json"):
            pytest.skip("an empty chunk is an error in this store")


class TestMapping(_Common, testing.StoreTests[MappingStore, cpu.Buffer]):
    store_cls = MappingStore

    @pytest.fixture
    def store_kwargs(self) -> dict[str, Any]:
        return {"mapping": {}}

    async def set(self, store: MappingStore, key: str, value: Buffer) -> None:
        store.mapping[key] = value.to_bytes()

    async def get(self, store: MappingStore, key: str) -> Buffer:
        return cpu.Buffer.from_bytes(store.mapping[key])

    def test_store_repr(self, store: MappingStore) -> None:
        assert repr(store) == "MappingStore(<dict>)"

    async def test_serializable_store(self, store: MappingStore) -> None:
        pytest.skip("a dict that was pickled is another one: two stores over them are not the same")


class _Local(_Guarded):
    @pytest.fixture
    def store_kwargs(self, tmp_path: Path) -> dict[str, Any]:
        return {"root": tmp_path}

    async def set(self, store: LocalStore, key: str, value: Buffer) -> None:
        path = Path(store.root) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value.to_bytes())

    async def get(self, store: LocalStore, key: str) -> Buffer:
        return cpu.Buffer.from_bytes((Path(store.root) / key).read_bytes())

    def test_store_repr(self, store: LocalStore) -> None:
        assert str(store.root) in str(store)


class TestGuardedLocal(_Local, testing.StoreTests[GuardedLocalStore, cpu.Buffer]):
    store_cls = GuardedLocalStore


class TestSyncingLocal(_Local, testing.StoreTests[SyncingLocalStore, cpu.Buffer]):
    store_cls = SyncingLocalStore


class TestGuarded(_Guarded, testing.StoreTests[GuardedStore, cpu.Buffer]):
    store_cls = GuardedStore

    @pytest.fixture
    def store_kwargs(self) -> dict[str, Any]:
        return {"store": MemoryStore()}

    @pytest.fixture
    def open_kwargs(self) -> dict[str, Any]:
        return {"store_cls": MemoryStore}

    async def set(self, store: GuardedStore, key: str, value: Buffer) -> None:
        store._store._store_dict[key] = value

    async def get(self, store: GuardedStore, key: str) -> Buffer:
        return store._store._store_dict[key]

    def test_store_repr(self, store: GuardedStore) -> None:
        assert "memory" in repr(store)
