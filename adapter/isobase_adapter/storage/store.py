"""One side's storage, with its service key: facts of objects and buckets, bytes as streams, and what changes them.

Bytes always go through the API. Facts are read and rows are corrected in the database where its URL is known, else the
API tells what it can (``facts``).
"""

from __future__ import annotations

import base64
import json
import logging
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

import asyncpg
import httpx

from isobase_adapter.sides import Side
from isobase_adapter.storage.facts import CARRIED_COLUMNS, BucketFacts, ObjectFacts, differing_columns

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

__all__ = ["NameRefused", "ObjectMoved", "Store", "StoreAway", "StoreError"]

logger = logging.getLogger("isobase.migration.storage")

PAGE_ROWS = 1000
MAX_METADATA_HEADER_BYTES = 6000
"""User metadata above this goes as a form's field: servers bound their headers."""
_ABSENT = frozenset({"not_found", "NoSuchKey", "NoSuchBucket", "Bucket not found"})
_AWAY_STATUSES = frozenset({408, 425, 429, 502, 503, 504, 520, 521, 522, 523, 524, 544})
"""Answers that say nothing about the call itself."""
_OBJECT = """
select (to_jsonb(o) - 'path_tokens')::text as row from storage.objects o where o.bucket_id = $1 and o.name = $2
"""
_OBJECTS = """
select o.name, (to_jsonb(o) - 'path_tokens')::text as row from storage.objects o
 where o.bucket_id = $1 and o.name collate "C" > $2 order by o.name collate "C" limit $3
"""
_SIZE = """
select count(*) as objects,
       coalesce(sum(case when o.metadata ->> 'size' ~ '^[0-9]{1,18}$' then (o.metadata ->> 'size')::bigint end), 0) as bytes
  from storage.objects o where o.bucket_id = $1
"""
_CHANGED = """
select o.name from storage.objects o
 where o.bucket_id = $1 and (o.updated_at >= $2 or o.created_at >= $2) order by o.name collate "C"
"""
_BUCKETS = "select to_jsonb(b)::text as row from storage.buckets b where $1::text is null or b.id = $1 order by b.id"
# A statement: on Supabase an extension lets postgres set this, and it sees statements, not calls of set_config.
_SILENCE = "set local session_replication_role = replica"
_CORRECT_OBJECT = """
with moved as (
  update storage.objects set id = gen_random_uuid()
   where id = ($3::jsonb ->> 'id')::uuid and (bucket_id, name) is distinct from ($1::text, $2::text)
)
update storage.objects as o
   set id = coalesce(v.id, o.id), owner = v.owner, owner_id = v.owner_id, created_at = v.created_at,
       updated_at = v.updated_at, last_accessed_at = v.last_accessed_at,
       user_metadata = nullif(v.user_metadata, 'null'::jsonb),
       metadata = coalesce(o.metadata, '{}') || coalesce(nullif(v.metadata, 'null'::jsonb), '{}')
  from jsonb_to_record($3::jsonb) as v (
       id uuid, owner uuid, owner_id text, created_at timestamptz, updated_at timestamptz,
       last_accessed_at timestamptz, metadata jsonb, user_metadata jsonb)
 where o.bucket_id = $1 and o.name = $2
"""
_CORRECT_BUCKET = """
update storage.buckets as b
   set owner = v.owner, owner_id = v.owner_id, created_at = v.created_at, updated_at = v.updated_at
  from jsonb_to_record($2::jsonb) as v (owner uuid, owner_id text, created_at timestamptz, updated_at timestamptz)
 where b.id = $1
"""


class StoreError(Exception):
    """A side's storage refused or failed. ``status``: its HTTP status; the message holds no key and no token."""

    def __init__(self, side: Side, what: str, status: int, answer: str) -> None:
        super().__init__(f"{side}: {what}: {status} {answer}")
        self.status = status
        self.answer = answer


class BucketMissing(StoreError):
    """The side does not have the bucket."""


class StoreAway(ConnectionError):
    """A side's storage cannot be reached, or somebody before it says so. The message holds no key and no token."""


class NameRefused(Exception):
    """No URL can name this object: its name would be read as a way to another one. Nothing is sent."""


class ObjectMoved(Exception):
    """The object changed while it was carried: begin again with its new state."""


class Store:
    """One side's storage.

    http: carries the requests; it is not closed here. url: the project's. key: its service-role or secret key.
    pool: connections to its database as ``postgres``, or None where only the API is known.
    """

    def __init__(
        self, side: Side, http: httpx.AsyncClient, url: str, key: str, pool: asyncpg.Pool[asyncpg.Record] | None = None
    ) -> None:
        self.side = side
        self.pool = pool
        self._http = http
        self._url = f"{url.rstrip('/')}/storage/v1"
        self._can_silence: bool | None = None
        self._headers = {"apikey": key, "authorization": f"Bearer {key}", "accept-encoding": "identity"}

    # Facts

    async def object(self, bucket: str, key: str, connection: Connection | None = None) -> ObjectFacts | None:
        """What is known of an object, or None where there is none. ``connection``: to use instead of the pool's."""
        if self.pool is not None:
            row = await (connection or self.pool).fetchval(_OBJECT, bucket, key)
            return None if row is None else _from_row(json.loads(row))
        answer = await self._http.get(f"{self._url}/object/info/{_path(bucket, key)}", headers=self._headers)
        if _is_absent(answer):
            return None
        return _from_info(bucket, key, self._checked(answer, "info").json())

    async def objects(self, bucket: str, after: str = "") -> AsyncIterator[list[ObjectFacts]]:
        """All objects behind the key ``after``, page by page in bytewise order of their keys."""
        if self.pool is not None:
            while rows := await self.pool.fetch(_OBJECTS, bucket, after, PAGE_ROWS):
                yield [_from_row(json.loads(row["row"])) for row in rows]
                after = rows[-1]["name"]
            return
        cursor: str | None = None
        while True:
            body: dict[str, Any] = {"prefix": "", "limit": PAGE_ROWS, "with_delimiter": False}
            if cursor is not None:
                body["cursor"] = cursor
            answer = await self._http.post(
                f"{self._url}/object/list-v2/{_path(bucket)}", headers=self._headers, json=body
            )
            if _is_absent(answer):
                return
            page = self._checked(answer, "list").json()
            found = [_from_list(bucket, entry) for entry in page["objects"]]
            if after:
                found = [entry for entry in found if entry.key.encode() > after.encode()]
            if found:
                yield found
            cursor = page.get("nextCursor")
            if not page.get("hasNext") or not cursor:
                return

    async def size(self, bucket: str) -> tuple[int, int] | None:
        """How many objects a bucket has and how many bytes they are; None where only listing it would tell."""
        if self.pool is None:
            return None
        row = await self.pool.fetchrow(_SIZE, bucket)
        return (0, 0) if row is None else (int(row["objects"]), int(row["bytes"]))

    async def changed_since(self, bucket: str, moment: datetime) -> list[str] | None:
        """The keys of objects that were written at ``moment`` or later; None where the database is not known."""
        if self.pool is None:
            return None
        return [row["name"] for row in await self.pool.fetch(_CHANGED, bucket, moment)]

    async def now(self) -> datetime:
        """The database's time, or this machine's where the database is not known."""
        if self.pool is None:
            return datetime.now(UTC)
        moment: datetime = await self.pool.fetchval("select clock_timestamp()")
        return moment

    async def bucket(self, bucket: str, connection: Connection | None = None) -> BucketFacts | None:
        """A bucket's settings, or None where there is none."""
        if self.pool is not None:
            row = await (connection or self.pool).fetchval(_BUCKETS, bucket)
            return None if row is None else _bucket(json.loads(row))
        answer = await self._http.get(f"{self._url}/bucket/{_path(bucket)}", headers=self._headers)
        return None if _is_absent(answer) else _bucket(self._checked(answer, "bucket").json())

    async def buckets(self) -> list[BucketFacts]:
        """All buckets that hold files (not those of analytics or vectors), by id."""
        if self.pool is not None:
            rows = [json.loads(row["row"]) for row in await self.pool.fetch(_BUCKETS, None)]
        else:
            answer = await self._http.get(f"{self._url}/bucket", headers=self._headers)
            rows = self._checked(answer, "buckets").json()
        kept = [_bucket(row) for row in rows if row.get("type", "STANDARD") == "STANDARD"]
        return sorted(kept, key=lambda bucket: bucket.id)

    # Bytes

    @asynccontextmanager
    async def opened(self, bucket: str, key: str) -> AsyncIterator[httpx.Response]:
        """The object's bytes as a streamed answer. Raises ``ObjectMoved`` where it is gone, ``StoreError`` else."""
        url = f"{self._url}/object/authenticated/{_path(bucket, key)}"
        # A CDN in between must not answer with what it kept.
        nonce = {"cacheNonce": uuid.uuid4().hex}
        async with self._http.stream("GET", url, headers=self._headers, params=nonce) as answer:
            if answer.status_code != 200:
                await answer.aread()
                if _is_absent(answer):
                    raise ObjectMoved
                self._checked(answer, "download")
            yield answer

    async def put(self, facts: ObjectFacts, size_bytes: int, chunks: AsyncIterator[bytes]) -> None:
        """Store bytes as anybody's upload over what is there, with type, cache control and user metadata."""
        headers = {"x-upsert": "true", "content-type": facts.mime_type, "cache-control": facts.cache_control}
        metadata = json.dumps(facts.user_metadata or {})
        if len(metadata) <= MAX_METADATA_HEADER_BYTES and not facts.mime_type.startswith("multipart/form-data"):
            headers["x-metadata"] = base64.b64encode(metadata.encode()).decode()
            content, length = chunks, size_bytes
        else:
            boundary = uuid.uuid4().hex
            headers["content-type"] = f"multipart/form-data; boundary={boundary}"
            content, length = _form(facts, metadata, boundary, size_bytes, chunks)
        await self._send(facts, headers, length, content)

    async def put_carried(
        self, facts: ObjectFacts, replaced: ObjectFacts | None, size_bytes: int, chunks: AsyncIterator[bytes]
    ) -> None:
        """Store bytes and the whole row as the other side has them; Isobase alone takes this (docs/storage.md).

        Raises ``ObjectMoved`` where the object there is not ``replaced`` any more.
        """
        row = {**facts.columns, "version": facts.version, "metadata": dict(facts.metadata)}
        row["user_metadata"] = facts.user_metadata
        if replaced is not None:
            row["expected"] = replaced.version
        text = base64.b64encode(json.dumps(row).encode()).decode()
        headers = {"content-type": "application/octet-stream", "x-isobase-carry": text}
        await self._send(facts, headers, size_bytes, chunks)

    async def _send(
        self, facts: ObjectFacts, headers: Mapping[str, str], length: int, content: AsyncIterator[bytes]
    ) -> None:
        sent = {**self._headers, **headers, "content-length": str(length)}
        url = f"{self._url}/object/{_path(facts.bucket, facts.key)}"
        answer = await self._http.post(url, headers=sent, content=content)
        if answer.status_code == 412:
            raise ObjectMoved
        if _is_absent(answer):
            raise BucketMissing(self.side, "upload", answer.status_code, answer.text[:500])
        self._checked(answer, "upload")

    async def remove(self, bucket: str, keys: list[str]) -> None:
        """Remove objects; those that are not there are nothing to complain about."""
        url = f"{self._url}/object/{_path(bucket)}"
        answer = await self._http.request("DELETE", url, headers=self._headers, json={"prefixes": keys})
        if not _is_absent(answer):
            self._checked(answer, "remove")

    # Rows and buckets

    async def can_silence_triggers(self, connection: Connection) -> bool:
        """Whether the role may keep triggers still (``session_replication_role``), so that rows keep their times."""
        if self._can_silence is None:
            try:
                async with connection.transaction():
                    await connection.execute(_SILENCE)
                self._can_silence = True
            except asyncpg.InsufficientPrivilegeError:
                self._can_silence = False
        return self._can_silence

    async def correct(self, facts: ObjectFacts, connection: Connection) -> None:
        """Give the object's row here the columns that it has at the other side; its bytes and version stay.

        What triggers made otherwise, where the role may not keep them still, is logged.
        """
        told = {name: facts.metadata[name] for name in ("mimetype", "cacheControl") if name in facts.metadata}
        row = {**{name: facts.columns.get(name) for name in CARRIED_COLUMNS}, "metadata": told}
        row["user_metadata"] = facts.user_metadata
        can_silence = await self.can_silence_triggers(connection)
        async with connection.transaction():
            if can_silence:
                await connection.execute(_SILENCE)
            await connection.execute(_CORRECT_OBJECT, facts.bucket, facts.key, json.dumps(row))
        if not can_silence:
            after = await self.object(facts.bucket, facts.key, connection)
            if otherwise := differing_columns(facts, after) if after is not None else []:
                logger.warning(
                    "triggers of the target made an object's row otherwise than it was carried: its role may not set"
                    " session_replication_role",
                    extra={"bucket": facts.bucket, "side": str(self.side), "columns": otherwise},
                )

    async def put_bucket(self, facts: BucketFacts, *, is_new: bool) -> None:
        """Make or change a bucket."""
        if is_new:
            body = {"id": facts.id, "name": facts.name, **facts.settings()}
            answer = await self._http.post(f"{self._url}/bucket", headers=self._headers, json=body)
            if answer.status_code not in (400, 409) or "Duplicate" not in answer.text:
                self._checked(answer, "create bucket")
        url = f"{self._url}/bucket/{_path(facts.id)}"
        self._checked(await self._http.put(url, headers=self._headers, json=facts.settings()), "update bucket")

    async def correct_bucket(self, facts: BucketFacts, connection: Connection) -> None:
        """Give the bucket's row here the owner and the times that it has at the other side."""
        can_silence = await self.can_silence_triggers(connection)
        async with connection.transaction():
            if can_silence:
                await connection.execute(_SILENCE)
            await connection.execute(_CORRECT_BUCKET, facts.id, json.dumps(dict(facts.columns)))

    async def remove_bucket(self, bucket: str) -> None:
        """Remove an empty bucket."""
        answer = await self._http.request(
            "DELETE", f"{self._url}/bucket/{_path(bucket)}", headers=self._headers, json={}
        )
        if not _is_absent(answer):
            self._checked(answer, "remove bucket")

    def _checked(self, answer: httpx.Response, what: str) -> httpx.Response:
        if answer.status_code in _AWAY_STATUSES:
            raise StoreAway(f"{self.side}: {what}: {answer.status_code}")
        if not answer.is_success:
            raise StoreError(self.side, what, answer.status_code, answer.text[:500])
        return answer


def _path(*parts: str) -> str:
    """Names as parts of a URL's path. Raises ``NameRefused`` for what would lead to another bucket or object.

    Whoever made an object chose its name, and this is sent with the service's key.
    """
    segments = [segment for part in parts for segment in part.split("/")]
    if not {".", ".."}.isdisjoint(segments):
        raise NameRefused("an object whose name has . or .. between slashes cannot be named in a URL")
    return "/".join(quote(segment, safe="") for segment in segments)


def _is_absent(answer: httpx.Response) -> bool:
    """Whether an answer says that there is no such object or bucket."""
    if answer.status_code not in (400, 404):
        return False
    try:
        body = answer.json()
    except ValueError:
        return answer.status_code == 404
    if not isinstance(body, dict):
        return False
    named = {body.get("error"), body.get("code")}
    return bool(named & _ABSENT) or (str(body.get("statusCode")) == "404" and body.get("error") != "Duplicate")


def _from_row(row: dict[str, Any]) -> ObjectFacts:
    columns = {name: row.get(name) for name in CARRIED_COLUMNS}
    metadata, user = row.get("metadata") or {}, row.get("user_metadata")
    return ObjectFacts(row["bucket_id"], row["name"], row.get("version"), columns, metadata, user, is_whole=True)


def _from_info(bucket: str, key: str, info: dict[str, Any]) -> ObjectFacts:
    columns = {"id": info.get("id"), "created_at": info.get("created_at"), "updated_at": info.get("last_modified")}
    metadata = {
        "eTag": info.get("etag"),
        "size": info.get("size"),
        "mimetype": info.get("content_type"),
        "cacheControl": info.get("cache_control"),
    }
    known = {name: value for name, value in metadata.items() if value is not None}
    return ObjectFacts(bucket, key, info.get("version"), columns, known, info.get("metadata"))


def _from_list(bucket: str, entry: dict[str, Any]) -> ObjectFacts:
    columns = {name: entry.get(name) for name in ("id", "created_at", "updated_at")}
    key = entry.get("key") or entry["name"]
    return ObjectFacts(bucket, key, None, columns, entry.get("metadata") or {}, has_user_metadata=False)


def _bucket(row: dict[str, Any]) -> BucketFacts:
    types = row.get("allowed_mime_types")
    return BucketFacts(
        id=row["id"],
        name=row["name"],
        is_public=bool(row.get("public")),
        file_size_limit_bytes=row.get("file_size_limit"),
        allowed_mime_types=None if types is None else tuple(types),
        columns={name: row.get(name) or None for name in ("owner", "owner_id", "created_at", "updated_at")},
    )


def _form(
    facts: ObjectFacts, metadata: str, boundary: str, size_bytes: int, chunks: AsyncIterator[bytes]
) -> tuple[AsyncIterator[bytes], int]:
    """The upload as a form, and its length in bytes."""
    age = facts.cache_control.removeprefix("max-age=")
    fields = {"metadata": metadata, "contentType": facts.mime_type} | ({"cacheControl": age} if age.isdecimal() else {})
    head = "".join(
        f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="file"\r\n'
    head += "content-type: application/octet-stream\r\n\r\n"
    first, last = head.encode(), f"\r\n--{boundary}--\r\n".encode()

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk
        yield last

    return whole(), len(first) + size_bytes + len(last)
