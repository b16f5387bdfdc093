"""One process that serves auth as the GoTrue program does: at the root, on the database that ``DATABASE_URL`` names."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.gotrue.database import prepare_database
from isobase_deploy.http_server import HttpServer, ending_on_signals
from isobase_platform.config import Settings
from isobase_platform.errors import DatabaseError
from isobase_platform.http.client_address import TrustedProxies
from isobase_platform.http.edge import Edge
from isobase_platform.http.probes import probe_pages
from isobase_platform.runtime import Platform
from isobase_platform.service import ApiKeyRule
from isobase_services.auth import create_service
from isobase_services.auth.service import AuthService

__all__ = ["prepare", "serve"]

_NOT_OURS_TO_READ = frozenset({"42501", "42P01"})
"""SQLSTATEs: no right to, or no such table."""

_log = logging.getLogger("isobase.start")


@dataclass(slots=True)
class _Served:
    """The service behind its edge. ``is_draining`` turns ``/ready`` to 503."""

    service: AuthService
    app: Edge | None = None
    is_draining: bool = False

    async def drain(self, timeout_s: float) -> None:
        """Let the service end its work within ``timeout_s`` seconds."""
        self.is_draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self.service.drain(timeout_s)
        except TimeoutError:
            _log.warning("work was left undone at the end", extra={"timeout_s": timeout_s})


async def prepare(settings: Settings) -> ExitCode | None:
    """Make the database ready; the code to end with where a signal came meanwhile. Raises what keeps it from that."""
    preparing = asyncio.current_task()
    assert preparing is not None
    try:
        with ending_on_signals(lambda: _cancel(preparing)):
            await prepare_database(settings)
    except asyncio.CancelledError:
        return ExitCode.INTERRUPTED
    return None


async def serve(settings: Settings, listener: socket.socket) -> ExitCode:
    """Serve on ``listener`` until SIGTERM or Ctrl-C, end in order; the database is ready. Raises what keeps it from that."""
    async with _opened(settings) as served:
        server = HttpServer(served, listener, settings)
        host, port = listener.getsockname()[:2]
        with ending_on_signals(server.end):
            await server.serve(lambda: _log.info("auth listening", extra={"address": f"{host}:{port}"}))
    return ExitCode.OK


@contextlib.asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[_Served]:
    async with Platform.open(settings) as platform:
        await _start_keys(platform)
        service = create_service(platform)
        served = _Served(service)
        await service.start()
        # Upstream knows no API keys: the ones that everybody's local stack has must not open this server.
        mounts = [replace(mount, prefix="", api_key=ApiKeyRule.NONE) for mount in service.mounts if mount.serves_bare]
        pages = probe_pages(platform, lambda: served.is_draining)
        # /health is the service's own, with upstream's body.
        del pages["/health"]
        served.app = Edge(
            [],
            keys=platform.api_keys,
            metrics=platform.metrics,
            pages=pages,
            bare=mounts[0],
            key_keeper=platform.key_keeper,
            verifier=platform.verifier,
            proxies=TrustedProxies(settings.trusted_proxies, settings.forwarded_header),
        )
        yield served


async def _start_keys(platform: Platform) -> None:
    try:
        await platform.key_keeper.start()
    except DatabaseError as error:
        if error.sqlstate not in _NOT_OURS_TO_READ:
            raise
        _log.info("signing keys of the database are left out: the user of DATABASE_URL may not read them")


def _cancel(task: asyncio.Task[object]) -> None:
    task.cancel()
