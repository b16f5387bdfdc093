"""Stage ``live``: reads that are slow or fail at Isobase move reads; only what concerns writes moves the writer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from isobase_adapter import create_async_migration_client
from isobase_adapter.answers import Answer
from isobase_adapter.settings import BreakerSettings
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import set_stage, settings_of, wait_for_stage
from tests.adapter.pair import Pair, Proxies, User
from tests.plugins.wire_proxy import Link

NOTES = "table:public.notes"
SLOW_S = 1.5
WAIT_S = 90.0
PATIENT = BreakerSettings(least_calls=3, slow_call_s=WAIT_S, open_s=0.5, longest_open_s=1, trial_calls=2)
"""Opened by calls that fail; a call that this machine is slow with is not held against the side."""
HASTY = replace(PATIENT, slow_call_s=SLOW_S / 2)
PENDING = (
    "insert into isobase.outbox (state, capability, target, epoch, thing, lock_number, next_at) values"
    """ ('pending', 'table:public.notes', 'supabase', 0, '{"kind": "row", "resource": "public.notes", "key": [1]}',"""
    " 1, 'infinity')"
)


class Move:
    """An app's client in stage ``live`` behind proxies."""

    def __init__(self, client: Any, proxies: Proxies, pair: Pair, user: User) -> None:
        self.client, self.proxies, self.pair, self.user = client, proxies, pair, user

    async def read(self) -> tuple[list[str], Answer]:
        """The titles of the notes, and who gave them."""
        answer = await self.client.table("notes").select("title").order("id").execute()
        return [row["title"] for row in answer.data], answer.answer

    async def write(self, title: str) -> Answer:
        """Write a note; gives who took it."""
        row = {"title": title, "owner_id": self.user.id}
        told: Answer = (await self.client.table("notes").insert(row).execute()).answer
        return told

    def states(self) -> dict[str, str]:
        """The breakers of the notes at Isobase."""
        found: dict[str, str] = self.client.migration.breakers()[NOTES]["isobase"]
        return found

    def writer(self) -> list[tuple[Any, ...]]:
        """Who is written first, and in which epoch."""
        return self.pair.isobase.query("select side, epoch from isobase.writers where pattern = %s", NOTES)

    def told(self, name: str) -> list[dict[str, Any]]:
        """The events of a name."""
        return [
            detail
            for (detail,) in self.pair.isobase.query(
                "select detail from isobase.migration_events where name = %s order by id", name
            )
        ]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Read until something holds."""
        deadline = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < deadline, self.client.migration.breakers()
            await self.read()


Moving: TypeAlias = Callable[..., Awaitable[Move]]


@pytest.fixture
async def moving(proxied_pair: Proxies, clean_pair: Pair, tmp_path: Path) -> AsyncIterator[Moving]:
    """Makes the client; reads, writes: the settings of its breakers."""
    user = clean_pair.sign_up()
    set_stage(clean_pair, NOTES, Stage.LIVE)
    clean_pair.supabase.query("select setval('public.notes_id_seq', 1000000)")  # as a handover leaves it
    pair = proxied_pair.pair
    async with AsyncExitStack() as ends:

        async def made(*, reads: BreakerSettings = PATIENT, writes: BreakerSettings = PATIENT) -> Move:
            settings = settings_of(pair, spool_dir=tmp_path, breaker=reads, write_breaker=writes)
            client = await create_async_migration_client(
                pair.supabase.url, pair.supabase.service_role_key, migration=settings
            )
            ends.push_async_callback(client.migration.aclose)
            wait_for_stage(client, NOTES, Stage.LIVE)
            return Move(client, proxied_pair, clean_pair, user)

        yield made
        proxied_pair.heal()


def slow(*methods: bytes) -> Callable[[Link, bytes], None]:
    """Hold up the requests of these methods."""

    def hold(link: Link, piece: bytes) -> None:
        if piece.startswith(methods):
            time.sleep(SLOW_S)

    return hold


def lost(*methods: bytes) -> Callable[[Link, bytes], bool]:
    """Cut the connections of requests of these methods."""

    def cut(link: Link, piece: bytes) -> bool:
        if piece.startswith(methods):
            link.cut()
            return True
        return False

    return cut


@pytest.mark.parametrize("trouble", [slow, lost], ids=["slow", "lost"])
async def test_reads_that_are_slow_or_fail_go_to_supabase_and_the_writer_stays(
    moving: Moving, trouble: Callable[[bytes], Any]
) -> None:
    move = await moving(reads=HASTY)
    assert (await move.write("before")).side is Side.ISOBASE
    before = move.writer()
    move.proxies.isobase.on_request = trouble(b"GET")
    await move.until(lambda: move.states()["reads"] != "closed")
    written = []
    for number in range(6):
        answer = await move.write(f"note {number}")
        assert (answer.side, answer.is_fallback) == (Side.ISOBASE, False)
        written.append(f"note {number}")
        titles, told = await move.read()
        assert (titles, told.side, told.is_fallback, told.is_behind) in [
            (["before", *written], Side.SUPABASE, True, False),
            (["before", *written], Side.ISOBASE, False, False),  # a call that was tried
        ]
    assert move.states()["writes"] == "closed"
    assert move.writer() == before
    assert "fallback_writes" not in move.client.migration.metrics()
    move.proxies.isobase.on_request = None
    await move.until(lambda: set(move.states().values()) == {"closed"})
    titles, told = await move.read()
    assert (titles, told.side, told.is_fallback) == (["before", *written], Side.ISOBASE, False)
    await move.client.migration.aclose()  # signing off, it leaves its last events
    assert {detail["calls"] for detail in move.told("breaker")} == {"reads"}
    assert move.told("failover") == []


async def test_a_read_at_supabase_says_what_it_lacks_while_isobase_is_written(moving: Moving) -> None:
    move = await moving(reads=HASTY)
    await move.write("both have it")
    move.proxies.isobase.on_request = slow(b"GET")
    await move.until(lambda: move.states()["reads"] != "closed")
    move.proxies.supabase_database.is_gone = True
    move.proxies.supabase_database.cut_all()
    answer = await move.write("only Isobase has it")
    assert (answer.side, answer.is_fallback) == (Side.ISOBASE, False)
    seen: list[Answer] = []
    while not seen or seen[-1].side is Side.ISOBASE:
        titles, told = await move.read()
        seen.append(told)
    assert (titles, told.is_fallback, told.is_behind) == (["both have it"], True, True)


async def test_what_arrives_while_supabase_answers_is_not_taken_for_seen(moving: Moving) -> None:
    move = await moving()
    move.proxies.isobase.is_gone = True
    move.proxies.isobase.cut_all()
    move.pair.isobase.query(PENDING)

    def carried(link: Link, piece: bytes) -> None:
        """Between Supabase's look at the table and its caller, what waited is brought there."""
        move.pair.isobase.query("delete from isobase.outbox where state = 'pending'")

    move.proxies.supabase.on_answer = carried
    _, told = await move.read()
    assert (told.side, told.is_fallback, told.is_behind) == (Side.SUPABASE, True, True)
    assert move.pair.isobase.query("select count(*) from isobase.outbox where state = 'pending'") == [(0,)]


async def test_slow_writes_move_the_writer_and_reads_stay_where_nothing_waits(moving: Moving) -> None:
    move = await moving(writes=replace(HASTY, open_s=300, longest_open_s=300))
    await move.read()
    move.proxies.isobase.on_request = slow(b"POST")
    for number in range(3):
        assert (await move.write(f"slow {number}")).side is Side.ISOBASE
    assert move.states() == {"reads": "closed", "writes": "open"}
    answer = await move.write("quick")
    assert (answer.side, answer.is_fallback) == (Side.SUPABASE, True)
    assert move.writer()[0][0] == "supabase"
    titles, told = await move.read()
    assert titles == ["slow 0", "slow 1", "slow 2", "quick"]
    assert (told.side is Side.ISOBASE) is not told.is_fallback
    assert not told.is_behind
    assert move.states()["reads"] == "closed"


async def test_reads_that_get_no_connection_move_both_and_all_goes_back_by_itself(moving: Moving) -> None:
    move = await moving()
    await move.write("before")
    await move.read()
    epoch = move.writer()[0][1]
    move.proxies.isobase.is_gone = True
    move.proxies.isobase.cut_all()
    await move.until(lambda: move.states()["writes"] != "closed")
    assert move.states()["reads"] != "closed"
    assert move.writer() == [("isobase", epoch)], "nothing was written: nobody moved the writer"
    answer = await move.write("while it is gone")
    assert (answer.side, answer.is_fallback) == (Side.SUPABASE, True)
    assert move.writer() == [("supabase", epoch + 1)]
    titles, told = await move.read()
    assert (titles, told.side, told.is_fallback) == (["before", "while it is gone"], Side.SUPABASE, True)
    move.proxies.heal()
    await move.until(lambda: move.client.migration.writer(NOTES).side is Side.ISOBASE)
    await move.until(lambda: set(move.states().values()) == {"closed"})
    assert (await move.write("after")).side is Side.ISOBASE
    titles, told = await move.read()
    assert (titles, told.side, told.is_fallback) == (["before", "while it is gone", "after"], Side.ISOBASE, False)
    assert move.pair.differing(["public.notes"]) == {}
