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
from isobase_services.auth.store.users import UserChanges, UserColumn

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["close_other_doors", "has_doors"]

_OWN = "email"
_ADDRESSES = frozenset({"email", "phone"})


def has_doors(user: User) -> bool:
    """Whether somebody who never proved the e-mail address may have a way into the account."""
    return user.has_password or _is_known_elsewhere(user)


async def close_other_doors(
    connection: Connection, user: User, *, kept: UUID | None = None, metadata: JsonObject | None = None
) -> None:
    """Take password, second factors, passkeys, sessions, pending changes and identities from the user.

    The phone number goes too, unless neither a provider let the address be claimed nor proves it now: then an administrator
    wrote both. ``kept``: the identity that stays; None for the e-mail address's own, which is made where there is none.
    ``metadata``: what the user's metadata become; None leaves them.
    """
    columns: dict[UserColumn, object] = {
        "encrypted_password": "",
        "email_change": "",
        "email_change_confirm_status": 0,
        "phone_change": "",
    }
    takes_identities = kept is not None or _is_known_elsewhere(user)
    if takes_identities:
        columns |= {"phone": None, "phone_confirmed_at": None}
    changes = UserChanges(columns, user_metadata=metadata, replace_user_metadata=metadata is not None)
    await users.update_user(connection, user.id, changes)
    if kept is None:
        kept = next((identity.id for identity in user.identities if identity.provider == _OWN), None)
    if kept is None:
        data = {"sub": str(user.id), "email": user.email, "email_verified": False, "phone_verified": False}
        kept = await identities.add_identity(connection, user.id, _OWN, data)
    if takes_identities:
        await identities.delete_other_identities(connection, user.id, kept)
    await users.delete_factors(connection, user.id)
    await sessions.delete_sessions(connection, user.id)
    await users.set_providers(connection, user.id)


def _is_known_elsewhere(user: User) -> bool:
    return any(identity.provider not in _ADDRESSES for identity in user.identities)
