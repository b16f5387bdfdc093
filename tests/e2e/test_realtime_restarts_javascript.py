"""Three clients of the official supabase-js while the realtime server and then PostgreSQL restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import jwt
import pytest

from isobase_deploy.embedded import EmbeddedPostgres
from isobase_platform.schema import apply_schema
from tests.plugins.node import NODE_DIRECTORY, node_with
from tests.plugins.ports import free_ports
from tests.plugins.stack import PASSWORD, settings_for
from tests.realtime.chaos.nodes import NodeProcess
from tests.realtime.conftest import ALICE

NOTES = """
create table public.notes (number bigint primary key, owner uuid not null);
alter table public.notes enable row level security;
create policy own on public.notes for select to authenticated using (owner = auth.uid());
grant select on public.notes to authenticated;
alter publication supabase_realtime add table public.notes;
"""
STEPS = [
    "three see three",
    "who left is gone, and seen again when back",
    "all of it came back after the server restarted",
    "row changes came back after PostgreSQL restarted, and nobody had to join again",
]
LIMIT_S = 400
"""Reconnecting clients wait longer after each attempt; a stalled machine more so."""


@pytest.fixture
def postgres(project_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of the test's own, which it may restart."""
    (port,) = free_ports(1)
    server = EmbeddedPostgres(project_dir / "database", port=port, password=PASSWORD, is_durable=False)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.e2e
@pytest.mark.node
@pytest.mark.timeout(500)
async def test_supabase_js_goes_on_after_the_server_and_postgresql_restarted(
    postgres: EmbeddedPostgres, project_dir: Path
) -> None:
    program = node_with("@supabase")
    dsn = f"postgresql://supabase_admin:{PASSWORD}@127.0.0.1:{postgres.port}/postgres"
    settings = settings_for(dsn, project_dir)
    await apply_schema(settings)

    async def run_sql(text: str) -> None:
        owner = await asyncpg.connect(dsn)
        await owner.execute(text)
        await owner.close()

    def token(role: str, **claims: str) -> str:
        payload = {"role": role, "exp": int(time.time()) + 3600, **claims}
        return jwt.encode(payload, settings.jwt_secret.get_secret_value(), algorithm="HS256")

    await run_sql(NOTES)
    server = NodeProcess(1, project_dir, {"DATABASE_URL": dsn, "ISOBASE_DATABASE__ROLE_PASSWORD": PASSWORD})
    await server.start()
    client = await asyncio.create_subprocess_exec(
        program,
        "realtime_restarts.mjs",
        f"http://127.0.0.1:{server.port}",
        token("anon"),
        token("authenticated", sub=ALICE),
        cwd=NODE_DIRECTORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert client.stdout is not None
    assert client.stderr is not None
    steps: list[str] = []
    try:
        async with asyncio.timeout(LIMIT_S):
            # The script asks for what it cannot do itself on its output.
            while line := (await client.stdout.readline()).decode().strip():
                match line.split(": "):
                    case ["sql", number]:
                        await run_sql(f"insert into notes values ({int(number)}, '{ALICE}')")
                    case ["restart", "server"]:
                        assert server.stop() == 0, server.log_path.read_text()[-3000:]
                        await server.start()
                    case ["restart", "postgres"]:
                        await asyncio.to_thread(postgres.stop)
                        await asyncio.to_thread(postgres.start)
                    case _:
                        steps.append(line)
            errors = (await client.stderr.read()).decode()
            assert (steps, await client.wait()) == (STEPS, 0), errors + server.log_path.read_text()[-3000:]
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()
        server.kill()
