"""Copies of objects outside their bucket, and how they are dropped: this process's own caches, and a network's.

Upstream only tells an endpoint and refuses where none is set; here the caches of the service itself are dropped in any
case, so a purge without an endpoint has done its work. Source: contracts/storage.md 1.6; upstream
``src/storage/cdn/cdn-cache-manager.ts`` for what the endpoint is told.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from isobase_platform.config_storage.cdn import CdnSettings
from isobase_platform.outbound import OutboundError, OutboundHttp, hosts_of
from isobase_services.storage.core.cloudfront import CloudFront, CloudFrontUnavailable, invalidation_paths
from isobase_services.storage.errors import StorageError, refuse

__all__ = ["Cdn", "OwnCache", "Purge"]

_log = logging.getLogger("isobase.storage")


@dataclass(slots=True, frozen=True)
class Purge:
    """What to drop: one object's copies, a bucket's (no ``key``), or all (no ``bucket``).

    ``only_transformations``: copies of transformed images alone.
    """

    bucket: str | None = None
    key: str | None = None
    only_transformations: bool = False


class OwnCache(Protocol):
    """A cache of this service, such as that of transformed images."""

    async def purge(self, purge: Purge) -> None:
        """Drop what ``purge`` names; nothing there is no error."""
        ...


class Cdn:
    """Drops copies. ``caches`` are the service's own; ``project_id`` names the project to the network's endpoint."""

    def __init__(self, settings: CdnSettings, project_id: str, caches: Sequence[OwnCache] = ()) -> None:
        self._settings = settings
        self._project_id = project_id
        self._caches = tuple(caches)
        hosts = hosts_of([settings.purge_url or ""])
        self._http = OutboundHttp(hosts, timeout_s=settings.purge_timeout_s)
        self._cloudfront = CloudFront(settings) if settings.cloudfront_distribution_id else None

    async def purge(self, purge: Purge) -> None:
        """Drop the copies. Raises InternalError where the network does not say that it did, or will."""
        for cache in self._caches:
            await cache.purge(purge)
        if self._cloudfront is not None:
            paths = invalidation_paths(purge.bucket, purge.key, only_transformations=purge.only_transformations)
            try:
                await self._cloudfront.invalidate(paths)
            except CloudFrontUnavailable as error:
                raise _failed("CloudFront took no invalidation", str(error)) from error
        if self._settings.purge_url is not None:
            await self._tell(self._settings.purge_url, purge)

    async def _tell(self, purge_url: str, purge: Purge) -> None:
        headers = {"content-type": "application/json"}
        if self._settings.purge_key is not None:
            headers["authorization"] = f"Bearer {self._settings.purge_key.get_secret_value()}"
        url = f"{purge_url.rstrip('/')}/purge"
        try:
            status, _ = await self._http.send("POST", url, headers=headers, content=_message(purge, self._project_id))
        except OutboundError as error:
            raise _failed("the purge endpoint was not reached", error.message) from error
        if not 200 <= status < 300:
            raise _failed("the purge endpoint refused", str(status))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()
        if self._cloudfront is not None:
            self._cloudfront.close()


def _failed(what: str, reason: str) -> StorageError:
    _log.error(what, extra={"reason": reason})
    return refuse.internal("Error purging cache")


def _message(purge: Purge, project_id: str) -> bytes:
    kind = "tenant" if purge.bucket is None else "bucket" if purge.key is None else "object"
    body: dict[str, object] = {
        "type": f"{kind}-transforms" if purge.only_transformations else kind,
        "tenant": {"ref": project_id},
    }
    if purge.bucket is not None:
        body["bucketId"] = purge.bucket
    if purge.key is not None:
        body["objectName"] = purge.key
    return json.dumps(body).encode()
