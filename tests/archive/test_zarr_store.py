"""zarr-python's own contract of a store, on the kinds of workspaces."""

import pytest
from zarr.core.buffer.cpu import Buffer
from zarr.testing.store import StoreTests

from nightsift.archive.zarr_store import WorkspaceStore


class Contract(StoreTests[WorkspaceStore, Buffer]):
    buffer_cls = Buffer

    @pytest.fixture
    def store_kwargs(self, workspace):
        return {"workspace": workspace, "path": "frames/A.zarr"}

    async def set(self, store, key, value):
        store._workspace.write(f"{store._path}/{key}", value.to_bytes())

    async def get(self, store, key):
        return Buffer.from_bytes(store._workspace.read(f"{store._path}/{key}"))

    def test_store_repr(self, store):
        assert store._path in str(store)

    def test_store_supports_writes(self, store):
        assert store.supports_writes

    def test_store_supports_listing(self, store):
        assert store.supports_listing


@pytest.mark.parametrize("workspace", ["folder", "bucket", "memory", "sftp"], indirect=True)
class TestWorkspaceStore(Contract):
    store_cls = WorkspaceStore
