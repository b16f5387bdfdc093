"""Custom representations: aggregates over a relation's rows, and functions, that return a domain named like a media type.

Read from the catalog into the schema cache; which one a request gets is decided in ``rest.media``. Source: PostgREST v14
docs, media_type_handlers; ``SchemaCache.hs`` mediaHandlers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["ANY_MEDIA_TYPE", "MediaHandler", "MediaHandlers", "load_media_handlers"]

ANY_MEDIA_TYPE = "*/*"
"""The domain of this name takes every Accept header."""


@dataclass(slots=True, frozen=True)
class MediaHandler:
    """What turns an answer's rows, or a function's scalar, into one value.

    The body is that value's bytes in PostgreSQL's binary format, as upstream: of text, xml and bytea the bytes themselves.
    """

    function: tuple[str, str]
    """Schema and name of the aggregate; of the domain itself where a function returns it."""
    target: tuple[str, str] | None
    """The relation whose rows the aggregate takes, or the function that returns the domain; None for any relation."""
    produces: str
    """The media type of the body."""


MediaHandlers: TypeAlias = Mapping[tuple[tuple[str, str] | None, str], MediaHandler]
"""By target and media type in lower case."""

# $1 the exposed schemas. A function's domain may live anywhere; an aggregate counts in an exposed schema only.
_HANDLERS_SQL = r"""
with media_types as (
  select t.oid, t.typname::text as name, n.nspname::text as schema
    from pg_type t join pg_namespace n on n.oid = t.typnamespace
   where t.typtype = 'd' and (t.typname ~ '^[A-Za-z0-9.-]+/[A-Za-z0-9.+-]+$' or t.typname = '*/*')
)
select m.name as media_type, n.nspname::text as schema, f.proname::text as name,
       an.nspname::text as target_schema, a.typname::text as target_name, a.typname = 'anyelement' as takes_any
  from media_types m join pg_proc f on f.prorettype = m.oid and f.prokind = 'a' and f.pronargs = 1
  join pg_namespace n on n.oid = f.pronamespace
  join pg_type a on a.oid = f.proargtypes[0] join pg_namespace an on an.oid = a.typnamespace
 where n.nspname = any($1::text[])
   and (a.typname = 'anyelement'
        or exists (select from pg_class c where c.oid = a.typrelid and c.relkind in ('v', 'r', 'm', 'f', 'p')))
union all
select m.name, m.schema, m.name, n.nspname::text, f.proname::text, false
  from media_types m join pg_proc f on f.prorettype = m.oid and f.prokind = 'f' and not f.proretset
  join pg_namespace n on n.oid = f.pronamespace
 where n.nspname = any($1::text[])
"""


async def load_media_handlers(connection: Connection, schemas: Sequence[str]) -> MediaHandlers:
    """The handlers of the exposed ``schemas``; ``connection`` is inside the transaction that reads the schema cache."""
    found: dict[tuple[tuple[str, str] | None, str], MediaHandler] = {}
    for row in await connection.fetch(_HANDLERS_SQL, list(schemas)):
        name: str = row["media_type"]
        target = None if row["takes_any"] else (row["target_schema"], row["target_name"])
        found[target, name.lower()] = MediaHandler(
            function=(row["schema"], row["name"]),
            target=target,
            produces="application/octet-stream" if name == ANY_MEDIA_TYPE else name,
        )
    return found
