"""A storage service as a process of its own, to be killed or starved. Argument: a JSON object with ``url`` (database),
``data_dir``, ``port``, ``storage`` (settings of storage), and perhaps ``max_file_bytes`` (where the disk is full).
Prints its port. With ``forks`` it serves nothing itself: for each line of its input, a step of ``CrashingStore``, it makes a
child that serves and dies there, which takes a tenth of the time of a new process."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from isobase_platform.http.edge import Edge
from isobase_platform.runtime import Platform
from isobase_services.storage.blob import BlobFacts, BlobKey, BlobStore, StoredBlob, StoredPart
from isobase_services.storage.blob.create import create_blob_store
from isobase_services.storage.service import StorageService
from tests.plugins.stack import settings_for
from tests.storage.conftest import with_storage


class CrashingStore:
    """A store whose process dies at a step, such as ``put:middle`` or ``delete:before``, once the file ``armed`` is there."""

    def __init__(self, store: BlobStore, crash_at: str, armed: Path) -> None:
        self._store = store
        self._crash_at = crash_at
        self._armed = armed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _reach(self, step: str) -> None:
        if step == self._crash_at and self._armed.exists():
            os.kill(os.getpid(), signal.SIGKILL)

    async def put(
        self, key: BlobKey, chunks: AsyncIterator[bytes], *, facts: BlobFacts, is_unnamed: bool = False
    ) -> StoredBlob:
        """As the store's."""

        async def counted() -> AsyncIterator[bytes]:
            size = 0
            async for chunk in chunks:
                yield chunk
                size += len(chunk)
                if size > 6_000_000:
                    self._reach("put:middle")

        stored = await self._store.put(key, counted(), facts=facts, is_unnamed=is_unnamed)
        self._reach("put:after")
        return stored

    async def copy(self, source: BlobKey, target: BlobKey, *, facts: BlobFacts | None = None) -> None:
        """As the store's."""
        self._reach("copy:before")
        await self._store.copy(source, target, facts=facts)
        self._reach("copy:after")

    async def put_part(self, key: BlobKey, upload: str, number: int, chunks: AsyncIterator[bytes]) -> StoredPart:
        """As the store's."""
        part = await self._store.put_part(key, upload, number, chunks)
        self._reach("put_part:after")
        return part

    async def finish_parts(self, key: BlobKey, upload: str, parts: Sequence[StoredPart]) -> StoredBlob:
        """As the store's."""
        self._reach("finish_parts:before")
        stored = await self._store.finish_parts(key, upload, parts)
        self._reach("finish_parts:after")
        return stored

    async def abort_parts(self, key: BlobKey, upload: str) -> None:
        """As the store's."""
        self._reach("abort_parts:before")
        await self._store.abort_parts(key, upload)

    async def delete(self, keys: Sequence[BlobKey]) -> None:
        """As the store's."""
        self._reach("delete:before")
        await self._store.delete(keys)
        self._reach("delete:after")


async def main(given: dict[str, Any]) -> None:
    if "max_file_bytes" in given:
        limit = given["max_file_bytes"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    settings = with_storage(settings_for(given["url"], Path(given["data_dir"])), **given["storage"])
    async with Platform.open(settings) as platform:
        store: Any = CrashingStore(
            create_blob_store(settings.storage, settings.storage_root),
            given.get("crash_at", "never"),
            settings.data_dir / "armed",
        )
        service = StorageService(platform, store)
        await service.start()
        app = Edge(service.mounts, keys=platform.api_keys, metrics=platform.metrics)
        listener = socket.create_server(("127.0.0.1", given["port"]))
        print(listener.getsockname()[1], flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
        await server.serve(sockets=[listener])


def fork_for_each_step(given: dict[str, Any]) -> None:
    """Make a child for each line of the input, one after the other; the next when the one before is dead."""
    import boto3  # noqa: F401  once for all children

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            asyncio.run(main({**given, "crash_at": line.strip()}))
        os.waitpid(child, 0)


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    if arguments.get("forks"):
        fork_for_each_step(arguments)
    else:
        asyncio.run(main(arguments))
