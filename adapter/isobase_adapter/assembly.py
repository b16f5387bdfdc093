"""Puts the parts of a migration client together: control store, flags, databases, outbox, carriers, families.

The one place that knows all of them. Everything made here lives on the client's runtime and is started and closed there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import asyncpg

from isobase_adapter.auth.carrier import UserCarrier
from isobase_adapter.capabilities import Capability, Kind, fits
from isobase_adapter.carrying import Carriers
from isobase_adapter.contracts import Carrier, OutboxAway, Writer
from isobase_adapter.control.errors import ControlError
from isobase_adapter.control.following import StoreControl, snapshot_file_of
from isobase_adapter.control.postgres import PostgresStore
from isobase_adapter.control.snapshots import SnapshotFile
from isobase_adapter.control.sqlite import SqliteStore
from isobase_adapter.control.store import Store
from isobase_adapter.drainer import Drained, Drainer
from isobase_adapter.flags.file import FileFlags
from isobase_adapter.flags.stages import FlagSource, Stages
from isobase_adapter.handover import Handover, HandoverLimits, HandoverRefused, fail_over, lift_abandoned
from isobase_adapter.http.addresses import Addresses
from isobase_adapter.http.classify import FamilyName
from isobase_adapter.http.families import Family
from isobase_adapter.http.probing import answering
from isobase_adapter.metrics import Metrics
from isobase_adapter.outbox.ending import LongWell, end_doubtful
from isobase_adapter.outbox.fallback import Fallback, fence_at
from isobase_adapter.outbox.postgres import PostgresOutbox
from isobase_adapter.outbox.spooling import SpoolingOutbox
from isobase_adapter.performing import Writing
from isobase_adapter.poolers import is_transaction_pooler
from isobase_adapter.recovery import Recovery
from isobase_adapter.rows.catalog import CatalogView, UnknownTable
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.rest_rows import RestRows
from isobase_adapter.rows.sequences import FALLBACK_GAP, move_sequences
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.settings import MigrationSettings, SettingsError
from isobase_adapter.shadow.asking import ShadowReads
from isobase_adapter.sides import Side
from isobase_adapter.storage.opening import OpenStorage
from isobase_adapter.things import ThingKind
from isobase_adapter.working import Working, begun_on_host
from isobase_adapter.writing import WritingLimits, writer_for

__all__ = ["Parts", "assemble"]

OUTBOX_CONNECTIONS = 6
BACKLOG_TIMEOUT_S = 1.0
FAILOVER_TIMEOUT_S = 20.0
RECOVERY_HANDOVER = HandoverLimits(calm_s=60.0)
OF_START_TIMEOUT = 0.8
"""The flags' part of the time that a start may take: what is missing is then said by name."""
Rules: TypeAlias = Callable[[], Mapping[str, Mapping[str, object]]]


@dataclass(slots=True)
class Parts:
    """What lives on the runtime of one client."""

    settings: MigrationSettings
    addresses: Addresses
    metrics: Metrics
    control: StoreControl
    stages: Stages
    has_source: bool
    """Whether flags are held elsewhere than in the control store."""
    databases: Mapping[Side, SideDatabase]
    """Both sides' databases; empty where their URLs are not known."""
    shadow: ShadowReads | None = None
    """Compares reads in the background; made with the runtime."""
    users: UserCarrier | None = None
    """Carries users; None where the databases are not known."""
    is_well: Callable[[str], Awaitable[bool]] | None = None
    """Whether Isobase does again what a pattern needs; None: nobody asks, and an operator hands the writer back."""
    families: dict[FamilyName, Family] = field(default_factory=dict)
    """Who handles the calls of auth and storage while both sides matter."""
    _storage: OpenStorage | None = None
    rest: RestRows | None = None
    """Carries rows through the APIs where the databases are not known."""
    _working: Working | None = None

    async def start(self) -> None:
        """Learn the flags, and begin what runs in the background. Raises ``ControlError``."""
        await self.control.start()
        if self._working is not None:
            return
        store = self.control.store
        if isinstance(store, SqliteStore):
            if self.databases or self.rest is not None:
                self._working = begun_on_host(store, self.control, await self._carriers(), self._limits())
        elif self.databases and self.settings.isobase_db_url is not None:
            self._working = await self._begun(self.settings.isobase_db_url)

    async def close(self) -> None:
        """End everything, in the order in which it may still be needed."""
        self.stages.close()
        if self.shadow is not None:
            await self.shadow.close()
        if self._working is not None:
            for task in self._working.tasks:
                task.cancel()
            await asyncio.gather(*self._working.tasks, return_exceptions=True)
            await self._working.close()
        if self._storage is not None:
            await self._storage.close()
        for database in self.databases.values():
            await database.close()
        if self.rest is not None:
            await self.rest.close()
        await self.control.close()

    def writing(self) -> Writing:
        """What performs writes to both sides. Raises ``SettingsError`` where the databases are not known."""
        if self._working is None:
            raise SettingsError(
                "both sides are to be written, and neither their databases (SUPABASE_DB_URL, ISOBASE_DB_URL) nor their"
                " service-role keys (SUPABASE_SERVICE_ROLE_KEY, ISOBASE_SERVICE_ROLE_KEY) are set"
            )
        return self._working.writing

    async def drain(self, timeout_s: float) -> Drained:
        """Carry what waits in the outbox, for at most ``timeout_s`` seconds. Raises ``OutboxAway``."""
        return Drained() if self._working is None else await self._working.drainer.drain(timeout_s)

    async def pending(self) -> int:
        """How many writes wait for their second side, everybody's. Raises ``OutboxAway``."""
        return 0 if self._working is None else await self._working.waiting()

    async def backlog(self, capabilities: frozenset[Capability], lacking: Side) -> bool | None:
        """Whether a side lacks writes of these of which somebody was told; None where nobody can tell."""
        if self._working is not None and self._working.writing.has_unsettled():
            return True
        try:
            async with asyncio.timeout(BACKLOG_TIMEOUT_S):
                return await self.control.has_backlog(capabilities, lacking)
        except (ControlError, TimeoutError):
            return None

    async def fail_over(self, capability: Capability, epoch: int) -> Writer | None:
        """Make Supabase the writer because Isobase does not answer; None where that cannot be agreed upon now."""
        if self._working is None:
            return None
        try:
            async with asyncio.timeout(FAILOVER_TIMEOUT_S):
                writer = await self._working.fail_over(capability, epoch)
                await self.control.reload()
        except (HandoverRefused, OutboxAway, ControlError, TimeoutError):
            return None
        return writer

    async def fetch(self, query: str) -> Sequence[Mapping[str, Any]]:
        """Run a reading query at Supabase's database."""
        return [dict(row) for row in await self.databases[Side.SUPABASE].fetch(query)]

    def spooled(self) -> int:
        """How many writes of this process are not in the outbox yet."""
        return 0 if self._working is None else self._working.spooled()

    @property
    def spool_dir(self) -> str | None:
        """The spool folder, where this client spools."""
        spools = bool(self.databases) and not isinstance(self.control.store, SqliteStore)
        return str(self.settings.spool_dir.resolve()) if spools and self.settings.spool_dir is not None else None

    async def adopt(self) -> str | None:
        """Take over what processes that are gone left in the spool folder; gives the folder, None where there is none."""
        return None if self._working is None else await self._working.adopt()

    def known_tables(self) -> CatalogView:
        """Tables and views as they were read last; Supabase's, as a table's rows are named by its key there."""
        database = self.databases.get(Side.SUPABASE)
        if database is not None:
            return database.catalog.known
        return self.rest.known_tables() if self.rest is not None else CatalogView()

    async def load_table(self, resource: str) -> None:
        """Read a table that is not known yet; nothing where there is none."""
        database = self.databases.get(Side.SUPABASE)
        if database is not None:
            with contextlib.suppress(UnknownTable):
                await database.catalog.table(resource)
        elif self.rest is not None:
            await self.rest.load_table(resource)

    async def _begun(self, isobase_db_url: str) -> Working:
        pool, supabase = [
            await asyncpg.create_pool(
                dsn,
                min_size=0,
                max_size=size,
                statement_cache_size=0 if dsn and is_transaction_pooler(dsn) else 100,
                reset=_nothing_to_reset,
            )
            for dsn, size in ((isobase_db_url, OUTBOX_CONNECTIONS), (self.settings.supabase_db_url, 1))
        ]
        carriers = await self._carriers()
        outbox = PostgresOutbox(pool, self.control.id)
        is_long_well = LongWell(answering(*self._apis()))

        async def chore() -> None:
            await lift_abandoned(pool)
            await outbox.disown(writing.open_numbers)
            await end_doubtful(pool, supabase, is_long_well=is_long_well)

        drainer = Drainer(outbox, carriers, tell=self.control.tell, chore=chore)

        def fencing() -> AbstractAsyncContextManager[Any]:
            return fence_at(supabase)

        fallback = Fallback(fencing, pool, self.control.id, writer_of=self._heard_writer, tell=self.control.tell)
        spooling = SpoolingOutbox(outbox, self.settings.spool_dir, may_spool=self._may_spool, fallback=fallback)
        writing = Writing(
            self.control, spooling, carriers, limits=self._limits(), on_postponed=drainer.wake, fencing=fencing
        )
        tasks: tuple[asyncio.Task[None], ...] = (
            asyncio.create_task(drainer.run(), name="isobase migration drainer"),
            asyncio.create_task(spooling.run(), name="isobase migration spool"),
        )

        if self.settings.recovers and self.is_well is not None:
            handover = Handover(
                pool,
                supabase,
                move_sequences=self._move_sequences,
                drainer=drainer,
                limits=RECOVERY_HANDOVER,
                is_long_well=LongWell(answering(*self._apis())),
            )
            recovery = Recovery(pool, handover, self.is_well, self.control.tell)
            tasks += (asyncio.create_task(recovery.run(), name="isobase migration recovery"),)

        async def close() -> None:
            await spooling.close()
            pool.terminate()
            supabase.terminate()

        return Working(
            drainer,
            writing,
            tasks,
            waiting=lambda: outbox.waiting(None),
            spooled=lambda: spooling.spooled,
            adopt=spooling.adopt,
            fail_over=lambda capability, epoch: fail_over(pool, supabase, capability, epoch, tell=self.control.tell),
            close=close,
        )

    def _apis(self) -> tuple[Mapping[Side, str], Mapping[Side, str]]:
        """Give both APIs' URLs and keys."""
        return {side: str(self.addresses.base(side)) for side in Side}, {
            side: self.addresses.key(side) for side in Side
        }

    async def _move_sequences(self, pattern: str, to: Side) -> None:
        """Put the sequences of both sides past each other, as a cutover does."""
        from isobase_adapter.bulk.catching_up import wait_until_read

        dsn = self.settings.db_url(to.other)
        assert dsn is not None
        await wait_until_read(dsn, to.other)
        views = [await self.databases[side].catalog.reload() for side in Side]
        tables = [
            name
            for name in views[0].tables.keys() & views[1].tables.keys()
            if fits(pattern, Capability(Kind.TABLE, name))
        ]
        pairs = RowCarrier(self.databases[Side.SUPABASE], self.databases[Side.ISOBASE]).pairs
        await move_sequences(pairs, to, tables=tables)
        await move_sequences(pairs, to.other, gap=FALLBACK_GAP, tables=tables)

    async def _carriers(self) -> Carriers:
        """Give what carries, as far as databases and keys are known."""
        kinds: dict[ThingKind, Carrier] = {}
        if self.databases:
            rows = cast(Carrier, RowCarrier(self.databases[Side.SUPABASE], self.databases[Side.ISOBASE]))
            kinds |= dict.fromkeys((ThingKind.ROW, ThingKind.TABLE), rows)
        elif self.rest is not None:
            kinds |= dict.fromkeys((ThingKind.ROW, ThingKind.TABLE), self.rest.carrier)
        if self.users is not None:
            kinds |= dict.fromkeys((ThingKind.USER, ThingKind.USERS), self.users)
        if self.settings.supabase_service_role_key is not None and self.settings.isobase_service_role_key is not None:
            self._storage = OpenStorage(str(self.addresses.base(Side.SUPABASE)), self.settings)
            await self._storage.start()
            kinds |= dict.fromkeys((ThingKind.OBJECT, ThingKind.OBJECTS, ThingKind.BUCKET), self._storage.carrier)
        return Carriers(kinds)

    def _limits(self) -> WritingLimits:
        return WritingLimits(admission_s=self.settings.handover_timeout_s, carry_s=self.settings.second_write_timeout_s)

    def _may_spool(self, capability: Capability, epoch: int) -> bool:
        """Whether a write to Supabase may be kept in this process: Supabase is the writer, and operators know this client.

        Where Isobase was the writer before, something may still be on its way to Supabase: then a record has to hold it up
        first (``Fallback``).
        """
        writer = self._heard_writer(capability)
        if writer is None or writer.side is not Side.SUPABASE or writer.epoch > 0:
            return False
        return writer.epoch == epoch and not writer.is_handing_over

    def _heard_writer(self, capability: Capability) -> Writer | None:
        """The writer as the store told it to this process; None where it knows of it from a file alone."""
        return writer_for(self.control.snapshot, capability) if self.control.has_heard else None


def assemble(
    settings: MigrationSettings,
    addresses: Addresses,
    metrics: Metrics,
    state: Callable[[], Mapping[str, object]] = dict,
) -> Parts:
    """Make the parts of a client; nothing is connected yet. state: what operators may see of the client."""
    source, rules = _flag_source(settings)
    control = StoreControl(
        _store(settings),
        name=settings.name,
        start_timeout_s=settings.start_timeout_s * OF_START_TIMEOUT,
        state=state,
        snapshot_file=_snapshot_file(settings),
        rules=rules,
    )
    databases: dict[Side, SideDatabase] = {}
    if settings.supabase_db_url is not None and settings.isobase_db_url is not None:
        databases = {
            Side.SUPABASE: SideDatabase(Side.SUPABASE, settings.supabase_db_url),
            Side.ISOBASE: SideDatabase(Side.ISOBASE, settings.isobase_db_url),
        }
    users = UserCarrier(databases) if databases else None
    return Parts(
        settings,
        addresses,
        metrics,
        control,
        Stages(control, source, anonymous=settings.anonymous),
        source is not None,
        databases,
        users=users,
        rest=None if databases else _rest(settings, addresses),
    )


def _rest(settings: MigrationSettings, addresses: Addresses) -> RestRows | None:
    if settings.supabase_service_role_key is None or settings.isobase_service_role_key is None:
        return None
    return RestRows(
        {side: str(addresses.base(side)) for side in Side},
        {Side.SUPABASE: settings.supabase_service_role_key, Side.ISOBASE: settings.isobase_service_role_key},
    )


def _flag_source(settings: MigrationSettings) -> tuple[FlagSource | None, Rules | None]:
    """Give where flags are held beside the control store, and what gives the rules of that place."""
    if settings.flag_provider is not None:
        from isobase_adapter.flags.provider import OpenFeatureFlags

        return OpenFeatureFlags(settings.flag_provider), None
    if settings.flags_file is not None:
        file = FileFlags(settings.flags_file)
        return file, lambda: file.rules
    return None, None


def _snapshot_file(settings: MigrationSettings) -> SnapshotFile | None:
    if settings.spool_dir is None or settings.isobase_db_url is None or settings.control_file is not None:
        return None
    settings.spool_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = urlsplit(settings.isobase_db_url)
    return snapshot_file_of(settings.spool_dir, f"{place.hostname}:{place.port}{place.path}")


def _store(settings: MigrationSettings) -> Store:
    if settings.control_file is not None:
        return SqliteStore(settings.control_file)
    if settings.isobase_db_url is not None:
        return PostgresStore(settings.isobase_db_url)
    folder = settings.spool_dir or Path.home() / ".isobase" / "migration"
    return SqliteStore(folder / "control.sqlite")


async def _nothing_to_reset(connection: Any) -> None:
    """Every setting and lock is its transaction's, but for a handover's, which takes its own back: no round trip."""
