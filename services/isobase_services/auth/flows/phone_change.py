"""Changing the phone number: what the code that was sent to the new number does. Contracts auth 2.11."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isobase_services.auth.core import AuthCore
from isobase_services.auth.models import User
from isobase_services.auth.store import audit, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.users import UserChanges

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["confirm_phone_change", "take_phone"]


async def confirm_phone_change(core: AuthCore, connection: Connection, user: User) -> None:
    """Act on the code of a change that was just taken."""
    await take_phone(core, connection, user, user.phone_change)


async def take_phone(core: AuthCore, connection: Connection, user: User, phone: str) -> None:
    """Give the user the number, confirmed, on the identity too; every code that is out is taken back."""
    data = {"phone": phone, "phone_verified": True}
    if not await users.merge_identity_data(connection, user.id, "phone", data):
        await users.insert_identity(
            connection, user.id, "phone", {"sub": str(user.id), "email_verified": False, **data}
        )
    changes = UserChanges(
        {
            "phone": phone,
            "phone_confirmed_at": core.now(),
            "phone_change": "",
            "phone_change_token": "",
            "is_anonymous": False,
        }
    )
    await audit.record(connection, Entry(user_actor(user), Action.USER_MODIFIED))
    await users.update_user(connection, user.id, changes)
    await users.clear_one_time_tokens(connection, user.id)
