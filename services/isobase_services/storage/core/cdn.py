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
from isobase_services.storage.errors import refuse

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

    async def purge(self, purge: Purge) -> None:
        """Drop the copies. Raises InternalError where the network's endpoint does not say that it did."""
        for cache in self._caches:
            await cache.purge(purge)
        if self._settings.purge_url is None:
            return
        headers = {"content-type": "application/json"}
        if self._settings.purge_key is not None:
            headers["authorization"] = f"Bearer {self._settings.purge_key.get_secret_value()}"
        url = f"{self._settings.purge_url.rstrip('/')}/purge"
        try:
            status, _ = await self._http.send("POST", url, headers=headers, content=_message(purge, self._project_id))
        except OutboundError as error:
            _log.error("the purge endpoint was not reached", extra={"reason": error.message})
            raise refuse.internal("Error purging cache") from error
        if not 200 <= status < 300:
            _log.error("the purge endpoint refused", extra={"status": status})
            raise refuse.internal("Error purging cache")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


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
