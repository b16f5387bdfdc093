"""Plan: a page of rows as one statement: the rows, how many match, and the sort values of the last row. Pure.

Neighbours: ``cursor`` (what the sort values become), ``rows`` (executes), ``query`` (the engine).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isobase_platform.errors import BadRequest
from isobase_platform.wire_messages import Parameter
from isobase_services.database.dynamic.cursor import Keyset, keyset_of
from isobase_services.database.dynamic.rows_query import RowsQuery
from isobase_services.database.query.ast import Filter, LogicTree, RelationItem, SelectItem
from isobase_services.database.query.parameters import Parameters
from isobase_services.database.query.plan import ReadNode, plan_read
from isobase_services.database.query.schema_cache import Relation, SchemaCache
from isobase_services.database.query.sql_read import count_sql, read_sql

__all__ = ["Page", "PageStatement", "plan_page"]


@dataclass(slots=True, frozen=True)
class Page:
    """Rows as a JSON array in text; how many match in all, where that was asked for; where the next page begins."""

    rows: str
    count: int | None
    next_cursor: str | None
    is_paged: bool
    """Whether a cursor was asked for."""


@dataclass(slots=True, frozen=True)
class PageStatement:
    """A statement with three columns: rows as JSON text, how many match or null, sort values as JSON text or null."""

    sql: str
    values: Sequence[Parameter]
    keyset: Keyset | None
    is_paged: bool

    def page(self, row: Sequence[bytes | None]) -> Page:
        """The page of the statement's only row."""
        text, number, keys = row
        count = None if number is None else int.from_bytes(number)
        return Page((text or b"").decode(), count, self._next_cursor(keys), self.is_paged)

    def _next_cursor(self, keys: bytes | None) -> str | None:
        if keys is None or self.keyset is None:
            return None
        last_and_next: list[list[str | None]] = json.loads(keys)
        return self.keyset.encode(last_and_next[0]) if len(last_and_next) == 2 else None


def plan_page(cache: SchemaCache, relation: Relation, query: RowsQuery, max_rows: int | None) -> PageStatement:
    """Plan a read. Rows are sorted by the primary key behind ``order``, so that pages have no ties.

    Raises ``BadRequest`` (``invalid_cursor``) for a cursor that is none of this table and order, (``invalid_query``) for one
    with an offset or an order by a related table; ``RequestError`` as the engine.
    """
    limit, offset = query.ranges.get((), (None, None))
    keyset = keyset_of(relation, query.orders.get((), ()))
    filters = query.filters
    if query.cursor is not None:
        if keyset is None or offset is not None:
            raise BadRequest("A cursor goes with no offset and no order by a related table", code="invalid_query")
        if query.cursor:
            behind = keyset.after(keyset.decode(query.cursor))
            filters = {**query.filters, (): (*query.filters.get((), ()), *behind)}
    orders = query.orders if keyset is None else {**query.orders, (): keyset.order}
    size = max_rows if limit is None else limit if max_rows is None else min(limit, max_rows)

    def node(
        select: Sequence[SelectItem],
        conditions: Mapping[tuple[str, ...], Sequence[Filter | LogicTree]],
        cut: tuple[int | None, int | None],
    ) -> ReadNode:
        return plan_read(
            cache,
            relation.key,
            tuple(relation.columns),
            relation.types,
            select=select,
            filters=conditions,
            orders=orders,
            ranges={**query.ranges, (): cut},
            max_rows=max_rows,
        )

    parameters = Parameters()
    rows = read_sql(node(query.select, filters, (limit, offset)), parameters)
    total, last = "null::bigint", "null::text"
    if query.counts:
        # All that match, whatever page this is.
        counted = count_sql(node(query.select, query.filters, (None, None)), parameters)
        total = f"(select count(*) from ({counted}) as c)"  # noqa: S608  composed by the engine
    if keyset is not None and size:
        # The last row of a full page and the one behind it; not computed for a page that is not full.
        items: list[SelectItem] = [*keyset.items, *(item for item in query.select if isinstance(item, RelationItem))]
        keys = read_sql(node(items, filters, (2, (offset or 0) + size - 1)), parameters)
        shown = ", ".join(f"isobase_key.{name}" for name in keyset.names)
        last = (
            f"case when count(*) >= {parameters.add(str(size))}::text::bigint then"  # noqa: S608  composed by the engine
            f" (select json_agg(json_build_array({shown}))::text from ({keys}) as isobase_key) end"
        )
    sql = (
        f"with isobase_page as materialized ({rows})"  # noqa: S608  composed by the engine
        f" select coalesce(json_agg(isobase_page)::text, '[]') as body, {total} as total, {last} as last from isobase_page"
    )
    return PageStatement(sql, parameters.values, keyset, query.cursor is not None)
