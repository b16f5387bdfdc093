"""Rows of ``auth.users`` and ``auth.identities``. Columns: contracts auth section 3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias
from uuid import UUID

from isobase_services.auth.models import NIL_UUID, JsonObject, User, user_from_row

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = [
    "IDENTITIES_AND_FACTORS",
    "USER_COLUMNS",
    "NewUser",
    "UserChanges",
    "clear_one_time_tokens",
    "delete_factors",
    "delete_user",
    "email_change_status",
    "find_by_email",
    "find_by_id",
    "find_by_phone",
    "find_duplicate_email",
    "find_in_any_audience",
    "insert_identity",
    "insert_user",
    "list_users",
    "lock_by_id",
    "mark_email_verified",
    "merge_identity_data",
    "set_providers",
    "soften_identities",
    "update_user",
]

USER_COLUMNS = """u.id, u.aud, u.role, u.email, u.phone, u.encrypted_password, u.is_sso_user, u.is_anonymous,
  u.email_confirmed_at, u.phone_confirmed_at, u.confirmed_at, u.invited_at, u.confirmation_sent_at, u.recovery_sent_at,
  u.email_change, u.email_change_sent_at, u.phone_change, u.phone_change_sent_at, u.reauthentication_sent_at,
  u.last_sign_in_at, u.raw_app_meta_data, u.raw_user_meta_data, u.created_at, u.updated_at, u.banned_until, u.deleted_at"""

IDENTITIES_AND_FACTORS = """(select coalesce(json_agg(json_build_object(
    'id', i.id, 'provider_id', i.provider_id, 'user_id', i.user_id, 'identity_data', i.identity_data,
    'provider', i.provider, 'last_sign_in_at', i.last_sign_in_at at time zone 'utc',
    'created_at', i.created_at at time zone 'utc', 'updated_at', i.updated_at at time zone 'utc', 'email', i.email)
    order by i.created_at, i.provider), '[]') from auth.identities i where i.user_id = u.id) as identities,
  (select coalesce(json_agg(json_build_object(
    'id', f.id, 'created_at', f.created_at at time zone 'utc', 'updated_at', f.updated_at at time zone 'utc',
    'status', f.status, 'friendly_name', f.friendly_name, 'factor_type', f.factor_type, 'phone', f.phone,
    'last_challenged_at', f.last_challenged_at at time zone 'utc', 'web_authn_aaguid', f.web_authn_aaguid,
    'last_webauthn_challenge_data', f.last_webauthn_challenge_data) order by f.created_at), '[]')
    from auth.mfa_factors f where f.user_id = u.id) as factors"""

_SELECT = f"select {USER_COLUMNS}, {IDENTITIES_AND_FACTORS} from auth.users u"  # noqa: S608  constants of this module

UserColumn: TypeAlias = Literal[
    "role",
    "email",
    "phone",
    "encrypted_password",
    "email_confirmed_at",
    "phone_confirmed_at",
    "confirmation_token",
    "confirmation_sent_at",
    "recovery_token",
    "recovery_sent_at",
    "invited_at",
    "email_change",
    "email_change_token_new",
    "email_change_token_current",
    "email_change_sent_at",
    "email_change_confirm_status",
    "phone_change",
    "phone_change_token",
    "phone_change_sent_at",
    "reauthentication_token",
    "reauthentication_sent_at",
    "banned_until",
    "deleted_at",
    "is_anonymous",
]


@dataclass(slots=True, frozen=True)
class NewUser:
    """What a user's row is born with; empty texts for e-mail and phone are kept as null."""

    id: UUID
    aud: str
    email: str
    phone: str
    encrypted_password: str = field(repr=False)
    app_metadata: JsonObject
    user_metadata: JsonObject
    is_anonymous: bool = False


@dataclass(slots=True, frozen=True)
class UserChanges:
    """An update: columns to set, and metadata to merge one level deep, where None deletes the key.

    ``replace_user_metadata`` sets the whole map before ``user_metadata`` is merged into it.
    """

    columns: Mapping[UserColumn, object] = field(default_factory=dict)
    app_metadata: JsonObject | None = None
    user_metadata: JsonObject | None = None
    replace_user_metadata: bool = False


async def find_by_id(connection: Connection, user_id: UUID) -> User | None:
    """The user, or None."""
    row = await connection.fetchrow(f"{_SELECT} where u.instance_id = $1 and u.id = $2", NIL_UUID, user_id)
    return user_from_row(row) if row is not None else None


async def find_by_email(connection: Connection, email: str, audience: str) -> User | None:
    """The user with the address (in any case) who is not managed by single sign-on, or None."""
    row = await connection.fetchrow(
        f"{_SELECT} where u.instance_id = $1 and lower(u.email) = $2 and u.aud = $3 and not u.is_sso_user"
        " order by u.created_at limit 1",
        NIL_UUID,
        email.lower(),
        audience,
    )
    return user_from_row(row) if row is not None else None


async def find_by_phone(connection: Connection, phone: str, audience: str) -> User | None:
    """The user with the number who is not managed by single sign-on, or None."""
    row = await connection.fetchrow(
        f"{_SELECT} where u.instance_id = $1 and u.phone = $2 and u.aud = $3 and not u.is_sso_user limit 1",
        NIL_UUID,
        phone,
        audience,
    )
    return user_from_row(row) if row is not None else None


async def find_duplicate_email(
    connection: Connection, email: str, audience: str, *, apart_from: UUID | None = None
) -> User | None:
    """The user who holds the address already, by an identity outside single sign-on or by the users row, or None."""
    row = await connection.fetchrow(
        f"""{_SELECT}
        where u.instance_id = $1 and u.aud = $3 and u.id is distinct from $4::uuid
          and u.id in (select i.user_id from auth.identities i where i.email = $2 and i.provider not like 'sso:%'
                       union
                       select x.id from auth.users x
                        where x.instance_id = $1 and lower(x.email) = $2 and not x.is_sso_user)
        order by u.created_at limit 1""",  # noqa: S608  constants of this module
        NIL_UUID,
        email.lower(),
        audience,
        apart_from,
    )
    return user_from_row(row) if row is not None else None


async def find_in_any_audience(connection: Connection, *, email: str = "", phone: str = "") -> User | None:
    """The user who has the e-mail address, else the number, of whatever audience: an address is one user's only.

    None where it is free.
    """
    condition = "lower(u.email) = $2 and not u.is_sso_user" if email else "u.phone = $2"
    row = await connection.fetchrow(
        f"{_SELECT} where u.instance_id = $1 and {condition} limit 1",
        NIL_UUID,
        email.lower() or phone,
    )
    return user_from_row(row) if row is not None else None


async def insert_user(connection: Connection, user: NewUser) -> str | None:
    """Insert the row and return its e-mail as a project's triggers left it; None where they kept the row out.

    Role and confirmation come by a later update, as upstream's do, so that triggers see the same order of events.
    """
    row = await connection.fetchrow(
        """
        insert into auth.users (instance_id, id, aud, role, email, phone, encrypted_password, confirmation_token,
          recovery_token, email_change_token_new, email_change, email_change_token_current, phone_change,
          phone_change_token, reauthentication_token, email_change_confirm_status, raw_app_meta_data,
          raw_user_meta_data, is_anonymous, created_at, updated_at)
        values ($1, $2, $3, '', nullif($4, ''), nullif($5, ''), $6, '', '', '', '', '', '', '', '', 0,
          $7::jsonb, $8::jsonb, $9, statement_timestamp(), statement_timestamp())
        returning coalesce(email, '') as email
        """,
        NIL_UUID,
        user.id,
        user.aud,
        user.email,
        user.phone,
        user.encrypted_password,
        json.dumps(user.app_metadata),
        json.dumps(user.user_metadata),
        user.is_anonymous,
    )
    return row["email"] if row is not None else None


async def update_user(connection: Connection, user_id: UUID, changes: UserChanges) -> None:
    """Apply ``changes`` and move ``updated_at``; without any, the row stays as it is.

    One statement per shape of change, so that its plan is kept.
    """
    if not changes.columns and changes.app_metadata is None and changes.user_metadata is None:
        return
    assignments = ["updated_at = statement_timestamp()"]
    values: list[object] = [user_id]
    for column, value in changes.columns.items():
        values.append(value)
        # The name is one of UserColumn's, never a caller's.
        assignments.append(f"{column} = ${len(values)}")
    for name, merged, is_replaced in (
        ("raw_app_meta_data", changes.app_metadata, False),
        ("raw_user_meta_data", changes.user_metadata, changes.replace_user_metadata),
    ):
        if merged is None:
            continue
        kept = {key: value for key, value in merged.items() if value is not None}
        values += [json.dumps(kept), [key for key, value in merged.items() if value is None]]
        old = "'{}'::jsonb" if is_replaced else f"case jsonb_typeof({name}) when 'object' then {name} else '{{}}' end"
        assignments.append(f"{name} = (({old}) || ${len(values) - 1}::jsonb) - ${len(values)}::text[]")
    await connection.execute(f"update auth.users set {', '.join(assignments)} where id = $1", *values)  # noqa: S608  see above


async def delete_user(connection: Connection, user_id: UUID) -> None:
    """Delete the row; identities, sessions and the project's own cascades go with it."""
    await connection.execute("delete from auth.users where id = $1", user_id)


async def insert_identity(connection: Connection, user_id: UUID, provider: str, data: JsonObject) -> None:
    """Insert an identity whose provider id is ``data["sub"]``; its e-mail is kept in lower case."""
    stored = {**data, "email": data["email"].lower()} if isinstance(data.get("email"), str) else dict(data)
    await connection.execute(
        """
        insert into auth.identities
          (id, provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
        values (gen_random_uuid(), $1, $2, $3::jsonb, $4, statement_timestamp(), statement_timestamp(), statement_timestamp())
        """,
        str(stored["sub"]),
        user_id,
        json.dumps(stored),
        provider,
    )


async def merge_identity_data(connection: Connection, user_id: UUID, provider: str, data: JsonObject) -> bool:
    """Merge ``data`` into the user's identity of ``provider``; False where there is none."""
    status = await connection.execute(
        """
        update auth.identities set identity_data = identity_data || $3::jsonb, updated_at = statement_timestamp()
         where user_id = $1 and provider = $2
        """,
        user_id,
        provider,
        json.dumps(data),
    )
    return status != "UPDATE 0"


async def soften_identities(connection: Connection, provider_ids: Mapping[UUID, str]) -> None:
    """Empty the identities and give each the provider id that stands for nobody (identity id -> new provider id)."""
    await connection.executemany(
        "update auth.identities set identity_data = '{}', provider_id = $2, updated_at = statement_timestamp() where id = $1",
        list(provider_ids.items()),
    )


async def delete_factors(connection: Connection, user_id: UUID) -> None:
    """Delete the user's second factors and passkeys."""
    await connection.execute("delete from auth.mfa_factors where user_id = $1", user_id)
    await connection.execute("delete from auth.webauthn_credentials where user_id = $1", user_id)


async def clear_one_time_tokens(connection: Connection, user_id: UUID) -> None:
    """Delete every code and link that is still out for the user, with what is kept beside them."""
    await connection.execute(
        """
        with beside as (delete from isobase.one_time_codes where user_id = $1)
        delete from auth.one_time_tokens where user_id = $1
        """,
        user_id,
    )


async def lock_by_id(connection: Connection, user_id: UUID) -> User | None:
    """The user, whose row nobody else changes until the transaction ends; None where there is none."""
    row = await connection.fetchrow(
        f"{_SELECT} where u.instance_id = $1 and u.id = $2 for update of u", NIL_UUID, user_id
    )
    return user_from_row(row) if row is not None else None


async def email_change_status(connection: Connection, user_id: UUID) -> int:
    """How many of the two addresses have agreed to a secure change of e-mail: 0 or 1."""
    status: int | None = await connection.fetchval(
        "select email_change_confirm_status from auth.users where id = $1", user_id
    )
    return status or 0


async def mark_email_verified(connection: Connection, user_id: UUID, email: str) -> None:
    """Note on the user's identities with the address that it is proven."""
    await connection.execute(
        """
        update auth.identities
           set identity_data = identity_data || '{"email_verified": true}', updated_at = statement_timestamp()
         where user_id = $1 and email = $2 and $2 <> ''
        """,
        user_id,
        email.lower(),
    )


async def set_providers(connection: Connection, user_id: UUID) -> None:
    """Write the providers of the user's identities to app_metadata, the oldest one as ``provider``."""
    await connection.execute(
        """
        update auth.users u
           set raw_app_meta_data = case jsonb_typeof(u.raw_app_meta_data) when 'object' then u.raw_app_meta_data else '{}' end
             || jsonb_build_object('providers', coalesce(to_jsonb(found.names), '[]'))
             || case when found.names is null then '{}' else jsonb_build_object('provider', found.names[1]) end
          from (select array_agg(first.provider order by first.created_at, first.provider) as names
                  from (select i.provider, min(i.created_at) as created_at from auth.identities i
                         where i.user_id = $1 group by i.provider) first) found
         where u.id = $1
        """,
        user_id,
    )


async def list_users(
    connection: Connection, audience: str, *, text: str, is_ascending: bool, limit: int, offset: int
) -> tuple[list[User], int]:
    """A page of users without their identities and factors, and how many there are in all.

    ``text`` filters by e-mail (like) and full name (case-insensitive); empty for all. ``limit`` and ``offset`` count rows.
    """
    condition = "u.instance_id = $1 and u.aud = $2"
    values: list[object] = [NIL_UUID, audience]
    if text:
        condition += " and (u.email like $3 or u.raw_user_meta_data ->> 'full_name' ilike $3)"
        values.append(f"%{text}%")
    direction = "asc" if is_ascending else "desc"
    total = await connection.fetchval(f"select count(*) from auth.users u where {condition}", *values)  # noqa: S608  constants
    rows = await connection.fetch(
        f"select {USER_COLUMNS}, '[]' as identities, '[]' as factors from auth.users u where {condition}"  # noqa: S608
        f" order by u.created_at {direction}, u.id {direction} limit {int(limit)} offset {int(offset)}",
        *values,
    )
    return [user_from_row(row) for row in rows], total
