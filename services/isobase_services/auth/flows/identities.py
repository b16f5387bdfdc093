"""Adding identities to a user and taking them away; accepting an invitation by another provider.

Source: supabase/auth internal/api/identity.go and external.go (processInvite); internal/models/user.go
(UpdateUserEmailFromIdentities).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from isobase_platform.errors import DatabaseError
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import (
    ErrorCode,
    bad_request,
    fail_with_database_error,
    forbidden,
    not_found,
    unprocessable,
)
from isobase_services.auth.flows.access import SignedIn
from isobase_services.auth.flows.codes import issue_email_code
from isobase_services.auth.flows.external_users import (
    ExternalUser,
    Settled,
    confirm_user,
    confirmation_sent,
    linked_entry,
)
from isobase_services.auth.flows.new_user import reload_user
from isobase_services.auth.flows.user_update import DUPLICATE_EMAIL, PENDING_TOKEN_COLUMNS
from isobase_services.auth.messages.model import EmailKind
from isobase_services.auth.models import Identity, User
from isobase_services.auth.store import audit, identities, sessions, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.users import UserChanges, UserColumn

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["accept_invitation", "check_manual_linking", "link_to_user", "tell_of_link", "unlink_identity"]


class _EmailTaken(Exception):
    """No address of the user's identities is free."""


@dataclass(slots=True, frozen=True)
class _Unlinked:
    before: User
    after: User
    identity: Identity


def check_manual_linking(core: AuthCore) -> None:
    """Raise 404 manual_linking_disabled while users may not link identities themselves."""
    if not core.settings.enable_manual_linking:
        raise not_found(ErrorCode.MANUAL_LINKING_DISABLED, "Manual linking is disabled")


async def link_to_user(core: AuthCore, connection: Connection, user_id: UUID, external: ExternalUser) -> Settled:
    """Add the identity to a user, who takes its e-mail where they have none, and is anonymous no longer.

    Raises 422 identity_already_exists, 400 email_exists. An address that the provider has not proven is a refusal
    (422 email_not_confirmed), after which the identity stays and a confirmation is on its way.
    """
    owner = await identities.find_identity(connection, external.provider, external.profile.subject)
    if owner is not None:
        whose = "" if owner[1] == user_id else " to another user"
        raise unprocessable(ErrorCode.IDENTITY_ALREADY_EXISTS, f"Identity is already linked{whose}")
    target = await reload_user(connection, user_id)
    data = external.profile.identity_data
    identity_id = await identities.add_identity(connection, user_id, external.provider, data)
    await audit.record(connection, linked_entry(target, identity_id, external))
    refusal, mail = None, None
    if not target.email:
        try:
            await _take_email_of_identities(core, connection, await reload_user(connection, user_id))
        except _EmailTaken:
            raise bad_request(ErrorCode.EMAIL_EXISTS, DUPLICATE_EMAIL) from None
        renamed = await reload_user(connection, user_id)
        # The address may be another identity's, where the one that was just proven is somebody else's already.
        if not data["email_verified"] or renamed.email != str(data.get("email", "")).lower():
            mail = await issue_email_code(core, connection, renamed, EmailKind.SIGNUP)
            refusal = confirmation_sent(external.provider, ErrorCode.EMAIL_NOT_CONFIRMED)
        else:
            await confirm_user(core, connection, user_id)
            if target.is_anonymous:
                await users.update_user(connection, user_id, UserChanges({"is_anonymous": False}))
    await users.set_providers(connection, user_id)
    linked = await reload_user(connection, user_id)
    return Settled(linked, refusal=refusal, mail=mail)


def tell_of_link(core: AuthCore, user: User, provider: str) -> None:
    """Tell a user of the identity that joined their account, where the project wants them told. After the transaction."""
    core.messages.notice(EmailKind.IDENTITY_LINKED, user, provider=provider)


async def accept_invitation(
    core: AuthCore, connection: Connection, invite_token: str, external: ExternalUser
) -> Settled:
    """Let an invited user in by another provider, which must know them by the invited address.

    Raises 404 invite_not_found, 400 validation_failed for other addresses. Upstream takes any address that the provider
    names; here it must have proven it.
    """
    user_id = await identities.find_invited_user(connection, invite_token)
    invited = await users.find_by_id(connection, user_id) if user_id is not None else None
    if invited is None:
        raise not_found(ErrorCode.INVITE_NOT_FOUND, "Invite not found")
    addresses = {email.address.lower() for email in external.profile.emails if email.is_verified}
    if invited.email.lower() not in addresses:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Invited email does not match emails from external provider")
    data = external.profile.identity_data
    identity_id = await identities.add_identity(connection, invited.id, external.provider, data)
    entry = Entry(user_actor(invited), Action.INVITE_ACCEPTED, {"provider": external.provider})
    await audit.record(connection, entry)
    # What an unconfirmed account was opened with before is nothing that its owner knows of.
    changes = UserChanges({"encrypted_password": ""}, user_metadata=data)
    await users.update_user(connection, invited.id, changes)
    await identities.delete_other_identities(connection, invited.id, identity_id)
    await sessions.delete_sessions(connection, invited.id)
    await users.set_providers(connection, invited.id)
    return Settled(await confirm_user(core, connection, invited.id))


async def unlink_identity(core: AuthCore, signed_in: SignedIn, identity_id: UUID) -> None:
    """Take an identity from the user; where the account's e-mail was its, another identity's takes the place.

    Raises 422 single_identity_not_deletable, identity_not_found, email_conflict_identity_not_deletable.
    """
    try:
        async with core.transaction() as connection:
            done = await _unlink(core, connection, signed_in.user.id, identity_id)
    except _EmailTaken:
        raise unprocessable(
            ErrorCode.EMAIL_CONFLICT_IDENTITY_NOT_DELETABLE, "Unable to unlink identity due to email conflict"
        ) from None
    except DatabaseError as error:
        fail_with_database_error("Database error deleting identity", error)
    core.messages.notice(
        EmailKind.IDENTITY_UNLINKED, done.after, address=done.before.email, provider=done.identity.provider
    )


async def _unlink(core: AuthCore, connection: Connection, user_id: UUID, identity_id: UUID) -> _Unlinked:
    # Locked, so that two requests do not take one identity each and leave a user without any.
    user = await users.lock_by_id(connection, user_id)
    if user is None:
        raise forbidden(ErrorCode.USER_NOT_FOUND, "User from sub claim in JWT does not exist")
    if len(user.identities) <= 1:
        raise unprocessable(
            ErrorCode.SINGLE_IDENTITY_NOT_DELETABLE, "User must have at least 1 identity after unlinking"
        )
    identity = next((item for item in user.identities if item.id == identity_id), None)
    if identity is None:
        raise unprocessable(ErrorCode.IDENTITY_NOT_FOUND, "Identity doesn't exist")
    traits = {
        "identity_id": str(identity.id),
        "provider": identity.provider,
        "provider_id": identity.provider_id,
    }
    await audit.record(connection, Entry(user_actor(user), Action.IDENTITY_UNLINKED, traits))
    await identities.delete_identity(connection, identity.id)
    if identity.provider == "phone":
        await users.update_user(connection, user_id, UserChanges({"phone": None, "phone_confirmed_at": None}))
    else:
        await _take_email_of_identities(core, connection, await reload_user(connection, user_id))
    await users.set_providers(connection, user_id)
    return _Unlinked(user, await reload_user(connection, user_id), identity)


async def _take_email_of_identities(core: AuthCore, connection: Connection, user: User) -> None:
    """Keep the account's e-mail while an identity has it; else take another identity's, proven ones first.

    Everything that is out for the old address is taken back. Raises ``_EmailTaken`` where all are other users'.
    """
    if any(identity.email == user.email for identity in user.identities):
        return
    ordered = sorted(user.identities, key=lambda item: (_rank(item), item.created_at, str(item.id)))
    chosen = None
    for identity in ordered:
        if not identity.email or not await identities.find_owner(connection, identity.email, apart_from=user.id):
            chosen = identity
            break
    if chosen is None:
        raise _EmailTaken
    columns: dict[UserColumn, object] = {
        **PENDING_TOKEN_COLUMNS,
        "email": chosen.email or None,
    }
    metadata = None
    is_proven = _rank(chosen) == 0 or (bool(chosen.email) and not core.settings.email_enable_confirmations)
    if not is_proven:
        columns["email_confirmed_at"] = None
        metadata = {"email_verified": False}
    await users.update_user(connection, user.id, UserChanges(columns, user_metadata=metadata))
    await users.clear_one_time_tokens(connection, user.id)


def _rank(identity: Identity) -> int:
    """0 for a proven address, 1 for another, 2 for none."""
    if not identity.email:
        return 2
    return 0 if identity.identity_data.get("email_verified") is True else 1
