"""A client's view of the control store: what is known now, and how the store hears of this client.

One task follows the store: it hears of changes (PostgreSQL tells, SQLite is polled), beats once a second with the
number of the change that the client acts upon, and brings events and counters along. While the store is away the last
snapshot stays, with its age, and events and counters wait, within bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

from isobase_adapter.capabilities import Capability
from isobase_adapter.contracts import Event, Snapshot
from isobase_adapter.control.errors import ControlAway, ControlError, NothingKnown
from isobase_adapter.control.operator import LONGEST_CALL_S
from isobase_adapter.control.records import ClientRecord, Heartbeat, MinuteCount
from isobase_adapter.control.snapshots import SnapshotFile
from isobase_adapter.control.store import FoundMismatch, Store
from isobase_adapter.reasons import reason_of
from isobase_adapter.sides import Side

__all__ = ["HEARTBEAT_S", "StoreControl", "pid_namespace", "snapshot_file_of"]

logger = logging.getLogger("isobase.migration.control")

HEARTBEAT_S = 1.0
CATCH_UP_S = 0.1
"""How soon a client beats again while calls of an older stage are on their way: operators wait for them."""
START_TIMEOUT_S = 5.0
FIRST_RETRY_S, LAST_RETRY_S = 0.05, 2.0
FORGET_EVERY_S = 3600.0
SIGN_OFF_EVERY_S = 10.0
"""How often clients of this host are looked for whose processes are gone."""
KEEP_COUNTS = timedelta(days=14)
MAX_WAITING_EVENTS = 1_000
MAX_WAITING_COUNTS = 10_000
MAX_WAITING_MISMATCHES = 200
SIGN_OFF_TIMEOUT_S = 2.0

_of_this_process: set[UUID] = set()


class StoreControl:
    """``Control`` of the contracts on any store.

    store: where flags are kept; it is opened and closed with this. name: of the app, shown to operators.
    snapshot_file: where the last snapshot is kept for a start while the store is away. state: gives what else operators
    may see of this client (breakers ...), plain JSON values without secrets. spooled: gives how many of its writes are
    not in the outbox yet; a handover waits for them. rules: gives rules of another place, which the store's own stand
    above.
    """

    def __init__(
        self,
        store: Store,
        *,
        name: str = "",
        snapshot_file: SnapshotFile | None = None,
        state: Callable[[], Mapping[str, Any]] = dict,
        spooled: Callable[[], int] = int,
        start_timeout_s: float = START_TIMEOUT_S,
        rules: Callable[[], Mapping[str, Mapping[str, Any]]] | None = None,
    ) -> None:
        """Ask nothing yet."""
        self.id: UUID = uuid4()
        self._store = store
        self._name = name or f"app on {socket.gethostname()}"
        self._file = snapshot_file
        self._state = state
        self._spooled = spooled
        self._acts_upon: Callable[[int], int] = int
        self._more_counts: Callable[[], Mapping[tuple[str, str], int]] = dict
        self._adopt: Callable[[], Awaitable[str | None]] | None = None
        self._next_sign_off = 0.0
        self._is_catching_up = False
        self._start_timeout_s = start_timeout_s
        self._more_rules = rules
        self._rules: Mapping[str, Mapping[str, Any]] = {}
        self._snapshot: Snapshot | None = None
        self._error: ControlError | None = None
        self._listeners: list[Callable[[Snapshot], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._tried, self._known, self._ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._reads = asyncio.Lock()
        self._lock = threading.Lock()
        self._events: deque[tuple[datetime, Event]] = deque(maxlen=MAX_WAITING_EVENTS)
        self._mismatches: deque[FoundMismatch] = deque(maxlen=MAX_WAITING_MISMATCHES)
        self._counts: dict[tuple[str, datetime, str], int] = {}
        self._lost_counts = 0
        self._next_forget = monotonic() + FORGET_EVERY_S

    @property
    def snapshot(self) -> Snapshot:
        """What is known now; never waits. Raises ``NothingKnown`` before anything was heard."""
        if self._snapshot is None:
            raise NothingKnown(
                f"no flag is known yet, so no side can be chosen: {self._error or 'the control store does not answer'};"
                " it is the database of ISOBASE_DB_URL, unless another place for flags is set"
            )
        return self._snapshot

    @property
    def is_away(self) -> bool:
        """Whether the store did not answer when it was asked last."""
        return self._error is not None

    @property
    def has_heard(self) -> bool:
        """Whether the store has ever answered this client; if not, what it knows is from a file, or nothing."""
        return self._known.is_set()

    @property
    def error(self) -> ControlError | None:
        """Why the store cannot be used, None while it answers."""
        return self._error

    def reports(
        self,
        *,
        state: Callable[[], Mapping[str, Any]] | None = None,
        spooled: Callable[[], int] | None = None,
        acts_upon: Callable[[int], int] | None = None,
        counts: Callable[[], Mapping[tuple[str, str], int]] | None = None,
        adopt: Callable[[], Awaitable[str | None]] | None = None,
    ) -> None:
        """Say what else this client tells of itself. Called on the runtime's loop, each second.

        acts_upon: gives, of the number of the newest change, that of the oldest change that a call still on its way was
        sent under: nobody may take the client to act upon newer ones alone. counts: gives what was counted since it was
        asked last, by (name, capability). adopt: takes over what processes that are gone left in this client's spool
        folder, and gives the folder. state, spooled: as in ``__init__``.
        """
        self._state = state or self._state
        self._spooled = spooled or self._spooled
        self._acts_upon = acts_upon or self._acts_upon
        self._more_counts = counts or self._more_counts
        self._adopt = adopt or self._adopt

    @property
    def store(self) -> Store:
        """Where flags, writers and events are kept."""
        return self._store

    async def start(self) -> None:
        """Follow the store until ``close``; returns once something is known.

        A store that is away leaves the snapshot of the file in force, if it is young enough. Raises ``NothingKnown``
        where there is none (the store is still followed: a later ``start`` may succeed), ``NotInstalled`` where the
        database is not an Isobase's.
        """
        if self._task is None:
            _of_this_process.add(self.id)
            self._task = asyncio.create_task(self._follow(), name="isobase migration control")
        deadline = monotonic() + self._start_timeout_s
        await _wait(self._tried, deadline)
        if self._snapshot is None and self._file is not None:
            cached = await asyncio.to_thread(self._file.read)
            if cached is not None and self._snapshot is None:
                logger.warning("the control store is away: starting with the flags of %s", cached.heard_at)
                self._take(cached)
        if self._snapshot is None and isinstance(self._error, ControlAway):
            await _wait(self._known, deadline)
        if self._snapshot is None and self._error is not None and not isinstance(self._error, ControlAway):
            raise self._error
        _ = self.snapshot

    async def close(self) -> None:
        """Sign this client off and end."""
        task, self._task = self._task, None
        if task is not None:
            # Not in the middle of a statement, of which nobody would know whether it was done.
            self._ended.set()
            self._changed.set()
            await asyncio.wait({task}, timeout=SIGN_OFF_TIMEOUT_S)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        with contextlib.suppress(ControlError, TimeoutError):
            async with asyncio.timeout(SIGN_OFF_TIMEOUT_S):
                if self._error is None and self._snapshot is not None:
                    await self._bring()
                    if self._spooled():
                        await self._beat()
                    await self._store.sign_off(self.id)
        await self._store.close()
        _of_this_process.discard(self.id)

    async def reload(self) -> Snapshot:
        """Read again now. Raises ``ControlAway`` while the store is away."""
        async with self._reads:
            try:
                snapshot = await self._store.read_snapshot()
            except ValueError as error:
                # A flag that this version cannot read is no reason to forget what it knows.
                self.tell(Event("flags_unreadable", "", {"error": str(error)}))
                raise ControlError(f"the control store holds what this version cannot read: {error}") from error
            self._take(snapshot)
        if self._file is not None:
            try:
                await asyncio.to_thread(self._file.write, snapshot)
            except OSError as error:
                logger.warning("the last flags could not be kept in a file: %s", reason_of(error))
        return snapshot

    def on_change(self, listener: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Call ``listener`` after every change, on the event loop; returns what ends it."""
        self._listeners.append(listener)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return end

    def tell(self, event: Event) -> None:
        """Keep an event, in the background; never waits and never fails.

        The oldest give way while the store is away.
        """
        logger.info("%s %s %s", event.name, event.capability, dict(event.detail))
        self._events.append((datetime.now(UTC), event))

    def count(self, capability: str, name: str, value: int = 1) -> None:
        """Count something, in the background; never waits and never fails."""
        key = (capability, datetime.now(UTC).replace(second=0, microsecond=0), name)
        with self._lock:
            if key in self._counts or len(self._counts) < MAX_WAITING_COUNTS:
                self._counts[key] = self._counts.get(key, 0) + value
            else:
                self._lost_counts += value

    def keep_mismatch(self, found: FoundMismatch) -> None:
        """Keep a difference between two answers, in the background; never waits and never fails. From any thread."""
        self._mismatches.append(found)

    async def has_backlog(self, capabilities: Collection[Capability], lacking: Side | None = None) -> bool:
        """Whether writes wait that may change what these read; lacking: see ``Store``. Raises ``ControlAway``."""
        return self._spooled() > 0 or await self._store.has_backlog(capabilities, lacking)

    def wake(self) -> None:
        """Beat soon instead of at the next second: what the client would say of itself has changed. On the loop."""
        self._changed.set()

    async def _follow(self) -> None:
        retry_s = FIRST_RETRY_S
        while not self._ended.is_set():
            try:
                await self._store.open(self._changed.set)
                while not self._ended.is_set():
                    self._changed.clear()
                    await self._turn()
                    retry_s = FIRST_RETRY_S
                    with contextlib.suppress(TimeoutError):
                        pause_s = CATCH_UP_S if self._is_catching_up else min(HEARTBEAT_S, self._store.poll_s)
                        await asyncio.wait_for(self._changed.wait(), pause_s)
            except ControlError as error:
                if self._error is None or type(self._error) is not type(error):
                    logger.warning("%s; what was last known stays in force", error)
                self._error = error
            except Exception as error:
                # Wrong passwords, tables that someone changed: told, and tried again, as operators may mend them.
                logger.exception("following the control store failed")
                self._error = ControlError(reason_of(error))
            self._tried.set()
            with contextlib.suppress(TimeoutError):
                pause_s = retry_s * random.uniform(0.7, 1.3)  # noqa: S311 - no secret depends on it
                await asyncio.wait_for(self._ended.wait(), pause_s)
            retry_s = min(retry_s * 2, LAST_RETRY_S)

    async def _turn(self) -> None:
        if self._snapshot is None or self._error is not None:
            await self.reload()
            self._next_sign_off = 0.0
        if monotonic() >= self._next_sign_off:
            self._next_sign_off = monotonic() + SIGN_OFF_EVERY_S
            await self._forget_dead()
        version = await self._beat()
        if self._snapshot is None or version != self._snapshot.version:
            await self.reload()
            await self._beat()
        else:
            self._snapshot = replace(self._snapshot, heard_at=datetime.now(UTC), rules=self._all_rules())
        if self._error is not None:
            logger.info("the control store answers again")
            self._error = None
        self._tried.set()
        self._known.set()
        await self._bring()
        if monotonic() >= self._next_forget:
            self._next_forget = monotonic() + FORGET_EVERY_S
            await self._store.forget_before(datetime.now(UTC) - KEEP_COUNTS)

    def _all_rules(self) -> Mapping[str, Mapping[str, Any]]:
        """Give the store's rules, and below them those of another place."""
        more = self._more_rules() if self._more_rules is not None else {}
        if not more:
            return self._rules
        return {name: {**more.get(name, {}), **self._rules.get(name, {})} for name in more.keys() | self._rules.keys()}

    async def _forget_dead(self) -> None:
        """Sign off clients whose processes ran here and are gone: nobody need wait for them.

        A last write of one that acted upon an older change may still arrive: it counts until no call can be that old. What
        one left in a spool may never have been told, as the store was away: it is taken over, and told, before.
        """
        adopted = await self._adopt() if self._adopt is not None else None
        if adopted is not None:
            await self._beat()
        for client in await self._store.read_clients():
            if (
                client.is_silent
                and (client.host, client.state.get("pid_namespace")) == (socket.gethostname(), pid_namespace())
                and not _is_running(client)
                and client.state.get("spool_dir") in (None, adopted)
                and (client.version >= self.snapshot.version or client.silent_s > LONGEST_CALL_S)
            ):
                await self._store.sign_off(client.id)

    async def _beat(self) -> int:
        newest = self._snapshot.version if self._snapshot is not None else 0
        version = self._acts_upon(newest)
        self._is_catching_up = version < newest
        state = {"pid_namespace": pid_namespace(), **self._told_state()}
        return await self._store.beat(
            Heartbeat(self.id, self._name, socket.gethostname(), os.getpid(), version, self._spooled(), state)
        )

    def _told_state(self) -> Mapping[str, Any]:
        try:
            return self._state()
        except Exception:
            # What operators would like to see beside must not make a client look silent.
            logger.exception("the state of this client cannot be told")
            return {}

    async def _bring(self) -> None:
        """Bring events and mismatches (at least once), and counters (at most once)."""
        events = [self._events.popleft() for _ in range(len(self._events))]
        if events:
            try:
                await self._store.add_events(events, self.id)
            except BaseException:
                self._events.extendleft(reversed(events))
                raise
        found = [self._mismatches.popleft() for _ in range(len(self._mismatches))]
        if found:
            try:
                await self._store.add_mismatches(found)
            except BaseException:
                self._mismatches.extendleft(reversed(found))
                raise
        for (name, capability), value in self._more_counts().items():
            self.count(capability, name, value)
        with self._lock:
            counts, self._counts = self._counts, {}
        if counts:
            # Never twice: a gate asks for so many compared reads. What is lost with a connection is missing, then.
            await self._store.add_counts([MinuteCount(c, m, n, value) for (c, m, n), value in counts.items()])

    def _take(self, snapshot: Snapshot) -> None:
        self._rules = snapshot.rules
        before, self._snapshot = self._snapshot, replace(snapshot, rules=self._all_rules())
        if before is not None and before.version == snapshot.version:
            return
        for listener in list(self._listeners):
            try:
                listener(snapshot)
            except Exception:
                logger.exception("a listener to changes of flags failed")


async def _wait(event: asyncio.Event, deadline: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(deadline - monotonic(), 0))


def pid_namespace() -> str:
    """Give the namespace in which this process's number means something; empty where there are none."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _is_running(client: ClientRecord) -> bool:
    if client.pid == os.getpid():
        return client.id in _of_this_process  # if not, a process before this one had its number
    try:
        os.kill(client.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def snapshot_file_of(folder: Path, key: str) -> SnapshotFile:
    """Give the file of the last snapshot in the spool's folder; ``key``: the store's address, without a password."""
    return SnapshotFile(folder / "flags.json", key)
