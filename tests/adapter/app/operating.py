"""An operator of a move: sets flags step by step, and hands the writer over where a stage asks for it."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import AsyncExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg
import psutil

from isobase_adapter.control.operator import SetFlag
from isobase_adapter.drainer import Drained, Drainer
from isobase_adapter.handover import HandedOver, Handover, HandoverLimits, lift_abandoned
from isobase_adapter.http.probing import answering
from isobase_adapter.outbox.ending import LongWell
from isobase_adapter.outbox.postgres import PostgresOutbox
from isobase_adapter.rows.sequences import FALLBACK_GAP, move_sequences
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage, writer_of
from tests.adapter.app.drain import carrying
from tests.adapter.app.move import operator_of
from tests.adapter.pair import Pair

__all__ = ["Mover", "orphans"]

HANDOVER_LIMITS = HandoverLimits(calm_s=60.0)


class Mover:
    """Moves one pattern of a pair; ``pair``'s databases are reached directly, whatever the app's network is like."""

    def __init__(
        self,
        pair: Pair,
        pattern: str,
        *,
        limits: HandoverLimits = HANDOVER_LIMITS,
        spool_dir: Path | None = None,
        heard_s: float = 60.0,
    ) -> None:
        """heard_s: how long a step waits until all clients act upon the one before."""
        self.pattern = pattern
        self._limits = limits
        self._heard_s = heard_s
        self._spool_dir = spool_dir
        self._pair = pair
        self._open = AsyncExitStack()
        self.held_up_s: list[float] = []

    async def __aenter__(self) -> Self:
        """Connect."""
        self.operator = await self._open.enter_async_context(operator_of(self._pair))
        urls = {Side.SUPABASE: self._pair.supabase.db_url, Side.ISOBASE: self._pair.isobase.db_url}
        pools = {}
        for side, url in urls.items():
            pool = await asyncpg.create_pool(url, min_size=0, max_size=4)
            self._open.callback(pool.terminate)
            pools[side] = pool
        rows, carriers = await self._open.enter_async_context(carrying(self._pair.environment()))
        self._control = pools[Side.ISOBASE]
        self.drainer = Drainer(PostgresOutbox(self._control, uuid.uuid4()), carriers)

        async def put_ahead(pattern: str, to: Side) -> None:
            await move_sequences(rows.pairs, to)
            if to is Side.ISOBASE:
                await move_sequences(rows.pairs, Side.SUPABASE, gap=FALLBACK_GAP)

        self.handover = Handover(
            self._control,
            pools[Side.SUPABASE],
            move_sequences=put_ahead,
            drainer=self.drainer,
            limits=self._limits,
            is_long_well=LongWell(
                answering(
                    {Side.SUPABASE: self._pair.supabase.url, Side.ISOBASE: self._pair.isobase.url},
                    {Side.SUPABASE: self._pair.supabase.anon_key, Side.ISOBASE: self._pair.isobase.anon_key},
                )
            ),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self._open.aclose()

    async def set(self, stage: Stage, *, timeout_s: float = 60.0, **more: Any) -> SetFlag:
        """Set the flag, and wait until all clients act upon it."""
        return await self.operator.set_flag(self.pattern, stage, timeout_s=timeout_s, **more)

    async def hand_over(self, to: Side) -> HandedOver:
        """Hand the writer over."""
        done = await self.handover.hand_over(self.pattern, to)
        self.held_up_s.append(done.held_up_s)
        return done

    async def forget_the_dead(self, *more: int) -> None:
        """Forget clients whose process was killed, as if they had been gone for an hour; more: other processes' ids.

        Not before another process has taken over what they left in the spool folder: an operator starts one first.
        """
        left = set() if self._spool_dir is None else orphans(self._spool_dir)
        gone = [
            client.id
            for client in await self.operator.clients()
            if str(client.id) not in left and (client.pid in more or not psutil.pid_exists(client.pid))
        ]
        await self._control.execute(
            "update isobase.migration_clients set seen_at = now() - interval '1 hour' where id = any($1)", gone
        )
        for client in gone:
            await self.operator.forget_client(client)

    async def stage(self) -> Stage:
        """Where the pattern is."""
        views = [view for view in await self.operator.list_flags() if view.flag.pattern == self.pattern]
        return views[0].flag.stage if views else Stage.OFF

    async def step_towards(self, goal: Stage) -> bool:
        """Do one thing on the way to ``goal``; False where nothing is left to do."""
        await lift_abandoned(self._control)
        await self.forget_the_dead()
        views = [view for view in await self.operator.list_flags() if view.flag.pattern == self.pattern]
        here = views[0].flag.stage if views else Stage.OFF
        writer = views[0].writer.side if views else Side.SUPABASE
        order = list(Stage)
        wanted = writer_of(goal)
        if here is Stage.LIVE and writer is not wanted:
            await self.hand_over(wanted)
        elif here is goal:
            return False
        else:
            await self.set(
                order[order.index(here) + (1 if order.index(here) < order.index(goal) else -1)],
                timeout_s=self._heard_s,
            )
        return True

    async def let_leases_end(self, older_than_s: float, *, of: int | None = None) -> None:
        """As if a lease's time had passed for the writes that were let in so long ago; of: by this process alone."""
        # A process that was frozen while it settled an intent with the rows holds it until its transaction is ended.
        await self._control.execute(
            "update isobase.outbox set lease_until = now() where id in (select id from isobase.outbox"
            " where state = 'intent' and created_at < now() - make_interval(secs => $1) and ($2::int is null"
            " or client in (select id from isobase.migration_clients where pid = $2)) for update skip locked)",
            older_than_s,
            of,
        )

    async def drain(self, timeout_s: float) -> Drained:
        """Drain until nothing waits."""
        return await self.drainer.drain(timeout_s)


def orphans(spool_dir: Path) -> set[str]:
    """The clients whose spools hold writes and are nobody's: their processes are gone, and none has adopted them yet."""
    found = set()
    for path in spool_dir.glob("*.spool"):
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=0)) as database:
                held = database.execute("select id, (select count(*) from entries) from client").fetchall()
        except sqlite3.Error:
            continue  # locked by the process that owns it, or adopted and gone meanwhile
        found |= {client for client, count in held if count}
    return found
