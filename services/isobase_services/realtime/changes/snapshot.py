"""Which transactions of the log everybody can see already, and whether what is known of tables and roles still holds.

A commit is in the log, and decoded, before its backend has left the list of running transactions; with a synchronous standby
that is away the time between may be long. Whoever asked a policy in that gap would look at a database without the change, and
the change would be lost. So nothing is asked, and nothing is told to a client, before the transaction is visible.

The same statement reads marks of the catalogs: whatever ALTER POLICY, GRANT, ALTER ROLE and their like did before a change
was committed has altered a mark by then, so that the change is judged by what held at that time or later.

Source: PostgreSQL documentation, "Transaction ID and Snapshot Information Functions"; ``RecordTransactionCommit`` and
``ProcArrayEndTransaction`` for the order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from isobase_platform.config import Settings
from isobase_platform.owner_wire import OwnerWire

__all__ = ["Moment", "Moments", "Snapshot", "parse_snapshot"]

MAX_WAIT_S = 60.0
"""How long a batch waits for its transactions to become visible before it goes on without; a synchronous standby that is gone
can hold a committed transaction back for ever."""
MAX_CONNECTIONS = 2
"""One for what is committed now, one for replays."""
FIRST_DELAY_S = 0.001
MAX_DELAY_S = 0.25

XIDS = 2**32
"""Numbers of transactions in one epoch; the log names a transaction without its epoch."""

# Asked with each batch, so written for PostgreSQL to run in some 0.1 ms: every table is looked up by its oid, where a join
# would read all of pg_class, and nothing is sorted that an index gives in order (another order only means reading again).
# Rows of catalogs are never changed in place by DDL: who wrote them and where they stand tells one state from another. Roles
# are compared by content, because their own catalog is open to superusers only.
_MOMENT_SQL = """
select pg_catalog.pg_current_snapshot()::text as snapshot,
       pg_catalog.concat_ws('/',
         (select pg_catalog.md5(pg_catalog.string_agg(
                   pg_catalog.concat_ws(',', r.oid, r.rolname, r.rolsuper, r.rolbypassrls, r.rolinherit), ';' order by r.oid))
            from pg_catalog.pg_roles as r),
         (select pg_catalog.md5(pg_catalog.string_agg(m.xmin::text || m.ctid::text, ';' order by m.roleid, m.member, m.ctid))
            from pg_catalog.pg_auth_members as m),
         (select pg_catalog.string_agg(p.xmin::text || p.ctid::text, ';' order by p.oid)
            from pg_catalog.pg_proc as p
           where p.pronamespace = pg_catalog.to_regnamespace('auth') and p.proname in ('uid', 'jwt', 'role', 'email'))
       ) as shared,
       pg_catalog.array_to_string(array(select coalesce(
         (select pg_catalog.concat_ws('/', c.xmin, c.ctid,
                   (select pg_catalog.concat(n.xmin, n.ctid) from pg_catalog.pg_namespace as n where n.oid = c.relnamespace),
                   (select pg_catalog.string_agg(pg_catalog.concat(p.xmin, p.ctid), ';')
                      from pg_catalog.pg_policy as p where p.polrelid = c.oid),
                   (select pg_catalog.string_agg(a.xmin::text, ';')
                      from pg_catalog.pg_attribute as a where a.attrelid = c.oid and a.attnum > 0))
            from pg_catalog.pg_class as c where c.oid = wanted.oid::pg_catalog.oid), '')
          from pg_catalog.unnest($1::bigint[]) as wanted (oid)), '|') as tables
"""

_log = logging.getLogger("isobase.realtime")


@dataclass(slots=True, frozen=True)
class Snapshot:
    """What a statement of now sees. ``xmax``: the first number that no finished transaction has reached, with its epoch.
    ``running``: the numbers below it that are not finished, with their epochs.
    """

    xmax: int
    running: frozenset[int]

    def shows(self, xid: int) -> bool:
        """True when the transaction of the log with this number (32 bits) is finished for everybody.

        The number is taken to be the one nearest to ``xmax``: no transaction of the log is half an epoch away.
        """
        distance = (xid - self.xmax) % XIDS
        if distance < XIDS // 2:
            return False
        return self.xmax + distance - XIDS not in self.running


def parse_snapshot(text: str) -> Snapshot:
    """Read the text of ``pg_current_snapshot()``, ``xmin:xmax:xid,xid``."""
    _xmin, xmax, running = text.split(":")
    return Snapshot(int(xmax), frozenset(int(xid) for xid in running.split(",") if xid))


@dataclass(slots=True, frozen=True)
class Moment:
    """Marks of the catalogs at a time: ``shared`` of roles and functions, ``tables`` by oid. Equal marks, equal facts."""

    shared: str
    tables: Mapping[int, str]


class Moments:
    """Waits for transactions of the log to become visible, on connections of the service."""

    def __init__(self, settings: Settings) -> None:
        self._wire = OwnerWire(settings, max_size=MAX_CONNECTIONS)

    async def close(self) -> None:
        """Close the connections."""
        await self._wire.close()

    async def after(self, xids: Collection[int], oids: Collection[int]) -> Moment:
        """A moment at which all of ``xids`` are visible, with the marks of the tables ``oids``.

        At the latest after ``MAX_WAIT_S`` seconds it goes on without, with a line in the log. Raises ``Unavailable`` and
        ``DatabaseError`` when the database cannot be asked.
        """
        waits_until_s = time.monotonic() + MAX_WAIT_S
        delay_s = FIRST_DELAY_S
        missing = set(xids)
        asked = list(oids)
        while True:
            [[text, shared, marks]] = await self._wire.ask(_MOMENT_SQL, ["{" + ",".join(map(str, asked)) + "}"])
            snapshot = parse_snapshot((text or b"").decode())
            missing = {xid for xid in missing if not snapshot.shows(xid)}
            if missing and time.monotonic() >= waits_until_s:
                _log.warning(
                    "row changes are delivered though their transactions are not visible yet; is a synchronous standby away?",
                    extra={"transactions": len(missing), "waited_s": MAX_WAIT_S},
                )
                missing.clear()
            if not missing:
                tables = (marks or b"").decode().split("|") if asked else []
                return Moment((shared or b"").decode(), dict(zip(asked, tables, strict=True)))
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, MAX_DELAY_S)
