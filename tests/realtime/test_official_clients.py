"""The official clients, unmodified: realtime-py and supabase-js on Node.js."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from realtime.types import RealtimePostgresChangesListenEvent

from realtime import AsyncRealtimeClient, RealtimeSubscribeStates
from tests.plugins.node import NODE_DIRECTORY, node_with
from tests.plugins.patience import until
from tests.realtime.conftest import ALICE, BOB, Stack

STEPS = [
    "a heartbeat was answered",
    "a broadcast was received",
    "a broadcast was acknowledged",
    "a raw binary broadcast was received",
    "a broadcast was sent over HTTP",
    "a broadcast was sent with httpSend",
    "presence was synchronised",
    "the owner got its row changes",
    "a stranger and anon got nothing",
    "a filter and two bindings told rows apart",
    "a new token was taken",
    "a private channel was refused",
    "the connection came back after a restart of the socket",
]


class PythonClient:
    """A realtime-py client that notes what it gets."""

    def __init__(self, stack: Stack, token: str | None = None) -> None:
        self.client = AsyncRealtimeClient(f"{stack.url}/realtime/v1", stack.anon_key, hb_interval=15, timeout=60)
        self.token = token
        self.states: list[RealtimeSubscribeStates] = []
        self.systems: list[Any] = []
        self.broadcasts: list[Any] = []
        self.changes: list[Any] = []

    async def subscribe(self, topic: str, *, table: str | None = None) -> Any:
        if self.token is not None:
            await self.client.set_auth(self.token)
        channel = self.client.channel(topic)
        channel.on_broadcast("hi", self.broadcasts.append)
        channel.on_system(self.systems.append)
        if table is not None:
            channel.on_postgres_changes(
                RealtimePostgresChangesListenEvent.All, schema="public", table=table, callback=self.changes.append
            )
        await channel.subscribe(lambda state, _error: self.states.append(state))
        await until(lambda: RealtimeSubscribeStates.SUBSCRIBED in self.states)
        if table is not None:
            await until(lambda: self.systems)
        return channel


async def test_realtime_py_gets_broadcasts_presence_and_row_changes_of_its_own_rows(stack: Stack) -> None:
    alice, bob = PythonClient(stack, stack.token(ALICE)), PythonClient(stack, stack.token(BOB))
    try:
        channels = [await client.subscribe("room", table="notes") for client in (alice, bob)]
        await channels[0].send_broadcast("hi", {"a": 1})
        await until(lambda: bob.broadcasts)
        assert bob.broadcasts[0]["payload"] == {"a": 1}
        await channels[1].http_send("hi", {"a": 2})
        await until(lambda: len(bob.broadcasts) == 2)
        statements = (
            "insert into notes (owner, body) values (%s, 'mine')",
            "update notes set body = 'changed'",
            "delete from notes",
        )
        for number, statement in enumerate(statements, start=1):
            await stack.sql(statement.replace("%s", f"'{ALICE}'"))
            await until(lambda number=number: len(alice.changes) == number)  # type: ignore[misc]
        assert [change["data"]["type"] for change in alice.changes] == ["INSERT", "UPDATE", "DELETE"]
        assert alice.changes[1]["data"]["record"]["body"] == "changed"
        assert alice.changes[1]["data"]["old_record"] == {"id": 1}
        # Of a deleted row strangers learn the key, as upstream has it; of the others nothing.
        assert [change["data"]["type"] for change in bob.changes] == ["DELETE"]
        joined: list[str] = []
        watcher = PythonClient(stack)
        options: Any = {"config": {"presence": {"key": "watcher", "enabled": True}}}
        channel = watcher.client.channel("presence", options)
        channel.on_presence_sync(lambda: joined.extend(channel.presence_state()))
        await channel.subscribe(lambda state, _error: watcher.states.append(state))
        await until(lambda: watcher.states)
        await channel.track({"mood": "good"})
        await until(lambda: "watcher" in joined)
        await watcher.client.close()
    finally:
        await alice.client.close()
        await bob.client.close()


# realtime-py reads a property that newer websockets deprecate.
@pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")
async def test_realtime_py_comes_back_after_the_server_drained(stack: Stack) -> None:
    client = PythonClient(stack)
    try:
        await client.subscribe("room", table="board")
        for connection in list(stack.service.hub.connections):
            connection.close(1012)
        await until(lambda: len(client.systems) >= 2)
        await stack.sql("insert into board (body) values ('after')")
        await until(lambda: client.changes)
        assert client.changes[0]["data"]["record"]["body"] == "after"
    finally:
        await client.client.close()


@pytest.mark.node
async def test_supabase_js_does_all_of_it(stack: Stack) -> None:
    node = node_with("@supabase")
    process = await asyncio.create_subprocess_exec(
        node,
        "realtime_channels.mjs",
        stack.url,
        stack.anon_key,
        stack.token(ALICE),
        stack.token(BOB),
        stack.token(ALICE, aal="aal2"),
        cwd=NODE_DIRECTORY,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    steps: list[str] = []
    try:
        async with asyncio.timeout(110):
            # The script has no SQL of its own: it asks for statements by name on its output.
            while line := (await process.stdout.readline()).decode().strip():
                match line:
                    case "sql: notes":
                        await stack.sql("insert into notes (owner, body) values ($1, 'alice'), ($2, 'bob')", ALICE, BOB)
                    case "sql: board":
                        await stack.sql("insert into board (body, rank) values ('low', 1), ('high', 2)")
                    case "socket: cut":
                        for connection in list(stack.service.hub.connections):
                            connection.close(1012)
                    case step:
                        steps.append(step)
            errors = (await process.stderr.read()).decode()
            assert (steps, await process.wait()) == (STEPS, 0), errors
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
