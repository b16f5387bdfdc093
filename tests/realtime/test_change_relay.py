"""Row changes on several processes: one reads the log, all deliver, and whoever falls behind or takes over loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from isobase_platform.config import Settings
from isobase_services.realtime.changes.changelog import AnnouncedRelation, Entry, Slice
from isobase_services.realtime.changes.pgoutput import Relation, decode
from isobase_services.realtime.changes.position import Point, Position
from isobase_services.realtime.changes.relay_format import Beat, Bye, Fresh, Page, RelayCodec, Standing, Want, encode
from tests.plugins.patience import until
from tests.realtime.client import Phoenix
from tests.realtime.conftest import ALICE, BOB, Stack
from tests.realtime.test_change_log import insert, relation, transactions
from tests.realtime.test_cluster import StartNode, nodes_on_its_bus

BOARD = {"event": "*", "schema": "public", "table": "board"}
NOTES = {"event": "*", "schema": "public", "table": "notes"}
SLOTS = "select slot_name from pg_replication_slots where database = current_database()"


@pytest.fixture(params=["postgresql", "redis"])
async def start_node(request: pytest.FixtureRequest, database: Settings) -> AsyncIterator[StartNode]:
    """Start one more process of the project on the bus that the test is run with."""
    async with nodes_on_its_bus(request, database) as start:
        yield start


def ranks(socket: Phoenix) -> list[int]:
    return [item.payload["data"]["record"]["rank"] for item in socket.events("postgres_changes")]


async def has_ranks(socket: Phoenix, expected: list[int], timeout_s: float = 30.0) -> None:
    await until(lambda: len(ranks(socket)) >= len(expected), timeout_s)
    assert ranks(socket) == expected


def leader(*stacks: Stack) -> Stack:
    (found,) = [stack for stack in stacks if stack.service.changes.intake.backend_pid is not None]
    return found


async def test_one_process_reads_the_log_and_all_deliver_under_their_own_policies(start_node: StartNode) -> None:
    here, there = await start_node(), await start_node()
    await until(lambda: here.service.cluster.has_peers and there.service.cluster.has_peers)
    alice, bob, anon = await here.connect(), await there.connect(vsn=None), await there.connect()
    await alice.subscribe("a", NOTES, token=here.token(ALICE))
    await bob.subscribe("a", NOTES, token=here.token(BOB))
    await anon.subscribe("b", BOARD)
    assert leader(here, there) is here
    assert len(await here.sql(SLOTS)) == 1
    for rank in range(3):
        await here.sql("insert into notes (owner, rank) values ($1, $3), ($2, $3 + 10)", ALICE, BOB, rank)
        await here.sql("insert into board (rank) values ($1)", rank)
    await has_ranks(alice, [0, 1, 2])
    await has_ranks(bob, [10, 11, 12])
    await has_ranks(anon, [0, 1, 2])


async def test_message_sent_from_sql_reaches_the_members_on_every_process_once(start_node: StartNode) -> None:
    here, there = await start_node(), await start_node()
    await until(lambda: here.service.cluster.has_peers and there.service.cluster.has_peers)
    sockets = [await here.connect(), await there.connect()]
    for socket in sockets:
        await socket.subscribe("room", BOARD)
    await here.sql("select realtime.send('{\"n\": 1}', 'hello', 'room', false)")
    await here.sql("select realtime.send('{\"n\": 2}', 'hello', 'room', false)")
    for socket in sockets:
        await until(lambda socket=socket: len(socket.events("broadcast")) >= 2)  # type: ignore[misc]
        assert [item.payload["payload"]["n"] for item in socket.events("broadcast")] == [1, 2]


async def test_leader_that_ends_is_followed_at_once_and_nothing_is_lost_or_doubled(start_node: StartNode) -> None:
    first, second = await start_node(), await start_node()
    await until(lambda: first.service.cluster.has_peers and second.service.cluster.has_peers)
    gone, stays = await first.connect(), await second.connect()
    await gone.subscribe("a", BOARD)
    await stays.subscribe("a", BOARD)
    writing = asyncio.create_task(write_numbers(second, 150, 0.01))
    await has_some(stays)
    await first.service.drain(2.0)
    await writing
    await second.sql("select realtime.send('{}', 'hello', 'a', false)")
    await has_ranks(stays, list(range(150)))
    assert second.service.changes.intake.backend_pid is not None
    await stays.event("broadcast")
    assert len(stays.events("system")) == 1


async def test_leader_that_dies_is_followed_and_nothing_is_lost_or_doubled(start_node: StartNode) -> None:
    first, second = await start_node(), await start_node()
    await until(lambda: first.service.cluster.has_peers and second.service.cluster.has_peers)
    sockets = [await first.connect(), await second.connect()]
    for socket in sockets:
        await socket.subscribe("a", BOARD)
    writing = asyncio.create_task(write_numbers(second, 200, 0.01))
    await has_some(sockets[1])
    for _ in range(2):
        pid = leader(first, second).service.changes.intake.backend_pid
        await second.sql("select pg_terminate_backend($1)", pid)
        await until(lambda: any(s.service.changes.intake.backend_pid not in (None, pid) for s in (first, second)))  # noqa: B023
    await writing
    for socket in sockets:
        await has_ranks(socket, list(range(200)))
        assert len(socket.events("system")) == 1


async def write_numbers(stack: Stack, count: int, pause_s: float) -> None:
    writer = await asyncpg.connect(stack.settings.dsn(None))
    for number in range(count):
        await writer.execute("insert into board (rank) values ($1)", number)
        await asyncio.sleep(pause_s)
    await writer.close()


async def has_some(socket: Phoenix) -> None:
    await until(lambda: len(ranks(socket)) > 10)


async def test_process_whose_messages_were_lost_asks_for_them(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await start_node(), await start_node()
    await until(lambda: first.service.cluster.has_peers and second.service.cluster.has_peers)
    near, far = await first.connect(), await second.connect()
    await near.subscribe("a", BOARD)
    await far.subscribe("a", BOARD)
    publish: Callable[..., bool] = first.service.cluster.publish
    dropped = 0

    def lossy(channel: str, payload: bytes, *, to: str | None = None) -> bool:
        nonlocal dropped
        if payload[:1] == b"F" and dropped % 3 < 2:
            dropped += 1
            return True
        dropped += payload[:1] == b"F"
        return publish(channel, payload, to=to)

    monkeypatch.setattr(first.service.cluster, "publish", lossy)
    await write_numbers(first, 50, 0.005)
    await has_ranks(far, list(range(50)))
    await has_ranks(near, list(range(50)))
    assert dropped >= 50


async def test_slot_stays_while_another_process_listens(start_node: StartNode) -> None:
    first, second = await start_node(changes={"retention_s": 0.3}), await start_node(changes={"retention_s": 0.3})
    await until(lambda: first.service.cluster.has_peers and second.service.cluster.has_peers)
    near, far = await first.connect(), await second.connect()
    await near.subscribe("a", BOARD)
    await far.subscribe("a", BOARD)
    await near.close()
    await asyncio.sleep(1.0)
    await write_numbers(first, 3, 0.0)
    await has_ranks(far, [0, 1, 2])
    assert len(await first.sql(SLOTS)) == 1
    await far.close()
    await until(lambda: second.service.changes.intake.is_idle)


def described(oid: int = 5) -> AnnouncedRelation:
    message = decode(relation(oid))
    assert isinstance(message, Relation)
    return AnnouncedRelation(message, relation(oid))


STANDING = Standing(2**63, "abct1", Point(1, 0), Point(2, 3), Point(2**63, 0), Point(9, 9), True)


@pytest.mark.parametrize(
    "message",
    [
        Beat(STANDING),
        Bye(),
        Want(is_wanted=True, asks=True, after=None),
        Want(is_wanted=False, asks=False, after=Position("e", Point(7, 8))),
        Page(STANDING, Point(3, 4), False, ()),
    ],
)
def test_messages_between_processes_survive_the_bus(message: Beat | Bye | Want | Page) -> None:
    assert RelayCodec().decode(encode(message)) == message


def test_slices_survive_the_bus_and_equal_tables_become_one_object() -> None:
    one, other = described(5), described(6)
    items = (
        Slice(
            commit_lsn=2**62,
            commit_time_us=-5,
            xid=2**32 - 1,
            after=Point(4, 5),
            first_index=7,
            entries=(Entry(one, insert(b"\x00\xff", 5)), Entry(other, insert(b"", 6)), Entry(one, insert(b"z", 5))),
            is_last=True,
            end_lsn=2**62 + 8,
            announced=frozenset({5, 6}),
            size_bytes=0,
        ),
        *transactions(100, 200, rows=2),
    )
    codec = RelayCodec()
    page = codec.decode(encode(Page(STANDING, Point(3, 4), True, items)))
    assert isinstance(page, Page)
    for got, sent in zip(page.items, items, strict=True):
        assert [entry.data for entry in got.entries] == [entry.data for entry in sent.entries]
        assert [entry.table.relation for entry in got.entries] == [entry.table.relation for entry in sent.entries]
        assert (got.last, got.after, got.announced, got.end_lsn) == (
            sent.last,
            sent.after,
            sent.announced,
            sent.end_lsn,
        )
        assert (got.xid, got.commit_time_us, got.is_last) == (sent.xid, sent.commit_time_us, sent.is_last)
    again = codec.decode(encode(Fresh(1, "e", items[0])))
    assert isinstance(again, Fresh)
    assert again.item.entries[0].table is page.items[0].entries[0].table


@pytest.mark.parametrize("data", [b"", b"\n", b"X[]\n", b"F[1]\n", b'P[1,"e"]\n', b'F[1,"e"]\nshort', b"W{}\n"])
def test_what_no_process_of_this_version_sent_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        RelayCodec().decode(data)
