"""What the commands work with where flags and outbox are in a SQLite file of this host: carriers, cutover, rollback.

Rows go by SQL where both database URLs are known, else through the data APIs with service-role keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from uuid import uuid4

import httpx

from isobase_adapter.auth.carrier import UserCarrier
from isobase_adapter.bulk.capture import read_slot
from isobase_adapter.bulk.connections import connected
from isobase_adapter.bulk.cutover import Cutover
from isobase_adapter.bulk.errors import Refused
from isobase_adapter.bulk.gates import Compared, Gate, GateLimits, Gates, compared_gates, control_gates, objects_gate
from isobase_adapter.bulk.parts import HTTP_TIMEOUT_S, STATEMENT_TIMEOUT_S, Api
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.capabilities import Capability, Kind, fits
from isobase_adapter.carrying import Carriers
from isobase_adapter.contracts import Carrier
from isobase_adapter.control.changes import effective_writer
from isobase_adapter.control.operator import Operator
from isobase_adapter.control.postgres import PostgresStore
from isobase_adapter.control.sqlite import SqliteStore
from isobase_adapter.drainer import Drainer
from isobase_adapter.handover import Handover, HandoverRefused
from isobase_adapter.handover_file import FileDesks
from isobase_adapter.outbox.locks import FencedCarrier, HostLocks
from isobase_adapter.outbox.sqlite import SqliteOutbox
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.rest_rows import RestRows
from isobase_adapter.rows.sequences import FALLBACK_GAP, move_sequences
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.rows.tables import Table
from isobase_adapter.sides import Side
from isobase_adapter.storage.carrier import ObjectCarrier
from isobase_adapter.storage.store import Store
from isobase_adapter.things import Thing, ThingKind

__all__ = ["NOT_SEEN", "HostCutover", "HostParts", "opened_host_cutover", "opened_host_parts"]

NOT_SEEN = "NOT LOOKED AT: no data API tells it"
UNSEEN_BY_API = {
    "sync": "not used",
    "together": "tables that its triggers and foreign keys write are under the same flag",
    "definitions": "those of the writer",
}
"""Gates of which only the databases know, and what an operator without their URLs has to see to."""
COUNTED = frozenset({"int2", "int4", "int8"})


@dataclass(slots=True, frozen=True)
class HostParts:
    """The control file and what carries. ``rows``: None where the databases are not known; then ``rest`` is there."""

    store: SqliteStore
    locks: HostLocks
    outbox: SqliteOutbox
    carrier: Carrier
    rows: RowCarrier | None
    rest: RestRows | None
    databases: Mapping[Side, SideDatabase]
    objects: ObjectCarrier | None
    dsns: Mapping[Side, str]

    def drainer(self) -> Drainer:
        """Give a drainer of the file's outbox."""
        return Drainer(self.outbox, self.carrier)


@asynccontextmanager
async def opened_host_parts(
    control_file: Path, dsns: Mapping[Side, str], apis: Mapping[Side, Api]
) -> AsyncIterator[HostParts]:
    """Open them; everything is closed with the block. Raises ``Refused`` where nothing could carry rows."""
    kinds: dict[ThingKind, Carrier] = {}
    databases: dict[Side, SideDatabase] = {}
    async with AsyncExitStack() as opened:
        store = SqliteStore(control_file)
        await store.open()
        opened.push_async_callback(store.close)
        rows: RowCarrier | None = None
        rest: RestRows | None = None
        objects: ObjectCarrier | None = None
        if len(dsns) == len(Side):
            databases = {side: SideDatabase(side, dsns[side], statement_timeout_s=STATEMENT_TIMEOUT_S) for side in Side}
            for database in databases.values():
                opened.push_async_callback(database.close)
            rows = RowCarrier(databases[Side.SUPABASE], databases[Side.ISOBASE])
            kinds |= dict.fromkeys((ThingKind.ROW, ThingKind.TABLE), cast(Carrier, rows))
            kinds |= dict.fromkeys((ThingKind.USER, ThingKind.USERS), cast(Carrier, UserCarrier(databases, rows)))
        elif len(apis) == len(Side):
            rest = RestRows({side: apis[side].url for side in Side}, {side: apis[side].key for side in Side})
            opened.push_async_callback(rest.close)
            kinds |= dict.fromkeys((ThingKind.ROW, ThingKind.TABLE), cast(Carrier, rest.carrier))
        else:
            raise Refused(
                "neither both databases nor both APIs are known",
                hint="set both *_DB_URL, or both *_URL and *_SERVICE_ROLE_KEY",
            )
        if len(apis) == len(Side):
            http = await opened.enter_async_context(httpx.AsyncClient(timeout=HTTP_TIMEOUT_S))
            stores = {side: Store(side, http, apis[side].url, apis[side].key, None) for side in Side}
            objects = ObjectCarrier(stores[Side.SUPABASE], stores[Side.ISOBASE])
            kinds |= dict.fromkeys((ThingKind.OBJECT, ThingKind.OBJECTS, ThingKind.BUCKET), cast(Carrier, objects))
        locks = HostLocks(control_file)
        yield HostParts(
            store,
            locks,
            SqliteOutbox(store, uuid4()),
            FencedCarrier(Carriers(kinds), locks),
            rows,
            rest,
            databases,
            objects,
            dsns,
        )


class HostCutover(Cutover):
    """Cuts over and rolls back on a control file.

    are_sequences_moved: the operator says that he put the sequences past each other, as nothing but SQL can.
    """

    def __init__(
        self, parts: HostParts, operator: Operator, handover: Handover, progress: Progress, are_sequences_moved: bool
    ) -> None:
        self._host = parts
        self._operator = operator
        self._handover = handover
        self._progress = progress
        self._moved = []
        self._are_sequences_moved = are_sequences_moved

    async def gates(self, pattern: str, limits: GateLimits) -> Gates:
        """Look at the gates; changes nothing."""
        snapshot = await self._operator.store.read_snapshot()
        gates = Gates(pattern, await control_gates(pattern, snapshot, self._operator, self._handover, limits))
        if self._host.rows is not None:
            gates.gates.append(await self._no_sync())
            compared = Compared(self._host.rows, self._host.databases, self._host.objects, None)
            tables = list(await self._tables(pattern))
            gates.gates += await compared_gates(pattern, compared, tables, snapshot, limits, self._progress)
            return gates
        gates.gates += [Gate(name, True, NOT_SEEN, wanted) for name, wanted in UNSEEN_BY_API.items()]
        if limits.verifies:
            self._progress.say(f"Comparing {pattern}")
            writer = effective_writer(snapshot, pattern).side
            gates.gates.append(await self._equal_by_api(pattern, writer))
            if self._host.objects is not None and pattern.startswith(f"{Kind.BUCKET}:"):
                gates.gates.append(await objects_gate(pattern, self._host.objects, writer, limits.depth, None))
        return gates

    async def _no_sync(self) -> Gate:
        """``sync`` reads writers from the database, where none is in a move by a control file: it would go the wrong way."""
        async with connected(self._host.dsns[Side.SUPABASE], "cutover") as source:
            slot = await read_slot(source)
        store = PostgresStore(self._host.dsns[Side.ISOBASE])
        try:
            is_running = bool((await store.read_sync()).get("is_running"))
        finally:
            await store.close()
        value = "running" if is_running else "not used" if slot is None else "its slot is left"
        return Gate(
            "sync",
            slot is None and not is_running,
            value,
            "not used: it knows no control file, and would take Supabase for the writer",
            "end it, then isobase migrate sync --stop-capture",
        )

    async def move_sequences(self, pattern: str, to: Side) -> None:
        """Put sequences past each other by SQL, or refuse where only the operator can.

        Raises ``HandoverRefused``.
        """
        if self._host.rows is not None:
            pairs, tables = self._host.rows.pairs, list(await self._tables(pattern))
            self._moved = await move_sequences(pairs, to, tables=tables)
            if to is Side.ISOBASE:
                self._moved += await move_sequences(pairs, Side.SUPABASE, gap=FALLBACK_GAP, tables=tables)
            return
        counted = [
            name
            for name, table in (await self._tables(pattern)).items()
            if any(column.base in COUNTED and column.name in table.key for column in table.columns)
        ]
        if counted and not self._are_sequences_moved:
            raise HandoverRefused(
                f"the keys of {', '.join(counted)} may come from sequences, which no data API moves: set both database URLs,"
                f" or call setval at {to} with numbers far above those that are used, and say --sequences-moved"
            )

    async def _tables(self, pattern: str) -> Mapping[str, Table]:
        """Give the tables that both sides have and that ``pattern`` means."""
        if self._host.rows is not None:
            views = [await self._host.databases[side].catalog.reload() for side in Side]
            return {
                name: views[0].tables[name]
                for name in sorted(views[0].tables.keys() & views[1].tables.keys())
                if fits(pattern, Capability(Kind.TABLE, name))
            }
        kind, _, name = pattern.partition(":")
        schema = name.partition(".")[0]
        if kind != Kind.TABLE:
            if pattern == "*":
                raise Refused("* means tables of every schema, which no data API lists", hint="set both *_DB_URL")
            return {}
        assert self._host.rest is not None
        found = [await self._host.rest.sides[side].tables(schema) for side in Side]
        both = sorted(found[0].keys() & found[1].keys())
        return {each: found[0][each] for each in both if fits(pattern, Capability(Kind.TABLE, each))}

    async def _equal_by_api(self, pattern: str, writer: Side) -> Gate:
        assert self._host.rest is not None
        rows, wrong = 0, []
        tables = await self._tables(pattern)
        for name in tables:
            seen, differing = await self._host.rest.carrier.differing(name, writer)
            rows += seen
            if differing:
                wrong.append(f"{name} ({differing} rows)")
        value = f"{len(tables)} tables, {rows} rows" + (f"; not equal: {', '.join(wrong)}" if wrong else ", all equal")
        return Gate("rows", not wrong, value, "equal", "write what differs once more")

    async def _carry_all(self, pattern: str) -> tuple[list[str], list[str]]:
        """Carry rows to Supabase; a file of one host moves tables alone."""
        tables = list(await self._tables(pattern))
        await self._host.carrier.carry([Thing(ThingKind.TABLE, name) for name in tables], Side.SUPABASE)
        return tables, []


@asynccontextmanager
async def opened_host_cutover(
    parts: HostParts, *, by: str = "", progress: Progress = NO_PROGRESS, are_sequences_moved: bool = False
) -> AsyncIterator[HostCutover]:
    """Open what a cutover needs beside ``parts``; closed with the block."""
    async with Operator(SqliteStore(parts.store.path), by=by) as operator:
        made: list[HostCutover] = []

        async def move(pattern: str, to: Side) -> None:
            await made[0].move_sequences(pattern, to)

        handover = Handover(FileDesks(parts.store, parts.locks), None, move_sequences=move, drainer=parts.drainer())
        made.append(HostCutover(parts, operator, handover, progress, are_sequences_moved))
        yield made[0]
