"""Lists of keys as object stores give them: bytewise order, any delimiter, a page that begins behind a key.

Runs as the caller, so policies decide what is listed. Source: AWS, ListObjectsV2; contracts/storage.md 1.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from isobase_services.storage.core.database import Actor, StorageDatabase
from isobase_services.storage.errors import refuse

__all__ = ["GREATEST", "KeyEntry", "KeyListings", "KeyPage", "KeyRequest", "behind"]

MAX_PAGE_KEYS = 1000
GREATEST = "\U0010ffff"
"""Sorts behind every character that a key may have."""

_COLUMNS = "metadata ->> 'eTag' as etag, metadata ->> 'size' as size, updated_at, owner_id"
_FLAT = f"""
select name, {_COLUMNS}, false as is_prefix
  from storage.objects
 where bucket_id = $1 and name collate "C" >= $2 and name collate "C" < $2 || chr(1114111) and name collate "C" > $3
 order by name collate "C" limit $4
"""  # noqa: S608  constants of this module

# One row per entry: behind a folder the search goes on behind all of its keys, so the cost follows the entries.
_BEHIND = """
select o.name, {columns},
       case when position($5 in substring(o.name from length($2) + 1)) > 0
            then left(o.name, length($2) + position($5 in substring(o.name from length($2) + 1)) - 1) || $5 end as folder
  from storage.objects o
 where o.bucket_id = $1 and o.name collate "C" >= $2 and o.name collate "C" < $2 || chr(1114111)
   and o.name collate "C" > {behind}
 order by o.name collate "C" limit 1
"""
_FOLDED = f"""
with recursive entries as (
    ({_BEHIND.format(columns=_COLUMNS, behind="$3")})
    union all
    select n.* from entries e, lateral ({
    _BEHIND.format(columns=_COLUMNS, behind="coalesce(e.folder || chr(1114111), e.name)")
}) n
)
select coalesce(folder, name) as name, etag, size, updated_at, owner_id, folder is not null as is_prefix
  from entries limit $4
"""  # noqa: S608  constants of this module


@dataclass(slots=True, frozen=True)
class KeyRequest:
    """A page of keys that start with ``prefix`` and sort behind ``after`` ("" for the first page).

    ``delimiter``: keys that hold it behind the prefix are one entry, up to and with the delimiter; None lists every key.
    An ``after`` that is such an entry lies behind all of its keys.
    """

    bucket: str
    prefix: str = ""
    delimiter: str | None = None
    after: str = ""
    max_keys: int = MAX_PAGE_KEYS


@dataclass(slots=True, frozen=True)
class KeyEntry:
    """A key, or with ``is_prefix`` the common start of several, which has none of the other facts."""

    name: str
    is_prefix: bool
    etag: str | None
    size_bytes: int
    updated_at: datetime | None
    owner_id: str | None


@dataclass(slots=True, frozen=True)
class KeyPage:
    """``is_truncated``: there are more behind the last entry."""

    entries: tuple[KeyEntry, ...]
    is_truncated: bool


class KeyListings:
    """Lists keys."""

    def __init__(self, database: StorageDatabase) -> None:
        self._database = database

    async def page(self, actor: Actor, request: KeyRequest) -> KeyPage:
        """One page. Raises NoSuchBucket for a bucket that is not there at all."""
        if "\0" in request.bucket or "\0" in request.prefix or "\0" in (request.delimiter or "") + request.after:
            raise refuse.invalid_parameter("prefix")
        limit = min(request.max_keys, MAX_PAGE_KEYS)
        args: list[object] = [
            request.bucket,
            request.prefix,
            behind(request.after, request.prefix, request.delimiter),
            limit + 1,
        ]
        if request.delimiter:
            args.append(request.delimiter)
        async with self._database.transaction(actor) as transaction:
            rows = await transaction.fetch(_FOLDED if request.delimiter else _FLAT, *args) if limit > 0 else []
            if not rows:
                await transaction.become_service()
                if await transaction.fetchrow("select from storage.buckets where id = $1", request.bucket) is None:
                    raise refuse.no_such_bucket()
        entries = tuple(
            KeyEntry(
                row["name"],
                row["is_prefix"],
                row["etag"],
                int(row["size"]) if row["size"] and row["size"].isdigit() else 0,
                row["updated_at"],
                row["owner_id"],
            )
            for row in rows[:limit]
        )
        return KeyPage(entries, len(rows) > limit)


def behind(after: str, prefix: str, delimiter: str | None) -> str:
    """Where a page goes on behind ``after``: where that is a common start of keys, behind all of them."""
    if delimiter and after.startswith(prefix):
        at = after.find(delimiter, len(prefix))
        if at >= 0 and at + len(delimiter) == len(after):
            return after + GREATEST
    return after
