"""The client of this form, under the name that the tests of both forms use."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from isobase.postgrest import AsyncPostgrestClient
from tests.sdk.postgrest.conftest import DataApi


@pytest.fixture
async def data(data_api: DataApi) -> AsyncIterator[AsyncPostgrestClient]:
    """A client of service_role."""
    async with AsyncPostgrestClient(data_api.url, headers=data_api.headers) as client:
        yield client
