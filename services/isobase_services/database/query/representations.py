"""Domain representations: casts by which a column's values are shown as JSON and read from JSON and from a query string.

A cast between a domain and json or text counts when it is implicit and made by a function. PostgreSQL itself ignores such
casts, so their functions are called by name. Source: PostgREST v14 docs, domain_representations; ``SchemaCache.hs``
dataRepresentations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isobase_platform.sql import qualified

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["Representation", "converted", "load_representations"]


@dataclass(slots=True, frozen=True)
class Representation:
    """The functions (schema, name) of one domain; None where there is no cast of the kind."""

    to_json: tuple[str, str] | None = None
    from_json: tuple[str, str] | None = None
    from_text: tuple[str, str] | None = None


# Named by the domain as columns name their type: the search_path is empty while the schema cache is read.
_REPRESENTATIONS_SQL = """
select format_type(d.oid, null) as type,
       max(f.place) filter (where c.castsource = d.oid and c.casttarget = 'json'::regtype) as to_json,
       max(f.place) filter (where c.casttarget = d.oid and c.castsource = 'json'::regtype) as from_json,
       max(f.place) filter (where c.casttarget = d.oid and c.castsource = 'text'::regtype) as from_text
  from pg_type d join pg_cast c on d.oid in (c.castsource, c.casttarget)
  join pg_proc p on p.oid = c.castfunc join pg_namespace n on n.oid = p.pronamespace
  cross join lateral (select array[n.nspname::text, p.proname::text] as place) f
 where d.typtype = 'd' and c.castcontext = 'i' and c.castmethod = 'f'
 group by d.oid
"""


async def load_representations(connection: Connection) -> Mapping[str, Representation]:
    """By the domain's name as ``Column.type`` has it; ``connection`` is in the transaction that reads the schema cache."""
    return {
        row["type"]: Representation(*(tuple(row[kind]) if row[kind] else None for kind in _KINDS))
        for row in await connection.fetch(_REPRESENTATIONS_SQL)
    }


_KINDS = ("to_json", "from_json", "from_text")


def converted(function: tuple[str, str] | None, expression: str) -> str:
    """``expression`` through the function of a cast; as it is where there is none."""
    return expression if function is None else f"{qualified(*function)}({expression})"
