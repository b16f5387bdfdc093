"""Faults at seeded random moments: whatever can die is killed, whatever can be cut is cut, while the app writes.

A run is a seed: a stage to go to, a fault (or two), and when. After it everything is there again, the app pauses, the
outbox is drained, and both sides are compared with the journals.
"""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg
import httpx

from isobase_adapter.handover import HandoverLimits
from isobase_adapter.stages import Stage
from tests.adapter.app.deciding import Undecidable, decide
from tests.adapter.app.move import REPOSITORY, Running, outbox_lines
from tests.adapter.app.operating import Mover, orphans
from tests.adapter.pair import TABLES, Pair, Proxies, SideStack
from tests.plugins.process import IsobaseProcess
from tests.plugins.stack import clean_environment
from tests.plugins.wire_proxy import WireProxy

__all__ = ["CALL_TIMEOUT_S", "CARRIED", "LIMITS", "SEND_WITHIN_S", "Chaos", "Lost"]

CARRIED = tuple(table for table in TABLES if table != "public.audit_log")
"""What the calls name; a trigger writes the log, and only a running ``isobase migrate sync`` sees that."""
READY_TIMEOUT_S = 300.0
DRAIN_TIMEOUT_S = 90.0
CONFLICT_DRAIN_S = 2.0
DECIDED_DRAIN_S = 10.0
MOST_DECISIONS = 5
"""So often letters may die again after an operator decided about them."""
BEFORE_S = (0.05, 0.6)
"""How long the app writes before a fault."""
AWAY_S = (0.05, 0.7)
"""How long something is away."""
AFTER_S = 0.3
CALL_TIMEOUT_S = 2
"""The time limit of the app's calls."""
FROZEN_S = 5.0
"""How long a frozen process's last calls are waited for."""
CALLS_END_S = 4.0
"""After so long no call is on its way any more, while both servers and all networks are well."""
SEND_WITHIN_S = 1.5
"""The app sends a call so soon after it was let in, or never."""
RUNNING = """
select application_name, state, wait_event, clock_timestamp() - xact_start, left(query, 200) from pg_stat_activity
 where backend_type = 'client backend' and pid <> pg_backend_pid() and state <> 'idle'
   and xact_start < %s::timestamptz - make_interval(secs => %s)
   -- The servers' own; who carries may stand still in the middle, as it holds the fence.
   and application_name like 'isobase %%'
"""
LIMITS = HandoverLimits(calm_s=0.5, fence_s=4.0, lock_s=3.0)


class Lost(AssertionError):
    """An acknowledged write is not where it must be; the text holds its history."""


@dataclass(slots=True)
class DrainerProcess:
    """A drainer of its own."""

    pair: Pair
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.adapter.app.drain"],
            cwd=REPOSITORY,
            env=clean_environment() | self.pair.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Chaos:
    """Runs seeds against a pair behind proxies, under a running app.

    pair: as it is; proxies: before it, what the app sees. stages: where runs may go. spool_dir: the app's spool folder.
    ``counts``: how often each fault happened, and each step of the operator's.
    """

    def __init__(
        self,
        pair: Pair,
        proxies: Proxies,
        app: Running,
        mover: Mover,
        *,
        stages: tuple[Stage, ...],
        spool_dir: Path,
        counts: Counter[str],
    ) -> None:
        self.pair, self.proxies, self.app, self.mover = pair, proxies, app, mover
        self.stages = stages
        self.spool_dir = spool_dir
        self.counts = counts
        self._well_at: float | None = None
        self.drainer = DrainerProcess(proxies.pair)
        self.told: list[str] = []
        self._faults: dict[str, Callable[[random.Random], Awaitable[None]]] = {
            "the app is killed": self._kill_app,
            "the app is frozen": self._freeze_app,
            "Supabase's server is killed": lambda chance: self._kill(pair.supabase, chance, postgres=False),
            "Supabase's database is killed": lambda chance: self._kill(pair.supabase, chance, server=False),
            "Isobase's server is killed": lambda chance: self._kill(pair.isobase, chance, postgres=False),
            "Isobase's database is killed": lambda chance: self._kill(pair.isobase, chance, server=False),
            "Isobase is killed": lambda chance: self._kill(pair.isobase, chance),
            "the drainer is killed": self._kill_drainer,
            "connections are cut": self._cut,
            "a network refuses": self._refuse,
            "a network is silent": self._silence,
        }

    def __enter__(self) -> Self:
        """Start the drainer."""
        self.drainer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the drainer; nothing is broken any more."""
        self.proxies.heal()
        self.drainer.kill()

    async def run(self, seed: int) -> None:
        """One run; raises ``Lost``."""
        chance = random.Random(seed)
        self.told = [f"seed {seed}"]
        stage = chance.choice(self.stages)
        faults = chance.sample(sorted(self._faults), 1 if chance.random() < 0.7 else 2)
        self._well_at = None
        self.app.resume()
        try:
            going = asyncio.create_task(self._go_to(stage))
            for name in faults:
                await asyncio.sleep(chance.uniform(*BEFORE_S))
                self._tell(name)
                self.counts[name] += 1
                await self._faults[name](chance)
            await asyncio.sleep(AFTER_S)
            self.proxies.heal()
            await self._until_ready()
            self._well_at = time.monotonic()
            await going
            await self._check(seed)
        except Lost:
            raise
        except Exception as error:
            raise RuntimeError(f"{self.told}: {type(error).__name__}: {error}; {self.app.output()}") from error

    async def _check(self, seed: int) -> None:
        ready_at = time.monotonic()
        await self._end_leases()
        paused_at = time.monotonic()
        await self._decide()
        self.pair.isobase.query("update isobase.outbox set next_at = now() where state = 'pending'")
        done = await self.mover.drain(DRAIN_TIMEOUT_S)
        if done.waiting or done.dead:
            await self._decide()
            done = await self.mover.drain(DRAIN_TIMEOUT_S)
        self.told.append(
            f"paused in {paused_at - ready_at:.1f} s, drained in {time.monotonic() - paused_at:.1f} s: {done}"
        )
        wrong = self.app.lost("supabase", "isobase")
        differing = self.pair.differing(CARRIED)
        dead = [line for line in outbox_lines(self.pair) if line[1] == "dead"]
        if wrong or differing or done.waiting:
            lines = "\n".join(wrong)
            told = "; ".join(self.told)
            raise Lost(
                f"{told}\n{lines}\ndiffering: {differing}\nwaiting: {done.waiting}, dead: {dead}\n(FIRST_SEED={seed} RUNS=1)"
            )

    async def _end_leases(self) -> None:
        """Pause the app, and let the leases end of those who were killed and of calls that were given up.

        Time would have passed: but not before the servers are idle, as one that starts, or has much to do, still does what
        waited in front of it when its client is long gone.
        """
        await self._until_ready()
        await asyncio.to_thread(self.app.pause)
        for side in (self.pair.supabase, self.pair.isobase):
            await _until_quiet(side)
        await self._until_adopted()
        # Another drainer may still carry what is taken here a second time: that must do no harm.
        self.pair.isobase.query("update isobase.outbox set lease_until = now() where state = 'intent'")

    async def _decide(self) -> None:
        """Decide about dead letters as an operator would: what was written at both sides, and a whole that was."""
        await self.mover.drain(CONFLICT_DRAIN_S)
        for _ in range(MOST_DECISIONS):
            try:
                is_decided = await asyncio.to_thread(
                    decide, self.pair, self.mover.pattern, self.app.report(), self.counts
                )
            except Undecidable as lost:
                raise Lost("\n".join([*self.told, "lost at both sides, and in the dead letters:", str(lost)])) from lost
            if not is_decided:
                return
            self._tell("dead letters are decided about")
            await self.mover.drain(DECIDED_DRAIN_S)

    def _tell(self, what: str) -> None:
        self.told.append(f"{time.time():.3f} {what}")

    async def _go_to(self, stage: Stage) -> None:
        """Go from neighbour to neighbour, as an operator would, however often the store is away meanwhile."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        before = Stage.OFF
        while True:
            try:
                if before is Stage.OFF:
                    before = await self.mover.stage()
                if not await self.mover.step_towards(stage):
                    return
                now = await self.mover.stage()
                self._tell(f"stage {now}")
                self.counts[f"{before} -> {now}" if now is not before else f"{now}: handed over"] += 1
                before = now
            except Exception as error:
                self._tell(f"the operator is told {type(error).__name__}: {error}"[:200])
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)
                if self._well_at is not None and time.monotonic() - self._well_at > CALLS_END_S:
                    await self._end_leases()
                    await self._decide()
                    self.app.resume()
                    self._well_at = time.monotonic()

    async def _kill_app(self, chance: random.Random) -> None:
        number = chance.randrange(len(self.app.processes))
        await asyncio.to_thread(self.app.kill, number)
        await asyncio.sleep(chance.uniform(*AWAY_S))
        self.app.restart(number)

    async def _freeze_app(self, chance: random.Random) -> None:
        """A process stands still until its leases are over, and goes on; half of the time an operator has forgotten it."""
        number = chance.randrange(len(self.app.processes))
        is_forgotten = chance.random() < 0.5
        process = self.app.freeze(number)
        try:
            # What it sent has ended, and what it did not send by now it never will.
            await asyncio.sleep(SEND_WITHIN_S + chance.uniform(*AWAY_S))
            await self._until_ready()
            try:
                for side in (self.pair.supabase, self.pair.isobase):
                    await _until_quiet(side, older_than_s=SEND_WITHIN_S, timeout_s=FROZEN_S)
            except TimeoutError as busy:
                # It was stopped while it held rows that a call waits for: its transaction is ended before any lease is over.
                self.counts["the app is frozen in the middle of a transaction"] += 1
                self._tell(str(busy))
                return
            with suppress(OSError, asyncpg.PostgresError):
                await self.mover.let_leases_end(0, of=process)
                if is_forgotten:
                    self.counts["the app is forgotten while frozen"] += 1
                    await self.mover.forget_the_dead(process)
            await asyncio.sleep(chance.uniform(*AWAY_S) * 2)
        finally:
            self.app.thaw(number)

    async def _kill(
        self, side: SideStack, chance: random.Random, *, server: bool = True, postgres: bool = True
    ) -> None:
        process = side.process
        assert isinstance(process, IsobaseProcess)
        await asyncio.to_thread(process.kill_hard, server=server, postgres=postgres)
        await asyncio.sleep(chance.uniform(*AWAY_S))
        if server:
            await asyncio.to_thread(process.start)

    async def _kill_drainer(self, chance: random.Random) -> None:
        await asyncio.to_thread(self.drainer.kill)
        await asyncio.sleep(chance.uniform(*AWAY_S))
        self.drainer.start()

    def _network(self, chance: random.Random) -> WireProxy:
        names = ("supabase", "isobase", "supabase_database", "isobase_database")
        name = chance.choice(names)
        self._tell(f"network of {name}")
        self.counts[f"the network of {name} fails"] += 1
        proxy: WireProxy = getattr(self.proxies, name)
        return proxy

    async def _cut(self, chance: random.Random) -> None:
        proxy = self._network(chance)
        for _ in range(chance.randrange(1, 4)):
            await asyncio.to_thread(proxy.cut_all)
            await asyncio.sleep(chance.uniform(0, 0.2))

    async def _refuse(self, chance: random.Random) -> None:
        proxy = self._network(chance)
        proxy.refuses = True
        await asyncio.to_thread(proxy.cut_all)
        await asyncio.sleep(chance.uniform(*AWAY_S))
        proxy.refuses = False

    async def _silence(self, chance: random.Random) -> None:
        proxy = self._network(chance)
        proxy.is_silent = True
        await asyncio.sleep(chance.uniform(*AWAY_S))
        proxy.is_silent = False

    async def _until_ready(self) -> None:
        for side in (self.pair.supabase, self.pair.isobase):
            await _until_ready(side)

    async def _until_adopted(self) -> None:
        """Nothing is left in the spool folder; a process says that it paused once its own spools are empty."""
        async with asyncio.timeout(READY_TIMEOUT_S):
            while left := await asyncio.to_thread(orphans, self.spool_dir):
                self.counts["a killed process's spool is adopted"] += len(left)
                await asyncio.sleep(0.5)


async def _until_quiet(side: SideStack, *, older_than_s: float = 0.0, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Wait until a server answers no request any more, and its database does nothing for one (that is ``older_than_s``)."""
    began_at = await asyncio.to_thread(side.query, "select clock_timestamp()")
    give_up_at = time.monotonic() + timeout_s
    async with httpx.AsyncClient(base_url=side.url, timeout=30) as client:
        while True:
            page = (await client.get("/metrics")).text
            (in_flight,) = re.findall(r"^isobase_http_requests_in_flight (\S+)", page, re.MULTILINE)
            running = await asyncio.to_thread(side.query, RUNNING, began_at[0][0], older_than_s)
            # The page itself is a request.
            if (float(in_flight) <= 1 or older_than_s) and not running:
                return
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{in_flight} requests, {running}")
            await asyncio.sleep(0.05)


async def _until_ready(side: SideStack) -> None:
    async with asyncio.timeout(READY_TIMEOUT_S), httpx.AsyncClient(base_url=side.url) as client:
        while True:
            try:
                if (await client.get("/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
