"""Signing keys in the database: rows of ``isobase.signing_keys`` and their way through the states.

Public parts lie open, private parts are sealed with AES-256-GCM under a key that HKDF (RFC 5869) derives from the project's
JWT secret, with the key's id as associated data. Of a revoked key nothing private is left. Every change is one transaction
under one advisory lock, so two administrators at once cannot make two keys sign. ``key_keeper`` tells running processes.
Source of the states: Supabase's JWT signing keys (standby, in use, previously used, revoked).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from isobase_platform.errors import BadRequest, ConfigurationError, NotFound
from isobase_platform.keys import HeldKey, Key, KeyStatus, public_part, read_jwk

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = [
    "PUBLISHED_BEFORE_USE_S",
    "StoredKey",
    "add_pair_for_simple_face",
    "add_standby",
    "held_keys",
    "read_keys",
    "revoke",
    "rotate",
]

PUBLISHED_BEFORE_USE_S = 20 * 60
"""How long a standby key lies in the JWKS before it signs: caches keep that for ten minutes, and some for as long again."""
LOCK_KEY = 0x15_0B_A5_E1
"""pg_advisory_xact_lock's key for changes of the keys."""
_NONCE_BYTES = 12
_SEAL_CONTEXT = b"isobase signing keys v1"

_log = logging.getLogger("isobase.keys")

_COLUMNS = "kid, algorithm, status, signs_for, public_jwk::text, sealed_jwk, created_at, changed_at"


@dataclass(slots=True, frozen=True)
class StoredKey:
    """A row. ``sealed_jwk`` is the encrypted private JWK, None for a revoked key."""

    kid: str
    algorithm: str
    status: KeyStatus
    is_for_simple_face: bool
    public_jwk: Mapping[str, Any] | None
    sealed_jwk: bytes | None
    created_at: datetime
    changed_at: datetime


async def read_keys(connection: Connection) -> list[StoredKey]:
    """Every key, the oldest first."""
    rows = await connection.fetch(f"select {_COLUMNS} from isobase.signing_keys order by created_at, kid")  # noqa: S608
    return [
        StoredKey(
            kid=row["kid"],
            algorithm=row["algorithm"],
            status=KeyStatus(row["status"]),
            is_for_simple_face=row["signs_for"] == "simple",
            public_jwk=json.loads(row["public_jwk"]) if row["public_jwk"] is not None else None,
            sealed_jwk=row["sealed_jwk"],
            created_at=row["created_at"],
            changed_at=row["changed_at"],
        )
        for row in rows
    ]


def held_keys(stored: list[StoredKey], secret: str, known: Mapping[str, HeldKey]) -> list[HeldKey]:
    """The rows as keys to sign and verify with; ``known`` are those of an earlier call, which need not be opened again.

    A private part that was sealed under another secret is said in the log. Its public part verifies all the same, but
    such a key cannot sign: where it is the one in use this raises ``ConfigurationError``.
    """
    held: list[HeldKey] = []
    for one in stored:
        if one.status is KeyStatus.REVOKED:
            held.append(HeldKey(one.kid, one.status, None))
            continue
        before = known.get(one.kid)
        key = before.key if before is not None and before.key is not None else _opened(one, secret)
        if key is None:
            continue
        held.append(HeldKey(one.kid, one.status, key, one.is_for_simple_face))
    return held


def _opened(stored: StoredKey, secret: str) -> Key | None:
    try:
        assert stored.sealed_jwk is not None  # a constraint of the table
        return read_jwk(_unseal(stored.sealed_jwk, stored.kid, secret))
    except ConfigurationError:
        if stored.status is KeyStatus.IN_USE:
            raise
        _log.warning("a signing key cannot be opened", extra={"kid": stored.kid, "status": stored.status.value})
    return None if stored.public_jwk is None else read_jwk(stored.public_jwk)


async def add_standby(connection: Connection, jwk: Mapping[str, Any], secret: str) -> None:
    """Keep a new private JWK as the standby key. Raises ``BadRequest`` where there is one already."""
    async with connection.transaction():
        await _lock(connection)
        await _require_secret(connection, secret)
        if await connection.fetchval("select exists (select from isobase.signing_keys where status = 'standby')"):
            raise BadRequest("there is a standby key already", hint="isobase keys rotate puts it into use")
        await _insert(connection, jwk, KeyStatus.STANDBY, "all", secret)


async def add_pair_for_simple_face(connection: Connection, jwk: Mapping[str, Any], secret: str) -> bool:
    """Keep a pair that signs for the simple face at once; False, and nothing is kept, where there is one already."""
    async with connection.transaction():
        await _lock(connection)
        has_pair = """
            select exists (select from isobase.signing_keys where status = 'in_use' and public_jwk is not null)
        """
        if await connection.fetchval(has_pair):
            return False
        await _insert(connection, jwk, KeyStatus.IN_USE, "simple", secret)
    return True


async def rotate(connection: Connection, secret: str, *, at_once: bool = False) -> str:
    """Put the standby key into use; what was in use verifies from now on. Returns the id of the key that signs.

    Raises ``BadRequest`` without a standby key and, unless ``at_once``, for one that was published less than
    ``PUBLISHED_BEFORE_USE_S`` ago; ``ConfigurationError`` where ``secret`` does not open it.
    """
    async with connection.transaction():
        await _lock(connection)
        standby = next((one for one in await read_keys(connection) if one.status is KeyStatus.STANDBY), None)
        if standby is None:
            raise BadRequest("there is no standby key", hint="isobase keys generate --signing-key ES256 makes one")
        assert standby.sealed_jwk is not None
        _unseal(standby.sealed_jwk, standby.kid, secret)
        ready_at = standby.created_at + timedelta(seconds=PUBLISHED_BEFORE_USE_S)
        if not at_once and datetime.now(UTC) < ready_at:
            raise BadRequest(
                f"the standby key was published at {_clock(standby.created_at)}; caches may not know it before "
                f"{_clock(ready_at)}",
                hint="--now rotates all the same: Isobase itself knows the key, others may have to fetch the JWKS again",
            )
        # The simple face goes on with its own pair where the project signs with a secret, which no stranger can verify.
        await connection.execute(
            """
            update isobase.signing_keys set status = 'previously_used', changed_at = now()
             where status = 'in_use' and (signs_for = 'all' or $1)
            """,
            standby.public_jwk is not None,
        )
        await connection.execute(
            "update isobase.signing_keys set status = 'in_use', changed_at = now() where kid = $1", standby.kid
        )
    return standby.kid


async def revoke(
    connection: Connection,
    kid: str,
    *,
    token_life_s: int,
    of_settings: Mapping[str, Key],
    signing_kid_of_settings: str | None,
    at_once: bool = False,
) -> None:
    """Believe nothing any more that the key ``kid`` signed, and delete its private part.

    ``token_life_s``: how long access tokens live; a key that signed less than that ago is only revoked ``at_once``, because
    users would be signed out. ``of_settings``: keys of the JWK file, which can be revoked too; ``signing_kid_of_settings``
    is the one among them that signs while the database has none in use. Raises ``NotFound`` for an unknown id and
    ``BadRequest`` for a key in use.
    """
    async with connection.transaction():
        await _lock(connection)
        stored = await read_keys(connection)
        found = next((one for one in stored if one.kid == kid), None)
        has_one_in_use = any(one.status is KeyStatus.IN_USE and not one.is_for_simple_face for one in stored)
        if found is None and kid not in of_settings:
            raise NotFound(f"there is no signing key {kid}", hint="isobase keys list shows them")
        is_in_use = (
            kid == signing_kid_of_settings and not has_one_in_use if found is None else found.status is KeyStatus.IN_USE
        )
        if is_in_use:
            raise BadRequest("the key is in use", hint="isobase keys rotate puts the standby key in its place first")
        if found is None:
            await connection.execute(
                "insert into isobase.signing_keys (kid, algorithm, status) values ($1, $2, 'revoked')",
                kid,
                of_settings[kid].algorithm,
            )
            return
        expired_at = found.changed_at + timedelta(seconds=token_life_s)
        if found.status is KeyStatus.PREVIOUSLY_USED and not at_once and datetime.now(UTC) < expired_at:
            raise BadRequest(
                f"tokens that the key signed may be in use until {_clock(expired_at)}",
                hint="--now revokes it all the same and so refuses them",
            )
        await connection.execute(
            """
            update isobase.signing_keys set status = 'revoked', sealed_jwk = null, changed_at = now()
             where kid = $1 and status <> 'revoked'
            """,
            kid,
        )


async def _lock(connection: Connection) -> None:
    await connection.execute("select pg_catalog.pg_advisory_xact_lock($1)", LOCK_KEY)


async def _require_secret(connection: Connection, secret: str) -> None:
    """Refuse to seal under a secret other than the one that the keys in force were sealed under."""
    for one in await read_keys(connection):
        if one.sealed_jwk is not None:
            _unseal(one.sealed_jwk, one.kid, secret)


async def _insert(
    connection: Connection, jwk: Mapping[str, Any], status: KeyStatus, signs_for: str, secret: str
) -> None:
    kid: str = jwk["kid"]
    public = None if jwk["kty"] == "oct" else json.dumps(public_part(jwk))
    await connection.execute(
        """
        insert into isobase.signing_keys (kid, algorithm, status, signs_for, public_jwk, sealed_jwk)
        values ($1, $2, $3, $4, $5::jsonb, $6)
        """,
        kid,
        jwk["alg"],
        status.value,
        signs_for,
        public,
        _seal(jwk, kid, secret),
    )


def _sealing_key(secret: str) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_SEAL_CONTEXT).derive(secret.encode())


def _seal(jwk: Mapping[str, Any], kid: str, secret: str) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(_sealing_key(secret)).encrypt(nonce, json.dumps(jwk).encode(), kid.encode())


def _unseal(sealed: bytes, kid: str, secret: str) -> dict[str, Any]:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        data = AESGCM(_sealing_key(secret)).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], kid.encode())
    except InvalidTag as error:
        raise ConfigurationError(
            f"the signing key {kid} was sealed under another jwt_secret",
            hint="use the secret of the servers; a key in use can be replaced before the secret is changed",
        ) from error
    jwk: dict[str, Any] = json.loads(data)
    return jwk


def _clock(time: datetime) -> str:
    return f"{time.astimezone(UTC):%H:%M:%S} UTC"
