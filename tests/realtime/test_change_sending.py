"""Rows of one batch on their way to sockets: what several rows leave for a socket goes out in one write, in order."""

from __future__ import annotations

from typing import Any

from isobase_services.realtime.core.outbox import Outbox
from isobase_services.realtime.wire.frames import FrameRun, text_frame
from tests.realtime.client import Phoenix
from tests.realtime.conftest import ALICE, BOB, Stack

NOTES = {"event": "*", "schema": "public", "table": "notes"}
BOARD = {"event": "*", "schema": "public", "table": "board"}
ROWS = 300


async def ranks(socket: Phoenix, last: int) -> list[tuple[str, int]]:
    """Table and rank of what came, up to the row of the open table with the rank ``last``."""

    def of(data: dict[str, Any]) -> tuple[str, int]:
        return data["table"], data["record"]["rank"]

    await socket.wait_for(lambda item: item.event == "postgres_changes" and of(item.payload["data"]) == ("board", last))
    return [of(item.payload["data"]) for item in socket.events("postgres_changes")]


async def test_rows_of_one_transaction_come_in_order_to_each_who_sees_another_part_of_them(stack: Stack) -> None:
    users = {ALICE: 0, BOB: 1}
    sockets: list[tuple[str, Phoenix]] = []
    for user in users:
        for vsn in ("1.0.0", "2.0.0", "2.0.0"):
            socket = await stack.connect(vsn=vsn)
            await socket.subscribe("a", NOTES, BOARD, token=stack.token(user))
            sockets.append((user, socket))
    async with stack.owner.transaction():
        for rank in range(ROWS):
            if rank % 3 == 2:
                await stack.sql("insert into board (rank) values ($1)", rank)
            else:
                owner = ALICE if rank % 3 == 0 else BOB
                await stack.sql("insert into notes (owner, rank) values ($1, $2)", owner, rank)
    for user, socket in sockets:
        expected = [
            ("board" if rank % 3 == 2 else "notes", rank) for rank in range(ROWS) if rank % 3 in (users[user], 2)
        ]
        assert await ranks(socket, ROWS - 1) == expected


def outbox(max_bytes: int = 1_000) -> Outbox:
    return Outbox(
        max_bytes=max_bytes,
        droppable_bytes=max_bytes,
        on_overflow=lambda: overflows.append(True),
        on_drained=lambda: None,
    )


overflows: list[bool] = []


def test_several_frames_leave_in_one_write_and_wait_in_order_where_the_socket_holds() -> None:
    written: list[bytes] = []
    first, second, third = (text_frame(text) for text in ("one", "two", "three"))
    box = outbox()
    box.put_run(FrameRun.of([first, second]))
    assert box.size_bytes == len(first) + len(second)
    box.attach(written.append)
    assert written == [first.wire, second.wire]
    box.put_run(FrameRun.of([second, third]))
    assert written[2:] == [second.wire + third.wire]
    box.hold()
    box.put_run(FrameRun.of([first, third]))
    box.put(second)
    assert len(written) == 3
    box.release()
    assert written[3:] == [first.wire, third.wire, second.wire]
    assert box.size_bytes == 0


def test_several_frames_beyond_the_limit_of_a_held_socket_overflow() -> None:
    overflows.clear()
    frames = [text_frame("x" * 400) for _ in range(5)]
    box = outbox()
    box.put_run(FrameRun.of(frames[:2]))
    box.put_run(FrameRun.of(frames))
    assert overflows
    assert box.size_bytes <= 1_000 + len(frames[0])
