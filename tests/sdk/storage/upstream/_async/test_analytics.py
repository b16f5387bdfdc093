"""Analytics buckets of the real supabase/storage, with Apache Iceberg's own REST catalog behind it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from isobase.storage import AsyncStorageClient, StorageApiError, StorageException
from isobase.storage._async.analytics import AsyncStorageAnalyticsClient
from isobase.storage._async.iceberg import AsyncIcebergCatalog
from isobase.storage._async.request import AsyncRequestBuilder
from isobase.storage._url import StorageUrl

TABLE: dict[str, Any] = {
    "name": "events",
    "schema": {
        "type": "struct",
        "schema-id": 0,
        "fields": [
            {"id": 1, "name": "id", "type": "long", "required": True},
            {"id": 2, "name": "at", "type": "timestamptz", "required": False},
        ],
    },
    "partition-spec": {
        "spec-id": 0,
        "fields": [{"source-id": 2, "field-id": 1000, "name": "at_day", "transform": "day"}],
    },
    "properties": {"owner": "tests"},
}


@pytest.fixture
async def analytics(upstream_url: str, service: dict[str, str]) -> AsyncIterator[AsyncStorageAnalyticsClient]:
    """The calls on analytics buckets."""
    async with AsyncStorageClient(upstream_url, service) as client:
        yield client.analytics()


@pytest.fixture
async def lake(analytics: AsyncStorageAnalyticsClient) -> AsyncIterator[AsyncIcebergCatalog]:
    """The catalog of a bucket."""
    name = f"sdk-{uuid.uuid4().hex[:12]}"
    await analytics.create(name)
    yield analytics.from_(name)
    await analytics.delete(name)


@pytest.fixture
async def apache(catalog_url: str, analytics: AsyncStorageAnalyticsClient) -> AsyncIcebergCatalog:
    """The catalog itself, without supabase/storage before it."""
    builder = analytics._request
    return AsyncIcebergCatalog(
        AsyncRequestBuilder(builder._session, StorageUrl.parse(catalog_url), builder.headers), "any"
    )


@pytest.mark.capability(
    "storage.analytics.create_analytics_bucket",
    "storage.analytics.list_analytics_buckets",
    "storage.analytics.delete_analytics_bucket",
)
async def test_analytics_buckets_are_made_listed_and_removed(analytics: AsyncStorageAnalyticsClient) -> None:
    prefix = f"sdk-{uuid.uuid4().hex[:8]}"
    for letter in "ab":
        assert (await analytics.create(f"{prefix}-{letter}")).name == f"{prefix}-{letter}"
    found = await analytics.list(search=prefix, sort_column="name", sort_order="desc")
    assert [bucket.name for bucket in found] == [f"{prefix}-b", f"{prefix}-a"]
    assert len(await analytics.list(search=prefix, limit=1, offset=1)) == 1
    for letter in "ab":
        assert (await analytics.delete(f"{prefix}-{letter}")).message
    assert await analytics.list(search=prefix) == []


@pytest.mark.capability(
    "storage.analytics.access_catalog",
    "storage.analytics.create_namespace",
    "storage.analytics.list_namespaces",
    "storage.analytics.load_namespace_metadata",
    "storage.analytics.namespace_exists",
    "storage.analytics.delete_namespace",
)
async def test_namespaces_are_made_described_and_removed(lake: AsyncIcebergCatalog) -> None:
    made = await lake.create_namespace("sales", {"owner": "tests"})
    assert made["namespace"] == ["sales"]
    assert await lake.list_namespaces() == [["sales"]]
    assert (await lake.load_namespace_metadata("sales"))["properties"]["owner"] == "tests"
    assert await lake.namespace_exists("sales")
    assert not await lake.namespace_exists("never")
    await lake.drop_namespace("sales")
    assert not await lake.namespace_exists("sales")


@pytest.mark.capability(
    "storage.analytics.create_table",
    "storage.analytics.list_tables",
    "storage.analytics.load_table",
    "storage.analytics.table_exists",
    "storage.analytics.update_table",
    "storage.analytics.delete_table",
)
async def test_tables_are_made_changed_and_removed(lake: AsyncIcebergCatalog) -> None:
    await lake.create_namespace("sales")
    made = await lake.create_table("sales", TABLE)
    assert made["schemas"][0]["fields"][0]["name"] == "id"
    assert [table["name"] for table in await lake.list_tables("sales")] == ["events"]
    loaded = await lake.create_table_if_not_exists("sales", TABLE)
    assert loaded["table-uuid"] == made["table-uuid"] == (await lake.load_table("sales", "events"))["table-uuid"]
    changed = await lake.update_table(
        "sales",
        "events",
        {
            "requirements": [{"type": "assert-table-uuid", "uuid": made["table-uuid"]}],
            "updates": [{"action": "set-properties", "updates": {"note": "changed"}}],
        },
    )
    assert changed["metadata"]["properties"]["note"] == "changed"
    assert await lake.table_exists("sales", "events")
    await lake.drop_table("sales", "events", purge=True)
    assert not await lake.table_exists("sales", "events")
    with pytest.raises(StorageApiError) as absent:
        await lake.load_table("sales", "events")
    assert absent.value.http_status == 404
    await lake.drop_namespace("sales")


@pytest.mark.capability(
    "storage.analytics.update_namespace_properties",
    "storage.analytics.rename_table",
    "storage.analytics.register_table",
)
async def test_what_the_catalog_alone_can(apache: AsyncIcebergCatalog) -> None:
    namespace = ["deep", uuid.uuid4().hex]
    await apache.create_namespace_if_not_exists(["deep"])
    await apache.create_namespace(namespace, {"a": "1", "b": "2"})
    assert await apache.create_namespace_if_not_exists(namespace) is None
    with pytest.raises(StorageApiError) as conflict:
        await apache.create_namespace(namespace)
    assert (conflict.value.code, conflict.value.http_status) == ("AlreadyExistsException", 409)
    assert namespace in await apache.list_namespaces(["deep"])
    changes = await apache.update_namespace_properties(namespace, updates={"a": "3"}, removals=["b", "never"])
    assert (changes["updated"], changes["removed"], changes["missing"]) == (["a"], ["b"], ["never"])
    made = await apache.create_table(namespace, TABLE)
    await apache.rename_table(namespace, "events", "visits")
    assert [table["name"] for table in await apache.list_tables(namespace)] == ["visits"]
    changed = await apache.update_table(
        namespace, "visits", {"requirements": [], "updates": [{"action": "set-properties", "updates": {"k": "v"}}]}
    )
    await apache.drop_table(namespace, "visits")
    again = await apache.register_table(namespace, "back", changed["metadata-location"])
    assert again["table-uuid"] == made["table-uuid"]
    await apache.drop_table(namespace, "back")
    await apache.drop_namespace(namespace)


async def test_pyicebergs_catalog_is_asked_for_by_name(
    analytics: AsyncStorageAnalyticsClient, upstream_url: str
) -> None:
    name = f"sdk-{uuid.uuid4().hex[:12]}"
    try:
        import pyiceberg  # noqa: F401
    except ImportError:
        with pytest.raises(StorageException, match="pyiceberg is required"):
            analytics.catalog(name, "key", "secret")
        return
    await analytics.create(name)
    catalog = analytics.catalog(name, "key", "secret")
    catalog.create_namespace("sales")
    assert catalog.list_namespaces() == [("sales",)]
    catalog.drop_namespace("sales")
    await analytics.delete(name)
    async with AsyncStorageClient(upstream_url, {"Authorization": "Bearer x"}) as keyless:
        with pytest.raises(StorageException, match="apiKey"):
            keyless.analytics().catalog(name, "key", "secret")
