"""The storage service as a process runs it: its mounts, its start and its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform.runtime import Platform
from isobase_platform.service import ApiKeyRule, Mount, Service
from isobase_services.storage.blob import BlobStore
from isobase_services.storage.blob.create import create_blob_store
from isobase_services.storage.core import StorageCore
from isobase_services.storage.expect import with_expectations
from isobase_services.storage.paths import routed_path
from isobase_services.storage.provision import provision
from isobase_services.storage.rest.routes import rest_app
from isobase_services.storage.s3.app import s3_app
from isobase_services.storage.seed import seed_objects
from isobase_services.storage.simple.app import simple_app
from isobase_services.storage.simple.openapi import OPENAPI
from isobase_services.storage.stall import with_stall_timeouts
from isobase_services.storage.tus.app import TUS_PATH, tus_app
from isobase_services.storage.tus.protocol import EXPOSED_HEADERS
from isobase_services.storage.upkeep.worker import storage_worker

__all__ = ["StorageService", "create_service"]

LATE_REQUESTS_S = 1.0
"""What requests get that came while the server was ending, and then the writes that they left."""
REST_PREFIX = "/storage/v1"
S3_PATH = "/s3"
SIMPLE_PREFIX = "/storage"
_EXPOSED_HEADERS = (
    "content-length",
    "content-range",
    "content-disposition",
    "accept-ranges",
    "etag",
    "last-modified",
    "x-robots-tag",
    *(name.lower() for name in EXPOSED_HEADERS if name.startswith(("Tus-", "Upload-", "Location"))),
    "x-transformations",
)
_EXPOSED_S3_HEADERS = (
    "accept-ranges",
    "content-length",
    "content-range",
    "etag",
    "last-modified",
    "location",
    "x-amz-bucket-region",
    "x-amz-missing-meta",
    "x-amz-request-id",
)
_S3_METADATA_PREFIX = "x-amz-meta-"


class _InFlight:
    """Counts the requests of all mounts, so that the blob store is closed behind the last one."""

    def __init__(self) -> None:
        self._count = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def around(self, app: ASGIApp) -> ASGIApp:
        """The app, counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            self._count += 1
            self._is_idle.clear()
            try:
                await app(scope, receive, send)
            finally:
                self._count -= 1
                if self._count == 0:
                    self._is_idle.set()

        return counted

    async def wait(self, timeout_s: float) -> None:
        """Wait until no request runs, ``timeout_s`` seconds at most."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_idle.wait()
        except TimeoutError:
            return


class StorageService:
    """Buckets and objects: the Supabase face at ``/storage/v1``, the simple face at ``/storage``."""

    name = "storage"
    features: tuple[str, ...] = ("uploads",)

    def __init__(self, platform: Platform, blobs: BlobStore) -> None:
        self._platform = platform
        self._blobs = blobs
        self._core = StorageCore.build(platform, blobs)
        self.openapi: Mapping[str, Any] = OPENAPI
        self._in_flight = _InFlight()
        self._worker = storage_worker(platform, self._core, blobs)
        platform.at_close.push_async_callback(self._close)
        rest = rest_app(self._core, platform.verifier, platform.settings.storage)
        tus = tus_app(self._core.resumable, self._core.signer, platform.verifier, platform.settings)
        faces: dict[str, ASGIApp] = {TUS_PATH: tus}
        simple = self._around(simple_app(platform, self._core))
        mounts = [Mount(SIMPLE_PREFIX, simple, ApiKeyRule.OPTIONAL)]
        if platform.settings.storage.s3_protocol.enabled:
            s3 = s3_app(platform, self._core)
            faces[S3_PATH] = _rooted(S3_PATH, s3)
            # A signature is its own proof: no API key is asked for, or presigned URLs would need one.
            mount = Mount(
                REST_PREFIX + S3_PATH,
                self._around(s3),
                ApiKeyRule.NONE,
                cors_expose=_EXPOSED_S3_HEADERS,
                cors_expose_prefix=_S3_METADATA_PREFIX,
            )
            mounts.append(mount)
        rest = self._around(_below(faces, rest))
        mounts.append(Mount(REST_PREFIX, rest, ApiKeyRule.OPTIONAL, serves_bare=True, cors_expose=_EXPOSED_HEADERS))
        self.mounts = tuple(mounts)

    @property
    def core(self) -> StorageCore:
        """The operations below the faces, for work that no request asks for."""
        return self._core

    def _around(self, app: ASGIApp) -> ASGIApp:
        settings = self._platform.settings.storage
        # Within the count, so that a stalled client holds the end of the service no longer than its time.
        bounded = with_stall_timeouts(
            app, upload_s=settings.upload_stall_timeout_s, download_s=settings.download_stall_timeout_s
        )
        return self._in_flight.around(with_expectations(bounded))

    async def start(self) -> None:
        """Make the blob store ready, then the buckets, policies and seeded objects that are missing."""
        settings = self._platform.settings.storage
        await self._blobs.start()
        await provision(self._platform.pools, settings)
        await seed_objects(self._core, settings.buckets)
        self._worker.start()

    async def drain(self, timeout_s: float) -> None:
        """Let running requests end, then writes whose request is gone.

        Connections that are still open may bring a request until the HTTP server has ended: what those need stays open.
        """
        deadline_s = time.monotonic() + timeout_s
        self._core.resumable.release_all()
        await self._worker.stop()
        await self._in_flight.wait(timeout_s)
        await self._core.finisher.drain(max(deadline_s - time.monotonic(), 0.1))

    async def _close(self) -> None:
        """Close what requests need, behind the last of them."""
        await self._in_flight.wait(LATE_REQUESTS_S)
        await self._core.finisher.drain(LATE_REQUESTS_S)
        await self._core.cdn.close()
        await self._core.images.close()
        await self._blobs.close()


def _below(faces: Mapping[str, ASGIApp], rest: ASGIApp) -> ASGIApp:
    """Faces with paths of their own inside the mount of the Supabase face, so that they too answer bare."""

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        inner = routed_path(scope).removeprefix(scope.get("root_path", ""))
        for prefix, app in faces.items():
            if inner == prefix or inner.startswith(f"{prefix}/"):
                await app(scope, receive, send)
                return
        await rest(scope, receive, send)

    return route


def _rooted(prefix: str, app: ASGIApp) -> ASGIApp:
    """The app with ``prefix`` in its ``root_path``, as where it has a mount of its own."""

    async def rooted(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "root_path": scope.get("root_path", "") + prefix}, receive, send)

    return rooted


def create_service(platform: Platform) -> Service:
    """The storage service over the backend that the settings name. Raises ``ConfigurationError``."""
    settings = platform.settings
    return StorageService(platform, create_blob_store(settings.storage, settings.storage_root))
