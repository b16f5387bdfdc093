"""Rows of ``auth.oauth_clients``: programs that users let act for them. A deleted one stays, with ``deleted_at``.

Lists are kept as texts with commas, as upstream keeps them. Source: supabase/auth internal/models/oauth_client.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias
from uuid import UUID

if TYPE_CHECKING:
    import asyncpg

    from isobase_platform.pool import Connection

__all__ = [
    "AuthMethod",
    "ClientType",
    "OAuthClient",
    "RegistrationType",
    "delete_client",
    "find_client",
    "insert_client",
    "list_clients",
    "update_client",
]

ClientType: TypeAlias = Literal["public", "confidential"]
AuthMethod: TypeAlias = Literal["none", "client_secret_basic", "client_secret_post"]
RegistrationType: TypeAlias = Literal["manual", "dynamic"]

_COLUMNS = """c.id, c.client_secret_hash, c.registration_type::text as registration_type, c.redirect_uris, c.grant_types,
  c.client_name, c.client_uri, c.logo_uri, c.client_type::text as client_type, c.token_endpoint_auth_method, c.created_at,
  c.updated_at"""


@dataclass(slots=True, frozen=True)
class OAuthClient:
    """A client; absent texts are empty. A public one has no secret."""

    id: UUID
    secret_hash: str = field(repr=False)
    registration_type: RegistrationType
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    name: str
    uri: str
    logo_uri: str
    client_type: ClientType
    auth_method: AuthMethod
    created_at: datetime
    updated_at: datetime

    @property
    def is_confidential(self) -> bool:
        """True where the client can keep a secret."""
        return self.client_type == "confidential"


async def list_clients(connection: Connection) -> list[OAuthClient]:
    """All clients, newest first."""
    rows = await connection.fetch(
        f"select {_COLUMNS} from auth.oauth_clients c where c.deleted_at is null order by c.created_at desc, c.id"  # noqa: S608  constants
    )
    return [_client(row) for row in rows]


async def find_client(connection: Connection, client_id: UUID) -> OAuthClient | None:
    """The client, or None."""
    row = await connection.fetchrow(
        f"select {_COLUMNS} from auth.oauth_clients c where c.id = $1 and c.deleted_at is null",  # noqa: S608  constants
        client_id,
    )
    return _client(row) if row is not None else None


async def insert_client(connection: Connection, client: OAuthClient) -> OAuthClient:
    """Store a new client; returns it with the times of the database."""
    row = await connection.fetchrow(
        f"""
        insert into auth.oauth_clients as c (id, client_secret_hash, registration_type, redirect_uris, grant_types,
          client_name, client_uri, logo_uri, client_type, token_endpoint_auth_method)
        values ($1, nullif($2, ''), $3::text::auth.oauth_registration_type, $4, $5, nullif($6, ''), nullif($7, ''),
          nullif($8, ''), $9::text::auth.oauth_client_type, $10)
        returning {_COLUMNS}
        """,  # noqa: S608  constants
        client.id,
        client.secret_hash,
        client.registration_type,
        ",".join(client.redirect_uris),
        ",".join(client.grant_types),
        client.name,
        client.uri,
        client.logo_uri,
        client.client_type,
        client.auth_method,
    )
    assert row is not None
    return _client(row)


async def update_client(connection: Connection, client: OAuthClient) -> OAuthClient | None:
    """Store what may change of a client; None where it was deleted meanwhile."""
    row = await connection.fetchrow(
        f"""
        update auth.oauth_clients c
           set client_secret_hash = nullif($2, ''), redirect_uris = $3, grant_types = $4, client_name = nullif($5, ''),
               client_uri = nullif($6, ''), logo_uri = nullif($7, ''), token_endpoint_auth_method = $8,
               updated_at = statement_timestamp()
         where c.id = $1 and c.deleted_at is null
        returning {_COLUMNS}
        """,  # noqa: S608  constants
        client.id,
        client.secret_hash,
        ",".join(client.redirect_uris),
        ",".join(client.grant_types),
        client.name,
        client.uri,
        client.logo_uri,
        client.auth_method,
    )
    return _client(row) if row is not None else None


async def delete_client(connection: Connection, client_id: UUID) -> None:
    """Mark the client as deleted and end the sessions that it opened."""
    await connection.execute(
        """
        with gone as (update auth.oauth_clients set deleted_at = statement_timestamp() where id = $1)
        delete from auth.sessions where oauth_client_id = $1
        """,
        client_id,
    )


def _client(row: asyncpg.Record) -> OAuthClient:
    return OAuthClient(
        id=row["id"],
        secret_hash=row["client_secret_hash"] or "",
        registration_type=row["registration_type"],
        redirect_uris=_list(row["redirect_uris"]),
        grant_types=_list(row["grant_types"]),
        name=row["client_name"] or "",
        uri=row["client_uri"] or "",
        logo_uri=row["logo_uri"] or "",
        client_type=row["client_type"],
        auth_method=row["token_endpoint_auth_method"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()
