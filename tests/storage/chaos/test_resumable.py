"""A resumable upload through many deaths of its server: what was acknowledged is never lost, and the bytes are the same."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal

import httpx
import pytest

from isobase_platform.config import Settings
from tests.storage.conftest import BOTH_BACKENDS, running
from tests.storage.test_crash import server
from tests.storage.test_resumable import OFFSET, VERSION, O
from tests.storage.test_resumable_survival import MIB, begin, unfinished

CONTENT_BYTES = 50 * MIB
SIZES = (100_000, 3 * MIB, 6 * MIB, 9 * MIB, CONTENT_BYTES)
LONGEST_LIFE_S = 1.0


class Client:
    """Sends a file in pieces of any size and keeps the server to its word."""

    def __init__(self, content: bytes, path: str, headers: dict[str, str], chance: random.Random) -> None:
        self._content = content
        self._path = path
        self._headers = {**VERSION, **headers}
        self._chance = chance
        self.acknowledged = 0

    async def send_all(self, http: httpx.AsyncClient) -> None:
        """Go on until the server says that it has everything."""
        while True:
            state = await http.head(self._path, headers=self._headers)
            if state.status_code == 423:
                continue
            assert state.status_code == 200, state.status_code
            offset = int(state.headers["upload-offset"])
            assert offset >= self.acknowledged
            self.acknowledged = offset
            if offset == len(self._content):
                return
            piece = self._content[offset : offset + self._chance.choice(SIZES)]
            headers = {**self._headers, "upload-offset": str(offset), "content-type": OFFSET}
            answer = await http.patch(self._path, content=piece, headers=headers)
            assert answer.status_code in {204, 409, 423}, answer.text
            if answer.status_code == 204:
                self.acknowledged = int(answer.headers["upload-offset"])


@BOTH_BACKENDS
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(3))
async def test_an_upload_through_many_deaths_is_whole(database: Settings, seed: int) -> None:
    chance = random.Random(seed)
    content = chance.randbytes(CONTENT_BYTES)
    async with running(database) as stack:
        await stack.bucket("b", public=True)
        path = await begin(stack.http, "x", len(content), stack.admin)
        client = Client(content, path, stack.admin, chance)
    for kills_left in range(int(os.environ["ISOBASE_CHAOS_KILLS"]), -1, -1):
        async with server(database) as (process, url), httpx.AsyncClient(base_url=url, timeout=60) as http:
            sending = asyncio.create_task(client.send_all(http))
            await asyncio.wait({sending}, timeout=chance.uniform(0.05, LONGEST_LIFE_S) if kills_left else None)
            is_over = sending.done()
            process.send_signal(signal.SIGKILL)
            await process.wait()
            with contextlib.suppress(httpx.TransportError):
                await sending
        if is_over:
            break
    async with running(database) as stack:
        assert (await stack.http.get(f"{O}/public/b/x")).content == content
        assert len(stack.blobs()) == 1
        assert unfinished(stack) == []
