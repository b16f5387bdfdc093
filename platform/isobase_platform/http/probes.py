"""``/health`` (the process lives), ``/ready`` (database, store and bus answer) and ``/metrics`` (Prometheus)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform import __version__
from isobase_platform.rls import LOGIN_ROLE

if TYPE_CHECKING:
    from isobase_platform.runtime import Platform

__all__ = ["probe_pages"]

READY_TIMEOUT_S = 3.0


def probe_pages(platform: Platform, is_draining: Callable[[], bool]) -> dict[str, ASGIApp]:
    """The three pages by path. ``is_draining`` turns ``/ready`` to 503 so that a load balancer looks elsewhere."""

    async def health(scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse({"status": "ok", "version": __version__, "project": platform.settings.project_id})(
            scope, receive, send
        )

    async def ready(scope: Scope, receive: Receive, send: Send) -> None:
        checks = await _checks(platform)
        is_ready = all(checks.values()) and not is_draining()
        body = {
            "status": "ready" if is_ready else "draining" if is_draining() else "unavailable",
            "checks": {name: "ok" if passed else "failed" for name, passed in checks.items()},
        }
        await JSONResponse(body, status_code=200 if is_ready else 503)(scope, receive, send)

    async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
        for role, (size, idle) in {**platform.pools.sizes(), LOGIN_ROLE: platform.door.pool_sizes}.items():
            platform.metrics.pool_connections.labels(role, "idle").set(idle)
            platform.metrics.pool_connections.labels(role, "busy").set(size - idle)
        content = generate_latest(platform.metrics.registry)
        await Response(content, media_type=CONTENT_TYPE_LATEST)(scope, receive, send)

    return {"/health": health, "/ready": ready, "/metrics": metrics}


async def _checks(platform: Platform) -> dict[str, bool]:
    answers = await asyncio.gather(
        _bounded(platform.door.can_connect()), _bounded(platform.store.ping()), _bounded(platform.bus.ping())
    )
    return dict(zip(("database", "store", "bus"), answers, strict=True))


async def _bounded(check: Awaitable[bool]) -> bool:
    try:
        return await asyncio.wait_for(check, READY_TIMEOUT_S)
    except TimeoutError:
        return False
