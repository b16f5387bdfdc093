"""Rows of ``auth.identities`` of other providers, and what is kept while a browser is at one (``auth.oauth_client_states``).

Source: supabase/auth internal/models (identity.go, linking.go, oauth_client_state.go).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from isobase_services.auth.models import NIL_UUID, JsonObject

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = [
    "ClientState",
    "add_identity",
    "delete_identity",
    "delete_other_identities",
    "find_identity",
    "find_invited_user",
    "find_owner",
    "find_owners",
    "put_client_state",
    "refresh_identity",
    "take_client_state",
]


@dataclass(slots=True, frozen=True)
class ClientState:
    """What was kept for a browser at ``provider``; see ``flows.authorize`` for what ``secret`` holds."""

    provider: str
    secret: str = field(repr=False)
    created_at: datetime


async def find_identity(connection: Connection, provider: str, subject: str) -> tuple[UUID, UUID] | None:
    """(identity id, user id) of a user at a provider, or None."""
    row = await connection.fetchrow(
        "select id, user_id from auth.identities where provider_id = $1 and provider = $2", subject, provider
    )
    return (row["id"], row["user_id"]) if row is not None else None


async def find_owners(connection: Connection, emails: Collection[str]) -> list[UUID]:
    """The users to whom one of ``emails`` (in lower case) belongs, by their account or by an identity that proved it.

    Users and identities of single sign-on are left out. An identity whose provider has not proven the address gives
    nobody a right to it, unlike upstream, where it is enough.
    """
    rows = await connection.fetch(
        """
        select u.id from auth.users u
         where u.instance_id = $1 and lower(u.email) = any($2::text[]) and not u.is_sso_user
        union
        select i.user_id from auth.identities i
         where i.email = any($2::text[]) and i.provider not like 'sso:%'
           and i.identity_data -> 'email_verified' = 'true'::jsonb
        """,
        NIL_UUID,
        list(emails),
    )
    return [row["id"] for row in rows]


async def find_owner(connection: Connection, email: str, *, apart_from: UUID) -> UUID | None:
    """Another user whose account has the address (in lower case), or None."""
    owner: UUID | None = await connection.fetchval(
        """
        select id from auth.users
         where instance_id = $1 and lower(email) = $2 and not is_sso_user and id <> $3 limit 1
        """,
        NIL_UUID,
        email,
        apart_from,
    )
    return owner


async def find_invited_user(connection: Connection, token: str) -> UUID | None:
    """The user to whom a confirmation or invitation with ``token`` is out, or None."""
    user_id: UUID | None = await connection.fetchval(
        """
        select user_id from auth.one_time_tokens
         where token_hash = $1 and token_type = 'confirmation_token'::auth.one_time_token_type
        """,
        token,
    )
    return user_id


async def add_identity(connection: Connection, user_id: UUID, provider: str, data: JsonObject) -> UUID:
    """Add an identity whose provider id is ``data["sub"]``; its e-mail is kept in lower case. Returns its id."""
    identity_id: UUID = await connection.fetchval(
        """
        insert into auth.identities
          (id, provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
        values (gen_random_uuid(), $1, $2, $3::jsonb, $4, statement_timestamp(), statement_timestamp(), statement_timestamp())
        returning id
        """,
        str(data["sub"]),
        user_id,
        json.dumps(_stored(data)),
        provider,
    )
    return identity_id


async def refresh_identity(connection: Connection, identity_id: UUID, data: JsonObject) -> None:
    """Replace what the provider said of the user, who just signed in by it."""
    await connection.execute(
        """
        update auth.identities
           set identity_data = $2::jsonb, last_sign_in_at = statement_timestamp(), updated_at = statement_timestamp()
         where id = $1
        """,
        identity_id,
        json.dumps(_stored(data)),
    )


async def delete_identity(connection: Connection, identity_id: UUID) -> bool:
    """Delete one; False where it was gone already."""
    return await connection.execute("delete from auth.identities where id = $1", identity_id) != "DELETE 0"


async def delete_other_identities(connection: Connection, user_id: UUID, kept: UUID) -> None:
    """Delete all identities of the user but one."""
    await connection.execute("delete from auth.identities where user_id = $1 and id <> $2", user_id, kept)


async def put_client_state(connection: Connection, state_id: UUID, provider: str, secret: str) -> None:
    """Keep ``secret`` until the browser is back."""
    await connection.execute(
        """
        insert into auth.oauth_client_states (id, provider_type, code_verifier, created_at)
        values ($1, $2, $3, statement_timestamp())
        """,
        state_id,
        provider,
        secret,
    )


async def take_client_state(connection: Connection, state_id: UUID) -> ClientState | None:
    """What was kept, once: it is removed. None where there is nothing (any more)."""
    row = await connection.fetchrow(
        "delete from auth.oauth_client_states where id = $1 returning provider_type, code_verifier, created_at",
        state_id,
    )
    return ClientState(row["provider_type"], row["code_verifier"] or "", row["created_at"]) if row is not None else None


def _stored(data: JsonObject) -> JsonObject:
    return {**data, "email": data["email"].lower()} if isinstance(data.get("email"), str) else data
