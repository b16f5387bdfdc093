"""The official JavaScript client, unmodified; ``tests/node/storage_objects.mjs`` holds the steps."""

from __future__ import annotations

import asyncio

import pytest

from tests.plugins.node import NODE_DIRECTORY, node_with
from tests.storage.conftest import ALICE, Stack


@pytest.mark.node
async def test_the_official_javascript_client_drives_storage(owned: Stack) -> None:
    script = NODE_DIRECTORY / "storage_objects.mjs"
    arguments = (owned.url, owned.service_token, owned.token("authenticated", ALICE), ALICE)
    process = await asyncio.create_subprocess_exec(
        node_with("@supabase/storage-js"),
        str(script),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, output.strip()) == (0, b'{"done":true}'), errors.decode()
