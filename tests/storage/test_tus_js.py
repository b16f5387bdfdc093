"""tus-js-client, unmodified, and a server killed under it; ``tests/node/resumable_uploads.mjs`` holds the steps."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import pytest

from isobase_platform.config import Settings
from tests.plugins.node import NODE_DIRECTORY, node_with
from tests.storage.conftest import ALICE, OWNER_POLICIES, running
from tests.storage.test_crash import server


@pytest.mark.node
@pytest.mark.fault
async def test_the_tus_client_uploads_through_the_death_of_a_server(database: Settings) -> None:
    async with running(database) as stack:
        await stack.bucket("files")
        stack.sql(OWNER_POLICIES)
        token = stack.token("authenticated", ALICE)
    async with contextlib.AsyncExitStack() as servers:
        process, url = await servers.enter_async_context(server(database))
        client = await asyncio.create_subprocess_exec(
            node_with("tus-js-client"),
            str(NODE_DIRECTORY / "resumable_uploads.mjs"),
            url,
            token,
            ALICE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert client.stdout is not None
            assert client.stderr is not None
            line = await asyncio.wait_for(client.stdout.readline(), 60)
            if line.strip() == b"pause":
                process.send_signal(signal.SIGKILL)
                await process.wait()
                await servers.enter_async_context(server(database, port=int(url.rpartition(":")[2])))
                line = await asyncio.wait_for(client.stdout.readline(), 60)
            assert line.strip() == b'{"done":true}', (await client.stderr.read()).decode()
        finally:
            with contextlib.suppress(ProcessLookupError):
                client.kill()
            await client.wait()
