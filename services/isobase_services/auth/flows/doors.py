"""The ways into an account that nobody has proven to own yet.

Whoever registers an address first, with a password, at a provider that does not check addresses, or by linking, may be
waiting for its owner. When the owner proves the address, every way in but their own goes. Upstream closes them only where an
outside provider proves the address, and then the password and the other identities only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from isobase_services.auth.models import JsonObject, User
from isobase_services.auth.store import identities, sessions, users
from isobase_services.auth.store.users import UserChanges

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["close_other_doors", "has_doors"]

_OWN = "email"


def has_doors(user: User) -> bool:
    """Whether anything but a code to the e-mail address opens the account."""
    return user.has_password or bool(user.phone) or any(identity.provider != _OWN for identity in user.identities)


async def close_other_doors(
    connection: Connection, user: User, *, kept: UUID | None = None, metadata: JsonObject | None = None
) -> None:
    """Take password, phone number, second factors, passkeys, sessions, pending changes and identities from the user.

    ``kept``: the identity that stays; None for the e-mail address's own, which is made where there is none. ``metadata``:
    what the user's metadata become; None leaves them.
    """
    changes = UserChanges(
        {
            "encrypted_password": "",
            "phone": None,
            "phone_confirmed_at": None,
            "email_change": "",
            "email_change_confirm_status": 0,
            "phone_change": "",
        },
        user_metadata=metadata,
        replace_user_metadata=metadata is not None,
    )
    await users.update_user(connection, user.id, changes)
    if kept is None:
        kept = next((identity.id for identity in user.identities if identity.provider == _OWN), None)
    if kept is None:
        data = {"sub": str(user.id), "email": user.email, "email_verified": False, "phone_verified": False}
        kept = await identities.add_identity(connection, user.id, _OWN, data)
    await identities.delete_other_identities(connection, user.id, kept)
    await users.delete_factors(connection, user.id)
    await sessions.delete_sessions(connection, user.id)
    await users.set_providers(connection, user.id)
