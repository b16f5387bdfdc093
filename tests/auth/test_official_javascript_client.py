"""The official JavaScript client, unmodified, over HTTP; ``tests/node/auth_sessions.mjs`` holds the steps."""

from __future__ import annotations

import asyncio

import pytest

from tests.auth.conftest import AuthServer
from tests.plugins.listening import listening
from tests.plugins.node import NODE_DIRECTORY, node_with


@pytest.mark.node
async def test_javascript_client_signs_up_in_refreshes_and_administers(auth: AuthServer) -> None:
    settings = auth.settings
    keys = (settings.anon_token, settings.service_role_token, settings.secret_key.get_secret_value())
    async with listening(auth.app) as url:
        process = await asyncio.create_subprocess_exec(
            node_with("@supabase/auth-js"),
            str(NODE_DIRECTORY / "auth_sessions.mjs"),
            url,
            *keys,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, output.strip()) == (0, b'{"done":true}'), errors.decode()
