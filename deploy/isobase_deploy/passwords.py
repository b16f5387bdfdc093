"""Keeps the login roles' passwords equal to the settings' on the embedded server.

Passwords of production are derived from the JWT secret: when that is rotated, or a local data directory is first started
with --production, the roles must follow. Comparing needs no change, so that an ordinary start writes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

import asyncpg

from isobase_platform.config import LOGIN_ROLES, Settings
from isobase_platform.errors import database_error
from isobase_platform.pool import DATABASE_FAILURES
from isobase_platform.sql import quote_identifier, quote_literal

__all__ = ["ensure_role_passwords", "is_password_of"]

_VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")


def is_password_of(verifier: str | None, password: str) -> bool:
    """Whether ``password`` gives PostgreSQL's SCRAM-SHA-256 ``verifier``.

    ASCII passwords only, which ours are: no SASLprep is done. Source: RFC 5803, RFC 5802 section 3.
    """
    match = _VERIFIER.fullmatch(verifier or "")
    if match is None:
        return False
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(match[2]), int(match[1]))
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    return hmac.compare_digest(stored_key, base64.b64decode(match[3]))


async def ensure_role_passwords(settings: Settings) -> list[str]:
    """Set the password of every login role where it is not the settings'; returns the roles changed.

    Connects as the owner. Raises ``Unavailable`` or ``DatabaseError``.
    """
    try:
        connection = await asyncpg.connect(settings.dsn(), statement_cache_size=0)
        try:
            rows = await connection.fetch(
                "select rolname, rolpassword from pg_authid where rolname = any($1)", list(LOGIN_ROLES)
            )
            changed: list[str] = []
            for row in rows:
                role = row["rolname"]
                password = settings.role_password(role)
                if not is_password_of(row["rolpassword"], password):
                    await connection.execute(
                        f"alter role {quote_identifier(role)} with password {quote_literal(password)}"
                    )
                    changed.append(role)
            return changed
        finally:
            await connection.close()
    except DATABASE_FAILURES as error:
        raise database_error(error) from error
