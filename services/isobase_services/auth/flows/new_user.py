"""Writing a user who was not there before: row, identity, role, and confirmation, each in the caller's transaction.

Source: supabase/auth internal/api/signup.go signupNewUser; contracts auth 2.1, 2.7.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from uuid import UUID, uuid4

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, unprocessable
from isobase_services.auth.models import JsonObject, User
from isobase_services.auth.store import users
from isobase_services.auth.store.users import NewUser, UserChanges, UserColumn

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = [
    "NewAccount",
    "add_identity",
    "check_sign_ups",
    "confirm_account",
    "insert_account",
    "provider_metadata",
    "reload_user",
]


@dataclass(slots=True, frozen=True)
class NewAccount:
    """Who is written. ``password_hash`` is empty for who signs in by codes.

    ``shows_claims``: the user's metadata tell the identity's claims too, as after a sign-up; those whom an administrator
    makes have exactly ``data``.
    """

    provider: Literal["email", "phone"]
    address: str
    audience: str
    data: JsonObject
    password_hash: str = field(default="", repr=False)
    shows_claims: bool = True
    id: UUID = field(default_factory=uuid4)

    @property
    def row(self) -> NewUser:
        """The row to be inserted, which a project's hook is asked about first."""
        return NewUser(
            id=self.id,
            aud=self.audience,
            email=self.address if self.provider == "email" else "",
            phone=self.address if self.provider == "phone" else "",
            encrypted_password=self.password_hash,
            app_metadata=provider_metadata(self.provider),
            user_metadata=self.data,
        )


def check_sign_ups(core: AuthCore) -> None:
    """Raise 422 signup_disabled where the project takes no new users."""
    if not core.settings.enable_signup:
        raise unprocessable(ErrorCode.SIGNUP_DISABLED, "Signups not allowed for this instance")


def provider_metadata(provider: str) -> JsonObject:
    """What app_metadata say of a user with one way to sign in."""
    return {"provider": provider, "providers": [provider]}


async def insert_account(core: AuthCore, connection: Connection, account: NewAccount) -> None:
    """Insert row and identity. Raises 500 where a trigger of the project's kept the row out."""
    email = await users.insert_user(connection, account.row)
    if email is None:
        raise _vanished()
    await add_identity(core, connection, account, account.id, email)


async def add_identity(core: AuthCore, connection: Connection, account: NewAccount, user_id: UUID, email: str) -> None:
    """Give the user an identity of the account's provider, and role and metadata that go with it."""
    verified = {"email_verified": False, "phone_verified": False}
    claims = {"sub": str(user_id), **({"email": email} if email else {}), **verified}
    # An identity's e-mail reserves the address, so it is never taken from what the caller says about themself.
    given = {name: value for name, value in account.data.items() if name != "email"} if account.shows_claims else {}
    await users.insert_identity(connection, user_id, account.provider, {**given, **claims})
    changes = UserChanges(
        {"role": core.settings.jwt_default_role},
        app_metadata=provider_metadata(account.provider),
        user_metadata={**account.data, **claims} if account.shows_claims else account.data,
        replace_user_metadata=True,
    )
    await users.update_user(connection, user_id, changes)


async def confirm_account(core: AuthCore, connection: Connection, account: NewAccount, user_id: UUID) -> User:
    """Confirm by an update of its own: projects have triggers that wait for ``email_confirmed_at`` to be set."""
    confirmed_at: UserColumn = "email_confirmed_at" if account.provider == "email" else "phone_confirmed_at"
    changes = UserChanges(
        {confirmed_at: core.now(), "confirmation_token": ""},
        user_metadata={"email_verified": True} if account.provider == "email" else None,
    )
    await users.update_user(connection, user_id, changes)
    await users.clear_one_time_tokens(connection, user_id)
    # A project's triggers may have changed the row.
    return await reload_user(connection, user_id)


async def reload_user(connection: Connection, user_id: UUID) -> User:
    """The user as the row is now. Raises 500 where it is gone."""
    user = await users.find_by_id(connection, user_id)
    if user is None:
        raise _vanished()
    return user


def _vanished() -> AuthError:
    return AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Database error loading user after sign-up")
