"""The data API under uvicorn in a thread with a loop of its own, so that tests may stay synchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from isobase_platform.config import Settings
from isobase_platform.http.edge import Edge
from isobase_platform.runtime import Platform
from isobase_services.database.service import DatabaseService
from tests.plugins.listening import KEEP_ALIVE_S
from tests.plugins.patience import STALL_S

__all__ = ["Threaded", "threaded"]


@dataclass(slots=True, frozen=True)
class Threaded:
    """Where it serves, and the platform that it serves on."""

    url: str
    platform: Platform
    server: uvicorn.Server


@contextmanager
def threaded(settings: Settings, *, is_bare: bool = False) -> Iterator[Threaded]:
    """Serve until the block ends, behind the edge; is_bare: the service alone, at the root and without keys."""
    started = threading.Event()
    found: list[Threaded] = []
    failures: list[BaseException] = []

    async def serve() -> None:
        async with Platform.open(settings) as platform:
            service = DatabaseService(platform)
            await service.start()
            app: ASGIApp = Edge(service.mounts, keys=platform.api_keys, metrics=platform.metrics)
            if is_bare:
                app = next(mount.app for mount in service.mounts if mount.serves_bare)
            config = uvicorn.Config(
                app, host="127.0.0.1", port=0, log_level="warning", lifespan="off", timeout_keep_alive=KEEP_ALIVE_S
            )
            server = uvicorn.Server(config)
            running = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            found.append(Threaded(f"http://127.0.0.1:{port}", platform, server))
            started.set()
            await running
            await service.drain(2)

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failures.append(error)  # raised in the test's own thread
            started.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(STALL_S), "the data API did not start"
    try:
        assert not failures, failures
        yield found[0]
    finally:
        for one in found:
            one.server.should_exit = True
        thread.join(STALL_S)
    assert not failures, failures
