"""Lists of objects, one level of folders at a time or flat, as the caller. Source: contracts/storage.md 1.2 "List"."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isobase_services.storage.core.database import Actor, StorageDatabase
from isobase_services.storage.core.objects_sql import json_time
from isobase_services.storage.errors import refuse
from isobase_services.storage.rules import check_bucket_name

__all__ = ["ListPage", "Listings", "TreePage"]

DEFAULT_LIST_LIMIT = 100
MAX_LIST_LIMIT = 1500
MAX_LIST_OFFSET = 1_000_000_000
MAX_TREE_LIMIT = 1000
_CURSOR_LINE = re.compile(r"([loca]):(.*)")

_ROW = f"""'id', r.id, 'updated_at', {json_time("r.updated_at")}, 'created_at', {json_time("r.created_at")},
    'last_accessed_at', {json_time("r.last_accessed_at")}, 'metadata', r.metadata"""
_SEARCH = f"""
select coalesce(json_agg(json_build_object('name', r.name, {_ROW})), '[]')::text
  from storage.search($1, $2, $3, $4, $5, $6, $7, $8) as r
"""  # noqa: S608  constants of this module
_TREE = f"""
select r.name, r.id, json_build_object('key', r.key,
         'name', case when r.id is null then rtrim(r.name, '/') || '/' else r.name end, {_ROW})::text as json,
       {json_time("r.created_at")} as created_at, {json_time("r.updated_at")} as updated_at
  from storage.search_v2($1, $2, $3, $4, $5, $6, $7, $8) as r
"""  # noqa: S608
_FLAT = """
select r.name, r.id, json_build_object('id', r.id, 'name', r.name, 'metadata', r.metadata,
         'updated_at', {updated_at}, 'created_at', {created_at}, 'last_accessed_at', {last_accessed_at})::text as json,
       {created_at} as created_at, {updated_at} as updated_at
  from storage.objects r
 where r.bucket_id = $1 and starts_with(r.name, $2)
   and ($4::text is null or {page_condition})
 order by {order}
 limit $3
"""


@dataclass(slots=True, frozen=True)
class ListPage:
    """One level below ``prefix``. ``search`` is what the remaining name starts with, whatever its case."""

    prefix: str
    limit: int | None = None
    offset: int | None = None
    search: str | None = None
    sort_column: str | None = None
    sort_order: str | None = None


@dataclass(slots=True, frozen=True)
class TreePage:
    """A page of keys that start with ``prefix``, as full keys, with folders or flat; ``cursor`` from the page before."""

    prefix: str
    limit: int | None = None
    cursor: str | None = None
    with_delimiter: bool = False
    sort_column: str | None = None
    sort_order: str | None = None


@dataclass(slots=True, frozen=True)
class _Cursor:
    start_after: str
    sort_order: str | None
    sort_column: str | None
    sort_column_after: str | None


class Listings:
    """Lists what policies show to the caller."""

    def __init__(self, database: StorageDatabase) -> None:
        self._database = database

    async def list_level(self, actor: Actor, bucket: str, page: ListPage) -> str:
        """One level of folders and objects, names relative to the prefix, as a JSON array."""
        check_bucket_name(bucket)
        prefix = page.prefix if not page.prefix or page.prefix.endswith("/") else f"{page.prefix}/"
        search = page.search or ""
        async with self._database.transaction(actor) as transaction:
            return await transaction.fetchtext(
                _SEARCH,
                prefix,
                bucket,
                min(page.limit or DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT),
                (prefix + search).count("/") + 1,
                min(page.offset or 0, MAX_LIST_OFFSET),
                search,
                page.sort_column or "name",
                page.sort_order or "asc",
            )

    async def list_tree(self, actor: Actor, bucket: str, page: TreePage) -> str:
        """A page of keys as a JSON object ``{hasNext, nextCursor?, nextCursorKey?, folders, objects}``.

        Raises InvalidParameter for a cursor that this did not make.
        """
        check_bucket_name(bucket)
        limit = min(page.limit or MAX_TREE_LIMIT, MAX_TREE_LIMIT)
        cursor = _decode_cursor(page.cursor) if page.cursor else None
        column = (cursor.sort_column if cursor else None) or page.sort_column
        order = (cursor.sort_order if cursor else None) or page.sort_order
        after = cursor.start_after if cursor else None
        column_after = cursor.sort_column_after if cursor else None
        if page.with_delimiter:
            statement: str = _TREE
            args: Sequence[object] = (
                page.prefix,
                bucket,
                limit + 1,
                page.prefix.count("/") + 1,
                after or "",
                order or "asc",
                column or "name",
                column_after,
            )
        else:
            statement = _flat_statement(column, order, by_column=bool(column_after))
            args = (bucket, page.prefix, limit + 1, after or None, column_after)
        async with self._database.transaction(actor) as transaction:
            rows = await transaction.fetch(statement, *args)
        return _tree_json(rows, limit, column, order)


def _flat_statement(column: str | None, order: str | None, *, by_column: bool) -> str:
    direction = "desc" if order == "desc" else "asc"
    beyond = "<" if direction == "desc" else ">"
    name = 'r.name collate "C"'
    sorts_by_time = column in {"created_at", "updated_at"}
    # Compared and sorted by the millisecond that the cursor carries, then by name: strict within one millisecond.
    moment = f"date_trunc('milliseconds', r.{column})"
    by_name = f"$5::text is not distinct from $5 and {name} {beyond} $4"
    by_time = f"({moment}, {name}) {beyond} ($5::text::timestamptz, $4)"
    return _FLAT.format(
        created_at=json_time("r.created_at"),
        updated_at=json_time("r.updated_at"),
        last_accessed_at=json_time("r.last_accessed_at"),
        page_condition=by_time if sorts_by_time and by_column else by_name,
        order=f"{moment} {direction}, {name} {direction}" if sorts_by_time else f"{name} {direction}",
    )


def _tree_json(rows: Sequence[Any], limit: int, column: str | None, order: str | None) -> str:
    page = rows[:limit]
    folders = [row["json"] for row in page if row["id"] is None]
    objects = [row["json"] for row in page if row["id"] is not None]
    members = [f'"hasNext":{"true" if len(rows) > limit else "false"}']
    if len(rows) > limit:
        last = page[-1]
        column_after = last[column] if column in {"created_at", "updated_at"} else None
        members.append(f'"nextCursor":{json.dumps(_encode_cursor(last["name"], order, column, column_after))}')
        members.append(f'"nextCursorKey":{json.dumps(last["name"])}')
    members += [f'"folders":[{",".join(folders)}]', f'"objects":[{",".join(objects)}]']
    return f"{{{','.join(members)}}}"


def _encode_cursor(name: str, order: str | None, column: str | None, column_after: str | None) -> str:
    lines = [
        f"{letter}:{value}" for letter, value in zip("loca", (name, order, column, column_after), strict=True) if value
    ]
    return base64.b64encode("\n".join(lines).encode()).decode()


def _decode_cursor(cursor: str) -> _Cursor:
    found: dict[str, str] = {}
    try:
        lines = base64.b64decode(cursor).decode().split("\n")
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise refuse.invalid_parameter("continuation token") from error
    for line in lines:
        match = _CURSOR_LINE.fullmatch(line)
        if match is None:
            raise refuse.invalid_parameter("continuation token")
        found[match[1]] = match[2]
    is_known = found.get("o", "asc") in {"asc", "desc"} and found.get("c", "name") in {
        "name",
        "created_at",
        "updated_at",
    }
    if not is_known:
        raise refuse.invalid_parameter("continuation token")
    return _Cursor(found.get("l", ""), found.get("o"), found.get("c"), found.get("a"))
