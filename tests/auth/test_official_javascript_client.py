"""The official JavaScript client, unmodified, over HTTP; ``tests/node/auth_sessions.mjs`` holds the steps."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.auth.conftest import AuthServer
from tests.plugins.listening import listening

NODE = Path(__file__).parents[1] / "node"


@pytest.mark.node
@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
@pytest.mark.skipif(
    not (NODE / "node_modules/@supabase/auth-js").exists(), reason="run `make test-deps` for supabase-js"
)
async def test_javascript_client_signs_up_in_refreshes_and_administers(auth: AuthServer) -> None:
    settings = auth.settings
    keys = (settings.anon_token, settings.service_role_token, settings.secret_key.get_secret_value())
    async with listening(auth.app) as url:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(NODE / "auth_sessions.mjs"),
            url,
            *keys,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, output.strip()) == (0, b'{"done":true}'), errors.decode()
