"""Rows of ``auth.oauth_authorizations``: what a program has asked a user for, until its code is exchanged.

A row is pending until the user has answered, and is deleted by the exchange of its code. Source: supabase/auth
internal/models/oauth_authorization.go.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

if TYPE_CHECKING:
    import asyncpg

    from isobase_platform.pool import Connection

__all__ = [
    "Authorization",
    "NewAuthorization",
    "approve",
    "assign_user",
    "deny",
    "expire",
    "find_by_code",
    "insert_authorization",
    "lock_authorization",
    "take_authorization",
]

ID_BYTES = 20
_COLUMNS = """a.id, a.authorization_id, a.client_id, a.user_id, a.redirect_uri, a.scope, a.state, a.resource,
  a.code_challenge, a.code_challenge_method::text as code_challenge_method, a.status::text as status, a.authorization_code,
  a.expires_at, a.nonce"""


@dataclass(slots=True, frozen=True)
class NewAuthorization:
    """What a program asks for; absent texts are empty."""

    client_id: UUID
    redirect_uri: str
    scope: str
    state: str
    resource: str
    code_challenge: str
    code_challenge_method: str
    """s256 or plain."""
    nonce: str


@dataclass(slots=True, frozen=True)
class Authorization:
    """A row; absent texts are empty."""

    id: UUID
    authorization_id: str
    client_id: UUID
    user_id: UUID | None
    redirect_uri: str
    scope: str
    state: str
    resource: str
    code_challenge: str = field(repr=False)
    code_challenge_method: str
    status: str
    code: str = field(repr=False)
    expires_at: datetime
    nonce: str

    @property
    def is_pending(self) -> bool:
        """True until the user has answered."""
        return self.status == "pending"

    @property
    def scopes(self) -> list[str]:
        """The scopes, each once per mention."""
        return self.scope.split()

    def accepts(self, verifier: str) -> bool:
        """Whether ``verifier`` is what the challenge was made of; RFC 7636."""
        given = verifier
        if self.code_challenge_method == "s256":
            digest = hashlib.sha256(verifier.encode("utf-8", "surrogatepass")).digest()
            given = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return hmac.compare_digest(self.code_challenge.encode(), given.encode("utf-8", "surrogatepass"))


async def insert_authorization(connection: Connection, wanted: NewAuthorization, expires_at: datetime) -> str:
    """Store a request and return the id that the consent page gets."""
    authorization_id = base64.b32encode(secrets.token_bytes(ID_BYTES)).decode().lower()
    await connection.execute(
        """
        insert into auth.oauth_authorizations (id, authorization_id, client_id, redirect_uri, scope, state, resource,
          code_challenge, code_challenge_method, nonce, created_at, expires_at)
        values ($1, $2, $3, $4, $5, nullif($6, ''), nullif($7, ''), $8, $9::text::auth.code_challenge_method,
          nullif($10, ''), statement_timestamp(), $11)
        """,
        uuid4(),
        authorization_id,
        wanted.client_id,
        wanted.redirect_uri,
        wanted.scope,
        wanted.state,
        wanted.resource,
        wanted.code_challenge,
        wanted.code_challenge_method,
        wanted.nonce,
        expires_at,
    )
    return authorization_id


async def lock_authorization(connection: Connection, authorization_id: str) -> Authorization | None:
    """The request, locked; None where there is none or somebody else is answering it right now."""
    return _authorization(
        await connection.fetchrow(
            f"select {_COLUMNS} from auth.oauth_authorizations a where a.authorization_id = $1 for update skip locked",  # noqa: S608  constants
            authorization_id,
        )
    )


async def find_by_code(connection: Connection, code: str) -> Authorization | None:
    """The approved request that a code belongs to."""
    return _authorization(
        await connection.fetchrow(
            f"select {_COLUMNS} from auth.oauth_authorizations a where a.authorization_code = $1 and a.status = 'approved'",  # noqa: S608  constants
            code,
        )
    )


async def assign_user(connection: Connection, row_id: UUID, user_id: UUID) -> None:
    """Note who looks at the request; from then on nobody else may answer it."""
    await connection.execute("update auth.oauth_authorizations set user_id = $2 where id = $1", row_id, user_id)


async def approve(connection: Connection, row_id: UUID) -> str:
    """Approve the request and return its code."""
    code = str(uuid4())
    await connection.execute(
        """
        update auth.oauth_authorizations
           set status = 'approved', approved_at = statement_timestamp(), authorization_code = $2
         where id = $1
        """,
        row_id,
        code,
    )
    return code


async def deny(connection: Connection, row_id: UUID) -> None:
    """Note that the user refused."""
    await connection.execute("update auth.oauth_authorizations set status = 'denied' where id = $1", row_id)


async def expire(connection: Connection, row_id: UUID) -> None:
    """Note that nobody answered in time."""
    await connection.execute("update auth.oauth_authorizations set status = 'expired' where id = $1", row_id)


async def take_authorization(connection: Connection, row_id: UUID) -> bool:
    """Delete the request for the one exchange that its code is good for; False where another exchange came first."""
    taken: bool | None = await connection.fetchval(
        "delete from auth.oauth_authorizations where id = $1 returning true", row_id
    )
    return bool(taken)


def _authorization(row: asyncpg.Record | None) -> Authorization | None:
    if row is None:
        return None
    return Authorization(
        id=row["id"],
        authorization_id=row["authorization_id"],
        client_id=row["client_id"],
        user_id=row["user_id"],
        redirect_uri=row["redirect_uri"],
        scope=row["scope"],
        state=row["state"] or "",
        resource=row["resource"] or "",
        code_challenge=row["code_challenge"] or "",
        code_challenge_method=row["code_challenge_method"] or "",
        status=row["status"],
        code=row["authorization_code"] or "",
        expires_at=row["expires_at"],
        nonce=row["nonce"] or "",
    )
