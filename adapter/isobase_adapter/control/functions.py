"""Which functions of the database still need a rule: volatile ones, of which nobody said what they write.

``isobase migrate flags set`` and ``status`` tell them before a stage refuses them; ``http/rpcs.py`` is what refuses.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import asyncpg

from isobase_adapter.capabilities import Capability, Kind, fits, most_specific
from isobase_adapter.contracts import Snapshot
from isobase_adapter.control.changes import effective_flag
from isobase_adapter.control.records import ClientRecord
from isobase_adapter.control.rules import rule
from isobase_adapter.stages import Stage

__all__ = ["read_volatile", "refused_by", "without_rule"]

ONE_SIDED = (Stage.OFF, Stage.COMPLETE)
ISOBASE_FIRST = (Stage.LIVE, Stage.RAMP_DOWN, Stage.COMPLETE)
VOLATILE_QUERY = """
select distinct n.nspname || '.' || p.proname as name
  from pg_catalog.pg_proc as p join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
 where p.provolatile = 'v' and p.prokind in ('f', 'p')
   and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
   and n.nspname !~ '^pg_' and n.nspname <> all($1::text[])
   and exists (select from unnest(array['anon', 'authenticated', 'service_role']) as caller
                where has_schema_privilege(caller, n.oid, 'usage') and has_function_privilege(caller, p.oid, 'execute'))
   and not exists (select from pg_catalog.pg_depend as d where d.classid = 'pg_catalog.pg_proc'::regclass
                      and d.objid = p.oid and d.deptype in ('e', 'i'))
 order by 1
"""


async def read_volatile(pool: asyncpg.Pool, managed: Collection[str]) -> tuple[str, ...]:
    """Give the functions, as ``schema.name``, that may change something and that callers of the API may call.

    managed: schemas that are the platform's own.
    """
    return tuple(row["name"] for row in await pool.fetch(VOLATILE_QUERY, list(managed)))


def without_rule(names: Sequence[str], snapshot: Snapshot, clients: Sequence[ClientRecord]) -> tuple[str, ...]:
    """Leave out those of ``names`` with a rule, in the control store or in the settings of every client."""
    return tuple(
        name
        for name in names
        if not isinstance(rule(snapshot, Capability(Kind.RPC, name), "rpc"), str)
        and not (clients and all(_has_rule(client, name) for client in clients))
    )


def refused_by(pattern: str, stage: Stage, names: Sequence[str], snapshot: Snapshot) -> tuple[str, ...]:
    """Give those of ``names`` (none has a rule) whose calls are refused once ``pattern`` is in ``stage``."""
    if stage not in ONE_SIDED:
        mine = [
            name
            for name in names
            if fits(pattern, function := Capability(Kind.RPC, name))
            and most_specific([*snapshot.flags, pattern], function) == pattern
        ]
    else:
        mine = []
    if pattern.startswith(f"{Kind.TABLE}:") and stage in ISOBASE_FIRST:
        # One that has not begun to move might write a table at a side that is not its writer.
        mine += [name for name in names if effective_flag(snapshot, f"{Kind.RPC}:{name}").stage is Stage.OFF]
    return tuple(sorted(set(mine)))


def _has_rule(client: ClientRecord, name: str) -> bool:
    told = client.state.get("rpc")
    patterns = [f"{Kind.RPC}:{each}" for each in told] if isinstance(told, list) else []
    return most_specific(patterns, Capability(Kind.RPC, name)) is not None
