"""An app that is killed: a program that forks once for each point of its work, and every fork kills itself there.

Arguments: both databases' URLs, a folder for what was acknowledged, the first point. The points count what happens in
the app: before and after each step of the protocol, and each call of the first side. Forking spares the start of an
interpreter for each.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from isobase_adapter.carrying import Carriers
from isobase_adapter.contracts import CallRecord
from isobase_adapter.control.following import StoreControl
from isobase_adapter.control.postgres import PostgresStore
from isobase_adapter.outbox.postgres import PostgresOutbox
from isobase_adapter.performing import Writing, write_twice
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage, WriteRoute, write_route
from isobase_adapter.steps import Flow, OnRuntime, Wait
from isobase_adapter.things import Thing, ThingKind
from isobase_adapter.writing import DualWrite, Judgement, Outcome, RuntimeStep, writer_for
from tests.adapter.outbox.app import PATIENT
from tests.adapter.outbox.conftest import ORDERS

LEASE_S = 2.0
"""Short, so that the test has not to wait long for what was killed; longer than any of these writes takes."""
POINTS = 40
"""More than there are; an app that comes to its end ends the program."""

TABLES = """
create table public.orders (id bigserial primary key, state text not null, at timestamptz not null default
clock_timestamp()); create table public.notes (id uuid primary key default gen_random_uuid(), state text not null);
create table public.lines (order_id bigint, line int, state text not null, primary key (order_id, line));
"""


class Killed:
    """Counts points and kills the process at one of them."""

    def __init__(self, at: int) -> None:
        self.left = at

    def point(self) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1


class KilledWriting(Writing):
    """Performs steps, with a point before and after each."""

    killed: Killed

    async def perform(self, step: RuntimeStep) -> Any:
        self.killed.point()
        reply = await super().perform(step)
        self.killed.point()
        return reply


async def work(dsns: Sequence[str], acknowledged: Path, killed: Killed) -> None:
    """Write what an app writes, and note what was acknowledged."""
    control = StoreControl(PostgresStore(dsns[1]))
    await control.start()
    databases = {side: SideDatabase(side, dsn) for side, dsn in zip(Side, dsns, strict=True)}
    rows = RowCarrier(databases[Side.SUPABASE], databases[Side.ISOBASE])
    async with asyncpg.create_pool(dsns[0]) as supabase, asyncpg.create_pool(dsns[1]) as isobase:
        pools = {Side.SUPABASE: supabase, Side.ISOBASE: isobase}
        carriers = Carriers({ThingKind.ROW: rows, ThingKind.TABLE: rows})
        writing = KilledWriting(control, PostgresOutbox(isobase, control.id), carriers, limits=PATIENT)
        writing.killed = killed

        async def write(table: str, known: Sequence[Thing], sql: str, *values: object) -> None:
            async def send(side: Side) -> tuple[Any, ...]:
                killed.point()
                row = await pools[side].fetchrow(sql, *values)
                killed.point()
                assert row is not None
                return tuple(str(value) if isinstance(value, UUID) else value for value in row)

            def send_first(side: Side) -> Flow[tuple[Any, ...]]:
                answer: tuple[Any, ...] = yield OnRuntime(lambda: send(side))
                return answer

            def judge(answer: tuple[Any, ...]) -> Flow[Judgement]:
                yield Wait(0)
                return Judgement(Outcome.TAKEN, (Thing(ThingKind.ROW, table, answer),))

            def route(snapshot: Any) -> WriteRoute:
                return write_route(Stage.SHADOW_READ, writer_for(snapshot, ORDERS).side)

            call = CallRecord("POST", f"/rest/v1/{table}")
            flow = write_twice(
                DualWrite(ORDERS, call, tuple(known), route, lease_s=LEASE_S),
                writing,
                send_first=send_first,
                judge=judge,
            )
            step = next(flow)
            while True:
                result = await step.work() if isinstance(step, OnRuntime) else None
                try:
                    step = flow.send(result)
                except StopIteration as end:
                    with acknowledged.open("a") as file:
                        print(table, *end.value, values[-1], file=file)
                    return

        run = uuid4().hex
        orders = Thing(ThingKind.TABLE, "public.orders")
        await write("public.orders", [orders], "insert into public.orders (state) values ($1) returning id", run)
        note = uuid4()
        known = Thing(ThingKind.ROW, "public.notes", (str(note),))
        sql = "insert into public.notes (id, state) values ($1, $2) returning id"
        await write("public.notes", [known], sql, note, run)
        line = int(run[:12], 16)
        known = Thing(ThingKind.ROW, "public.lines", (line, 1))
        sql = "insert into public.lines values ($1, 1, $2) returning order_id, line"
        await write("public.lines", [known], sql, line, run)
    for database in databases.values():
        await database.close()
    await control.close()


def main(dsns: Sequence[str], folder: Path, first: int) -> None:
    """Kill a fork at every second point, and end with the first that was not killed."""
    for point in range(first, POINTS, 2):
        child = os.fork()
        if child == 0:
            asyncio.run(work(dsns, folder / f"{point}", Killed(point)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))
        print(point, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:3], Path(sys.argv[3]), int(sys.argv[4]))
