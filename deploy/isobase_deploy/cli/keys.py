"""``isobase keys``: fresh secrets for production, and the signing keys of a project through their states.

The keys' rows are ``isobase_platform.key_store``'s; after each change running processes are told over the bus.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.flags import project_of
from isobase_deploy.cli.status import target_settings
from isobase_deploy.database import unreachable
from isobase_platform import key_store
from isobase_platform.bus import open_bus
from isobase_platform.config import Settings
from isobase_platform.errors import ConfigurationError, Unavailable
from isobase_platform.key_keeper import CHANNEL
from isobase_platform.keys import Key, KeyRing, KeyStatus, base64url, generate_jwk
from isobase_platform.pool import Connection, Pools
from isobase_platform.runtime import project_ring
from isobase_platform.tokens import role_token

__all__ = ["generate", "list_all", "revoke", "rotate"]

_Result = TypeVar("_Result")

KEY_LIFE_S = 10 * 365 * 24 * 3600
"""anon and service_role keys live in clients; they end when the secret is changed."""


def generate(parsed: argparse.Namespace) -> int:
    """Print the settings that production refuses the defaults of; with --signing-key make a standby key, or a JWK file."""
    if parsed.out is not None and parsed.signing_key is None:
        raise ConfigurationError("--out goes together with --signing-key")
    if parsed.signing_key is not None and parsed.out is None:
        return _add_standby(parsed)
    lines: dict[str, str] = {}
    if parsed.out is not None:
        try:
            # Created for its owner alone and never over an existing key, which tokens may still hang on.
            descriptor = os.open(parsed.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise ConfigurationError(f"{parsed.out} exists already; it is not overwritten") from error
        except OSError as error:
            raise ConfigurationError(f"cannot write {parsed.out}: {error.strerror}") from error
        with os.fdopen(descriptor, "w") as file:
            json.dump([generate_jwk(parsed.signing_key)], file, indent=2)
        lines["ISOBASE_JWT_KEYS_FILE"] = str(parsed.out.absolute())
    secret = secrets.token_urlsafe(48)
    expires_at_s = int(time.time()) + KEY_LIFE_S
    lines |= {
        "ISOBASE_JWT_SECRET": secret,
        "ISOBASE_ANON_KEY": role_token(secret, "anon", issuer="isobase", expires_at_s=expires_at_s),
        "ISOBASE_SERVICE_ROLE_KEY": role_token(secret, "service_role", issuer="isobase", expires_at_s=expires_at_s),
        "ISOBASE_PUBLISHABLE_KEY": _opaque_key("sb_publishable_"),
        "ISOBASE_SECRET_KEY": _opaque_key("sb_secret_"),
        "ISOBASE_STORAGE__S3_ACCESS_KEY_ID": secrets.token_hex(16),
        "ISOBASE_STORAGE__S3_SECRET_ACCESS_KEY": secrets.token_hex(32),
    }
    for name, value in lines.items():
        print(f"{name}={value}")  # noqa: T201  the command's answer
    return ExitCode.OK


def _opaque_key(prefix: str) -> str:
    """A key of upstream's form: 128 random bits and eight characters that tell a mistyped key from a wrong one."""
    body = prefix + base64url(secrets.token_bytes(16))
    return f"{body}_{base64url(hashlib.sha256(body.encode()).digest())[:8]}"


def list_all(parsed: argparse.Namespace) -> int:
    """Every signing key: those of the database, those of the JWK file, and the shared secret."""
    settings = target_settings(project_of(parsed))
    ring = project_ring(settings)
    stored = asyncio.run(_read(settings))
    rows = _described(stored, ring)
    if parsed.output == "json":
        print(json.dumps(rows, indent=2))  # noqa: T201  the command's answer
        return ExitCode.OK
    print(f"{'KID':<38}{'ALGORITHM':<11}{'STATUS':<17}{'SINCE (UTC)':<21}SOURCE")  # noqa: T201
    for row in rows:
        since = f"{datetime.fromisoformat(row['since']):%Y-%m-%d %H:%M:%S}" if row["since"] else ""
        print(f"{row['kid'] or '-':<38}{row['algorithm']:<11}{row['status']:<17}{since:<21}{row['source']}")  # noqa: T201
    return ExitCode.OK


def rotate(parsed: argparse.Namespace) -> int:
    """Put the standby key into use."""
    settings = target_settings(project_of(parsed))

    async def change(connection: Connection) -> str:
        return await key_store.rotate(connection, _secret(settings), at_once=parsed.now)

    kid = asyncio.run(_changed(settings, change))
    print(f"{kid} signs from now on; what signed before goes on to verify")  # noqa: T201
    return ExitCode.OK


def revoke(parsed: argparse.Namespace) -> int:
    """Revoke a key that signs no more."""
    settings = target_settings(project_of(parsed))
    ring = project_ring(settings)

    async def change(connection: Connection) -> None:
        await key_store.revoke(
            connection,
            parsed.kid,
            token_life_s=max(settings.auth.jwt_expiry_s, settings.auth.simple_access_token_s),
            of_settings=ring.of_settings,
            signing_kid_of_settings=ring.signing_key.kid,
            at_once=parsed.now,
        )

    asyncio.run(_changed(settings, change))
    print(f"{parsed.kid} is revoked")  # noqa: T201
    return ExitCode.OK


def _add_standby(parsed: argparse.Namespace) -> int:
    settings = target_settings(project_of(parsed))
    jwk = generate_jwk(parsed.signing_key)

    async def change(connection: Connection) -> None:
        await key_store.add_standby(connection, jwk, _secret(settings))

    asyncio.run(_changed(settings, change))
    minutes = key_store.PUBLISHED_BEFORE_USE_S // 60
    print(f"{jwk['kid']} is the standby key; in {minutes} minutes isobase keys rotate puts it into use")  # noqa: T201
    return ExitCode.OK


async def _changed(settings: Settings, change: Callable[[Connection], Awaitable[_Result]]) -> _Result:
    """Make one change of the keys and tell every running process."""
    async with _pools(settings) as pools:
        async with pools.acquire(None) as connection:
            result = await change(connection)
        bus = open_bus(settings, pools)
        try:
            await bus.publish(CHANNEL, b"")
        finally:
            await bus.close()
        return result


async def _read(settings: Settings) -> list[key_store.StoredKey]:
    async with _pools(settings) as pools, pools.acquire(None) as connection:
        return await key_store.read_keys(connection)


@asynccontextmanager
async def _pools(settings: Settings) -> AsyncIterator[Pools]:
    pools = Pools(settings)
    try:
        yield pools
    except Unavailable as error:
        raise unreachable(settings, error) from error
    finally:
        await pools.close()


def _secret(settings: Settings) -> str:
    return settings.jwt_secret.get_secret_value()


def _described(stored: list[key_store.StoredKey], ring: KeyRing) -> list[dict[str, Any]]:
    """One mapping per key: kid (None for the shared secret), algorithm, status, since (ISO 8601 or None), source."""
    has_one_in_use = any(one.status is KeyStatus.IN_USE and not one.is_for_simple_face for one in stored)

    def of_settings(key: Key, source: str) -> dict[str, Any]:
        signs = key is ring.signing_key and not has_one_in_use
        status = KeyStatus.IN_USE if signs else KeyStatus.PREVIOUSLY_USED
        return {"kid": key.kid, "algorithm": key.algorithm, "status": status.value, "since": None, "source": source}

    rows: list[dict[str, Any]] = [
        {
            "kid": one.kid,
            "algorithm": one.algorithm,
            "status": one.status.value,
            "since": one.changed_at.astimezone(UTC).isoformat(timespec="seconds"),
            "source": "database, simple face" if one.is_for_simple_face else "database",
        }
        for one in stored
    ]
    in_database = {one.kid for one in stored}
    rows += [of_settings(key, "JWK file") for kid, key in ring.of_settings.items() if kid not in in_database]
    return [*rows, of_settings(ring.secret_key, "jwt_secret")]
