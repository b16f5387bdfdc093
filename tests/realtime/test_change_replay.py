"""Clients that say what they saw last get what they missed: once, in order, and only what they may see now."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from isobase_services.realtime.changes import resume as resume_module
from tests.plugins.patience import until
from tests.realtime.client import Phoenix, Received
from tests.realtime.conftest import ALICE, BOB, Stack, StackFactory

BOARD = {"event": "*", "schema": "public", "table": "board"}
NOTES = {"event": "*", "schema": "public", "table": "notes"}


async def resume(
    socket: Phoenix, name: str, entry: dict[str, Any], options: dict[str, Any], token: str | None = None
) -> Received:
    """Join with options; returns the message that tells of the subscription."""
    await socket.join(name, token=token, postgres_changes=[entry], postgres_changes_options=options)
    return await socket.wait_for(lambda item: item.event == "system" and "Subscribed" in item.payload["message"])


def ranks(socket: Phoenix) -> list[int]:
    return [item.payload["data"]["record"]["rank"] for item in socket.events("postgres_changes")]


async def test_positions_come_only_where_they_were_asked_for(stack: Stack) -> None:
    plain, asking = await stack.connect(), await stack.connect()
    await plain.subscribe("a", BOARD)
    told = await resume(asking, "a", BOARD, {"position": True})
    await stack.sql("insert into board (rank) values (1)")
    with_position = (await asking.event("postgres_changes")).payload["data"]
    without = (await plain.event("postgres_changes")).payload["data"]
    assert with_position.pop("position")
    assert with_position == without
    assert set(plain.events("system")[0].payload) == {"extension", "status", "message", "channel"}
    assert set(told.payload) == {"extension", "status", "message", "channel", "position"}


async def test_client_that_comes_back_gets_what_it_missed_once_and_in_order(stack: Stack) -> None:
    watcher, socket = await stack.connect(), await stack.connect()
    await watcher.subscribe("w", BOARD)
    await resume(socket, "a", BOARD, {"position": True})
    await stack.sql("insert into board (rank) select generate_series(0, 9)")
    await until(lambda: len(ranks(socket)) == 10)
    position = socket.events("postgres_changes")[6].payload["data"]["position"]
    await socket.close()
    for rank in range(10, 20):
        await stack.sql("insert into board (rank) values ($1)", rank)
    again = await stack.connect()
    assert (await resume(again, "a", BOARD, {"since": position})).payload["replayed"] >= 3
    await stack.sql("insert into board (rank) values (20)")
    await until(lambda: len(ranks(again)) >= 14)
    assert ranks(again) == list(range(7, 21))
    third = await stack.connect()
    told = await resume(third, "a", BOARD, {"since": again.events("postgres_changes")[-2].payload["data"]["position"]})
    assert told.payload["replayed"] == 1
    assert ranks(third) == [20]


async def test_replay_under_way_meets_live_changes_without_gap_or_double(stack: Stack) -> None:
    watcher = await stack.connect()
    begun = await resume(watcher, "w", BOARD, {"position": True})
    writing = asyncio.create_task(write(stack, 400))
    sockets: list[Phoenix] = []
    for _ in range(4):
        await asyncio.sleep(0.1)
        socket = await stack.connect()
        sockets.append(socket)
        await resume(socket, "a", BOARD, {"since": begun.payload["position"]})
    await writing
    for socket in sockets:
        await until(lambda socket=socket: len(ranks(socket)) >= 400)  # type: ignore[misc]
        assert ranks(socket) == list(range(400))


async def test_what_does_not_fit_behind_a_replay_is_replayed_in_another_round(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume_module, "MAX_HELD_BYTES", 2_000)
    watcher = await stack.connect()
    begun = await resume(watcher, "w", BOARD, {"position": True})
    await write(stack, 10)
    await until(lambda: len(ranks(watcher)) == 10)
    # The replay waits for its client's socket, as long as any queue is too long.
    monkeypatch.setattr(resume_module, "MAX_QUEUED_BYTES", -1)
    socket = await stack.connect()
    coming_back = asyncio.create_task(resume(socket, "a", BOARD, {"since": begun.payload["position"]}))
    await until(lambda: len(ranks(socket)) == 10)
    await stack.sql("insert into board (rank) select generate_series(10, 39)")
    await until(lambda: len(ranks(watcher)) == 40)
    monkeypatch.undo()
    assert (await coming_back).payload["replayed"] == 40
    await stack.sql("insert into board (rank) values (40)")
    await until(lambda: len(ranks(socket)) > 40)
    assert ranks(socket) == list(range(41))


async def write(stack: Stack, count: int) -> None:
    for number in range(count):
        await stack.sql("insert into board (rank) values ($1)", number)


async def test_replay_shows_what_the_policies_allow_now_and_filters_let_through(stack: Stack) -> None:
    alice = await stack.connect()
    begun = await resume(alice, "a", NOTES, {"position": True}, stack.token(ALICE))
    await stack.sql("insert into notes (owner, rank) values ($1, 1), ($2, 2), ($1, 3), ($2, 4)", ALICE, BOB)
    await until(lambda: len(ranks(alice)) == 2)
    since = {"since": begun.payload["position"]}
    bob, filtered, stranger = await stack.connect(), await stack.connect(), await stack.connect()
    await resume(bob, "a", NOTES, since, stack.token(BOB))
    assert ranks(bob) == [2, 4]
    await resume(filtered, "a", {**NOTES, "filter": "rank=gt.1"}, since, stack.token(ALICE))
    assert ranks(filtered) == [3]
    assert (await resume(stranger, "a", NOTES, since)).payload["replayed"] == 0
    await stack.sql('drop policy "owners read" on notes')
    late = await stack.connect()
    await resume(late, "a", NOTES, since, stack.token(ALICE))
    assert ranks(late) == []


async def test_position_that_is_too_old_is_said_and_the_subscription_goes_on(start_stack: StackFactory) -> None:
    stack = await start_stack(changes={"retention_bytes": 2_000})
    watcher, socket = await stack.connect(), await stack.connect()
    begun = await resume(watcher, "w", BOARD, {"position": True})
    await stack.sql("insert into board (rank) select generate_series(1, 10)")
    await stack.sql("insert into board (rank) select generate_series(11, 20)")
    await until(lambda: len(ranks(watcher)) == 20)
    await socket.join("a", postgres_changes=[BOARD], postgres_changes_options={"since": begun.payload["position"]})
    error = await socket.event("system")
    assert error.payload["status"] == "error"
    assert error.payload["message"].startswith("PositionTooOld: ")
    told = await socket.event("system")
    assert told.payload["message"] == "Subscribed to PostgreSQL"
    assert "replayed" not in told.payload
    await stack.sql("insert into board (rank) values (21)")
    await until(lambda: len(ranks(socket)) >= 1)
    assert ranks(socket) == [21]


@pytest.mark.parametrize("since", ["", "nonsense", 5, {"a": 1}])
async def test_position_that_is_none_is_said_and_the_subscription_goes_on(stack: Stack, since: object) -> None:
    socket = await stack.connect()
    await socket.join("a", postgres_changes=[BOARD], postgres_changes_options={"since": since})
    error = await socket.event("system")
    assert error.payload["message"].startswith("PositionInvalid: ")
    assert (await socket.event("system")).payload["message"] == "Subscribed to PostgreSQL"


async def test_what_was_missed_while_no_process_ran_is_replayed_by_the_next(start_stack: StackFactory) -> None:
    first = await start_stack()
    socket = await first.connect()
    begun = await resume(socket, "a", BOARD, {"position": True})
    await first.sql("insert into board (rank) values (1)")
    await until(lambda: len(ranks(socket)) == 1)
    await socket.close()
    await first.service.drain(2.0)
    await first.sql("insert into board (rank) values (2)")
    second = await start_stack()
    fresh, again = await second.connect(), await second.connect()
    await fresh.subscribe("a", BOARD)
    await resume(again, "a", BOARD, {"since": begun.payload["position"]})
    await until(lambda: len(ranks(again)) >= 2)
    assert ranks(again) == [1, 2]
    assert ranks(fresh) == []
