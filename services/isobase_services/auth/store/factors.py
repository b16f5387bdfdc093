"""Rows of ``auth.mfa_factors`` and ``auth.mfa_challenges``. Columns: contracts auth section 3.

Two things that upstream does not keep are kept in columns it leaves empty, so that the tables stay its own: how many codes
were tried against a challenge (``web_authn_session_data -> 'tries'``), and the time step of an accepted TOTP code
(``otp_code`` of a challenge that was answered).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from isobase_services.auth.models import JsonObject

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = [
    "UNKNOWN_ADDRESS",
    "NewFactor",
    "OpenChallenge",
    "close_challenge",
    "delete_challenge",
    "delete_factor",
    "delete_stale_factors",
    "delete_unverified_factors",
    "find_challenge",
    "insert_challenge",
    "insert_factor",
    "last_totp_step",
    "lock_user",
    "mark_challenged",
    "mark_verified",
    "replace_secret",
    "save_credential",
    "take_try",
    "update_factor",
    "web_authn_credentials",
]

UNKNOWN_ADDRESS = "0.0.0.0"  # noqa: S104  stands for "no address known"; nothing is bound to it
_TRIES = "coalesce((web_authn_session_data ->> 'tries')::int, 0)"
_STEP_PREFIX = "totp-step:"


@dataclass(slots=True, frozen=True)
class NewFactor:
    """A factor as it is enrolled: not verified. ``secret`` is for TOTP, ``phone`` for codes by SMS."""

    id: UUID
    user_id: UUID
    friendly_name: str
    factor_type: str
    secret: str = field(default="", repr=False)
    phone: str | None = None


@dataclass(slots=True, frozen=True)
class OpenChallenge:
    """A challenge with what its factor needs to check the answer. ``wrong_of_factor``: tries of all recent challenges."""

    id: UUID
    created_at: datetime
    verified_at: datetime | None
    ip: str
    tries: int
    wrong_of_factor: int
    otp_code: str | None = field(repr=False)
    session_data: JsonObject = field(repr=False)
    secret: str | None = field(repr=False)
    credential: JsonObject | None = field(repr=False)


async def lock_user(connection: Connection, user_id: UUID) -> bool:
    """Make changes to the user's factors wait for each other until the transaction ends; False where the user is gone."""
    row = await connection.fetchrow("select id from auth.users where id = $1 for no key update", user_id)
    return row is not None


async def insert_factor(connection: Connection, factor: NewFactor) -> None:
    """Insert an unverified factor."""
    await connection.execute(
        """
        insert into auth.mfa_factors (id, user_id, friendly_name, factor_type, status, secret, phone, created_at, updated_at)
        values ($1, $2, $3, $4::text::auth.factor_type, 'unverified', $5, $6, clock_timestamp(), clock_timestamp())
        """,
        factor.id,
        factor.user_id,
        factor.friendly_name,
        factor.factor_type,
        factor.secret,
        factor.phone,
    )


async def delete_stale_factors(connection: Connection, user_id: UUID, *, older_than_s: float) -> None:
    """Delete the user's factors that were enrolled so long ago, never verified and never challenged."""
    await connection.execute(
        """
        delete from auth.mfa_factors f
         where f.user_id = $1 and f.status <> 'verified' and f.created_at < now() - make_interval(secs => $2)
           and not exists (select from auth.mfa_challenges c where c.factor_id = f.id)
        """,
        user_id,
        older_than_s,
    )


async def delete_unverified_factors(
    connection: Connection, user_id: UUID, factor_type: str, *, phone: str | None = None
) -> None:
    """Delete the user's unverified factors of a type, or with ``phone`` only those of that number."""
    await connection.execute(
        """
        delete from auth.mfa_factors where user_id = $1 and status = 'unverified'
           and factor_type = $2::text::auth.factor_type and ($3::text is null or phone = $3)
        """,
        user_id,
        factor_type,
        phone,
    )


async def delete_factor(connection: Connection, user_id: UUID, factor_id: UUID) -> bool:
    """Delete a factor; its challenges go with it. False where it was gone already."""
    status = await connection.execute("delete from auth.mfa_factors where id = $1 and user_id = $2", factor_id, user_id)
    return status != "DELETE 0"


async def update_factor(connection: Connection, factor_id: UUID, *, friendly_name: str, phone: str) -> None:
    """Set the name and the number where they are not empty."""
    await connection.execute(
        """
        update auth.mfa_factors set friendly_name = coalesce(nullif($2, ''), friendly_name),
               phone = coalesce(nullif($3, ''), phone), updated_at = clock_timestamp() where id = $1
        """,
        factor_id,
        friendly_name,
        phone,
    )


async def insert_challenge(
    connection: Connection,
    factor_id: UUID,
    challenge_id: UUID,
    ip: str | None,
    *,
    otp_code: str = "",
    session_data: JsonObject | None = None,
) -> datetime:
    """Insert a challenge and return the time of it. ``otp_code`` is a hash."""
    created_at: datetime = await connection.fetchval(
        """
        insert into auth.mfa_challenges (id, factor_id, created_at, ip_address, otp_code, web_authn_session_data)
        values ($1, $2, clock_timestamp(), $3::text::inet, $4, $5::jsonb) returning created_at
        """,
        challenge_id,
        factor_id,
        ip or UNKNOWN_ADDRESS,
        otp_code,
        json.dumps(session_data) if session_data is not None else None,
    )
    return created_at


async def mark_challenged(connection: Connection, factor_id: UUID, challenged_at: datetime | None) -> None:
    """Note when the factor was challenged last; None takes the note back.

    The column is unique over all factors. Two factors challenged in the same microsecond need not fail for it.
    """
    await connection.execute(
        """
        update auth.mfa_factors set last_challenged_at = $2::timestamptz
          + make_interval(secs => (select count(*) from auth.mfa_factors where last_challenged_at = $2) * 1e-6)
         where id = $1
        """,
        factor_id,
        challenged_at,
    )


async def delete_challenge(connection: Connection, challenge_id: UUID) -> bool:
    """Delete a challenge; False where it was gone already."""
    status = await connection.execute("delete from auth.mfa_challenges where id = $1", challenge_id)
    return status != "DELETE 0"


async def find_challenge(
    connection: Connection, factor_id: UUID, challenge_id: UUID, *, window_s: float
) -> OpenChallenge | None:
    """The challenge of the factor, with the tries of the factor's challenges of the last ``window_s`` seconds."""
    row = await connection.fetchrow(
        f"""
        select c.id, c.created_at, c.verified_at, host(c.ip_address) as ip, c.otp_code, f.secret,
               {_TRIES} as tries, coalesce(c.web_authn_session_data, '{{}}')::text as session_data,
               f.web_authn_credential::text as credential,
               (select coalesce(sum({_TRIES}), 0)::int from auth.mfa_challenges
                 where factor_id = $1 and created_at > now() - make_interval(secs => $3)) as wrong_of_factor
          from auth.mfa_challenges c join auth.mfa_factors f on f.id = c.factor_id
         where c.id = $2 and c.factor_id = $1""",  # noqa: S608  a constant
        factor_id,
        challenge_id,
        window_s,
    )
    if row is None:
        return None
    return OpenChallenge(
        id=row["id"],
        created_at=row["created_at"],
        verified_at=row["verified_at"],
        ip=row["ip"],
        tries=row["tries"],
        wrong_of_factor=row["wrong_of_factor"],
        otp_code=row["otp_code"],
        session_data=json.loads(row["session_data"]),
        secret=row["secret"],
        credential=json.loads(row["credential"]) if row["credential"] else None,
    )


async def take_try(connection: Connection, challenge_id: UUID) -> None:
    """Count one try against the challenge, before its code is looked at."""
    await connection.execute(
        f"""
        update auth.mfa_challenges
           set web_authn_session_data = coalesce(web_authn_session_data, '{{}}') || jsonb_build_object('tries', {_TRIES} + 1)
         where id = $1""",  # noqa: S608  a constant
        challenge_id,
    )


async def close_challenge(connection: Connection, challenge_id: UUID, *, totp_step: int | None) -> bool:
    """Mark the challenge as answered and give its try back; False where it was answered before.

    The hash of a code is dropped; of a TOTP code the time step is kept, so that it is good for one use.
    """
    status = await connection.execute(
        f"""
        update auth.mfa_challenges
           set verified_at = clock_timestamp(), otp_code = $2,
               web_authn_session_data = jsonb_build_object('tries', greatest({_TRIES} - 1, 0))
         where id = $1 and verified_at is null""",  # noqa: S608  a constant
        challenge_id,
        "" if totp_step is None else f"{_STEP_PREFIX}{totp_step}",
    )
    return status != "UPDATE 0"


async def last_totp_step(connection: Connection, factor_id: UUID, *, window_s: float) -> int:
    """The newest time step whose code was accepted in a challenge of the last ``window_s`` seconds, -1 for none."""
    step: int = await connection.fetchval(
        """
        select coalesce(max(substr(otp_code, length($2) + 1)::bigint), -1) from auth.mfa_challenges
         where factor_id = $1 and verified_at is not null and starts_with(otp_code, $2)
           and created_at > now() - make_interval(secs => $3)
        """,
        factor_id,
        _STEP_PREFIX,
        window_s,
    )
    return step


async def mark_verified(connection: Connection, factor_id: UUID) -> bool:
    """Make the factor a verified one; False where it was so before."""
    status = await connection.execute(
        """
        update auth.mfa_factors set status = 'verified', updated_at = clock_timestamp()
         where id = $1 and status = 'unverified'
        """,
        factor_id,
    )
    return status != "UPDATE 0"


async def replace_secret(connection: Connection, factor_id: UUID, secret: str) -> None:
    """Keep the factor's secret in another form."""
    await connection.execute(
        "update auth.mfa_factors set secret = $2, updated_at = clock_timestamp() where id = $1", factor_id, secret
    )


async def save_credential(
    connection: Connection, factor_id: UUID, credential: JsonObject, aaguid: str, challenge_data: JsonObject
) -> None:
    """Keep the credential of a WebAuthn factor as it stands after a ceremony, and what the ceremony was about."""
    await connection.execute(
        """
        update auth.mfa_factors set web_authn_credential = $2::jsonb, web_authn_aaguid = nullif($3, '')::uuid,
               last_webauthn_challenge_data = $4::jsonb, updated_at = clock_timestamp() where id = $1
        """,
        factor_id,
        json.dumps(credential),
        aaguid,
        json.dumps(challenge_data),
    )


async def web_authn_credentials(connection: Connection, user_id: UUID) -> dict[UUID, JsonObject]:
    """Factor id -> credential of the user's verified WebAuthn factors."""
    rows = await connection.fetch(
        """
        select id, web_authn_credential::text as credential from auth.mfa_factors
         where user_id = $1 and status = 'verified' and factor_type = 'webauthn' and web_authn_credential is not null
         order by created_at
        """,
        user_id,
    )
    return {row["id"]: json.loads(row["credential"]) for row in rows}
