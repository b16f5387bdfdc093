"""Performs the steps of a dual write: ``write_twice`` is the flow that the transports drive for their callers.

``writing`` says which steps there are and why; here is what each does with the control store, the outbox and the
carriers. ``Writing`` lives on the runtime's loop, the flow where the caller is.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast

from isobase_adapter.contracts import (
    Carrier,
    Control,
    Intent,
    IntentGone,
    Outbox,
    OutboxAway,
    WriteBehind,
    WriterMoved,
    seconds_since_boot,
)
from isobase_adapter.control.errors import ControlAway
from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.sides import Side
from isobase_adapter.steps import Flow, OnRuntime
from isobase_adapter.things import Thing
from isobase_adapter.writing import (
    Begin,
    Begun,
    CallerLeft,
    CallerStep,
    Carry,
    Doubt,
    DualWrite,
    Judgement,
    NeverSent,
    Postpone,
    RuntimeStep,
    SendFirst,
    Settle,
    Steps,
    TooLate,
    WriteNotAdmitted,
    WriteRevoked,
    WritingLimits,
    dual_write,
    writer_for,
)

__all__ = ["Writing", "write_twice"]

logger = logging.getLogger("isobase.migration.writing")

A = TypeVar("A")

FIRST_RETRY_WAIT_S = 0.02
LONGEST_RETRY_WAIT_S = 0.5
DOUBT_AGAIN_S = 1.0
KEEP_EVERY_S = 30.0
"""A few times in a lease."""
OUT_AFTER_S = 1.5
"""So long the outbox does not answer before that is called an outage: one lost connection moves no writer."""
OUT_UNTIL_S = 10.0
"""After so long without an error of it the outbox is believed to be well."""
LONGEST_CALL_S = 3600.0
"""A call that is on its way for longer was left by its caller; its lease is not extended any more."""


@dataclass(slots=True)
class Course:
    """How far one write has come: the step of the runtime that was begun last, and what performs it."""

    steps: Steps[Any]
    step: RuntimeStep | None = None
    task: asyncio.Task[tuple[bool, Any]] | None = None


class Writing:
    """Performs the runtime's steps; lives on the runtime's loop.

    control: who the writer is. outbox: where intents are kept. carrier: brings things across. limits: times.
    on_postponed: called when there is something to be carried in the background (wakes the drainer). fencing: holds
    ``FENCE_LOCK_NUMBER`` exclusively on Supabase's database; None: what must go there first is waited for however long it
    takes, since nobody can say that no carrier is in the middle of it.
    """

    def __init__(
        self,
        control: Control,
        outbox: Outbox,
        carrier: Carrier,
        *,
        limits: WritingLimits | None = None,
        on_postponed: Callable[[], None] | None = None,
        fencing: Callable[[], AbstractAsyncContextManager[object]] | None = None,
    ) -> None:
        """Take the parts."""
        self._fencing = fencing
        self._open: dict[int, tuple[Intent, float]] = {}
        self._unsettled: list[Intent] = []
        self._keeping: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._away_s: tuple[float, float] | None = None
        """When the outbox did not answer, first and last."""
        self._control = control
        self._outbox = outbox
        self._carrier = carrier
        self._limits = limits or WritingLimits()
        self._on_postponed = on_postponed or (lambda: None)

    @property
    def open_numbers(self) -> list[int]:
        """The numbers of the intents whose writes are on their way."""
        return list(self._open)

    async def perform(self, step: RuntimeStep) -> Any:
        """Perform one step and give its reply."""
        if not isinstance(step, Begin | Carry):
            self._open.pop(step.intent.id, None)
        match step:
            case Begin(write):
                begun = await self._begin(write)
                if begun.intent is not None:
                    self._keep(begun.intent)
                return begun
            case Carry(intent, things):
                return await self._carry(intent, things)
            case Settle(intent, acknowledges):
                await self._settle(intent, acknowledges=acknowledges)
            case Postpone(intent, things, error):
                await self._postpone(intent, things, error)
            case Doubt(intent, error, has_ended):
                await self._doubt(intent, error, has_ended=has_ended)
        return None

    async def advance(self, course: Course, step: RuntimeStep) -> tuple[bool, Any]:
        """Perform steps until the caller is asked for something: (False, its step), or (True, the result).

        They are performed to their end whatever becomes of the caller; one that goes away says so (``leave``).
        """
        self._loop = asyncio.get_running_loop()
        course.step, course.task = step, asyncio.create_task(self._advance(course.steps, step))
        return await asyncio.shield(course.task)

    def leave(self, course: Course, step: RuntimeStep | CallerStep) -> None:
        """The caller is gone: end its write in the background. From any thread, and never waits.

        step: where the caller stood. Once the loop is closed the intent is for others, as that of a process that died.
        """

        def begin() -> None:
            task = asyncio.create_task(self._end(course, step), name="isobase migration write without a caller")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(begin)

    async def _end(self, course: Course, step: RuntimeStep | CallerStep) -> None:
        is_sent = not isinstance(step, RuntimeStep)
        with suppress(Exception):  # nobody is there to hear of it; what must be kept is in the outbox
            while True:
                if isinstance(step, RuntimeStep):
                    if course.step is not step or course.task is None:
                        if isinstance(step, Begin):
                            return  # it was never begun
                        await asyncio.gather(self.advance(course, step), return_exceptions=True)
                    assert course.task is not None
                    is_done, step = await course.task
                    if is_done:
                        return
                else:
                    error = CallerLeft() if is_sent else NeverSent()
                    is_sent, step = False, course.steps.throw(error)

    async def _advance(self, steps: Steps[Any], step: RuntimeStep) -> tuple[bool, Any]:
        pending: Callable[[], RuntimeStep | CallerStep]
        current: RuntimeStep | CallerStep = step
        while isinstance(current, RuntimeStep):
            try:
                reply = await self.perform(current)
            except BaseException as error:  # noqa: BLE001 - the generator decides, and raises what is not its own

                def pending(error: BaseException = error) -> RuntimeStep | CallerStep:
                    return steps.throw(error)
            else:

                def pending(reply: Any = reply) -> RuntimeStep | CallerStep:
                    return steps.send(reply)

            try:
                current = pending()
            except StopIteration as end:
                return True, end.value
        return False, current

    def _keep(self, intent: Intent) -> None:
        """Extend the lease for as long as the call is on its way: no time limit of a client covers a whole call."""
        self._open[intent.id] = (intent, seconds_since_boot())
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep_leases(), name="isobase migration leases")

    async def _keep_leases(self) -> None:
        while self._open:
            await asyncio.sleep(KEEP_EVERY_S)
            oldest = seconds_since_boot() - LONGEST_CALL_S
            for number in [number for number, (_, began_s) in self._open.items() if began_s < oldest]:
                del self._open[number]
            kept = [intent for intent, _ in self._open.values()]
            if kept:
                with suppress(OutboxAway, OSError, sqlite3.Error):
                    await self._outbox.keep(kept)

    async def _begin(self, write: DualWrite) -> Begun:
        began_at = time.monotonic()
        give_up_at, over_conflicts = began_at + self._limits.admission_s, False
        wait_s = FIRST_RETRY_WAIT_S
        snapshot = self._control.snapshot
        while True:
            route = write.route(snapshot)
            if not route.carries:
                return Begun(route, None)
            writer = writer_for(snapshot, write.capability)
            try:
                if writer.is_handing_over:
                    raise WriterMoved(f"{writer.pattern} is being handed over")
                intent = await self._admitted(write, route.first.other, writer.epoch, over_conflicts=over_conflicts)
            except WriterMoved as moved:
                if time.monotonic() >= give_up_at:
                    raise WriteNotAdmitted(f"{write.capability}: {moved}") from moved
                waited_s = time.monotonic() - began_at
                is_behind = isinstance(moved, WriteBehind) and waited_s >= self._limits.behind_s
                over_conflicts = is_behind and self._fencing is not None
                self._on_postponed()
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_RETRY_WAIT_S)
                with suppress(ControlAway):
                    snapshot = await self._control.reload()
            except OutboxAway:
                if not self._is_out():
                    await asyncio.sleep(wait_s)
                    wait_s = min(wait_s * 2, LONGEST_RETRY_WAIT_S)
                    continue
                if not route.falls_back or route.first is Side.SUPABASE:
                    raise
                # Isobase is out of reach with all that it has: the outbox says whether Supabase may be written alone.
                intent = await self._admitted(write, Side.ISOBASE, writer.epoch, over_conflicts=False)
                return Begun(replace(route, first=Side.SUPABASE), intent)
            else:
                if intent.id > 0:
                    self._away_s = None
                return Begun(route, intent)

    def _is_out(self) -> bool:
        """Note that the outbox did not answer, and say whether that has gone on for long enough."""
        now = time.monotonic()
        if self._away_s is None or now - self._away_s[1] > OUT_UNTIL_S:
            self._away_s = (now, now)
        self._away_s = (self._away_s[0], now)
        return now - self._away_s[0] >= OUT_AFTER_S

    async def _admitted(self, write: DualWrite, target: Side, epoch: int, *, over_conflicts: bool) -> Intent:
        try:
            async with self._fencing() if over_conflicts and self._fencing is not None else nullcontext():
                return await self._outbox.begin(
                    write.capability,
                    target=target,
                    epoch=epoch,
                    call=write.call,
                    things=write.things,
                    lease_s=write.lease_s,
                    over_conflicts=over_conflicts,
                )
        except DATABASE_FAILURES as error:
            raise WriteBehind(f"the fence at Supabase cannot be had ({type(error).__name__})") from error

    async def _carry(self, intent: Intent, things: Sequence[Thing]) -> bool:
        async with asyncio.timeout(self._limits.carry_s):
            carried = await self._carrier.carry(things, intent.target, fence=self._outbox.fence(intent))
        if carried.has_settled:
            self._open.pop(intent.id, None)
        return carried.has_settled

    async def _settle(self, intent: Intent, *, acknowledges: bool) -> None:
        try:
            with self._acknowledging(intent):
                await _again_if_lost(lambda: self._outbox.settle(intent))
        except WriteRevoked:
            if acknowledges:
                raise

    async def _postpone(self, intent: Intent, things: Sequence[Thing], error: str) -> None:
        with self._acknowledging(intent):
            await _again_if_lost(lambda: self._outbox.postpone(intent, things, error))
        self._on_postponed()

    @contextmanager
    def _acknowledging(self, intent: Intent) -> Iterator[None]:
        """Turn what keeps a write from being acknowledged into the caller's error."""
        try:
            yield
        except IntentGone as gone:
            self._on_postponed()
            raise WriteRevoked(f"{intent.capability}: {gone}") from gone
        except OutboxAway as away:
            # The intent is durable, names at least what was changed, and no handover passes it by: it is enough, while its
            # lease is not over. Only a failover to Supabase forgets intents that nobody vouched for.
            if intent.target is Side.SUPABASE or intent.is_over(seconds_since_boot()):
                raise WriteRevoked(
                    f"{intent.capability}: what was written could not be kept for the other side"
                ) from away
            logger.warning("a write of %s is carried later: the outbox is away", intent.capability)
            self._unsettled.append(intent)

    def has_unsettled(self) -> bool:
        """Whether callers were told of writes whose intents could not be settled, and are not over yet."""
        if self._unsettled:
            now = seconds_since_boot()
            self._unsettled = [intent for intent in self._unsettled if not intent.is_over(now)]
        return bool(self._unsettled)

    async def _doubt(self, intent: Intent, error: str, *, has_ended: bool) -> None:
        try:
            await self._outbox.doubt(intent, error, has_ended=has_ended)
        except OutboxAway:
            logger.warning("a write of %s is compared later: the outbox is away", intent.capability)
            telling = asyncio.create_task(self._doubt_later(intent, error), name="isobase migration doubt")
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
        self._on_postponed()

    async def _doubt_later(self, intent: Intent, error: str) -> None:
        """Say it once the outbox is back, so that nobody waits for the whole lease."""
        while not intent.is_over(seconds_since_boot()):
            await asyncio.sleep(DOUBT_AGAIN_S)
            with suppress(OutboxAway):
                await self._outbox.doubt(intent, error, has_ended=False)
                self._on_postponed()
                return


async def _again_if_lost(ask: Callable[[], Awaitable[None]]) -> None:
    """Ask once more where the outbox did not answer: a connection was ended, or two statements stood in each other's way."""
    try:
        await ask()
    except OutboxAway:
        await asyncio.sleep(FIRST_RETRY_WAIT_S)
        await ask()


def write_twice(
    write: DualWrite,
    writing: Writing,
    *,
    send_first: Callable[[Side], Flow[A]],
    judge: Callable[[A], Flow[Judgement]],
) -> Flow[A]:
    """Write to both sides and return the first side's answer; a flow for the transports' drivers, sync and async.

    send_first: sends the call to a side. judge: says what its answer means; it may ask the side again. Raises what
    ``send_first`` raises, ``WriteNotAdmitted``, ``WriteRevoked`` and ``OutboxAway``. A call that is cancelled or
    interrupted ends at once, what is left to do of it in the background.
    """
    steps = dual_write(write)
    course = Course(steps)
    step = next(steps)
    while True:
        if isinstance(step, RuntimeStep):
            try:
                is_done, value = yield OnRuntime(partial(writing.advance, course, step))
            except BaseException as error:
                if not isinstance(error, Exception):
                    writing.leave(course, step)
                raise
            if is_done:
                return cast(A, value)
            step = value
            continue
        try:
            if isinstance(step, SendFirst) and seconds_since_boot() >= step.before_s:
                raise TooLate
            reply = yield from (send_first(step.side) if isinstance(step, SendFirst) else judge(step.answer))
        except Exception as error:  # noqa: BLE001 - the generator raises it again
            step = steps.throw(error)
        except BaseException:
            writing.leave(course, step)
            raise
        else:
            try:
                step = steps.send(reply)
            except StopIteration as end:
                return cast(A, end.value)
