"""Inviting somebody by mail. Source: supabase/auth internal/api/invite.go; contracts auth §1, 2.7."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isobase_platform.errors import DatabaseError
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, fail_with_database_error, is_address_taken, unprocessable
from isobase_services.auth.flows.access import Admin
from isobase_services.auth.flows.codes import issue_email_code, send_sign_up_code
from isobase_services.auth.flows.confirm import DUPLICATE_EMAIL
from isobase_services.auth.flows.doors import has_doors
from isobase_services.auth.flows.new_user import NewAccount, insert_account, reload_user
from isobase_services.auth.hooks.new_users import may_create, was_created
from isobase_services.auth.messages import EmailKind
from isobase_services.auth.models import ClientFacts, JsonObject, User
from isobase_services.auth.rules import normal_email
from isobase_services.auth.store import audit, users
from isobase_services.auth.store.audit import Action, Entry

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["Invitation", "invite", "record_invitation"]


@dataclass(slots=True, frozen=True)
class Invitation:
    """Who is invited; ``data`` becomes the user's metadata."""

    email: str
    data: JsonObject
    audience: str
    redirect_to: str


async def invite(core: AuthCore, admin: Admin, invitation: Invitation, facts: ClientFacts) -> User:
    """Create the user where there is none, mail the link and return the user.

    Raises 400 validation_failed, 422 email_exists for a confirmed user, 500 where the mail cannot be sent: a user who was
    made for it is then gone again.
    """
    email = normal_email(invitation.email)
    async with core.connection() as connection:
        user = await users.find_by_email(connection, email, invitation.audience)
    if user is not None and user.is_email_confirmed:
        raise _taken()
    account = NewAccount("email", email, invitation.audience, invitation.data, shows_claims=False)
    if user is None:
        await may_create(core.hooks, account.row, facts)
    is_new = user is None
    try:
        async with core.transaction() as connection:
            if user is None:
                await insert_account(core, connection, account)
                user = await reload_user(connection, account.id)
            await record_invitation(connection, admin, user)
            issued = await issue_email_code(
                core, connection, user, EmailKind.INVITE,
                redirect_to=invitation.redirect_to, resets_password=has_doors(user),
            )  # fmt: skip
            invited = await reload_user(connection, user.id)
    except DatabaseError as error:
        if is_address_taken(error):
            raise _taken() from None
        fail_with_database_error("Database error saving new user", error)
    await send_sign_up_code(core, issued, facts, is_new=is_new)
    await was_created(core.hooks, invited, facts)
    return invited


async def record_invitation(connection: Connection, admin: Admin, user: User) -> None:
    """Note in the audit log who was invited."""
    traits = {"user_id": str(user.id), "user_email": user.email}
    await audit.record(connection, Entry(admin.actor, Action.USER_INVITED, traits))


def _taken() -> AuthError:
    return unprocessable(ErrorCode.EMAIL_EXISTS, DUPLICATE_EMAIL)
