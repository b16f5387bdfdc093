"""Vector buckets, their indexes, and the vectors in them."""

from __future__ import annotations

import builtins
from typing import Any

import httpx

from isobase.storage._async.request import AsyncRequestBuilder
from isobase.storage._url import StorageUrl
from isobase.storage._vector_calls import check_keys, check_segments, check_vectors, given, is_absent_vector
from isobase.storage.exceptions import StorageApiError
from isobase.storage.types import (
    JSON,
    DistanceMetric,
    GetVectorBucketResponse,
    GetVectorIndexResponse,
    GetVectorsResponse,
    ListVectorBucketsResponse,
    ListVectorIndexesResponse,
    ListVectorsResponse,
    MetadataConfiguration,
    QueryVectorsResponse,
    VectorData,
    VectorFilter,
    VectorObject,
)

__all__ = ["AsyncStorageVectorsClient", "AsyncVectorBucketScope", "AsyncVectorIndexScope"]


class AsyncVectorIndexScope:
    """The vectors of one index."""

    def __init__(self, request: AsyncRequestBuilder, bucket_name: str, index_name: str) -> None:
        self._request = request
        self._bucket_name = bucket_name
        self._index_name = index_name

    def with_metadata(self, **data: JSON) -> JSON:
        """Give a request's body: what is given, with the names of bucket and index."""
        return given(vectorBucketName=self._bucket_name, indexName=self._index_name, **data)

    async def put(self, vectors: builtins.list[VectorObject]) -> None:
        """Store 1 to 500 vectors; a key that is there gets the new vector.

        Raises ``VectorBucketException`` for other numbers.
        """
        check_vectors(len(vectors))
        body = self.with_metadata(vectors=[vector.model_dump(exclude_none=True) for vector in vectors])
        await self._request.send(http_method="POST", path=["PutVectors"], body=body)

    async def get(self, *keys: str, return_data: bool = True, return_metadata: bool = True) -> GetVectorsResponse:
        """Give vectors by key; those that are not there are left out."""
        body = self.with_metadata(keys=keys, returnData=return_data, returnMetadata=return_metadata)
        data = await self._request.send(http_method="POST", path=["GetVectors"], body=body, is_read=True)
        return GetVectorsResponse.model_validate_json(data.content)

    async def list(
        self,
        max_results: int | None = None,
        next_token: str | None = None,
        return_data: bool = True,
        return_metadata: bool = True,
        segment_count: int | None = None,
        segment_index: int | None = None,
    ) -> ListVectorsResponse:
        """Give a page of the index's vectors.

        max_results: 1 to 1000. next_token: the page before's ``nextToken``. segment_count, segment_index: read one of 1 to 16
        parts, so that several workers share a scan. Raises ``VectorBucketException`` for segments that cannot be.
        """
        check_segments(segment_count, segment_index)
        body = self.with_metadata(
            maxResults=max_results,
            nextToken=next_token,
            returnData=return_data,
            returnMetadata=return_metadata,
            segmentCount=segment_count,
            segmentIndex=segment_index,
        )
        data = await self._request.send(http_method="POST", path=["ListVectors"], body=body, is_read=True)
        return ListVectorsResponse.model_validate_json(data.content)

    async def query(
        self,
        query_vector: VectorData,
        topK: int,  # noqa: N803 (storage3's name)
        filter: VectorFilter | None = None,
        return_distance: bool = True,
        return_metadata: bool = True,
    ) -> QueryVectorsResponse:
        """Give the ``topK`` nearest vectors, nearest first; ``filter`` by metadata in the API's words (``{"kind": "a"}``)."""
        body = self.with_metadata(
            queryVector=query_vector.model_dump(),
            topK=topK,
            filter=filter,
            returnDistance=return_distance,
            returnMetadata=return_metadata,
        )
        data = await self._request.send(http_method="POST", path=["QueryVectors"], body=body, is_read=True)
        return QueryVectorsResponse.model_validate_json(data.content)

    async def delete(self, keys: builtins.list[str]) -> None:
        """Remove 1 to 500 vectors by key. Raises ``VectorBucketException`` for other numbers."""
        check_keys(len(keys))
        await self._request.send(http_method="POST", path=["DeleteVectors"], body=self.with_metadata(keys=keys))


class AsyncVectorBucketScope:
    """The indexes of one vector bucket."""

    def __init__(self, request: AsyncRequestBuilder, bucket_name: str) -> None:
        self._request = request
        self._bucket_name = bucket_name

    def with_metadata(self, **data: JSON) -> JSON:
        """Give a request's body: what is given, with the name of the bucket."""
        return given(vectorBucketName=self._bucket_name, **data)

    async def create_index(
        self,
        index_name: str,
        dimension: int,
        distance_metric: DistanceMetric,
        data_type: str,
        metadata: MetadataConfiguration | None = None,
    ) -> None:
        """Make an index of vectors of ``dimension`` numbers; ``data_type`` is ``float32``."""
        configuration = metadata.model_dump(by_alias=True, exclude_none=True) if metadata else None
        body = self.with_metadata(
            indexName=index_name,
            dimension=dimension,
            distanceMetric=distance_metric,
            dataType=data_type,
            metadataConfiguration=configuration or None,
        )
        await self._request.send(http_method="POST", path=["CreateIndex"], body=body)

    async def get_index(self, index_name: str) -> GetVectorIndexResponse | None:
        """Give an index's settings, or None where it is not there. Other refusals raise ``StorageApiError``."""
        body = self.with_metadata(indexName=index_name)
        try:
            data = await self._request.send(http_method="POST", path=["GetIndex"], body=body, is_read=True)
        except StorageApiError as error:
            if is_absent_vector(error):
                return None
            raise
        return GetVectorIndexResponse.model_validate_json(data.content)

    async def list_indexes(
        self,
        next_token: str | None = None,
        max_results: int | None = None,
        prefix: str | None = None,
    ) -> ListVectorIndexesResponse:
        """Give a page of the bucket's indexes."""
        body = self.with_metadata(nextToken=next_token, maxResults=max_results, prefix=prefix)
        data = await self._request.send(http_method="POST", path=["ListIndexes"], body=body, is_read=True)
        return ListVectorIndexesResponse.model_validate_json(data.content)

    async def delete_index(self, index_name: str) -> None:
        """Remove an index with its vectors."""
        await self._request.send(
            http_method="POST", path=["DeleteIndex"], body=self.with_metadata(indexName=index_name)
        )

    def index(self, index_name: str) -> AsyncVectorIndexScope:
        """Give the calls on the vectors of an index."""
        return AsyncVectorIndexScope(self._request, self._bucket_name, index_name)


class AsyncStorageVectorsClient:
    """The vector buckets of a project."""

    def __init__(self, url: StorageUrl, headers: httpx.Headers, session: httpx.AsyncClient) -> None:
        self._request = AsyncRequestBuilder(session, base_url=url, headers=headers)

    def from_(self, bucket_name: str) -> AsyncVectorBucketScope:
        """Give the calls on the indexes of a bucket."""
        return AsyncVectorBucketScope(self._request, bucket_name)

    async def create_bucket(self, bucket_name: str) -> None:
        """Make a vector bucket."""
        await self._request.send(
            http_method="POST", path=["CreateVectorBucket"], body={"vectorBucketName": bucket_name}
        )

    async def get_bucket(self, bucket_name: str) -> GetVectorBucketResponse | None:
        """Give a vector bucket, or None where it is not there. Other refusals raise ``StorageApiError``."""
        body: dict[str, Any] = {"vectorBucketName": bucket_name}
        try:
            data = await self._request.send(http_method="POST", path=["GetVectorBucket"], body=body, is_read=True)
        except StorageApiError as error:
            if is_absent_vector(error):
                return None
            raise
        return GetVectorBucketResponse.model_validate_json(data.content)

    async def list_buckets(
        self,
        prefix: str | None = None,
        max_results: int | None = None,
        next_token: str | None = None,
    ) -> ListVectorBucketsResponse:
        """Give a page of the vector buckets whose names begin with ``prefix``."""
        body = given(prefix=prefix, maxResults=max_results, nextToken=next_token)
        data = await self._request.send(http_method="POST", path=["ListVectorBuckets"], body=body, is_read=True)
        return ListVectorBucketsResponse.model_validate_json(data.content)

    async def delete_bucket(self, bucket_name: str) -> None:
        """Remove a vector bucket that has no indexes."""
        await self._request.send(
            http_method="POST", path=["DeleteVectorBucket"], body={"vectorBucketName": bucket_name}
        )
