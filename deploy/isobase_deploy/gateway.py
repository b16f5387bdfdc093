"""One port for all services, or for one alone: their mounts behind the platform's edge.

Nothing but composition: which services there are, in which order they start, and what is served beside them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module

from isobase_deploy.openapi import openapi_pages
from isobase_deploy.well_known import well_known_page
from isobase_platform.config import Settings
from isobase_platform.errors import ConfigurationError
from isobase_platform.http.client_address import TrustedProxies
from isobase_platform.http.edge import Edge
from isobase_platform.http.probes import probe_pages
from isobase_platform.runtime import Platform
from isobase_platform.service import Service

__all__ = ["SERVICE_NAMES", "Gateway", "enabled_services", "open_gateway"]

SERVICE_NAMES = ("auth", "database", "storage", "realtime")

_log = logging.getLogger("isobase.gateway")


@dataclass(slots=True)
class Gateway:
    """The app and the services behind it. ``is_draining`` turns ``/ready`` to 503."""

    services: tuple[Service, ...]
    app: Edge | None = None
    is_draining: bool = field(default=False)

    async def drain(self, timeout_s: float) -> None:
        """Let every service end its work within ``timeout_s`` seconds; a failure of one does not stop the others."""
        self.is_draining = True
        results = await asyncio.gather(
            *(self._drain_one(one, timeout_s) for one in self.services), return_exceptions=True
        )
        for service, result in zip(self.services, results, strict=True):
            if isinstance(result, BaseException):
                _log.error("a service did not end in order", extra={"service": service.name}, exc_info=result)

    @staticmethod
    async def _drain_one(service: Service, timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s):
            await service.drain(timeout_s)


def enabled_services(settings: Settings) -> tuple[str, ...]:
    """The names of the services that the settings leave on."""
    switches = {
        "auth": settings.auth.enabled,
        "database": settings.rest.enabled,
        "storage": settings.storage.enabled,
        "realtime": settings.realtime.enabled,
    }
    return tuple(name for name in SERVICE_NAMES if switches[name])


@contextlib.asynccontextmanager
async def open_gateway(settings: Settings, names: Sequence[str], *, alone: bool = False) -> AsyncIterator[Gateway]:
    """Open the platform, start the services ``names`` and put them behind one app; all is closed when the block ends.

    ``alone``: the one service also answers at ``/``, as its upstream does without a gateway. Raises what keeps a service
    from starting; those that had started are drained then.
    """
    unknown = set(names) - set(SERVICE_NAMES)
    if unknown:
        raise ConfigurationError(f"there is no service {', '.join(sorted(unknown))}")
    async with Platform.open(settings) as platform:
        await platform.key_keeper.start()
        services: tuple[Service, ...] = tuple(
            import_module(f"isobase_services.{name}").create_service(platform) for name in names
        )
        gateway = Gateway(services)
        started: list[Service] = []
        try:
            for service in services:
                started.append(service)
                await service.start()
        except BaseException:
            gateway.services = tuple(started)
            await gateway.drain(settings.drain_timeout_s)
            raise
        mounts = [mount for service in services for mount in service.mounts]
        gateway.app = Edge(
            mounts,
            keys=platform.api_keys,
            metrics=platform.metrics,
            require_api_key=settings.api_key_required,
            pages={
                **probe_pages(platform, lambda: gateway.is_draining),
                **openapi_pages(services, settings),
                **well_known_page(services),
            },
            bare=next((mount for mount in mounts if mount.serves_bare), None) if alone else None,
            key_keeper=platform.key_keeper,
            verifier=platform.verifier,
            proxies=TrustedProxies(settings.trusted_proxies, settings.forwarded_header),
        )
        yield gateway
