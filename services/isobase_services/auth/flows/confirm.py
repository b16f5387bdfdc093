"""What a proven address changes: sign-up, recovery and phone confirmed.

For ``verify``: each runs in its transaction, in which every code of the user was taken back already. Source: supabase/auth
internal/api/verify.go (signupVerify, recoverVerify, smsVerify) and internal/models/user.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode
from isobase_services.auth.flows.doors import close_other_doors
from isobase_services.auth.models import User
from isobase_services.auth.store import users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.users import UserChanges, UserColumn

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = [
    "DUPLICATE_EMAIL",
    "DUPLICATE_PHONE",
    "confirm_phone",
    "confirm_signup",
    "recover",
    "reload_with_providers",
]

DUPLICATE_EMAIL = "A user with this email address has already been registered"
DUPLICATE_PHONE = "A user with this phone number has already been registered"


async def confirm_signup(core: AuthCore, connection: Connection, user: User, *, resets_password: bool) -> Entry:
    """Confirm the user's e-mail address, on its identities too; returns what the log shall say of it.

    ``resets_password``: what else opens the account may be somebody else's, who registered the address first; it goes, as
    upstream has it where an outside provider confirms.
    """
    await _confirm_email(core, connection, user, resets_password=resets_password and not user.is_email_confirmed)
    if user.invited_at is not None and not user.has_password:
        # As upstream, where an invitation ends with a password that is set, and with it all that is pending.
        changes = UserChanges({"confirmation_sent_at": None, "recovery_sent_at": None})
        await users.update_user(connection, user.id, changes)
    await users.mark_email_verified(connection, user.id, user.email)
    return Entry(user_actor(user), Action.USER_SIGNED_UP, {"provider": "email"})


async def recover(core: AuthCore, connection: Connection, user: User) -> Entry:
    """Let the user in by a recovery or magic link; an unconfirmed address is confirmed by it, and other ways in go.

    Nobody has proven yet to be the one who chose that password or identity, and whoever follows the link may not know it.
    """
    if user.is_email_confirmed:
        await users.update_user(connection, user.id, UserChanges({"recovery_token": ""}))
        return Entry(user_actor(user), Action.LOGIN)
    await _confirm_email(core, connection, user, resets_password=True)
    return Entry(user_actor(user), Action.USER_SIGNED_UP, {"provider": "email"})


async def confirm_phone(core: AuthCore, connection: Connection, user: User, *, resets_password: bool) -> Entry:
    """Confirm the user's phone number; a user without a name gets one by it."""
    columns: dict[UserColumn, object] = {
        "phone_confirmed_at": core.now(),
        "confirmation_token": "",
        "is_anonymous": False,
    }
    if resets_password and not user.is_phone_confirmed:
        columns["encrypted_password"] = ""
    await users.update_user(connection, user.id, UserChanges(columns))
    return Entry(user_actor(user), Action.USER_SIGNED_UP, {"provider": "phone"})


async def reload_with_providers(connection: Connection, before: User, *, adds_identity: bool) -> User:
    """The user as the row is now, with ``provider`` and ``providers`` in app_metadata made of the identities.

    ``before``: as the row was when it was locked. ``adds_identity``: what was done since may have added an identity.
    """
    providers = list(dict.fromkeys(identity.provider for identity in before.identities))
    wanted = {"providers": providers, **({"provider": providers[0]} if providers else {})}
    if adds_identity or any(before.app_metadata.get(name) != value for name, value in wanted.items()):
        await users.set_providers(connection, before.id)
    user = await users.find_by_id(connection, before.id)
    if user is None:
        raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Database error loading user")
    return user


async def _confirm_email(core: AuthCore, connection: Connection, user: User, *, resets_password: bool) -> None:
    columns: dict[UserColumn, object] = {
        "email_confirmed_at": core.now(),
        "confirmation_token": "",
        "recovery_token": "",
    }
    if resets_password:
        await close_other_doors(connection, user)
    await users.update_user(connection, user.id, UserChanges(columns, user_metadata={"email_verified": True}))
