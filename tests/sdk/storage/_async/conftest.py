"""A client and a bucket for each test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from isobase.storage import AsyncStorageClient
from isobase.storage._async.file_api import AsyncBucketProxy
from tests.sdk.storage.conftest import Api


@pytest.fixture
async def storage(api: Api) -> AsyncIterator[AsyncStorageClient]:
    """A client as service_role."""
    async with AsyncStorageClient(api.url, api.service) as client:
        yield client


@pytest.fixture
async def bucket(storage: AsyncStorageClient) -> AsyncIterator[AsyncBucketProxy]:
    """A private bucket that is empty."""
    name = f"sdk-{uuid.uuid4().hex[:12]}"
    await storage.create_bucket(name)
    yield storage.from_(name)
    await storage.empty_bucket(name)
    await storage.delete_bucket(name)


@pytest.fixture
async def public_bucket(storage: AsyncStorageClient) -> AsyncIterator[AsyncBucketProxy]:
    """A public bucket that is empty."""
    name = f"sdk-{uuid.uuid4().hex[:12]}"
    await storage.create_bucket(name, options={"public": True})
    yield storage.from_(name)
    await storage.empty_bucket(name)
    await storage.delete_bucket(name)
