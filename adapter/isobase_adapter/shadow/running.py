"""Runs shadow reads off the caller's path: samples, asks the other side, looks again before it blames, and counts.

A difference may be nothing but a write that was on its way: both sides are asked again, the answering one before and
after the other, until it holds still, nothing waits to be carried and the same difference is seen twice in a row; only
then it is a mismatch. A share of the reads is asked of the answering side twice, in the same way: the noise floor.

Counters: ``compared``, ``mismatched``, ``lagged`` (equal a moment later, or carrying was under way), ``unsettled`` (the
answering side itself kept changing), ``failed`` (the other side could not be asked), ``dropped`` (the queue was full),
``skipped`` (too large), ``noise_compared``, ``noise_mismatched``.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import Event, Snapshot
from isobase_adapter.control.errors import ControlError
from isobase_adapter.control.rules import names_rule, number_rule
from isobase_adapter.control.store import FoundMismatch
from isobase_adapter.shadow.answers import ReadAnswer
from isobase_adapter.shadow.censoring import bounded_sample, censored, censored_query
from isobase_adapter.shadow.comparing import Difference, compared
from isobase_adapter.shadow.requests import asked
from isobase_adapter.sides import Side

__all__ = ["Keeper", "Read", "Shadow", "ShadowLimits"]

logger = logging.getLogger("isobase.migration.shadow")

MAX_KNOWN_CAUSES = 1_000
THREAD_FROM_BYTES = 64 * 1024
FAILED_STATUSES = frozenset({429, 502, 503, 504})
"""Answers of a gateway or a limiter, which say nothing about the data."""


@dataclass(slots=True, frozen=True)
class Read:
    """A read to compare. ``ask``: asks a side the same again, on the runtime's loop, with the same rights.

    ``touches``: the capabilities of all relations that the answer is made of, its own among them.
    """

    capability: Capability
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    answering: Side
    ask: Callable[[Side], Coroutine[Any, Any, ReadAnswer]]
    has_range: bool = False
    has_exact_count: bool = True
    touches: frozenset[Capability] = frozenset()


@dataclass(slots=True, frozen=True)
class ShadowLimits:
    """How much shadow reads may take. Times in seconds, sizes in bytes."""

    sample_percent: float = 100.0
    noise_percent: float = 5.0
    workers: int = 4
    max_waiting: int = 500
    max_waiting_bytes: int = 16 * 1024 * 1024
    max_answer_bytes: int = 1024 * 1024
    answer_timeout_s: float = 30.0
    looks_again_after_s: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)


class Keeper(Protocol):
    """What ``Shadow`` needs of the control store: ``StoreControl`` has it."""

    @property
    def snapshot(self) -> Snapshot:
        """Flags and rules as known now."""
        ...

    def count(self, capability: str, name: str, value: int = 1) -> None:
        """Count something."""
        ...

    def tell(self, event: Event) -> None:
        """Keep an event."""
        ...

    def keep_mismatch(self, found: FoundMismatch) -> None:
        """Keep a difference."""
        ...

    async def has_backlog(self, capabilities: frozenset[Capability]) -> bool:
        """Whether writes of these wait to be carried."""
        ...


@dataclass(slots=True)
class _Waiting:
    reads: asyncio.Queue[tuple[Read, ReadAnswer | None]]
    size: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Shadow:
    """Compares reads in the background.

    keeper: the control store's follower. call_soon: calls a function on the runtime's loop, from any thread.
    limits: how much it may take.
    """

    def __init__(
        self,
        keeper: Keeper,
        call_soon: Callable[..., object],
        limits: ShadowLimits = ShadowLimits(),
    ) -> None:
        """Start nothing yet: workers begin with the first read."""
        self._keeper = keeper
        self._call_soon = call_soon
        self._limits = limits
        self._waiting: _Waiting | None = None
        self._told: set[tuple[str, str]] = set()
        self._is_closed = False

    def wants(self, capability: Capability) -> bool:
        """Whether this read is in the sample; a random choice, made once per read."""
        percent = number_rule(self._keeper.snapshot, capability, "sample_percent", self._limits.sample_percent)
        return percent >= 100 or random.uniform(0, 100) < percent  # noqa: S311 - no secret depends on it

    def offer(self, read: Read, answer: ReadAnswer | None) -> None:
        """Compare a read that was answered with ``answer`` (None: the answering side is asked here first); never waits
        and never fails. From any thread.
        """
        if self._is_closed:
            return
        if answer is not None and len(answer.body) > self._limits.max_answer_bytes:
            self._keeper.count(str(read.capability), "skipped")
            return
        try:
            self._call_soon(self._take, read, answer)
        except RuntimeError:
            self._keeper.count(str(read.capability), "dropped")

    async def drain(self) -> None:
        """Wait until everything that was offered has been looked at. On the runtime's loop."""
        await asyncio.sleep(0)
        if self._waiting is not None:
            await self._waiting.reads.join()

    async def close(self) -> None:
        """End the workers; what waits is dropped. On the runtime's loop."""
        self._is_closed = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            for task in waiting.tasks:
                task.cancel()
            await asyncio.gather(*waiting.tasks, return_exceptions=True)

    def _take(self, read: Read, answer: ReadAnswer | None) -> None:
        if self._is_closed:
            return
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = _Waiting(asyncio.Queue(self._limits.max_waiting))
            waiting.tasks = [
                asyncio.create_task(self._work(waiting), name="isobase migration shadow")
                for _ in range(self._limits.workers)
            ]
        size = 0 if answer is None else len(answer.body)
        if waiting.reads.full() or waiting.size + size > self._limits.max_waiting_bytes:
            self._keeper.count(str(read.capability), "dropped")
            return
        waiting.size += size
        waiting.reads.put_nowait((read, answer))

    async def _work(self, waiting: _Waiting) -> None:
        while True:
            read, answer = await waiting.reads.get()
            try:
                await self._examine(read, answer)
            except Exception as error:  # noqa: BLE001 - whatever the other side did, it is not the caller's matter
                logger.warning("a shadow read of %s failed: %s", read.capability, type(error).__name__)
                self._keeper.count(str(read.capability), "failed")
            finally:
                waiting.size -= 0 if answer is None else len(answer.body)
                waiting.reads.task_done()

    async def _examine(self, read: Read, answer: ReadAnswer | None) -> None:
        snapshot = self._keeper.snapshot
        percent = number_rule(snapshot, read.capability, "noise_percent", self._limits.noise_percent)
        is_noise = random.uniform(0, 100) < percent  # noqa: S311 - no secret depends on it
        candidate = read.answering if is_noise else read.answering.other
        look = _Look(
            read,
            candidate,
            self._limits.answer_timeout_s,
            names_rule(snapshot, read.capability, "ignore_columns"),
            names_rule(snapshot, read.capability, "key_columns"),
        )
        first = answer or await look.ask(read.answering)
        seen = None if first is None else await look.at(first)
        if seen is None:
            self._count(read, "failed", is_noise)
            return
        differences, outcome = await self._confirmed(read, look) if seen else ((), "compared")
        if outcome in ("compared", "mismatched"):
            self._count(read, "compared", is_noise)
        if outcome != "compared":
            self._count(read, outcome, is_noise)
        if outcome == "mismatched":
            for difference in differences:
                self._keep(read, candidate, difference, is_noise)

    async def _confirmed(self, read: Read, look: _Look) -> tuple[Sequence[Difference], str]:
        """Look again until the sides agree, or differ twice in a row in the same way while nothing is on its way."""
        seen: frozenset[str] = frozenset()
        touched = read.touches | {read.capability}
        is_behind = True
        for wait_s in self._limits.looks_again_after_s:
            await asyncio.sleep(wait_s)
            if await self._is_behind(touched):
                is_behind, seen = True, frozenset()
                continue
            before = await look.ask(read.answering)
            differences = None if before is None else await look.at(before)
            after = await look.ask(read.answering)
            if before is None or after is None or differences is None:
                return (), "failed"
            if await look.compared(before, after):
                is_behind, seen = False, frozenset()
                continue
            if not differences:
                return (), "lagged"
            now = frozenset(difference.fingerprint for difference in differences)
            if await self._is_behind(touched):
                is_behind, seen = True, frozenset()
            elif now & seen:
                return [difference for difference in differences if difference.fingerprint in seen], "mismatched"
            else:
                is_behind, seen = False, now
        return (), "lagged" if is_behind else "unsettled"

    async def _is_behind(self, capabilities: frozenset[Capability]) -> bool:
        try:
            return await self._keeper.has_backlog(capabilities)
        except ControlError:
            return True  # it cannot be known, so nothing is blamed

    def _count(self, read: Read, name: str, is_noise: bool) -> None:
        if not is_noise:
            self._keeper.count(str(read.capability), name)
        elif name in ("compared", "mismatched"):
            self._keeper.count(str(read.capability), f"noise_{name}")

    def _keep(self, read: Read, candidate: Side, difference: Difference, is_noise: bool) -> None:
        names = ("first", "second") if is_noise else (str(read.answering), str(candidate))
        hides_all = read.capability.kind is Kind.AUTH
        cause = _cause(difference, names)
        fingerprint = ":".join(f"{value}" for value in cause.values())
        sample = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "call": {
                "method": read.method,
                "path": read.path,
                "query": censored_query(read.query, hides_all=hides_all),
            },
            names[0]: censored(difference.first, hides_all=hides_all),
            names[1]: censored(difference.second, hides_all=hides_all),
        }
        capability = str(read.capability)
        self._keeper.keep_mismatch(FoundMismatch(capability, fingerprint, cause, bounded_sample(sample), is_noise))
        if not is_noise and (capability, fingerprint) not in self._told and len(self._told) < MAX_KNOWN_CAUSES:
            self._told.add((capability, fingerprint))
            self._keeper.tell(Event("mismatch", capability, {"cause": fingerprint}))


@dataclass(slots=True, frozen=True)
class _Look:
    """How a read is asked and compared."""

    read: Read
    candidate: Side
    timeout_s: float
    ignore: tuple[str, ...]
    key: tuple[str, ...]

    async def ask(self, side: Side) -> ReadAnswer | None:
        """Ask a side; None where it could not answer at all."""
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = await self.read.ask(side)
        except Exception as error:  # noqa: BLE001 - a candidate may fail in any way
            logger.debug("%s could not be asked: %s", side, type(error).__name__)
            return None
        return None if answer.status in FAILED_STATUSES else answer

    async def at(self, first: ReadAnswer) -> tuple[Difference, ...] | None:
        """Compare ``first`` with what the candidate says now; None where it could not answer."""
        second = await self.ask(self.candidate)
        return None if second is None else await self.compared(first, second)

    async def compared(self, first: ReadAnswer, second: ReadAnswer) -> tuple[Difference, ...]:
        """Compare two answers; large ones on a thread, as writes wait for this loop too."""
        if len(first.body) + len(second.body) <= THREAD_FROM_BYTES:
            return self._compared(first, second)
        return await asyncio.to_thread(self._compared, first, second)

    def _compared(self, first: ReadAnswer, second: ReadAnswer) -> tuple[Difference, ...]:
        read = self.read
        how = asked(read.query, has_range=read.has_range, has_exact_count=read.has_exact_count)
        return compared(first, second, how, ignore=self.ignore, key=self.key)


def _cause(difference: Difference, names: tuple[str, str]) -> dict[str, Any]:
    """Name the sides in a cause: ``first`` becomes ``supabase``, a missing row says where it is missing."""
    cause: Mapping[str, Any] = difference.cause
    if cause["kind"] in ("missing_row", "extra_row"):
        missing_at = names[1] if cause["kind"] == "missing_row" else names[0]
        return {**cause, "kind": "missing_row", "missing_at": missing_at}
    if cause["kind"] in ("missing_column", "extra_column"):
        missing_at = names[1] if cause["kind"] == "missing_column" else names[0]
        return {**cause, "kind": "missing_column", "missing_at": missing_at}
    renamed = {"first": names[0], "second": names[1]}
    return {renamed.get(name, name): value for name, value in cause.items()}
