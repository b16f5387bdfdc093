"""The storage service as a process runs it: its mounts, its start and its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isobase_platform.runtime import Platform
from isobase_platform.service import ApiKeyRule, Mount, Service
from isobase_services.storage.blob import BlobStore
from isobase_services.storage.blob.file import FileBlobStore
from isobase_services.storage.core import StorageCore
from isobase_services.storage.provision import provision
from isobase_services.storage.rest.routes import rest_app
from isobase_services.storage.simple.app import simple_app
from isobase_services.storage.simple.openapi import OPENAPI

__all__ = ["StorageService", "create_service"]

REST_PREFIX = "/storage/v1"
SIMPLE_PREFIX = "/storage"
_EXPOSED_HEADERS = (
    "content-length",
    "content-range",
    "content-disposition",
    "accept-ranges",
    "etag",
    "last-modified",
    "x-robots-tag",
)


class StorageService:
    """Buckets and objects: the Supabase face at ``/storage/v1``, the simple face at ``/storage``."""

    name = "storage"

    def __init__(self, platform: Platform, blobs: BlobStore) -> None:
        self._platform = platform
        self._blobs = blobs
        self._core = StorageCore.build(platform, blobs)
        self.openapi: Mapping[str, Any] = OPENAPI
        rest = rest_app(self._core, platform.verifier)
        self.mounts = (
            Mount(REST_PREFIX, rest, ApiKeyRule.BEARER, serves_bare=True, cors_expose=_EXPOSED_HEADERS),
            Mount(SIMPLE_PREFIX, simple_app(platform, self._core), ApiKeyRule.BEARER),
        )

    async def start(self) -> None:
        """Make the blob store ready, then the buckets and policies that are missing."""
        await self._blobs.start()
        await provision(self._platform.pools, self._platform.settings.storage)

    async def drain(self, timeout_s: float) -> None:
        """Let writes that are past their last byte reach their end, then close the blob store."""
        await self._core.finisher.drain(timeout_s)
        await self._blobs.close()


def create_service(platform: Platform) -> Service:
    """The storage service over the local-disk backend at ``settings.storage_root``."""
    return StorageService(platform, FileBlobStore(platform.settings.storage_root))
