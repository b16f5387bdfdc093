"""The official JavaScript client, unmodified; ``tests/node/storage_objects.mjs`` holds the steps."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.storage.conftest import ALICE, Stack

NODE = Path(__file__).parents[1] / "node"


@pytest.mark.node
@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
@pytest.mark.skipif(
    not (NODE / "node_modules/@supabase/storage-js").exists(), reason="run `make test-deps` for supabase-js"
)
async def test_the_official_javascript_client_drives_storage(owned: Stack) -> None:
    script = NODE / "storage_objects.mjs"
    arguments = (owned.url, owned.service_token, owned.token("authenticated", ALICE), ALICE)
    process = await asyncio.create_subprocess_exec(
        "node", str(script), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, output.strip()) == (0, b'{"done":true}'), errors.decode()
