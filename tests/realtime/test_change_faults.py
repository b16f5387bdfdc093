"""Row changes when something goes wrong: raising policies, lost streams, large transactions, slow readers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import asyncpg
import psycopg2
import pytest

from isobase_services.realtime.changes.figures import ChangeFigures
from isobase_services.realtime.changes.slot_keeper import SlotKeeper
from isobase_services.realtime.changes.slots import LOCK_CLASS, LOCK_OBJECT, SLOT_PREFIX, SlotChoice, SlotPolicy
from isobase_services.realtime.changes.stream import LogStream, StreamSink, open_stream, refused
from tests.realtime.conftest import ALICE, BOB, Stack, StackFactory

BOARD = {"event": "*", "schema": "public", "table": "board"}
NOTES = {"event": "*", "schema": "public", "table": "notes"}


async def test_transaction_of_a_thousand_rows_arrives_whole_and_in_order(stack: Stack) -> None:
    open_table, owner = await stack.connect(), await stack.connect(vsn=None)
    await open_table.subscribe("a", BOARD)
    await owner.subscribe("a", NOTES, token=stack.token(ALICE))
    async with stack.owner.transaction():
        await stack.sql("insert into board (rank) select generate_series(1, 1000)")
        await stack.sql("insert into notes (owner, rank) select $1, generate_series(1, 1000)", ALICE)
        await stack.sql("insert into notes (owner, rank) select $1, generate_series(1, 1000)", BOB)
        await stack.sql("insert into board (rank) values (1001)")
    for socket in (open_table, owner):
        last = 1001 if socket is open_table else 1000
        await socket.wait_for(
            lambda item, last=last: (  # type: ignore[misc]
                item.event == "postgres_changes" and item.payload["data"]["record"]["rank"] == last
            ),
            20.0,
        )
        ranks = [item.payload["data"]["record"]["rank"] for item in socket.events("postgres_changes")]
        assert ranks == list(range(1, last + 1))
    assert {item.payload["data"]["record"]["owner"] for item in owner.events("postgres_changes")} == {ALICE}


async def test_raising_policy_stops_delivery_for_its_callers_alone(stack: Stack) -> None:
    await stack.sql("create function public.explode() returns boolean language plpgsql as $$begin raise 'boom'; end$$")
    await stack.sql('drop policy "owners read" on notes')
    await stack.sql(
        "create policy p on notes for select using"
        f" (case when auth.uid() = '{BOB}' then public.explode() else owner = auth.uid() end)"
    )
    alice, bob = await stack.connect(), await stack.connect()
    await alice.subscribe("a", NOTES, token=stack.token(ALICE))
    await bob.subscribe("a", NOTES, token=stack.token(BOB))
    await bob.subscribe("b", BOARD, token=stack.token(BOB))
    await stack.sql("insert into notes (owner, body) values ($1, 'one')", ALICE)
    await stack.sql("insert into notes (owner, body) values ($1, 'two')", ALICE)
    await stack.sql("insert into board (body) values ('x')")
    for expected in ("one", "two"):
        assert (await alice.event("postgres_changes")).payload["data"]["record"]["body"] == expected
    assert (await bob.event("postgres_changes")).topic == "realtime:b"
    assert len(bob.events("postgres_changes")) == 1


async def test_policy_that_raises_for_one_row_hides_that_row_alone(stack: Stack) -> None:
    await stack.sql('drop policy "owners read" on notes')
    await stack.sql("create policy p on notes for select using (10 / rank > 0)")
    alice = await stack.connect()
    await alice.subscribe("a", NOTES, token=stack.token(ALICE))
    await stack.sql("insert into notes (owner, rank) select $1, n % 7 from generate_series(1, 20) as n", ALICE)
    await stack.sql("insert into notes (owner, rank) values ($1, 9)", ALICE)
    await alice.wait_for(lambda item: item.event == "postgres_changes" and item.payload["data"]["record"]["rank"] == 9)
    ranks = [item.payload["data"]["record"]["rank"] for item in alice.events("postgres_changes")]
    assert ranks == [n % 7 for n in range(1, 21) if n % 7] + [9]


async def test_stream_whose_sender_is_killed_goes_on_without_losing_what_was_committed_meanwhile(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.subscribe("a", BOARD)
    pid = stack.service.changes.intake.backend_pid
    await stack.sql("insert into board (body) values ('before')")
    assert (await socket.event("postgres_changes")).payload["data"]["record"]["body"] == "before"
    await stack.sql("select pg_terminate_backend($1)", pid)
    await stack.sql("insert into board (body) values ('meanwhile')")
    assert (await socket.event("postgres_changes")).payload["data"]["record"]["body"] == "meanwhile"
    await stack.sql("insert into board (body) values ('after')")
    assert (await socket.event("postgres_changes")).payload["data"]["record"]["body"] == "after"
    assert stack.service.changes.intake.backend_pid != pid
    assert len(socket.events("postgres_changes")) == 3
    assert len(socket.events("system")) == 1


async def test_temporary_stream_whose_sender_is_killed_recovers_and_says_so(start_stack: StackFactory) -> None:
    stack = await start_stack(changes={"slot": "temporary"})
    socket = await stack.connect()
    await socket.subscribe("a", BOARD)
    await stack.sql("select pg_terminate_backend($1)", stack.service.changes.intake.backend_pid)
    system = await socket.event("system")
    assert system.payload["message"] == "Subscribed to PostgreSQL"
    await stack.sql("insert into board (body) values ('after')")
    assert (await socket.event("postgres_changes")).payload["data"]["record"]["body"] == "after"


async def test_no_change_committed_after_subscribed_is_missed(stack: Stack) -> None:
    for round_number in range(5):
        socket = await stack.connect()
        await socket.subscribe("a", BOARD)
        await stack.sql("insert into board (rank) values ($1)", round_number)
        data = (await socket.event("postgres_changes")).payload["data"]
        assert data["record"]["rank"] == round_number
        await socket.close()
        if round_number == 2:
            stack.service.changes.intake.release()


@pytest.mark.parametrize("slot", ["permanent", "temporary"])
async def test_slot_is_given_back_when_nobody_listens(start_stack: StackFactory, slot: str) -> None:
    stack = await start_stack(changes={"slot": slot, "retention_s": 0.05})
    slots = "select count(*) from pg_replication_slots where database = current_database()"
    assert (await stack.sql(slots))[0][0] == 0
    socket = await stack.connect()
    await socket.subscribe("a", BOARD)
    assert (await stack.sql(slots))[0][0] == 1
    await socket.close()
    async with asyncio.timeout(60):
        while (await stack.sql(slots))[0][0]:
            await asyncio.sleep(0.02)
    again = await stack.connect()
    await again.subscribe("a", BOARD)
    await stack.sql("insert into board (body) values ('x')")
    await again.event("postgres_changes")


async def test_role_that_may_not_replicate_joins_and_is_told_why_there_are_no_changes(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stream alone logs in as a role that lacks REPLICATION, as on a managed server where nobody granted it.
    async def open_as_authenticator(
        _dsn: str, publications: Sequence[str], policy: SlotPolicy, sink: StreamSink
    ) -> LogStream:
        return await open_stream(stack.settings.dsn("authenticator"), publications, policy, sink)

    monkeypatch.setattr("isobase_services.realtime.changes.slot_keeper.open_stream", open_as_authenticator)
    socket = await stack.connect()
    reply = await socket.join("a", postgres_changes=[BOARD])
    assert reply.payload["status"] == "ok"
    system = await socket.event("system")
    assert (system.payload["extension"], system.payload["status"]) == ("postgres_changes", "error")
    assert "permission denied" in system.payload["message"]
    other = await stack.connect()
    await other.join("a")
    await socket.send("realtime:a", "broadcast", {"type": "broadcast", "event": "e", "payload": {}})
    await other.event("broadcast")


async def test_open_transaction_delays_the_stream_but_neither_joins_nor_the_end(stack: Stack) -> None:
    other = await asyncpg.connect(stack.settings.dsn(None))
    transaction = other.transaction()
    await transaction.start()
    await other.execute("insert into board (body) values ('open')")
    socket = await stack.connect()
    reply = await socket.join("a", postgres_changes=[BOARD])
    assert reply.payload["status"] == "ok"
    await socket.nothing("system", 0.5)
    started_s = time.perf_counter()
    await stack.service.drain(2.0)
    await asyncio.get_running_loop().shutdown_default_executor()
    assert time.perf_counter() - started_s < 60.0
    await transaction.rollback()
    await other.close()


async def test_filter_that_takes_for_ever_holds_up_nobody_for_long(stack: Stack) -> None:
    await stack.owner.execute(
        "create function public.slow_equals(text, text) returns boolean language sql as 'select pg_sleep(600) is null';"
        "create type public.slowly as enum ('a', 'b');"
        "create table public.slow (id int primary key, kind public.slowly);"
        "create function public.slow_compare(public.slowly, public.slowly) returns boolean language sql"
        " as 'select pg_sleep(600) is null';"
        "create operator public.~~ (leftarg = public.slowly, rightarg = public.slowly, function = public.slow_compare);"
        "grant select on public.slow to anon;"
        "alter publication supabase_realtime add table public.slow;"
    )
    socket = await stack.connect()
    await socket.subscribe("a", {"event": "*", "schema": "public", "table": "slow", "filter": "kind=like.a"})
    await socket.subscribe("b", {"event": "*", "schema": "public", "table": "slow"})
    for number in range(3):
        await stack.sql("insert into public.slow values ($1, 'a')", number)
    for _ in range(3):
        assert (await socket.event("postgres_changes")).topic == "realtime:b"


async def test_slot_that_holds_back_too_much_is_made_anew_and_clients_are_told(
    start_stack: StackFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isobase_services.realtime.changes.slot_keeper.WATCH_INTERVAL_S", 0.1)
    stack = await start_stack(changes={"slot": "permanent", "max_lag_bytes": 4_000_000})
    socket = await stack.connect()
    await socket.subscribe("a", BOARD, postgres_changes_options={"position": True})
    slots = "select slot_name from pg_replication_slots where database = current_database()"
    (before,) = await stack.sql(slots)
    # An open transaction keeps the log from where it began, whatever its reader says.
    holder = await asyncpg.connect(stack.settings.dsn(None))
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("create table public.held (n int)")
    await stack.sql("create table public.noise as select repeat('x', 1000) as text from generate_series(1, 20000)")
    async with asyncio.timeout(60):
        while before in await stack.sql(slots):
            await asyncio.sleep(0.05)
    await transaction.rollback()
    await holder.close()
    error = await socket.event("system")
    assert error.payload["message"].startswith("PositionTooOld: ")
    assert (await socket.event("system")).payload["message"] == "Subscribed to PostgreSQL"
    await stack.sql("insert into board (body) values ('after')")
    assert (await socket.event("postgres_changes")).payload["data"]["record"]["body"] == "after"


async def test_slot_that_a_dead_process_left_is_swept_by_the_next_that_has_no_use_for_it(
    start_stack: StackFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isobase_services.realtime.service.MIN_SLOT_SWEEP_INTERVAL_S", 0.1)
    first = await start_stack(changes={"slot": "permanent"})
    await (await first.connect()).subscribe("a", BOARD)
    await first.service.drain(2.0)
    slots = "select count(*) from pg_replication_slots where database = current_database()"
    assert (await first.sql(slots))[0][0] == 1
    await start_stack(changes={"slot": "permanent", "retention_s": 0.1})
    async with asyncio.timeout(60):
        while (await first.sql(slots))[0][0]:
            await asyncio.sleep(0.02)


async def test_slot_that_nobody_reads_for_a_moment_is_not_swept(stack: Stack) -> None:
    policy = SlotPolicy(SlotChoice.PERMANENT, max_lag_bytes=1_000_000)
    keeper = SlotKeeper(stack.platform.pools, stack.settings.dsn(None), ("supabase_realtime",), policy, ChangeFigures())
    slots = "select slot_name from pg_replication_slots where database = current_database()"
    first, second = f"{SLOT_PREFIX}first", f"{SLOT_PREFIX}second"
    create = "select pg_create_logical_replication_slot($1, 'pgoutput')"
    await stack.sql(create, first)
    # It may be a leader's that has just died: the next one is about to go on with it.
    await keeper.sweep()
    assert [row[0] for row in await stack.sql(slots)] == [first]
    await stack.sql(create, second)
    await keeper.sweep()
    assert [row[0] for row in await stack.sql(slots)] == [second]
    # Whoever holds the leader's lock may be about to use it.
    await stack.sql("select pg_advisory_lock($1, $2)", LOCK_CLASS, LOCK_OBJECT)
    await keeper.sweep()
    assert [row[0] for row in await stack.sql(slots)] == [second]
    await stack.sql("select pg_advisory_unlock($1, $2)", LOCK_CLASS, LOCK_OBJECT)
    await keeper.sweep()
    assert await stack.sql(slots) == []


async def test_place_of_the_log_that_cannot_be_read_is_left_behind_and_clients_are_told(
    start_stack: StackFactory,
) -> None:
    stack = await start_stack(changes={"slot": "permanent"})
    # The server evaluates a publication's row filter while it decodes: a row that makes it raise ends every stream that comes
    # to it, with this publication as it was then, whatever becomes of it later.
    await stack.sql("alter publication supabase_realtime drop table public.board")
    await stack.sql("alter publication supabase_realtime add table public.board where (10 / rank > 0)")
    socket = await stack.connect()
    await socket.subscribe("a", BOARD, postgres_changes_options={"position": True})
    slots = "select slot_name from pg_replication_slots where database = current_database()"
    before = await stack.sql(slots)
    await stack.sql("insert into board (body, rank) values ('before', 1)")
    assert (await socket.event("postgres_changes")).payload["data"]["record"]["body"] == "before"
    await stack.sql("insert into board (body, rank) values ('poison', 0)")
    error = await socket.event("system")
    assert error.payload["message"].startswith("PositionTooOld: ")
    assert (await socket.event("system")).payload["message"] == "Subscribed to PostgreSQL"
    assert await stack.sql(slots) not in ([], before)
    await stack.sql("insert into board (body, rank) values ('after', 1)")
    assert (await socket.event("postgres_changes")).payload["data"]["record"]["body"] == "after"
    registry = stack.platform.metrics.registry
    dropped = "isobase_realtime_changes_slots_dropped_total"
    assert registry.get_sample_value(dropped, {"reason": "unreadable"}) == 1


async def test_stream_that_is_lost_again_and_again_keeps_its_slot(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.subscribe("a", BOARD)
    slots = "select slot_name from pg_replication_slots where database = current_database()"
    before = await stack.sql(slots)
    intake = stack.service.changes.intake
    for number in range(7):
        pid = intake.backend_pid
        await stack.sql("select pg_terminate_backend($1)", pid)
        async with asyncio.timeout(60):
            while intake.backend_pid in (None, pid):
                await asyncio.sleep(0.02)
        if number % 2:
            await stack.sql("insert into board (rank) values ($1)", number)
            assert (await socket.event("postgres_changes")).payload["data"]["record"]["rank"] == number
    assert await stack.sql(slots) == before


async def test_message_that_cannot_be_told_takes_no_change_of_its_transaction_along(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_row: object) -> None:
        raise ValueError("no message")

    monkeypatch.setattr("isobase_services.realtime.service.broadcast_of_row", unreadable)
    socket = await stack.connect()
    await socket.subscribe("a", BOARD)
    async with stack.owner.transaction():
        await stack.sql("select realtime.send('{}', 'e', 'a', false)")
        await stack.sql("insert into board (body) values ('kept')")
    assert (await socket.event("postgres_changes")).payload["data"]["record"]["body"] == "kept"
    assert (await socket.event("system")).payload["message"] == "Subscribed to PostgreSQL"


@pytest.mark.parametrize(
    ("said", "is_lasting"),
    [
        ("FATAL: must be superuser or replication role to start walsender", True),
        ("FATAL: permission denied to start WAL sender", True),
        ("FATAL: the database system is starting up", False),
    ],
    ids=["PostgreSQL 15", "PostgreSQL 16", "a start"],
)
def test_a_role_that_may_not_replicate_is_told_from_a_server_that_starts(said: str, *, is_lasting: bool) -> None:
    assert refused(psycopg2.OperationalError(said)).is_lasting is is_lasting


async def test_stream_that_an_operator_ends_again_and_again_keeps_its_slot_and_loses_nothing(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.subscribe("a", BOARD, postgres_changes_options={"position": True})
    # A new stream reads this again before it is up to date.
    await stack.sql("insert into board (rank) select generate_series(1, 200)")
    await socket.wait_for(
        lambda item: item.event == "postgres_changes" and item.payload["data"]["record"]["rank"] == 200
    )
    intake = stack.service.changes.intake
    for _ in range(7):
        async with asyncio.timeout(60):
            while (pid := intake.backend_pid) is None:
                await asyncio.sleep(0)
            # At the same place each time: before anything of it was read.
            assert intake._stream is not None
            intake._stream.pause()
            await stack.sql("select pg_terminate_backend($1, 10000)", pid)
            intake._stream.resume()
            while intake.backend_pid == pid:
                await asyncio.sleep(0)
    await stack.sql("insert into board (body) values ('after')")
    await socket.wait_for(
        lambda item: item.event == "postgres_changes" and item.payload["data"]["record"]["body"] == "after"
    )
    assert len(socket.events("system")) == 1  # nothing was said to be missing
