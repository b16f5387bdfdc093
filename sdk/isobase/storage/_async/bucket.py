"""Buckets: listing, making, changing, emptying and removing them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, cast

import httpx

from isobase.storage._url import StorageUrl
from isobase.storage.exceptions import error_of
from isobase.storage.types import (
    BaseBucket,
    CreateOrUpdateBucketOptions,
    ListBucketsOptions,
    PurgeCacheOptions,
    RequestMethod,
)

__all__ = ["AsyncBucket", "AsyncStorageBucketAPI"]


class AsyncBucket(BaseBucket):
    """A bucket of a list."""


class AsyncStorageBucketAPI:
    """The calls on buckets; ``url`` ends with a slash."""

    def __init__(self, session: httpx.AsyncClient, url: str, headers: httpx.Headers) -> None:
        if url and not url.endswith("/"):
            warnings.warn(
                "Storage endpoint URL should have a trailing slash. The URL has been automatically corrected.",
                UserWarning,
                stacklevel=2,
            )
            url += "/"
        self._base_url = StorageUrl.parse(url)
        self._client = session
        self._headers = headers

    async def _request(
        self,
        method: RequestMethod,
        path: list[str],
        json: Mapping[str, Any] | None = None,
        query_params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        url = self._base_url.joinpath(*path).with_query(query_params)
        try:
            response = await self._client.request(method, str(url), json=json, headers=self._headers)
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise error_of(error.response) from error
        return response

    async def list_buckets(self, *, options: ListBucketsOptions | None = None) -> list[AsyncBucket]:
        """List the buckets that the caller may see.

        options: ``limit``, ``offset``, ``sortColumn``, ``sortOrder`` and ``search`` (a part of the name); default: all.
        Raises ``StorageApiError``. Source: ``GET /bucket``; the options as storage-js's ``listBuckets``.
        """
        query = {name: str(value) for name, value in (options or {}).items()}
        response = await self._request("GET", ["bucket"], None, query)
        return [AsyncBucket(**bucket) for bucket in response.json()]

    async def get_bucket(self, id: str) -> AsyncBucket:
        """Give one bucket. Raises ``StorageApiError`` (``Bucket not found``) where it is not there or hidden."""
        response = await self._request("GET", ["bucket", id])
        return AsyncBucket(**response.json())

    async def create_bucket(
        self,
        id: str,
        name: str | None = None,
        options: CreateOrUpdateBucketOptions | None = None,
    ) -> dict[str, str]:
        """Make a bucket; gives ``{"name": ...}``.

        name: default the id. options: ``public``, ``file_size_limit`` (bytes, or a text such as ``20MB``),
        ``allowed_mime_types``. Raises ``StorageApiError``: ``Duplicate`` where it exists, ``Unauthorized`` by policy.
        """
        response = await self._request("POST", ["bucket"], {"id": id, "name": name or id, **(options or {})})
        return cast("dict[str, str]", response.json())

    async def update_bucket(self, id: str, options: CreateOrUpdateBucketOptions) -> dict[str, str]:
        """Change a bucket's settings; those that are not given stay. Gives the server's ``{"message": ...}``."""
        response = await self._request("PUT", ["bucket", id], {"id": id, "name": id, **options})
        return cast("dict[str, str]", response.json())

    async def empty_bucket(self, id: str) -> dict[str, str]:
        """Remove all objects of a bucket; gives the server's ``{"message": ...}``.

        Servers let ``service_role`` alone do it.
        """
        response = await self._request("POST", ["bucket", id, "empty"], {})
        return cast("dict[str, str]", response.json())

    async def delete_bucket(self, id: str) -> dict[str, str]:
        """Remove an empty bucket; gives the server's ``{"message": ...}``.

        Raises ``StorageApiError`` where objects are in it.
        """
        response = await self._request("DELETE", ["bucket", id], {})
        return cast("dict[str, str]", response.json())

    async def purge_bucket_cache(self, id: str, *, options: PurgeCacheOptions | None = None) -> dict[str, str]:
        """Drop the copies of a bucket's objects that the content delivery network holds; for ``service_role``.

        options: ``transformations`` drops rendered images alone. Gives ``{"message": "success"}``.
        Source: ``DELETE /cdn/{bucket}``, storage-js's ``purgeBucketCache``.
        """
        query = {"transformations": "true"} if (options or {}).get("transformations") else None
        response = await self._request("DELETE", ["cdn", id], {}, query)
        return cast("dict[str, str]", response.json())
