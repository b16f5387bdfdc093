"""What one migration client is made of: where the sides are, who decides, and what lives on its runtime.

A client's transports share one ``Core``. It is ready once the flags are known, which its maker waits for; a forked child
gets parts of its own when it makes its first call.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from isobase_adapter.assembly import Parts, assemble
from isobase_adapter.auth.family import AuthFamily
from isobase_adapter.breakers import Breakers
from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import Event, Snapshot
from isobase_adapter.http.addresses import Addresses
from isobase_adapter.http.classify import FamilyName
from isobase_adapter.http.deciding import Decider
from isobase_adapter.http.families import Acted
from isobase_adapter.http.keyed_writes import KeyedWrites
from isobase_adapter.http.probing import Probe
from isobase_adapter.http.reads import Reads
from isobase_adapter.http.relations import Relations
from isobase_adapter.http.routing import Router
from isobase_adapter.http.rpcs import Functions, Rpcs
from isobase_adapter.http.write_fallback import WriteFallback
from isobase_adapter.http.writes import RowWrites
from isobase_adapter.metrics import Metrics
from isobase_adapter.runtime import Runtime
from isobase_adapter.settings import MigrationSettings
from isobase_adapter.shadow.asking import ShadowReads
from isobase_adapter.shadow.running import Shadow
from isobase_adapter.sides import Side
from isobase_adapter.storage.family import StorageFamily
from isobase_adapter.storage.reads import ObjectReads

__all__ = ["Core"]

logger = logging.getLogger("isobase.migration")

Assemble = Callable[[MigrationSettings, Addresses, Metrics], Parts]


class Core:
    """The parts of one client in one process."""

    @classmethod
    def of(cls, settings: MigrationSettings, supabase_url: str, supabase_key: str) -> Core:
        """Give the core of these settings, which all clients of this process share that are made with equal ones.

        It ends when the last of them is closed: each ``close`` gives back one ``of``. A server that makes a client for each
        request or user so has the connections of one client. Raises ``SettingsError`` as ``Addresses``.
        """
        with SHARING:
            for core, key in SHARED.items():
                if key == (settings, supabase_url, supabase_key):
                    core._users += 1
                    return core
            core = cls(settings, Addresses(supabase_url, supabase_key, settings))
            if settings.is_shared:
                SHARED[core] = (settings, supabase_url, supabase_key)
            return core

    def __init__(self, settings: MigrationSettings, addresses: Addresses, make: Assemble = assemble) -> None:
        """Take what the client is told; nothing is connected yet.

        make: puts the parts together.
        """
        self._users = 1
        self.settings = settings
        self.addresses = addresses
        self.metrics = Metrics()
        self._make = make
        self._lock = threading.Lock()
        self._is_closed = False
        self._begin()
        OPEN.add(self)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self.runtime = Runtime()
        self.parts = parts = self._make(self.settings, self.addresses, self.metrics)
        self._starting: Any = None
        self._is_started = False
        self.breakers = Breakers(self.settings.breaker, self.tell, writes=self.settings.write_breaker)
        parts.is_well = Probe(self.breakers, str(self.addresses.base(Side.ISOBASE)), self.settings.isobase_key).is_well
        self._sides: dict[str, Side] = {}
        parts.control.on_change(self._heard_writers)
        self.decider = Decider(parts.stages, has_source=parts.has_source)
        parts.shadow = ShadowReads(self.addresses, Shadow(parts.control, self.runtime.call_soon))
        object_reads = ObjectReads(
            self.breakers, self.metrics, self.tell, self.settings.fallback_timeout_s, parts.backlog, parts.shadow
        )
        guard = WriteFallback(self.breakers, parts.fail_over, self.metrics)
        parts.families[FamilyName.STORAGE] = StorageFamily(
            self.addresses,
            self.decider,
            object_reads,
            parts.writing,
            guard,
            inline_max_bytes=self.settings.inline_upload_max_bytes,
        )
        relations = Relations(parts.known_tables)
        keyed = KeyedWrites(self.addresses)
        if parts.users is not None:
            parts.families[FamilyName.AUTH] = AuthFamily(
                parts.users,
                parts.databases,
                parts.writing,
                self.breakers,
                self.metrics,
                self.tell,
                self.addresses.user_of,
                self.settings.fallback_timeout_s,
                parts.backlog,
                parts.shadow,
            )
        reads = Reads(
            self.decider,
            relations,
            self.breakers,
            self.metrics,
            self.tell,
            self.settings.fallback_timeout_s,
            parts.backlog,
            parts.shadow,
        )
        self.router = Router(
            self.addresses,
            self.decider,
            reads,
            RowWrites(
                self.decider,
                relations,
                parts.writing,
                parts.load_table,
                self.metrics,
                self.tell,
                guard,
                keyed,
            ),
            Rpcs(
                self.decider,
                reads,
                Functions(parts.fetch if parts.databases else None),
                self.settings.rpc,
                lambda: parts.control.snapshot,
                parts.writing,
                self.metrics,
                self.tell,
                guard,
                keyed,
            ),
            parts.families,
            self.tell,
            lambda: parts.control.snapshot.version,
            lambda: parts.control.has_heard,
        )
        parts.control.reports(
            acts_upon=self.router.in_flight.oldest,
            state=lambda: {
                "breakers": self.breakers.states(),
                "rpc": sorted(self.settings.rpc),
                "spool_dir": parts.spool_dir,
            },
            counts=self.metrics.take,
            spooled=parts.spooled,
            adopt=parts.adopt,
        )

    def _heard_writers(self, snapshot: Snapshot) -> None:
        """Who is handed the writer was found well: calls go there, whatever this client saw of it before."""
        for pattern, writer in snapshot.writers.items():
            before = self._sides.get(pattern, writer.side)
            self._sides[pattern] = writer.side
            if before is Side.SUPABASE and writer.side is Side.ISOBASE:
                self.breakers.reset(pattern, Side.ISOBASE)

    @property
    def is_ready(self) -> bool:
        """Whether calls may be routed: the flags are known, and this is the process that learned them."""
        return self._is_started and self._pid == os.getpid()

    def storage_url(self, bucket: str, headers: Mapping[str, str]) -> str:
        """Give the URL of storage at the side that answers reads of a bucket to who sends ``headers``."""
        acted = self.decider.acted(
            Capability(Kind.BUCKET, bucket), lambda: self.addresses.user_of_authorization(headers.get("authorization"))
        )
        return f"{self.addresses.base(acted.read_route.answers)}storage/v1/"

    def acted(self, capability: Capability, user: str | None) -> Acted:
        """Say under what a capability is handled now for a user."""
        return self.decider.acted(capability, lambda: user)

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener``, on the runtime, after flags or writers changed; gives what ends it."""
        return self.parts.control.on_change(lambda snapshot: listener())

    def tell(self, event: Event) -> None:
        """Keep an event for operators; never waits."""
        logger.info("%s %s %s", event.name, event.capability, dict(event.detail))
        self.parts.control.tell(event)

    async def ready(self) -> None:
        """Wait until calls may be routed. Raises what kept it from becoming ready."""
        if not self.is_ready:
            await asyncio.wrap_future(self._start())

    def ready_now(self) -> None:
        """The same, for a caller that may block."""
        if not self.is_ready:
            self._start().result(self.settings.start_timeout_s + 5)

    def _start(self) -> Any:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the migration client is closed")
            if self._pid != os.getpid():
                self._begin()
            if self._starting is None or (self._starting.done() and not self._is_started):
                self._starting = self.runtime.submit(self._started())
            return self._starting

    async def _started(self) -> None:
        async with asyncio.timeout(self.settings.start_timeout_s):
            await self.parts.start()
        self._is_started = True

    async def aclose(self) -> None:
        """As ``close``, without holding up the caller's event loop."""
        if self._is_given_back():
            await asyncio.to_thread(self.end)

    def close(self) -> None:
        """Give it back; everything that runs ends with the last client that has it."""
        if self._is_given_back():
            self.end()

    def _is_given_back(self) -> bool:
        """Note that one client less has it; whether it was the last."""
        with SHARING:
            self._users -= 1
            if self._users > 0:
                return False
            SHARED.pop(self, None)
            return True

    def end(self) -> None:
        """End everything that runs, whoever has it; may be called again."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        OPEN.discard(self)
        if self._pid == os.getpid() and self._starting is not None:
            try:
                self.runtime.run(self.parts.close(), timeout_s=CLOSE_TIMEOUT_S)
            except TimeoutError:
                logger.warning("the parts of a migration client did not end in %s s", CLOSE_TIMEOUT_S)
        self.runtime.close()


CLOSE_TIMEOUT_S = 15.0
OPEN: weakref.WeakSet[Core] = weakref.WeakSet()
SHARING = threading.Lock()
SHARED: dict[Core, tuple[MigrationSettings, str, str]] = {}
"""Cores that clients of this process share, and what they were made with."""


def close_all() -> None:
    """Sign off what the app left open when its process ends: nobody need wait for a client that is gone."""
    for core in list(OPEN):
        core.end()


def _forked() -> None:
    global SHARING
    SHARING = threading.Lock()  # another thread may have held it


atexit.register(close_all)
os.register_at_fork(after_in_child=_forked)
