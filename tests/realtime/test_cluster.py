"""Two and more realtime processes of one project: what is sent on one reaches the members on the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
from pydantic import SecretStr

from isobase_platform.config import Settings
from isobase_platform.config_realtime.cluster import ClusterSettings
from isobase_services.realtime.cluster import cluster as cluster_module
from tests.plugins.patience import until
from tests.plugins.redis import RedisServer
from tests.realtime.client import PATIENCE_S
from tests.realtime.conftest import SCHEMA, Stack, running_stack
from tests.realtime.test_presence import fields_of, track

QUICK = {"heartbeat_interval_s": 0.2, "dead_after_s": 10.0}
"""Quick to find each other; slow to give each other up, so that a stalled machine kills nobody."""
StartNode = Callable[..., Awaitable[Stack]]


@asynccontextmanager
async def nodes_on_its_bus(request: pytest.FixtureRequest, database: Settings) -> AsyncIterator[StartNode]:
    """Start nodes of one project, with settings of realtime, on the bus that the fixture's parameter names."""
    settings = database
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        settings = database.model_copy(update={"redis_url": SecretStr(server.url)})
    async with AsyncExitStack() as stacks:

        async def start(**realtime: object) -> Stack:
            values: dict[str, object] = {"cluster": QUICK, **realtime}
            stack = await stacks.enter_async_context(running_stack(settings, **values))  # type: ignore[arg-type]
            if await stack.owner.fetchval("select to_regclass('public.notes')") is None:
                await stack.owner.execute(SCHEMA)
            return stack

        yield start


@pytest.fixture(params=["postgresql", "redis"])
async def start_node(request: pytest.FixtureRequest, database: Settings) -> AsyncIterator[StartNode]:
    """Start one more node of the project, with settings of ``realtime.cluster``, on the bus that the test is run with."""
    async with nodes_on_its_bus(request, database) as start:

        async def start_with(**cluster: object) -> Stack:
            return await start(cluster={**QUICK, **cluster})

        yield start_with


async def silence(node: Stack) -> None:
    """Let a node end without a word, as one that was killed does."""
    cluster = node.service.cluster
    assert cluster._pulse is not None
    cluster._pulse.cancel()
    # Whoever knows of peers goes on to tell them something, and a bus that was closed may connect again for that.
    cluster.publish = lambda channel, payload, *, to=None: False  # type: ignore[method-assign]
    await node.platform.bus.close()


async def test_broadcast_reaches_the_members_on_every_node_once(start_node: StartNode) -> None:
    here, there = await start_node(), await start_node()
    await until(lambda: here.service.cluster.has_peers and there.service.cluster.has_peers)
    sender, text, other = await here.connect(), await there.connect(vsn=None), await there.connect()
    for socket in (sender, text):
        await socket.join("room")
    await other.join("elsewhere")
    await sender.send("realtime:room", "broadcast", {"type": "broadcast", "event": "one", "payload": {"ö": 1}})
    await sender.send_binary("realtime:room", "two", b'{"n":2}')
    await sender.send_binary("realtime:room", "raw", b"\x00\xff", encoding=0)
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        answer = await client.post(
            f"{there.url}/realtime/v1/api/broadcast",
            json={"messages": [{"topic": "room", "event": "three", "payload": {"n": 3}}]},
            headers={"apikey": here.anon_key},
        )
    assert answer.status_code == 202
    assert (await sender.event("broadcast")).payload == {"type": "broadcast", "event": "three", "payload": {"n": 3}}
    await until(lambda: len(text.events("broadcast")) == 3)
    got = [(item.payload["event"], item.payload["payload"]) for item in text.events("broadcast")]
    assert sorted(got) == [("one", {"ö": 1}), ("three", {"n": 3}), ("two", {"n": 2})]
    assert [event for event, _ in got if event != "three"] == ["one", "two"]
    await sender.nothing("broadcast", 0.2)
    assert other.events("broadcast") == []


async def test_presence_of_one_node_is_known_on_the_other(start_node: StartNode) -> None:
    here, there = await start_node(), await start_node()
    await until(lambda: here.service.cluster.has_peers and there.service.cluster.has_peers)
    alice, bob = await here.connect(), await there.connect(vsn=None)
    await alice.join("room", presence={"enabled": True, "key": "a"})
    await bob.join("room", presence={"enabled": True, "key": "a"})
    assert (await track(alice, {"on": "here"}))["status"] == "ok"
    joined = (await bob.event("presence_diff")).payload
    assert (fields_of(joined["joins"]), joined["leaves"]) == ({"a": [{"on": "here"}]}, {})
    await track(bob, {"on": "there"})
    for socket in (alice, bob):
        await socket.wait_for(lambda item: item.payload.get("joins", {}).get("a", {}) and "there" in str(item.payload))
    late = await there.connect()
    await late.join("room", presence={"enabled": True})
    state = fields_of((await late.event("presence_state")).payload)
    assert sorted(str(fields) for fields in state["a"]) == ["{'on': 'here'}", "{'on': 'there'}"]
    await track(alice, {"on": "here", "n": 2})
    update = (await bob.event("presence_diff")).payload
    assert update["leaves"]["a"]["metas"] == joined["joins"]["a"]["metas"]
    assert update["joins"]["a"]["metas"][0]["phx_ref_prev"] == joined["joins"]["a"]["metas"][0]["phx_ref"]
    private = await there.connect()
    await private.join("other", presence={"enabled": True})
    assert (await private.event("presence_state")).payload == {}
    await alice.close()
    left = (await bob.event("presence_diff")).payload
    assert (left["joins"], fields_of(left["leaves"])) == ({}, {"a": [{"on": "here", "n": 2}]})


async def test_node_that_starts_later_learns_who_is_there_already(start_node: StartNode) -> None:
    here = await start_node()
    sockets = [await here.connect() for _ in range(3)]
    for number, socket in enumerate(sockets):
        await socket.join("room", presence={"key": f"k{number}"})
        await track(socket, {"n": number, "text": "x" * 40_000})
    there = await start_node()
    await until(lambda: len(there.service.hub.topics.elsewhere) == 3)
    late = await there.connect()
    await late.join("room", presence={"enabled": True})
    state = fields_of((await late.event("presence_state")).payload)
    assert {key: fields[0]["n"] for key, fields in state.items()} == {"k0": 0, "k1": 1, "k2": 2}


async def test_presence_of_a_node_that_stops_leaves_at_once_and_of_one_that_dies_after_its_time(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, silent = await start_node(dead_after_s=600.0), await start_node(dead_after_s=600.0)
    watcher, member = await here.connect(), await silent.connect()
    await watcher.join("room", presence={"enabled": True})
    await member.join("room", presence={"key": "ghost"})
    await track(member, {"n": 1})
    assert fields_of((await watcher.event("presence_diff")).payload["joins"]) == {"ghost": [{"n": 1}]}
    await silence(silent)
    # From here on only: nobody who lives may be given up because the machine stands still.
    monkeypatch.setattr(here.service.cluster, "_settings", ClusterSettings(heartbeat_interval_s=0.2, dead_after_s=1.0))
    diff = (await watcher.event("presence_diff")).payload
    assert (diff["joins"], fields_of(diff["leaves"])) == ({}, {"ghost": [{"n": 1}]})
    assert not here.service.cluster.has_peers
    monkeypatch.undo()
    monkeypatch.setattr(cluster_module, "BYE_TIMEOUT_S", PATIENCE_S)
    ending = await start_node(dead_after_s=600.0)
    leaving = await ending.connect()
    await leaving.join("room", presence={"key": "leaves"})
    await track(leaving, {"n": 2})
    await watcher.event("presence_diff")
    await ending.service.drain(5.0)
    diff = (await watcher.event("presence_diff")).payload
    assert fields_of(diff["leaves"]) == {"leaves": [{"n": 2}]}
    await until(lambda: not here.service.cluster.has_peers)


async def test_first_join_on_a_new_node_misses_nothing_that_is_sent_after_it(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A node serves alone when the bus stands still for so long: it would be announced later.
    monkeypatch.setattr(cluster_module, "START_TIMEOUT_S", PATIENCE_S)
    here = await start_node()
    sender = await here.connect()
    await sender.join("room")
    for number in range(3):
        there = await start_node()
        # The node was announced before it served: nobody has joined on it yet. Each process hears that in its own time.
        await until(lambda there=there: there.service.cluster.node_id in here.service.cluster.peers)  # type: ignore[misc]
        socket = await there.connect()
        await socket.join("room")
        payload = {"type": "broadcast", "event": "e", "payload": {"n": number}}
        await sender.send("realtime:room", "broadcast", payload)
        assert (await socket.event("broadcast")).payload == payload
