"""Vector buckets, indexes and vectors, of the real supabase/storage with its vectors in PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from isobase.storage import AsyncStorageClient, StorageApiError
from isobase.storage._async.vectors import AsyncStorageVectorsClient, AsyncVectorIndexScope
from isobase.storage.exceptions import VectorBucketException
from isobase.storage.types import MetadataConfiguration, VectorData, VectorObject


@pytest.fixture
async def vectors(upstream_url: str, service: dict[str, str]) -> AsyncIterator[AsyncStorageVectorsClient]:
    """The calls on vector buckets."""
    async with AsyncStorageClient(upstream_url, service) as client:
        yield client.vectors()


@pytest.fixture
async def index(vectors: AsyncStorageVectorsClient) -> AsyncIterator[AsyncVectorIndexScope]:
    """An index of vectors of two numbers."""
    name = f"sdk-{uuid.uuid4().hex[:12]}"
    await vectors.create_bucket(name)
    await vectors.from_(name).create_index("words", 2, "cosine", "float32")
    yield vectors.from_(name).index("words")
    await vectors.from_(name).delete_index("words")
    await vectors.delete_bucket(name)


def vector(key: str, *numbers: float, **metadata: str) -> VectorObject:
    return VectorObject(key=key, data=VectorData(float32=list(numbers)), metadata=dict(metadata))


@pytest.mark.capability(
    "storage.vector_buckets.create_vector_bucket",
    "storage.vector_buckets.list_vector_buckets",
    "storage.vector_buckets.delete_vector_bucket",
)
async def test_vector_buckets_are_made_listed_and_removed(vectors: AsyncStorageVectorsClient) -> None:
    prefix = f"sdk-{uuid.uuid4().hex[:8]}"
    for letter in "abc":
        await vectors.create_bucket(f"{prefix}-{letter}")
    first = await vectors.list_buckets(prefix=prefix, max_results=2)
    assert [bucket.vectorBucketName for bucket in first.vectorBuckets] == [f"{prefix}-a", f"{prefix}-b"]
    rest = await vectors.list_buckets(prefix=prefix, next_token=first.nextToken)
    assert [bucket.vectorBucketName for bucket in rest.vectorBuckets] == [f"{prefix}-c"]
    found = await vectors.get_bucket(f"{prefix}-a")
    assert found is not None
    assert found.vectorBucket.vectorBucketName == f"{prefix}-a"
    for letter in "abc":
        await vectors.delete_bucket(f"{prefix}-{letter}")
    assert await vectors.get_bucket(f"{prefix}-a") is None


@pytest.mark.capability(
    "storage.vector_buckets.create_index",
    "storage.vector_buckets.get_index",
    "storage.vector_buckets.list_indexes",
    "storage.vector_buckets.delete_index",
    "storage.vector_buckets.access_vector_index",
)
async def test_indexes_are_made_described_listed_and_removed(
    vectors: AsyncStorageVectorsClient, index: AsyncVectorIndexScope
) -> None:
    bucket = vectors.from_(index._bucket_name)
    keep = MetadataConfiguration(non_filterable_metadata_keys=["text"])
    await bucket.create_index("texts", 3, "euclidean", "float32", keep)
    described = await bucket.get_index("texts")
    assert described is not None
    assert (described.index.dimension, described.index.distance_metric) == (3, "euclidean")
    assert described.index.metadata == keep
    assert [found.indexName for found in (await bucket.list_indexes()).indexes] == ["texts", "words"]
    assert [found.indexName for found in (await bucket.list_indexes(prefix="w")).indexes] == ["words"]
    await bucket.delete_index("texts")
    assert await bucket.get_index("texts") is None


@pytest.mark.capability(
    "storage.vector_buckets.put_vectors",
    "storage.vector_buckets.get_vectors",
    "storage.vector_buckets.delete_vectors",
)
async def test_vectors_are_put_got_replaced_and_removed(index: AsyncVectorIndexScope) -> None:
    await index.put([vector("a", 1, 0, kind="x"), vector("b", 0, 1)])
    await index.put([vector("b", 1, 1, kind="y")])
    found = {match.key: match for match in (await index.get("a", "b", "never")).vectors}
    assert found["a"].metadata == {"kind": "x"}
    assert found["b"].data == VectorData(float32=[1, 1])
    assert set(found) == {"a", "b"}
    bare = (await index.get("a", return_data=False, return_metadata=False)).vectors[0]
    assert (bare.data, bare.metadata) == (None, None)
    await index.delete(["a"])
    assert [match.key for match in (await index.get("a", "b")).vectors] == ["b"]
    for wrong in ([], ["key"] * 501):
        with pytest.raises(VectorBucketException):
            await index.delete(wrong)
        with pytest.raises(VectorBucketException):
            await index.put([vector(key, 1, 0) for key in wrong])


@pytest.mark.capability("storage.vector_buckets.query_vectors")
async def test_the_nearest_vectors_come_first(index: AsyncVectorIndexScope) -> None:
    await index.put([vector("right", 1, 0, kind="x"), vector("up", 0, 1, kind="x"), vector("near", 1, 0.1, kind="y")])
    answer = await index.query(VectorData(float32=[1, 0]), 2)
    assert [match.key for match in answer.vectors] == ["right", "near"]
    assert answer.vectors[0].distance == pytest.approx(0, abs=1e-6)
    filtered = await index.query(VectorData(float32=[1, 0]), 3, filter={"kind": "x"})
    assert [match.key for match in filtered.vectors] == ["right", "up"]


@pytest.mark.capability("storage.vector_buckets.list_vectors", "storage.vector_buckets.parallel_scan")
async def test_all_vectors_are_listed_by_pages_and_in_segments(index: AsyncVectorIndexScope) -> None:
    keys = {f"k{number:02}" for number in range(20)}
    await index.put([vector(key, 1, number) for number, key in enumerate(sorted(keys))])
    seen: list[str] = []
    token: str | None = None
    while True:
        page = await index.list(max_results=8, next_token=token)
        seen += [match.key for match in page.vectors]
        if (token := page.nextToken) is None:
            break
    assert sorted(seen) == sorted(keys)
    segments = [await index.list(segment_count=4, segment_index=part) for part in range(4)]
    parts = [match.key for segment in segments for match in segment.vectors]
    assert sorted(parts) == sorted(keys)
    for count, part in ((17, 0), (0, 0), (4, 4), (4, -1)):
        with pytest.raises(VectorBucketException):
            await index.list(segment_count=count, segment_index=part)


@pytest.mark.capability("storage.errors.error_codes")
async def test_a_refusal_tells_the_vector_services_code(
    vectors: AsyncStorageVectorsClient, index: AsyncVectorIndexScope
) -> None:
    with pytest.raises(StorageApiError) as conflict:
        await vectors.create_bucket(index._bucket_name)
    assert (conflict.value.error_code, conflict.value.http_status) == ("ConflictException", 409)
    with pytest.raises(StorageApiError) as absent:
        await vectors.from_(index._bucket_name).index("never").get("a")
    assert absent.value.code == "NotFoundException"


async def test_a_wrong_key_is_no_absent_bucket(upstream_url: str) -> None:
    async with AsyncStorageClient(upstream_url, {"Authorization": "Bearer a.b.c"}) as stranger:
        with pytest.raises(StorageApiError):
            await stranger.vectors().get_bucket("sdk-any")
