"""Listing, naming and deleting passkeys, by their user and by administrators."""

from __future__ import annotations

from uuid import UUID

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, bad_request
from isobase_services.auth.flows.access import Admin, SignedIn
from isobase_services.auth.flows.passkeys.guard import check_may_manage, passkey_not_found
from isobase_services.auth.models import User
from isobase_services.auth.store import audit, webauthn
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.webauthn import Passkey

__all__ = ["delete_own_passkey", "delete_passkey_of_user", "list_passkeys", "rename_passkey"]

MAX_NAME_BYTES = 120


async def list_passkeys(core: AuthCore, user: User) -> list[Passkey]:
    """The user's passkeys, oldest first."""
    async with core.connection() as connection:
        return await webauthn.list_passkeys(connection, user.id)


async def rename_passkey(core: AuthCore, signed_in: SignedIn, passkey_id: str, friendly_name: str) -> Passkey:
    """Name one's own passkey. Raises 404 and 400 validation_failed."""
    wanted = _uuid(passkey_id)
    if not friendly_name:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "friendly_name is required")
    if len(friendly_name.encode()) > MAX_NAME_BYTES:
        raise bad_request(ErrorCode.VALIDATION_FAILED, f"friendly_name must be {MAX_NAME_BYTES} characters or less")
    user = signed_in.user
    async with core.transaction() as connection:
        passkey = await webauthn.rename_passkey(connection, user.id, wanted, friendly_name)
        if passkey is None:
            raise passkey_not_found()
        entry = Entry(user_actor(user), Action.PASSKEY_UPDATED, {"passkey_id": str(passkey.id)})
        await audit.record(connection, entry)
    return passkey


async def delete_own_passkey(core: AuthCore, signed_in: SignedIn, passkey_id: str) -> None:
    """Delete one's own passkey. Raises 403 insufficient_aal, 404 validation_failed."""
    check_may_manage(signed_in)
    wanted = _uuid(passkey_id)
    entry = Entry(user_actor(signed_in.user), Action.PASSKEY_DELETED, {"passkey_id": str(wanted)})
    await _delete(core, signed_in.user, wanted, entry)


async def delete_passkey_of_user(core: AuthCore, admin: Admin, user: User, passkey_id: str) -> None:
    """Delete a user's passkey for them. Raises 404 validation_failed."""
    wanted = _uuid(passkey_id)
    traits = {"user_id": str(user.id), "passkey_id": str(wanted)}
    await _delete(core, user, wanted, Entry(admin.actor, Action.PASSKEY_DELETED, traits))


async def _delete(core: AuthCore, user: User, passkey_id: UUID, entry: Entry) -> None:
    async with core.transaction() as connection:
        if not await webauthn.delete_passkey(connection, user.id, passkey_id):
            raise passkey_not_found()
        await audit.record(connection, entry)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise passkey_not_found() from None
