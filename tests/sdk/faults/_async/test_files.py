"""Files and sessions over a network that goes wrong: what is stored and read is whole, and nobody is signed out."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from isobase._async.client import AsyncClient
from isobase._http import call_options
from isobase.auth.errors import AuthRetryableError
from isobase.storage.utils import StorageException
from tests.plugins.stack import Stack
from tests.plugins.wire_proxy import WireProxy
from tests.sdk.faults.conftest import FIRST_SEED, OPERATIONS, SEEDS
from tests.sdk.faults.storm import Storm

TIMEOUT_S = 5.0
HANG_S = 30.0
SIZE_BYTES = 200_000
STORM = pytest.mark.parametrize("seed", [FIRST_SEED + seed for seed in SEEDS])


@pytest.fixture
async def client(network: WireProxy, stack: Stack) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(network.url, stack.service_role_key) as client:
        yield client


@STORM
async def test_files_of_a_storm_are_whole_or_not_there(
    client: AsyncClient, network: WireProxy, stack: Stack, seed: int
) -> None:
    bucket = f"storm-{uuid.uuid4()}"
    await client.storage.create_bucket(bucket)
    files = client.storage.from_(bucket)
    contents: dict[str, bytes] = {}
    done: set[str] = set()
    choose = random.Random(seed)
    storm = Storm(network, seed, rate=0.06)
    storm.begin()
    for number in range(OPERATIONS):
        name = f"file-{number}"
        contents[name] = choose.randbytes(SIZE_BYTES)
        began = time.monotonic()
        try:
            with call_options(timeout=TIMEOUT_S):
                await files.upload(name, contents[name])
                done.add(name)
                assert await files.download(name) == contents[name]
        except (httpx.TransportError, StorageException):
            pass  # it is not known whether it was stored; what was lost of a download is an error, not a shorter file
        assert time.monotonic() - began < 2 * TIMEOUT_S + HANG_S
    storm.end()
    there = {file["name"] for file in await files.list()}
    assert done <= there
    for name in there:
        assert await files.download(name) == contents[name]
    print(f"seed {seed}: {storm.faults} faults, {len(done)} of {OPERATIONS} uploads answered, {len(there)} there")


@STORM
async def test_a_session_lives_through_a_storm(network: WireProxy, stack: Stack, seed: int) -> None:
    async with AsyncClient(network.url, stack.anon_key) as client:
        signed = await client.auth.sign_up({"email": f"{uuid.uuid4()}@example.com", "password": "correct horse"})
        assert signed.user is not None
        storm = Storm(network, seed, rate=0.3)
        storm.begin()
        for _ in range(OPERATIONS):
            try:
                with call_options(timeout=TIMEOUT_S):
                    await client.auth.refresh_session()
            except AuthRetryableError:
                pass
        storm.end()
        refreshed = await client.auth.refresh_session()
        assert refreshed.user is not None
        assert refreshed.user.id == signed.user.id
        found = await client.auth.get_user()
        assert found is not None
        print(f"seed {seed}: {storm.faults} faults")
