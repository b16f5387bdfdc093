"""Lists of objects, one level of folders at a time or flat, as the caller. Source: contracts/storage.md 1.2 "List"."""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from dataclasses import dataclass

from isobase_services.storage.core.database import Actor, StorageDatabase
from isobase_services.storage.core.level_sql import SEPARATOR, LevelForm, flat, mixed_level, plain_level
from isobase_services.storage.core.objects_sql import json_time
from isobase_services.storage.errors import refuse
from isobase_services.storage.rules import check_bucket_name

__all__ = ["ListPage", "Listings", "TreePage"]

DEFAULT_LIST_LIMIT = 100
MAX_LIST_LIMIT = 1500
MAX_LIST_OFFSET = 1_000_000_000
MAX_TREE_LIMIT = 1000
_CURSOR_LINE = re.compile(r"([loca]):(.*)")

# By a time, folders come first, and a level has to be read whole: the functions of the schema do that.
_SEARCH = f"""
select coalesce(json_agg(json_build_object('name', r.name, 'id', r.id, 'updated_at', {json_time("r.updated_at")},
         'created_at', {json_time("r.created_at")}, 'last_accessed_at', {json_time("r.last_accessed_at")},
         'metadata', r.metadata)), '[]')::text
  from storage.search($1, $2, $3::int, 1, $4::int, $5, $6, $7) as r
"""  # noqa: S608  constants of this module
_TREE = f"""
select count(*), string_agg(f.json, ',') filter (where f.n <= $7::int and f.id is not null),
       string_agg(f.json, ',') filter (where f.n <= $7::int and f.id is null),
       max(f.name) filter (where f.n = $7::int), max(f.created_at) filter (where f.n = $7::int),
       max(f.updated_at) filter (where f.n = $7::int)
  from (
    select r.name, r.id, row_number() over () as n, {json_time("r.created_at")} as created_at,
           {json_time("r.updated_at")} as updated_at,
           json_build_object('key', r.key, 'name', case when r.id is null then rtrim(r.name, '/') || '/' else r.name end,
             'id', r.id, 'updated_at', {json_time("r.updated_at")}, 'created_at', {json_time("r.created_at")},
             'last_accessed_at', {json_time("r.last_accessed_at")}, 'metadata', r.metadata)::text as json
      from storage.search_v2($1, $2, $7::int + 1, $3::int, $4, $5, $6, $8) as r) as f
"""  # noqa: S608
_TRUE = b"\x01"
_COUNT = struct.Struct("!q")


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


@dataclass(slots=True, frozen=True)
class _Level:
    """Which level to list; ``position`` is the statement's $6."""

    form: LevelForm
    bucket: str
    prefix: str
    after: str
    position: int
    is_descending: bool


@dataclass(slots=True, frozen=True)
class _Found:
    """How many entries were read, JSON of those that are told, and facts of the last of them."""

    count: int
    objects: bytes
    folders: bytes
    last: str | None
    last_created_at: str | None = None
    last_updated_at: str | None = None


class Listings:
    """Lists what policies show to the caller."""

    def __init__(self, database: StorageDatabase) -> None:
        self._database = database

    async def list_level(self, actor: Actor, bucket: str, page: ListPage) -> bytes:
        """One level of folders and objects, names relative to the prefix, as a JSON array."""
        check_bucket_name(bucket)
        prefix = page.prefix if not page.prefix or page.prefix.endswith("/") else f"{page.prefix}/"
        search = page.search or ""
        limit, offset = min(page.limit or DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT), min(page.offset or 0, MAX_LIST_OFFSET)
        if page.sort_column not in {None, "name"}:
            values = (prefix, bucket, str(limit), str(offset), search, page.sort_column, page.sort_order or "asc")
            [[json_text]] = await self._database.once(actor, _SEARCH, values)
            return json_text or b"[]"
        level = _Level(LevelForm.LEVEL, bucket, prefix + search, "", len(prefix), page.sort_order == "desc")
        found = await self._level(actor, level, limit, offset, limit)
        return b"[%b]" % found.objects

    async def list_tree(self, actor: Actor, bucket: str, page: TreePage) -> bytes:
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
        is_descending = order == "desc"
        by_time = column if column in {"created_at", "updated_at"} else None
        segment = page.prefix.count("/") + 1
        if not page.with_delimiter:
            statement = flat(by_time, is_descending=is_descending, is_behind_time=bool(by_time and column_after))
            values = (bucket, page.prefix, str(limit + 1), after or None, column_after)
            [row] = await self._database.once(actor, statement, values)
            found = _first(_number(row[0]), row[1] or b"", limit)
        elif by_time:
            args = (page.prefix, bucket, str(segment), after or "", order or "asc", by_time, str(limit), column_after)
            [row] = await self._database.once(actor, _TREE, args)
            found = _Found(_number(row[0]), row[1] or b"", row[2] or b"", *map(_text, row[3:]))
        else:
            level = _Level(LevelForm.TREE, bucket, page.prefix, after or "", segment, is_descending)
            found = await self._level(actor, level, limit + 1, 0, limit)
        return _tree_json(found, limit, column, order)

    async def _level(self, actor: Actor, level: _Level, limit: int, offset: int, shown: int) -> _Found:
        """``limit`` entries behind ``offset``, of which ``shown`` are told."""
        numbers = (str(limit), str(offset), level.after, str(level.position), str(shown))
        values = (level.bucket, level.prefix, *numbers)
        sql = plain_level(level.form, is_descending=level.is_descending, is_at_start=not offset)
        [row] = await self._database.once(actor, sql, values)
        if row[1] == _TRUE:
            sql = mixed_level(level.form, is_descending=level.is_descending)
            [row] = await self._database.once(actor, sql, values)
        elif not offset:
            return _first(_number(row[0]), row[2] or b"", shown)
        return _Found(_number(row[0]), row[2] or b"", row[3] or b"", _text(row[4]))


def _number(value: bytes | None) -> int:
    return 0 if value is None else int(_COUNT.unpack(value)[0])


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _first(count: int, objects: bytes, shown: int) -> _Found:
    """What was found of ``count`` objects between ``SEPARATOR``, of which at most one is beyond ``shown``."""
    if count <= shown:
        return _Found(count, objects, b"", None)
    objects = objects[: objects.rfind(SEPARATOR)]
    last: dict[str, str] = json.loads(objects[objects.rfind(SEPARATOR) + len(SEPARATOR) if shown > 1 else 0 :])
    return _Found(count, objects, b"", last["name"], last["created_at"], last["updated_at"])


def _tree_json(found: _Found, limit: int, column: str | None, order: str | None) -> bytes:
    has_next = found.count > limit
    members = [b'"hasNext":true' if has_next else b'"hasNext":false']
    if has_next and found.last is not None:
        last = found.last
        time = found.last_created_at if column == "created_at" else found.last_updated_at
        column_after = time if column in {"created_at", "updated_at"} else None
        members.append(b'"nextCursor":%b' % json.dumps(_encode_cursor(last, order, column, column_after)).encode())
        members.append(b'"nextCursorKey":%b' % json.dumps(last).encode())
    members += [b'"folders":[%b]' % found.folders, b'"objects":[%b]' % found.objects]
    return b"{%b}" % b",".join(members)


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
