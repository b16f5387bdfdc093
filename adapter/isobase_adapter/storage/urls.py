"""The official storage clients with URLs of the side that answers.

``get_public_url`` asks no server, and ``create_signed_upload_url`` puts the client's own URL before what a server says:
both are corrected here. Everything else is the official classes' own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from storage3 import AsyncStorageClient, SyncStorageClient
from storage3._async.file_api import AsyncBucketProxy
from storage3._sync.file_api import SyncBucketProxy
from storage3.types import CreateSignedUploadUrlOptions, SignedUploadURL, URLOptions
from yarl import URL

__all__ = ["AsyncMigrationStorage", "SideUrl", "SyncMigrationStorage"]

SideUrl: TypeAlias = Callable[[str, Mapping[str, str]], str]
"""Takes a bucket's id and the client's headers, gives the URL (``.../storage/v1/``) of the side that answers reads."""
_DOUBLED = re.compile(r"^.+/(?=https?://)")
"""What the official client puts before a whole URL."""


class AsyncMigrationStorage(AsyncStorageClient):
    """The async storage client of a migration client. side_url: see ``SideUrl``."""

    side_url: SideUrl

    def from_(self, id: str) -> AsyncBucketProxy:
        """Give a bucket; see the official client."""
        bucket = _AsyncBucket(id, self._base_url, self._headers, self._client)
        bucket.side_url = self.side_url
        return bucket


class SyncMigrationStorage(SyncStorageClient):
    """The sync storage client of a migration client. side_url: see ``SideUrl``."""

    side_url: SideUrl

    def from_(self, id: str) -> SyncBucketProxy:
        """Give a bucket; see the official client."""
        bucket = _SyncBucket(id, self._base_url, self._headers, self._client)
        bucket.side_url = self.side_url
        return bucket


class _AsyncBucket(AsyncBucketProxy):
    side_url: SideUrl

    async def get_public_url(self, path: str, options: URLOptions | None = None) -> str:
        """Give the URL at the side that answers now."""
        base = URL(self.side_url(self.id, self._headers))
        return await AsyncBucketProxy(self.id, base, self._headers, self._client).get_public_url(path, options)

    async def create_signed_upload_url(
        self, path: str, options: CreateSignedUploadUrlOptions | None = None
    ) -> SignedUploadURL:
        """Give a URL to upload to, at the side that is written first."""
        return _single(await super().create_signed_upload_url(path, options))


class _SyncBucket(SyncBucketProxy):
    side_url: SideUrl

    def get_public_url(self, path: str, options: URLOptions | None = None) -> str:
        """Give the URL at the side that answers now."""
        base = URL(self.side_url(self.id, self._headers))
        return SyncBucketProxy(self.id, base, self._headers, self._client).get_public_url(path, options)

    def create_signed_upload_url(
        self, path: str, options: CreateSignedUploadUrlOptions | None = None
    ) -> SignedUploadURL:
        """Give a URL to upload to, at the side that is written first."""
        return _single(super().create_signed_upload_url(path, options))


def _single(signed: SignedUploadURL) -> SignedUploadURL:
    url = _DOUBLED.sub("", signed["signed_url"])
    return {**signed, "signed_url": url, "signedUrl": url}
