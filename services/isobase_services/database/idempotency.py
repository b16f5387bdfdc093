"""Writes that happen once however often they are sent: the ``Idempotency-Key`` header of both faces.

The answer of such a write is kept in ``isobase.idempotency_keys``, in the transaction of the write itself: whoever finds it
knows that the write was committed, and a write that was rolled back leaves nothing and may be tried again. What is kept
belongs to the caller: the row's name is a hash of who asks and of the key.

Source: draft-ietf-httpapi-idempotency-key-header-07. Neighbours: ``rest.app`` and ``dynamic.app`` bring writes here; the two
SQL functions are in schema.sql; ``RlsDoor.settled`` runs the transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from starlette.responses import Response
from starlette.types import Scope

from isobase_platform.caller import Caller
from isobase_platform.errors import BadRequest, Conflict, DatabaseError, IsobaseError
from isobase_platform.pool import Pools
from isobase_platform.wire_messages import Binary, Step

__all__ = ["IdempotentWrites", "KeyedWrite", "is_keyed"]

HEADER = b"idempotency-key"
MAX_KEY_CHARS = 255
MIN_SHARED_KEY_CHARS = 16
"""Callers who cannot be told apart share their keys: theirs must not be guessed."""
MAX_WAIT_S = 5.0
"""How long a write waits for the same one that is being done; schema.sql has the same for other processes."""
MAX_TRIES = 3
SWEEP_INTERVAL_S = 600.0
SWEEP_ROWS = 5000
"""Expired answers that are deleted in one statement."""

_ANSWERED = "IBK01"
_IN_USE = "IBK02"
_OLDER_SNAPSHOT = "40001"
"""Under REPEATABLE READ the row of the other transaction cannot be seen, and PostgreSQL says this instead."""
_OF_NAMES = frozenset({400, 404})
"""What is answered where a name in the request is not, or not any more, in the schema."""
_MARK = '"idempotency-key"'
_CLAIM = "select isobase.claim_idempotency_key($1, $2)"
_KEEP = "select isobase.keep_idempotent_answer($1, $2, $3, $4, $5, $6)"
_READ = (
    "select fingerprint, status, headers, body from isobase.idempotency_keys"
    " where key = $1 and expires_at > pg_catalog.clock_timestamp()"
)
_SWEEP = (
    "delete from isobase.idempotency_keys where key = any (array(select key from isobase.idempotency_keys"
    " where expires_at <= pg_catalog.clock_timestamp() order by expires_at limit $1 for update skip locked))"
)
# What a token says beside who it is for, and what differs between two tokens of one caller.
_PASSING_CLAIMS = frozenset({"exp", "iat", "nbf", "jti", "role"})
_SHAPING = frozenset({b"accept", b"accept-profile", b"content-profile", b"content-type", b"prefer", b"range"})
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def is_keyed(caller: Caller) -> bool:
    """Whether the caller's request has the header. Asked of every write, so it looks at a text that is there already."""
    return _MARK in caller.request.headers_json


@dataclass(slots=True, frozen=True)
class KeyedWrite:
    """One write and the key that it came with. ``key`` names its row, ``fingerprint`` says what was asked for."""

    key: bytes
    fingerprint: bytes
    life_s: int
    max_answer_bytes: int

    @property
    def claim(self) -> Step:
        """The step of the login role that comes first. It fails where the write was done already."""
        lock_number = int.from_bytes(self.key[:8], "big", signed=True)
        return _CLAIM, (Binary(self.key), str(lock_number))

    def keep(self, response: Response) -> Step:
        """The step of the login role that comes last: it keeps the answer, without a body that is too large."""
        headers = json.dumps([[str(one, "latin-1") for one in pair] for pair in response.raw_headers])
        body = bytes(response.body)
        kept = Binary(body) if len(body) <= self.max_answer_bytes else None
        values = (
            Binary(self.key),
            Binary(self.fingerprint),
            str(response.status_code),
            headers,
            kept,
            str(self.life_s),
        )
        return _KEEP, values


class IdempotentWrites:
    """One per process. ``life_s`` seconds for which answers are kept, 0: the header means nothing."""

    def __init__(self, pools: Pools, *, life_s: int, max_answer_bytes: int) -> None:
        self._pools = pools
        self._life_s = life_s
        self._max_answer_bytes = max_answer_bytes
        self._running: dict[bytes, asyncio.Event] = {}

    @property
    def is_enabled(self) -> bool:
        """Whether the header means anything."""
        return self._life_s > 0

    def write_of(self, scope: Scope, caller: Caller, body: bytes | None) -> KeyedWrite | None:
        """The write that a request asks for, None where it has no key. Raises ``BadRequest`` for one that cannot be used."""
        if not self.is_enabled or not is_keyed(caller):
            return None
        given = [value for name, value in scope["headers"] if name == HEADER]
        if not given:
            return None
        text = _key_text(given)
        is_shared, who = _scope_of(caller)
        if is_shared and len(text) < MIN_SHARED_KEY_CHARS:
            raise BadRequest(
                f"The Idempotency-Key of a caller without a user must have at least {MIN_SHARED_KEY_CHARS} characters",
                code="idempotency_key_invalid",
                hint="Send a new UUID with every write, and the same one when it is sent again.",
            )
        key = hashlib.sha256(f"{who}\n{text}".encode()).digest()
        return KeyedWrite(key, _fingerprint(scope, body), self._life_s, self._max_answer_bytes)

    async def answer(self, write: KeyedWrite, work: Callable[[], Awaitable[Response]]) -> Response:
        """The answer of ``work``, which runs ``write.claim`` and ``write.keep`` in its transaction; or the one kept before.

        Raises 422 ``idempotency_key_reused`` where the key came with another request, ``Conflict`` where the same write is
        still being done after ``MAX_WAIT_S`` or its answer was too large to be kept, and what ``work`` raises.
        """
        async with self._turn(write.key):
            tries = MAX_TRIES
            while True:
                tries -= 1
                try:
                    return await work()
                except DatabaseError as error:
                    if error.sqlstate == _IN_USE:
                        raise _in_use() from error
                    if error.sqlstate not in {_ANSWERED, _OLDER_SNAPSHOT}:
                        raise
                    kept = await self._kept(write)
                    if kept is not None:
                        return kept
                    if error.sqlstate != _ANSWERED or not tries:
                        raise  # else it expired in this moment
                except IsobaseError as refusal:
                    # Refused before the database was asked: what was valid the first time may not be any more.
                    kept = await self.kept_despite(write, refusal)
                    if kept is None:
                        raise
                    return kept

    async def kept_despite(self, write: KeyedWrite, refusal: IsobaseError) -> Response | None:
        """The kept answer of a write that would be refused now, because its table or a column is gone; None: there is none.

        Only refused requests pay for the look. Where the refusal is about rights it stays.
        """
        if refusal.status not in _OF_NAMES:
            return None
        row = await self._row(write)
        return None if row is None or row["fingerprint"] != write.fingerprint else _replayed(row)

    async def sweep(self) -> int:
        """Delete answers that have expired; how many."""
        swept = 0
        while True:
            async with self._pools.acquire(None) as connection:
                tag = await connection.execute(_SWEEP, SWEEP_ROWS)
            found = int(tag.rpartition(" ")[2])
            swept += found
            if found < SWEEP_ROWS:
                return swept

    async def _kept(self, write: KeyedWrite) -> Response | None:
        row = await self._row(write)
        if row is None:
            return None
        if row["fingerprint"] != write.fingerprint:
            raise IsobaseError(
                "The Idempotency-Key was used for another request",
                code="idempotency_key_reused",
                status=422,
                hint="A key belongs to one request: method, path, query, body and the headers that shape the answer.",
            )
        return _replayed(row)

    async def _row(self, write: KeyedWrite) -> asyncpg.Record | None:
        async with self._pools.acquire(None) as connection:
            return await connection.fetchrow(_READ, write.key)

    @asynccontextmanager
    async def _turn(self, key: bytes) -> AsyncIterator[None]:
        """One write of a key at a time in this process: those that wait hold no connection of the database."""
        until_s = time.monotonic() + MAX_WAIT_S
        while (running := self._running.get(key)) is not None:
            try:
                await asyncio.wait_for(running.wait(), until_s - time.monotonic())
            except TimeoutError as error:
                raise _in_use() from error
        ended = self._running[key] = asyncio.Event()
        try:
            yield
        finally:
            del self._running[key]
            ended.set()


def _replayed(row: asyncpg.Record) -> Response:
    """The answer as it went out the first time. Raises ``Conflict`` where it was too large to be kept."""
    if row["body"] is None:
        raise Conflict(
            "The write was done, and its answer was too large to be kept",
            code="idempotency_answer_not_kept",
            details=f"It was answered with status {row['status']}.",
            hint="Read what was written, or ask for return=minimal.",
        )
    response = Response(row["body"], status_code=row["status"])
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in json.loads(row["headers"])]
    response.raw_headers = [*pairs, (b"idempotency-replayed", b"true")]
    return response


def _in_use() -> Conflict:
    return Conflict(
        "A request with this Idempotency-Key is still being answered",
        code="idempotency_key_in_use",
        hint="Send it again a moment later.",
    )


def _key_text(given: list[bytes]) -> str:
    """The key, which the draft has between quotes and most clients send bare. Raises ``BadRequest``."""
    text = str(given[0], "latin-1").strip(" \t")
    quoted = _QUOTED.fullmatch(text)
    if quoted is not None:
        text = re.sub(r"\\(.)", r"\1", quoted.group(1))
    if len(given) > 1 or len(text) > MAX_KEY_CHARS or not _VISIBLE.fullmatch(text):
        raise BadRequest(
            "The Idempotency-Key cannot be used",
            code="idempotency_key_invalid",
            details=f"One header of 1 to {MAX_KEY_CHARS} printable ASCII characters is expected.",
        )
    return text


def _scope_of(caller: Caller) -> tuple[bool, str]:
    """Whose keys these are, as text, and whether others may come under the same name."""
    claims = caller.claims
    if claims.sub:
        return False, json.dumps([caller.role, claims.text("iss"), claims.sub])
    # Tokens of one's own may name the caller by another claim.
    lasting = {name: value for name, value in claims.raw.items() if name not in _PASSING_CLAIMS}
    return not caller.is_service, json.dumps([caller.role, lasting], sort_keys=True)


def _fingerprint(scope: Scope, body: bytes | None) -> bytes:
    shaping = sorted((name, value) for name, value in scope["headers"] if name in _SHAPING)
    head = repr((scope["method"], scope.get("raw_path") or scope["path"], scope.get("query_string", b""), shaping))
    digest = hashlib.sha256(head.encode("utf-8", "surrogatepass"))
    digest.update(b"\n" if body is None else b"\n=" + body)
    return digest.digest()
