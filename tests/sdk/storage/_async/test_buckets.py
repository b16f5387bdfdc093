"""Buckets are listed, made, changed, emptied and removed."""

from __future__ import annotations

import pytest

from isobase.storage import AsyncBucket, AsyncStorageClient, StorageApiError, StorageException
from isobase.storage._async.file_api import AsyncBucketProxy
from tests.sdk.storage.conftest import Api


@pytest.mark.capability(
    "storage.file_buckets.create_file_bucket",
    "storage.file_buckets.get_bucket",
    "storage.file_buckets.update_bucket",
    "storage.file_buckets.delete_file_bucket",
)
async def test_a_bucket_is_made_changed_and_removed(storage: AsyncStorageClient) -> None:
    made = await storage.create_bucket("sdk-made", options={"public": True, "file_size_limit": "20MB"})
    assert made == {"name": "sdk-made"}
    bucket = await storage.get_bucket("sdk-made")
    assert isinstance(bucket, AsyncBucket)
    assert (bucket.public, bucket.file_size_limit, bucket.allowed_mime_types) == (True, 20_000_000, None)
    await storage.update_bucket(
        "sdk-made", {"public": False, "file_size_limit": None, "allowed_mime_types": ["image/*"]}
    )
    bucket = await storage.get_bucket("sdk-made")
    assert (bucket.public, bucket.file_size_limit, bucket.allowed_mime_types) == (False, None, ["image/*"])
    assert await storage.delete_bucket("sdk-made") == {"message": "Successfully deleted"}
    with pytest.raises(StorageApiError) as caught:
        await storage.get_bucket("sdk-made")
    assert caught.value.code == "Bucket not found"


@pytest.mark.capability("storage.file_buckets.list_file_buckets")
async def test_buckets_are_listed_by_options(storage: AsyncStorageClient) -> None:
    names = ["sdk-list-a", "sdk-list-b", "sdk-list-c"]
    for name in names:
        await storage.create_bucket(name)
    assert {bucket.id for bucket in await storage.list_buckets()} >= set(names)
    found = await storage.list_buckets(
        options={"search": "sdk-list", "limit": 2, "sortColumn": "name", "sortOrder": "desc"}
    )
    assert [bucket.name for bucket in found] == ["sdk-list-c", "sdk-list-b"]
    for name in names:
        await storage.delete_bucket(name)


@pytest.mark.capability("storage.file_buckets.empty_bucket", "storage.file_buckets.access_bucket")
async def test_emptying_removes_every_object_and_keeps_the_bucket(
    storage: AsyncStorageClient, bucket: AsyncBucketProxy
) -> None:
    await storage.from_(bucket.id).upload("a/b.txt", b"1")
    with pytest.raises(StorageApiError) as caught:
        await storage.delete_bucket(bucket.id)
    assert caught.value.error_code == "ResourceNotEmpty" or str(caught.value.status) == "409"
    await storage.empty_bucket(bucket.id)
    assert await bucket.list() == []
    assert (await storage.get_bucket(bucket.id)).id == bucket.id


@pytest.mark.capability("storage.file_buckets.purge_bucket_cache", "storage.file_buckets.purge_cache")
@pytest.mark.usefixtures("renderer_and_network")
async def test_copies_in_the_delivery_network_are_dropped(
    bucket: AsyncBucketProxy, storage: AsyncStorageClient
) -> None:
    await bucket.upload("a.txt", b"1")
    assert await bucket.purge_cache("a.txt") == {"message": "success"}
    assert await bucket.purge_cache("a.txt", options={"transformations": True}) == {"message": "success"}
    assert await storage.purge_bucket_cache(bucket.id) == {"message": "success"}
    assert await storage.purge_bucket_cache(bucket.id, options={"transformations": True}) == {"message": "success"}


@pytest.mark.capability("storage.errors.error_codes")
async def test_a_refusal_tells_the_servers_words_and_code(api: Api, storage: AsyncStorageClient) -> None:
    with pytest.raises(StorageException) as caught:
        await storage.from_("nowhere").download("a.txt")
    error = caught.value
    assert isinstance(error, StorageApiError)
    assert (error.message, error.code, str(error.status)) == ("Bucket not found", "Bucket not found", "404")
    assert (error.error_code, error.http_status) == ("NoSuchBucket", 400)
    assert error.to_dict()["name"] == "StorageApiError"
    async with AsyncStorageClient(api.url, api.anon) as stranger:
        with pytest.raises(StorageApiError) as refused:
            await stranger.create_bucket("sdk-not-allowed")
        assert refused.value.error_code == "AccessDenied"
        with pytest.raises(StorageApiError):
            await stranger.purge_bucket_cache("x")
