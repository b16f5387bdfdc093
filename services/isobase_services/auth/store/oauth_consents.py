"""Rows of ``auth.oauth_consents``: what a user has granted a program. A revoked one stays, with ``revoked_at``.

Source: supabase/auth internal/models/oauth_consent.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from isobase_services.auth.store.audit import APPEND_ENTRIES, Entry, stored_payloads

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["Consent", "consented_scopes", "list_consents", "revoke_consent", "store_consent"]


@dataclass(slots=True, frozen=True)
class Consent:
    """A grant, with what its program is called; absent texts are empty."""

    client_id: UUID
    name: str
    uri: str
    logo_uri: str
    scopes: list[str]
    granted_at: datetime


async def consented_scopes(connection: Connection, user_id: UUID, client_id: UUID) -> frozenset[str] | None:
    """The scopes that the user has granted the program, None where nothing is."""
    scopes: str | None = await connection.fetchval(
        "select scopes from auth.oauth_consents where user_id = $1 and client_id = $2 and revoked_at is null",
        user_id,
        client_id,
    )
    return None if scopes is None else frozenset(scopes.split())


async def store_consent(connection: Connection, user_id: UUID, client_id: UUID, scope: str) -> None:
    """Note what the user grants now, in the place of what they granted before."""
    await connection.execute(
        """
        insert into auth.oauth_consents (id, user_id, client_id, scopes, granted_at)
        values (gen_random_uuid(), $1, $2, $3, statement_timestamp())
        on conflict (user_id, client_id)
        do update set scopes = excluded.scopes, granted_at = excluded.granted_at, revoked_at = null
        """,
        user_id,
        client_id,
        scope,
    )


async def list_consents(connection: Connection, user_id: UUID) -> list[Consent]:
    """What holds, newest first; programs that were deleted are left out."""
    rows = await connection.fetch(
        """
        select o.client_id, c.client_name, c.client_uri, c.logo_uri, o.scopes, o.granted_at
          from auth.oauth_consents o join auth.oauth_clients c on c.id = o.client_id and c.deleted_at is null
         where o.user_id = $1 and o.revoked_at is null
         order by o.granted_at desc
        """,
        user_id,
    )
    return [
        Consent(
            client_id=row["client_id"],
            name=row["client_name"] or "",
            uri=row["client_uri"] or "",
            logo_uri=row["logo_uri"] or "",
            scopes=row["scopes"].split(),
            granted_at=row["granted_at"],
        )
        for row in rows
    ]


async def revoke_consent(connection: Connection, user_id: UUID, client_id: UUID, entry: Entry) -> bool:
    """Revoke a grant and end the program's sessions of this user, in one statement; False where nothing was granted."""
    revoked: bool | None = await connection.fetchval(
        f"""
        with revoked as (
          update auth.oauth_consents set revoked_at = greatest(statement_timestamp(), granted_at)
           where user_id = $1 and client_id = $2 and revoked_at is null
          returning client_id),
        ended as (
          delete from auth.sessions s using revoked r where s.user_id = $1 and s.oauth_client_id = r.client_id),
        logged as ({APPEND_ENTRIES.format(payloads="(select $3::text[] from revoked)")})
        select true from revoked
        """,  # noqa: S608  constants
        user_id,
        client_id,
        stored_payloads([entry]),
    )
    return bool(revoked)
