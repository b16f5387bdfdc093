"""Rows of ``auth.webauthn_credentials`` (passkeys) and ``auth.webauthn_challenges``. Columns: contracts auth section 3."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias
from uuid import UUID

from isobase_services.auth.ceremonies import Credential
from isobase_services.auth.models import JsonObject

if TYPE_CHECKING:
    import asyncpg

    from isobase_platform.pool import Connection

__all__ = [
    "ChallengeType",
    "Passkey",
    "delete_passkey",
    "find_passkey",
    "insert_challenge",
    "insert_passkey",
    "list_passkeys",
    "note_use",
    "rename_passkey",
    "take_challenge",
]

ChallengeType: TypeAlias = Literal["registration", "authentication"]

_COLUMNS = """id, user_id, credential_id, public_key, attestation_type, aaguid, sign_count, transports::text as transports,
  backup_eligible, backed_up, friendly_name, created_at, last_used_at"""


@dataclass(slots=True, frozen=True)
class Passkey:
    """A passkey of a user."""

    id: UUID
    user_id: UUID
    credential: Credential
    friendly_name: str
    created_at: datetime
    last_used_at: datetime | None


async def insert_challenge(
    connection: Connection,
    challenge_id: UUID,
    user_id: UUID | None,
    challenge_type: ChallengeType,
    session_data: JsonObject,
    expires_at: datetime,
) -> None:
    """Store a challenge; ``user_id`` None where anybody may answer it."""
    await connection.execute(
        """
        insert into auth.webauthn_challenges (id, user_id, challenge_type, session_data, created_at, expires_at)
        values ($1, $2, $3, $4::jsonb, now(), $5)
        """,
        challenge_id,
        user_id,
        challenge_type,
        json.dumps(session_data),
        expires_at,
    )


async def take_challenge(
    connection: Connection, challenge_id: UUID, user_id: UUID | None, challenge_type: ChallengeType
) -> tuple[JsonObject, datetime] | None:
    """Delete the challenge and return (its data, its end): whoever gets it is the only one. None where there is none."""
    row = await connection.fetchrow(
        """
        delete from auth.webauthn_challenges
         where id = $1 and challenge_type = $3 and user_id is not distinct from $2::uuid
        returning session_data::text as session_data, expires_at
        """,
        challenge_id,
        user_id,
        challenge_type,
    )
    return (json.loads(row["session_data"]), row["expires_at"]) if row is not None else None


async def insert_passkey(
    connection: Connection, passkey_id: UUID, user_id: UUID, credential: Credential, friendly_name: str
) -> datetime | None:
    """Insert a passkey and return the time of it; None where the credential is registered already, for whomever."""
    created_at: datetime | None = await connection.fetchval(
        """
        insert into auth.webauthn_credentials (id, user_id, credential_id, public_key, attestation_type, aaguid, sign_count,
          transports, backup_eligible, backed_up, friendly_name, created_at, updated_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9, $10, $11, clock_timestamp(), clock_timestamp())
        on conflict (credential_id) do nothing returning created_at
        """,
        passkey_id,
        user_id,
        credential.id,
        credential.public_key,
        credential.attestation_type,
        credential.aaguid,
        credential.sign_count,
        json.dumps(credential.transports),
        credential.is_backup_eligible,
        credential.is_backed_up,
        friendly_name,
    )
    return created_at


async def list_passkeys(connection: Connection, user_id: UUID) -> list[Passkey]:
    """The user's passkeys, oldest first."""
    rows = await connection.fetch(
        f"select {_COLUMNS} from auth.webauthn_credentials where user_id = $1 order by created_at, id",  # noqa: S608
        user_id,
    )
    return [_passkey(row) for row in rows]


async def find_passkey(connection: Connection, user_id: UUID, credential_id: bytes) -> Passkey | None:
    """The user's passkey by the id that its authenticator gave it, or None."""
    row = await connection.fetchrow(
        f"select {_COLUMNS} from auth.webauthn_credentials where user_id = $1 and credential_id = $2",  # noqa: S608
        user_id,
        credential_id,
    )
    return _passkey(row) if row is not None else None


async def rename_passkey(connection: Connection, user_id: UUID, passkey_id: UUID, friendly_name: str) -> Passkey | None:
    """Give a passkey of the user another name and return it; None where there is none."""
    row = await connection.fetchrow(
        f"""update auth.webauthn_credentials set friendly_name = $3, updated_at = clock_timestamp()
             where id = $1 and user_id = $2 returning {_COLUMNS}""",  # noqa: S608  a constant
        passkey_id,
        user_id,
        friendly_name,
    )
    return _passkey(row) if row is not None else None


async def delete_passkey(connection: Connection, user_id: UUID, passkey_id: UUID) -> bool:
    """Delete a passkey of the user; False where there is none."""
    status = await connection.execute(
        "delete from auth.webauthn_credentials where id = $1 and user_id = $2", passkey_id, user_id
    )
    return status != "DELETE 0"


async def note_use(connection: Connection, passkey: Passkey, used: Credential) -> bool:
    """Keep the new counter and when the passkey was used; False where it was deleted or used by another answer meanwhile."""
    status = await connection.execute(
        """
        update auth.webauthn_credentials
           set sign_count = $3, backed_up = $4, last_used_at = clock_timestamp(), updated_at = clock_timestamp()
         where id = $1 and sign_count = $2
        """,
        passkey.id,
        passkey.credential.sign_count,
        used.sign_count,
        used.is_backed_up,
    )
    return status != "UPDATE 0"


def _passkey(row: asyncpg.Record) -> Passkey:
    transports = json.loads(row["transports"])
    credential = Credential(
        id=row["credential_id"],
        public_key=row["public_key"],
        sign_count=row["sign_count"],
        aaguid=row["aaguid"],
        transports=tuple(transports) if isinstance(transports, list) else (),
        attestation_type=row["attestation_type"],
        is_backup_eligible=row["backup_eligible"],
        is_backed_up=row["backed_up"],
    )
    return Passkey(
        id=row["id"],
        user_id=row["user_id"],
        credential=credential,
        friendly_name=row["friendly_name"],
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
    )
