"""The objects of one bucket: listing, reading, signing, moving and removing them. Uploads and downloads are beside it."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from httpx import AsyncClient, Headers

from isobase._http import READ
from isobase.storage._async.bucket import AsyncBucket
from isobase.storage._async.downloads import AsyncDownloads
from isobase.storage._async.uploads import AsyncUploads
from isobase.storage._options import download_query, read_path, url_query, wants_transform
from isobase.storage._signed import signed_item, signed_upload, signed_url
from isobase.storage._url import StorageUrl, object_parts
from isobase.storage.constants import DEFAULT_SEARCH_OPTIONS, DEFAULT_SORT_BY
from isobase.storage.types import (
    CopyOptions,
    CreateSignedUploadUrlOptions,
    CreateSignedUrlResponse,
    CreateSignedURLsOptions,
    DestinationOptions,
    DownloadOptions,
    ListBucketFilesOptions,
    PurgeCacheOptions,
    SearchV2Options,
    SearchV2Result,
    SignedUploadURL,
    SignedUrlJsonResponse,
    SignedUrlResponse,
    SignedUrlsJsonResponse,
    URLOptions,
    transform_to_dict,
)
from isobase.storage.types import (
    FileOptions as FileOptions,
)
from isobase.storage.types import (
    TransformOptions as TransformOptions,
)
from isobase.storage.types import (
    UploadData as UploadData,
)
from isobase.storage.types import (
    UploadSignedUrlFileOptions as UploadSignedUrlFileOptions,
)

__all__ = ["AsyncBucket", "AsyncBucketActionsMixin", "AsyncBucketProxy"]


class AsyncBucketActionsMixin(AsyncUploads, AsyncDownloads):
    """The calls on the objects of one bucket."""

    async def create_signed_upload_url(
        self, path: str, options: CreateSignedUploadUrlOptions | None = None
    ) -> SignedUploadURL:
        """Make a URL by which anybody may upload one object to ``path``; servers let it live for two hours by default.

        options: ``upsert`` "true": it may replace an object. Raises ``StorageApiError`` where the caller may not upload
        there or, without upsert, the key is taken.
        """
        headers = {"x-upsert": options.upsert} if options is not None and options.upsert else {}
        path_parts = object_parts(path)
        response = await self._request("POST", ["object", "upload", "sign", self.id, *path_parts], headers=headers)
        return signed_upload(self._base_url, response.json(), path)

    async def create_signed_url(
        self, path: str, expires_in: int, options: URLOptions | None = None
    ) -> SignedUrlResponse:
        """Make a URL by which anybody may read an object for ``expires_in`` seconds.

        options: ``download`` (True, or the name to save under), ``transform`` (of an image), ``cache_nonce`` (a value in the
        URL by which caches keep it apart). Gives the URL as ``signedURL`` and ``signedUrl``.
        Raises ``StorageApiError`` (``not_found``) where the caller cannot read the object.
        """
        body: dict[str, Any] = {"expiresIn": str(expires_in)}
        if download := (options or {}).get("download"):
            body["download"] = download
        if transform := wants_transform(options):
            body["transform"] = transform
        path_parts = object_parts(path)
        response = await self._request("POST", ["object", "sign", self.id, *path_parts], json=body, extensions=READ)
        answer = SignedUrlJsonResponse.model_validate_json(response.content)
        return signed_url(self._base_url, answer.signedURL, url_query(options))

    async def create_signed_urls(
        self,
        paths: builtins.list[str],
        expires_in: int,
        options: CreateSignedURLsOptions | None = None,
    ) -> builtins.list[CreateSignedUrlResponse]:
        """Make URLs for several objects in one request, in the order of ``paths``; ``error`` says where there is none.

        expires_in: seconds. options: as for :meth:`create_signed_url`, without a transformation.
        """
        body: dict[str, Any] = {"paths": paths, "expiresIn": str(expires_in)}
        if download := (options or {}).get("download"):
            body["download"] = download
        response = await self._request("POST", ["object", "sign", self.id], json=body, extensions=READ)
        items = SignedUrlsJsonResponse.validate_json(response.content)
        return [signed_item(self._base_url, item, url_query(options)) for item in items]

    async def get_public_url(self, path: str, options: URLOptions | None = None) -> str:
        """Give the URL of an object in a public bucket; nothing is asked of the server.

        options: ``download``, ``transform`` and ``cache_nonce`` as for :meth:`create_signed_url`.
        """
        transform = wants_transform(options)
        service = ["render", "image"] if transform else ["object"]
        url = self._base_url.joinpath(*service, "public", self.id, *object_parts(path))
        query = url_query(options)
        nonce = {"cacheNonce": query.pop("cacheNonce")} if "cacheNonce" in query else {}
        return str(url.with_query({**query, **(transform_to_dict(transform) if transform else {}), **nonce}))

    async def move(self, from_path: str, to_path: str, *, options: DestinationOptions | None = None) -> dict[str, str]:
        """Move or rename an object; gives the server's ``{"message": ...}``.

        options: ``destination_bucket``: to another bucket. Raises ``StorageApiError``: ``not_found``, ``Duplicate`` where
        the new key is taken, ``Unauthorized``.
        """
        response = await self._request("POST", ["object", "move"], json=self._change(from_path, to_path, options))
        return cast("dict[str, str]", response.json())

    async def copy(self, from_path: str, to_path: str, *, options: CopyOptions | None = None) -> dict[str, str]:
        """Copy an object; gives the new one's row, with ``Key``.

        options: ``destination_bucket``: to another bucket; ``upsert``: replace what is there. Raises as :meth:`move`.
        """
        headers = {"x-upsert": "true"} if (options or {}).get("upsert") else {}
        response = await self._request(
            "POST", ["object", "copy"], headers=headers, json=self._change(from_path, to_path, options)
        )
        return cast("dict[str, str]", response.json())

    def _change(self, from_path: str, to_path: str, options: DestinationOptions | None) -> dict[str, str]:
        body = {"bucketId": self.id, "sourceKey": from_path, "destinationKey": to_path}
        if bucket := (options or {}).get("destination_bucket"):
            body["destinationBucket"] = bucket
        return body

    async def remove(self, paths: builtins.list[str]) -> builtins.list[dict[str, Any]]:
        """Remove objects; gives the rows of those that were removed. Others are left out: absent ones, and forbidden ones."""
        response = await self._request("DELETE", ["object", self.id], json={"prefixes": paths})
        return cast("builtins.list[dict[str, Any]]", response.json())

    async def list(
        self, path: str | None = None, options: ListBucketFilesOptions | None = None
    ) -> builtins.list[dict[str, Any]]:
        """List the objects and folders right below a folder; names are relative to it, and a folder's ``id`` is None.

        options: ``limit`` (default 100), ``offset``, ``sortBy`` (``column``, ``order``), ``search`` (how names begin).
        """
        given: Mapping[str, Any] = options or {}
        body = {
            **DEFAULT_SEARCH_OPTIONS,
            **given,
            "sortBy": {**DEFAULT_SORT_BY, **given.get("sortBy", {})},
            "prefix": path or "",
        }
        response = await self._request("POST", ["object", "list", self.id], json=body, extensions=READ)
        return cast("builtins.list[dict[str, Any]]", response.json())

    async def list_v2(self, options: SearchV2Options | None = None) -> SearchV2Result:
        """List objects by pages: keys that begin with ``prefix``, folders apart ``with_delimiter``.

        options: ``prefix``, ``limit``, ``cursor`` (the page before's ``nextCursor``), ``with_delimiter``, ``sortBy``.
        """
        body = dict(options or {})
        response = await self._request("POST", ["object", "list-v2", self.id], json=body, extensions=READ)
        return SearchV2Result.model_validate_json(response.content)

    async def download(
        self,
        path: str,
        options: DownloadOptions | None = None,
        query_params: dict[str, str] | None = None,
    ) -> bytes:
        """Give an object's bytes; for large ones :meth:`download_stream` or :meth:`download_to`.

        options: ``transform`` (of an image), ``cache_nonce``. query_params: further values of the URL's query.
        Raises ``StorageApiError`` (``not_found``) where it is not there or hidden.
        """
        response = await self._request(
            "GET",
            [*read_path(options), self.id, *object_parts(path)],
            query_params=download_query(options, query_params),
        )
        return response.content

    async def purge_cache(self, path: str, *, options: PurgeCacheOptions | None = None) -> dict[str, str]:
        """Drop the copies of an object that the content delivery network holds; for ``service_role``.

        options: ``transformations`` drops rendered images alone. Gives ``{"message": "success"}``.
        Source: ``DELETE /cdn/{bucket}/{key}``, storage-js's ``purgeCache``.
        """
        query = {"transformations": "true"} if (options or {}).get("transformations") else None
        response = await self._request("DELETE", ["cdn", self.id, *object_parts(path)], json={}, query_params=query)
        return cast("dict[str, str]", response.json())


@dataclass
class AsyncBucketProxy(AsyncBucketActionsMixin):
    """What :meth:`AsyncStorageClient.from_` gives: the calls on the objects of the bucket ``id``."""

    id: str
    _base_url: StorageUrl
    _headers: Headers = field(repr=False)
    _client: AsyncClient = field(repr=False)
