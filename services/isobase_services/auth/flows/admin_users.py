"""Administration of users. Source: contracts auth §1 and 2.14; supabase/auth internal/api/admin.go."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from isobase_platform.errors import DatabaseError
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import (
    AuthError,
    ErrorCode,
    bad_request,
    fail_with_database_error,
    is_address_taken,
    not_found,
    unprocessable,
)
from isobase_services.auth.flows.access import Admin
from isobase_services.auth.flows.password_strength import check_new_password
from isobase_services.auth.flows.user_update import DUPLICATE_EMAIL, set_password
from isobase_services.auth.models import NIL_UUID, JsonObject, User
from isobase_services.auth.passwords import MAX_PASSWORD_BYTES, is_importable_hash
from isobase_services.auth.rules import normal_email, normal_phone, parse_duration
from isobase_services.auth.store import audit, flow_state, sessions, users
from isobase_services.auth.store.audit import Action, Entry
from isobase_services.auth.store.users import NewUser, UserChanges, UserColumn

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["UserFields", "UserPage", "create_user", "delete_user", "get_user", "list_users", "update_user"]

RANDOM_PASSWORD_CHARS = 64
MAX_OFFSET_ROWS = 2**62


@dataclass(slots=True, frozen=True)
class UserFields:
    """What an administrator sets. Absent texts are empty; ``password`` and metadata None when not given."""

    id: str
    aud: str
    role: str
    email: str
    phone: str
    password: str | None = field(repr=False)
    password_hash: str = field(repr=False)
    email_confirm: bool
    phone_confirm: bool
    user_metadata: JsonObject | None
    app_metadata: JsonObject | None
    ban_duration: str


@dataclass(slots=True, frozen=True)
class UserPage:
    """Which page of the users, counted from 1, of how many rows; ``text`` filters, empty for all."""

    page: int
    per_page: int
    text: str
    is_ascending: bool


async def list_users(core: AuthCore, audience: str, page: UserPage) -> tuple[list[User], int]:
    """The users of a page, without identities and factors, and the number of users in all."""
    offset = min((page.page - 1) * page.per_page, MAX_OFFSET_ROWS)
    async with core.connection() as connection:
        return await users.list_users(
            connection, audience, text=page.text, is_ascending=page.is_ascending, limit=page.per_page, offset=offset
        )


async def get_user(core: AuthCore, user_id: str) -> User:
    """The user. Raises 404 validation_failed for an id that is no UUID, 404 user_not_found."""
    parsed = _uuid(user_id)
    if parsed is None:
        raise not_found(ErrorCode.VALIDATION_FAILED, "user_id must be an UUID")
    async with core.connection() as connection:
        user = await users.find_by_id(connection, parsed)
    if user is None:
        raise not_found(ErrorCode.USER_NOT_FOUND, "User not found")
    return user


async def create_user(core: AuthCore, admin: Admin, fields: UserFields, audience: str) -> User:
    """Create a user without sending mail; the strength of the password is the administrator's business.

    Raises 400 validation_failed, 422 email_exists or phone_exists, 500 where the project's triggers refuse the row.
    """
    audience = fields.aud or audience
    if not fields.email and not fields.phone:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Cannot create a user without either an email or phone")
    email = normal_email(fields.email) if fields.email else ""
    phone = normal_phone(fields.phone) if fields.phone else ""
    providers = (["email"] if email else []) + (["phone"] if phone else [])
    await _check_free(core, email, phone, audience)
    # Every rule is asked before the hash, which is the expensive part.
    user_id = _custom_id(fields.id)
    ban = parse_duration(fields.ban_duration) if fields.ban_duration else None
    new_user = NewUser(
        id=user_id,
        aud=audience,
        email=email,
        phone=phone,
        encrypted_password=await _first_hash(core, fields),
        app_metadata={"provider": providers[0], "providers": providers},
        user_metadata=fields.user_metadata or {},
    )
    try:
        async with core.transaction() as connection:
            await users.insert_user(connection, new_user)
            if email:
                await users.insert_identity(connection, user_id, "email", _identity_data(user_id, "email", email))
            if phone:
                await users.insert_identity(connection, user_id, "phone", _identity_data(user_id, "phone", phone))
            traits = {**_traits(user_id, email, phone), "provider": providers[0]}
            await audit.record(connection, Entry(admin.actor, Action.USER_SIGNED_UP, traits))
            columns: dict[UserColumn, object] = {"role": (fields.role or core.settings.jwt_default_role).strip()}
            columns |= _confirmations(core, fields)
            if ban:
                columns["banned_until"] = core.now() + ban
            changes = UserChanges(
                columns,
                app_metadata=fields.app_metadata,
                user_metadata={"email_verified": True} if fields.email_confirm else None,
            )
            await users.update_user(connection, user_id, changes)
            user = await users.find_by_id(connection, user_id)
    except DatabaseError as error:
        _refuse_duplicate(error)
        fail_with_database_error("Database error creating new user", error)
    if user is None:
        raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Database error creating new user")
    return user


async def update_user(core: AuthCore, admin: Admin, user: User, fields: UserFields) -> User:
    """Change a user. A new e-mail counts at once; confirm flags only ever confirm; a new password ends all sessions.

    Raises 400 validation_failed, 422 weak_password; a clash with another user is upstream's 500 "Error updating user".
    """
    email = normal_email(fields.email) if fields.email else ""
    phone = normal_phone(fields.phone) if fields.phone else ""
    columns: dict[UserColumn, object] = {}
    if fields.ban_duration:
        ban = parse_duration(fields.ban_duration)
        columns["banned_until"] = core.now() + ban if ban else None
    password_hash = None
    if fields.password is not None:
        await check_new_password(core, fields.password)
        password_hash = await core.hasher.hash(fields.password)
    if fields.role:
        columns["role"] = fields.role.strip()
    columns |= _confirmations(core, fields)
    if email:
        columns["email"] = email
    if phone:
        columns["phone"] = phone
    if (email and fields.email_confirm) or (phone and fields.phone_confirm):
        columns["is_anonymous"] = False
    verified = {"email_verified": True} if fields.email_confirm else {}
    metadata = {**verified, **(fields.user_metadata or {})}
    try:
        async with core.transaction() as connection:
            if password_hash is not None:
                await set_password(connection, user.id, password_hash, None)
            if email:
                await _put_identity(connection, user.id, "email", email, is_verified=fields.email_confirm)
            if phone:
                await _put_identity(connection, user.id, "phone", phone, is_verified=fields.phone_confirm)
            new_metadata = metadata if metadata or fields.user_metadata is not None else None
            changes = UserChanges(columns, app_metadata=fields.app_metadata, user_metadata=new_metadata)
            await users.update_user(connection, user.id, changes)
            if fields.email_confirm or fields.phone_confirm:
                await users.clear_one_time_tokens(connection, user.id)
            traits = _traits(user.id, email or user.email, phone or user.phone)
            await audit.record(connection, Entry(admin.actor, Action.USER_MODIFIED, traits))
            updated = await users.find_by_id(connection, user.id)
    except DatabaseError as error:
        fail_with_database_error("Error updating user", error)
    if updated is None:
        raise not_found(ErrorCode.USER_NOT_FOUND, "User not found")
    return updated


async def delete_user(core: AuthCore, admin: Admin, user: User, *, is_soft: bool) -> None:
    """Delete a user and what hangs on them; ``is_soft`` keeps the row, with everything that names a person taken out."""
    try:
        async with core.transaction() as connection:
            traits = _traits(user.id, user.email, user.phone)
            await audit.record(connection, Entry(admin.actor, Action.USER_DELETED, traits))
            if not is_soft:
                await users.delete_user(connection, user.id)
            elif user.deleted_at is None:
                await _soften(core, connection, user)
    except DatabaseError as error:
        fail_with_database_error("Error soft deleting user" if is_soft else "Database error deleting user", error)


async def _check_free(core: AuthCore, email: str, phone: str, audience: str) -> None:
    async with core.connection() as connection:
        if email and await users.find_duplicate_email(connection, email, audience):
            raise unprocessable(ErrorCode.EMAIL_EXISTS, DUPLICATE_EMAIL)
        if phone and await users.find_by_phone(connection, phone, audience):
            raise _phone_exists()


def _refuse_duplicate(error: DatabaseError) -> None:
    """Raise what the look-up would have said, when somebody took the address between it and the insert."""
    if not is_address_taken(error):
        return
    if error.constraint == "users_email_partial_key":
        raise unprocessable(ErrorCode.EMAIL_EXISTS, DUPLICATE_EMAIL) from None
    if error.constraint == "users_phone_key":
        raise _phone_exists() from None


def _phone_exists() -> AuthError:
    return unprocessable(ErrorCode.PHONE_EXISTS, "Phone number already registered by another user")


def _custom_id(text: str) -> UUID:
    if not text:
        return uuid4()
    parsed = _uuid(text)
    if parsed is None:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "ID must conform to the uuid v4 format")
    if parsed == NIL_UUID:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "ID cannot be a nil uuid")
    return parsed


async def _first_hash(core: AuthCore, fields: UserFields) -> str:
    if fields.password is not None and fields.password_hash:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Only a password or a password hash should be provided")
    if fields.password_hash:
        if not is_importable_hash(fields.password_hash):
            # Upstream answers 500 "Error creating user" to an unknown format; a caller's mistake is a 4xx here.
            raise bad_request(ErrorCode.VALIDATION_FAILED, "password_hash is in no format that can be verified")
        return fields.password_hash
    password = fields.password or secrets.token_urlsafe(RANDOM_PASSWORD_CHARS)[:RANDOM_PASSWORD_CHARS]
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "bcrypt: password length exceeds 72 bytes")
    return await core.hasher.hash(password)


def _confirmations(core: AuthCore, fields: UserFields) -> dict[UserColumn, object]:
    columns: dict[UserColumn, object] = {}
    if fields.email_confirm:
        columns |= {"email_confirmed_at": core.now(), "confirmation_token": ""}
    if fields.phone_confirm:
        columns |= {"phone_confirmed_at": core.now(), "confirmation_token": ""}
    return columns


def _identity_data(user_id: UUID, provider: str, address: str, *, is_verified: bool = False) -> JsonObject:
    verified = {"email_verified": False, "phone_verified": False, f"{provider}_verified": is_verified}
    return {"sub": str(user_id), provider: address, **verified}


async def _put_identity(
    connection: Connection, user_id: UUID, provider: str, address: str, *, is_verified: bool
) -> None:
    data = {provider: address, f"{provider}_verified": is_verified}
    if not await users.merge_identity_data(connection, user_id, provider, data):
        whole = _identity_data(user_id, provider, address, is_verified=is_verified)
        await users.insert_identity(connection, user_id, provider, whole)


def _traits(user_id: UUID, email: str, phone: str) -> JsonObject:
    return {"user_id": str(user_id), "user_email": email, "user_phone": phone}


async def _soften(core: AuthCore, connection: Connection, user: User) -> None:
    changes = UserChanges(
        {
            "email": _obscured(user.id, user.email),
            "phone": _obscured(user.id, user.phone)[:15],
            "email_change": _obscured(user.id, user.email_change),
            "phone_change": _obscured(user.id, user.phone_change)[:15],
            "encrypted_password": None,
            "confirmation_token": "",
            "recovery_token": "",
            "email_change_token_current": "",
            "email_change_token_new": "",
            "phone_change_token": "",
            "reauthentication_token": "",
            "deleted_at": core.now(),
        },
        app_metadata=dict.fromkeys(user.app_metadata),
        user_metadata={},
        replace_user_metadata=True,
    )
    await users.update_user(connection, user.id, changes)
    await users.clear_one_time_tokens(connection, user.id)
    await users.soften_identities(
        connection,
        {
            identity.id: _obscured(user.id, f"{identity.provider}:{identity.provider_id}")
            for identity in user.identities
        },
    )
    await users.delete_factors(connection, user.id)
    await flow_state.delete_flows_of(connection, user.id)
    await sessions.delete_sessions(connection, user.id)


def _obscured(user_id: UUID, value: str) -> str:
    digest = hashlib.sha256(f"{user_id}{value}".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
