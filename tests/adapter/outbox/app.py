"""A small app: clients that write orders to both sides through the protocol, with SQL for the first side's HTTP."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from isobase_adapter.carrying import Carriers
from isobase_adapter.contracts import CallRecord
from isobase_adapter.control.following import StoreControl
from isobase_adapter.control.postgres import PostgresStore
from isobase_adapter.drainer import Drainer
from isobase_adapter.handover import Handover, HandoverLimits, lift_abandoned
from isobase_adapter.outbox.fallback import fence_at
from isobase_adapter.outbox.postgres import PostgresOutbox
from isobase_adapter.performing import Writing, write_twice
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage, WriteRoute, write_route
from isobase_adapter.steps import Flow, OnRuntime, Wait
from isobase_adapter.things import Thing, ThingKind
from isobase_adapter.writing import DualWrite, Judgement, Outcome, WritingLimits, writer_for
from tests.adapter.outbox.conftest import LIMITS, ORDERS, TABLE, TwoSides, row
from tests.adapter.outbox.small_carrier import SmallCarrier

PATTERN = "table:public.orders"
PATIENT = WritingLimits(behind_s=60.0, carry_s=60.0)
"""A machine that is busy for a moment makes nothing late."""


@dataclass(slots=True)
class App:
    """One client. ``sent``: what the first side was told, by side."""

    sides: TwoSides
    control: StoreControl
    outbox: PostgresOutbox
    carrier: SmallCarrier
    writing: Writing
    drainer: Drainer
    stage: Stage = Stage.RAMP_DOWN
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def insert(self, state: str, *, before_answer: Any = None) -> int:
        """Insert an order, whose number the first side gives out; returns the number."""

        async def send(side: Side) -> int:
            number = await self.carrier.pool(side).fetchval(
                "insert into public.orders (state) values ($1) returning id", state
            )
            if before_answer is not None:
                await before_answer(side)
            return int(number)

        return int(await self.write((TABLE,), send))

    async def update(self, key: int, state: str, *, before_answer: Any = None) -> None:
        """Update an order by its number."""

        async def send(side: Side) -> int:
            await self.carrier.pool(side).execute("update public.orders set state = $2 where id = $1", key, state)
            if before_answer is not None:
                await before_answer(side)
            return key

        await self.write((row(key),), send)

    async def write(self, things: tuple[Thing, ...], send: Any) -> Any:
        """Take a write through the protocol; its answer is the order's number."""

        def route(snapshot: Any) -> WriteRoute:
            return write_route(self.stage, writer_for(snapshot, ORDERS).side)

        def send_first(side: Side) -> Flow[int]:
            answer: int = yield OnRuntime(lambda: send(side))
            return answer

        def judge(answer: int) -> Flow[Judgement]:
            yield Wait(0)
            return Judgement(Outcome.TAKEN, (row(answer),))

        write = DualWrite(ORDERS, CallRecord("POST", "/rest/v1/orders"), things, route)
        flow = write_twice(write, self.writing, send_first=send_first, judge=judge)
        step = next(flow)
        while True:
            try:
                result = await step.work() if isinstance(step, OnRuntime) else None
            except BaseException as error:
                step = flow.throw(error)
            else:
                try:
                    step = flow.send(result)
                except StopIteration as end:
                    return end.value


async def make_flag(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Give the table a writer of its own, and both sides' sequences a place."""
    await pool.execute(
        "insert into isobase.flags (pattern, stage, before) values ($1, 'shadow_read', 'dual_write')", PATTERN
    )
    await pool.execute("insert into isobase.writers (pattern) values ($1) on conflict do nothing", PATTERN)


@asynccontextmanager
async def app(sides: TwoSides, limits: WritingLimits = PATIENT) -> AsyncIterator[App]:
    """A client with its own connection to the control store, not draining unless it is told to."""
    control = StoreControl(PostgresStore(sides.isobase_dsn))
    await control.start()
    try:
        outbox = PostgresOutbox(sides.isobase, control.id, LIMITS)
        carrier = SmallCarrier(sides.supabase, sides.isobase)
        carriers = Carriers({ThingKind.ROW: carrier, ThingKind.TABLE: carrier})
        drainer = Drainer(outbox, carriers, tell=control.tell, chore=lambda: lift_abandoned(sides.isobase))
        writing = Writing(
            control,
            outbox,
            carriers,
            limits=limits,
            on_postponed=drainer.wake,
            fencing=lambda: fence_at(sides.supabase),
        )
        yield App(sides, control, outbox, carrier, writing, drainer)
    finally:
        await control.close()


def handover_of(
    sides: TwoSides,
    drainer: Drainer | None = None,
    fence_s: float = 25.0,
    calm_s: float = 5.0,
    control: asyncpg.Pool[asyncpg.Record] | None = None,
) -> Handover:
    """A handover that moves the sequence of orders. control: a pool of the coordinator's own."""

    async def move_sequences(pattern: str, to: Side) -> None:
        assert pattern == PATTERN
        target, source = (sides.isobase, sides.supabase) if to is Side.ISOBASE else (sides.supabase, sides.isobase)
        last = "select greatest((select last_value from public.orders_id_seq), (select max(id) from public.orders), 1)"
        highest = max(await source.fetchval(last), await target.fetchval(last))
        await target.execute("select setval('public.orders_id_seq', $1)", highest)
        if to is Side.ISOBASE:
            await source.execute("select setval('public.orders_id_seq', $1)", highest + 1_000_000)

    limits = HandoverLimits(calm_s=calm_s, fence_s=fence_s, lock_s=5.0)
    return Handover(
        control or sides.isobase, sides.supabase, move_sequences=move_sequences, drainer=drainer, limits=limits
    )
