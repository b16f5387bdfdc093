"""A storage service as a process of its own, to be killed. Arguments: database URL, data directory, port (0: a free one).

It prints its port.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import uvicorn

from isobase_platform.http.edge import Edge
from isobase_platform.runtime import Platform
from isobase_services.storage import create_service
from tests.plugins.stack import settings_for


async def main(url: str, data_dir: str, port: int) -> None:
    async with Platform.open(settings_for(url, Path(data_dir))) as platform:
        service = create_service(platform)
        await service.start()
        app = Edge(service.mounts, keys=platform.api_keys, metrics=platform.metrics)
        listener = socket.create_server(("127.0.0.1", port))
        print(listener.getsockname()[1], flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
        await server.serve(sockets=[listener])


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
