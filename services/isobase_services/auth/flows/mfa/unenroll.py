"""Giving a factor up, by its holder or by an administrator; and what an administrator may change."""

from __future__ import annotations

from isobase_platform.errors import DatabaseError
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, not_found, unprocessable
from isobase_services.auth.flows.access import Admin
from isobase_services.auth.flows.mfa.enroll import check_name
from isobase_services.auth.flows.mfa.holder import PHONE, Holder, factor_of
from isobase_services.auth.messages import EmailKind
from isobase_services.auth.models import Factor, User
from isobase_services.auth.rules import normal_phone
from isobase_services.auth.store import assurance, audit, factors, users
from isobase_services.auth.store.audit import Action, Entry, user_actor

__all__ = ["delete_factor_of_user", "unenroll_factor", "update_factor_of_user"]


async def unenroll_factor(core: AuthCore, holder: Holder, factor: Factor) -> None:
    """Delete one's own factor; the sessions that it raised are aal1 again.

    Raises 422 insufficient_aal for a verified factor in a session below aal2, 404 mfa_factor_not_found.
    """
    if factor.is_verified and not holder.is_aal2:
        raise unprocessable(ErrorCode.INSUFFICIENT_AAL, "AAL2 required to unenroll verified factor")
    traits = {
        "factor_id": str(factor.id),
        "factor_status": factor.status,
        "session_id": str(holder.session.id),
    }
    entry = Entry(user_actor(holder.user), Action.FACTOR_UNENROLLED, traits)
    await _delete(core, holder.user, factor, entry)
    core.messages.notice(EmailKind.FACTOR_UNENROLLED, holder.user, factor_type=factor.factor_type)


async def delete_factor_of_user(core: AuthCore, admin: Admin, user: User, factor: Factor) -> None:
    """Delete a user's factor for them: the way back for who has lost it. Raises 404 mfa_factor_not_found."""
    entry = Entry(admin.actor, Action.FACTOR_DELETED, {"user_id": str(user.id), "factor_id": str(factor.id)})
    await _delete(core, user, factor, entry)


async def update_factor_of_user(
    core: AuthCore, admin: Admin, user: User, factor: Factor, *, friendly_name: str, phone: str
) -> Factor:
    """Rename a user's factor, or give a phone factor another number; empty texts change nothing. Returns the factor.

    Raises 400 validation_failed for a bad number or too long a name, 422 for a name or a number that another factor of the
    user has.
    """
    check_name(friendly_name)
    new_phone = normal_phone(phone) if phone and factor.factor_type == PHONE else ""
    traits = {"user_id": str(user.id), "factor_id": str(factor.id), "factor_type": factor.factor_type}
    try:
        async with core.transaction() as connection:
            await factors.update_factor(connection, factor.id, friendly_name=friendly_name, phone=new_phone)
            await audit.record(connection, Entry(admin.actor, Action.FACTOR_UPDATED, traits))
            updated = await users.find_by_id(connection, user.id)
    except DatabaseError as error:
        if error.is_unique_violation and error.table == "mfa_factors":
            raise unprocessable(
                ErrorCode.MFA_FACTOR_NAME_CONFLICT, "Another factor of this user has the name or the phone number"
            ) from None
        raise
    return factor_of(updated or user, str(factor.id))


async def _delete(core: AuthCore, user: User, factor: Factor, entry: Entry) -> None:
    async with core.transaction() as connection:
        await factors.lock_user(connection, user.id)
        if not await factors.delete_factor(connection, user.id, factor.id):
            raise not_found(ErrorCode.MFA_FACTOR_NOT_FOUND, "Factor not found")
        await assurance.drop_sessions_of_factor(connection, user.id, factor.id)
        await audit.record(connection, entry)
