"""Changing the e-mail address: asking for it, and what each confirmation does.

Secure change (``double_confirm_changes``): both addresses get a code of their own and both must come back. Source:
contracts auth 2.11; supabase/auth internal/api/mail.go sendEmailChange, internal/api/verify.go emailChangeVerify.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, unprocessable
from isobase_services.auth.flows.codes import IssuedCode
from isobase_services.auth.flows.confirm import DUPLICATE_EMAIL
from isobase_services.auth.links import action_link
from isobase_services.auth.messages import EmailKind, EmailMessage
from isobase_services.auth.models import User
from isobase_services.auth.rules import check_send_frequency
from isobase_services.auth.store import audit, one_time, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.one_time import StoredCode
from isobase_services.auth.store.users import UserChanges, UserColumn
from isobase_services.auth.tokens import OneTimeCode, new_one_time_code

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["confirm_email_change", "request_email_change", "store_change_code", "take_email"]

_OTHER_COLUMN: dict[str, UserColumn] = {
    "email_change_token_current": "email_change_token_current",
    "email_change_token_new": "email_change_token_new",
}


async def request_email_change(
    core: AuthCore, connection: Connection, user: User, email: str, *, is_pkce: bool, redirect_to: str
) -> IssuedCode:
    """Store codes for a change to ``email`` and return the mail to send when the transaction is over.

    The address itself stays until it is confirmed. Raises 429 within ``max_frequency_s`` of the last request.
    """
    settings, now = core.settings.email, core.now()
    check_send_frequency(user.email_change_sent_at, now, settings.max_frequency_s)
    to_new = new_one_time_code(email, digits=settings.otp_length, is_pkce=is_pkce)
    to_current = None
    if settings.double_confirm_changes and user.email:
        to_current = new_one_time_code(user.email, digits=settings.otp_length, is_pkce=is_pkce)
    columns: dict[UserColumn, object] = {
        "email_change": email,
        "email_change_token_new": to_new.token_hash,
        "email_change_token_current": to_current.token_hash if to_current is not None else "",
        "email_change_sent_at": now,
        "email_change_confirm_status": 0,
    }
    await users.update_user(connection, user.id, UserChanges(columns))
    await one_time.put_code(connection, user.id, "email_change_token_new", to_new, email)
    message = EmailMessage(
        kind=EmailKind.EMAIL_CHANGE,
        user=user,
        address=email,
        code=to_new.code,
        token_hash=to_new.token_hash,
        link=action_link(core.platform.settings, "email_change", to_new.token_hash, redirect_to),
        redirect_to=redirect_to,
        new_email=email,
    )
    if to_current is None:
        # A code to the current address of an earlier request must not confirm this one.
        await one_time.drop_code(connection, user.id, "email_change_token_current")
        return IssuedCode(message, "email_change_token_new", to_new.token_hash)
    await one_time.put_code(connection, user.id, "email_change_token_current", to_current, user.email)
    current = EmailMessage(
        kind=EmailKind.EMAIL_CHANGE,
        user=user,
        address=user.email,
        code=to_current.code,
        token_hash=to_current.token_hash,
        link=action_link(core.platform.settings, "email_change", to_current.token_hash, redirect_to),
        redirect_to=redirect_to,
        new_email=email,
    )
    return IssuedCode(replace(message, to_current=current), "email_change_token_new", to_new.token_hash)


async def store_change_code(
    core: AuthCore, connection: Connection, user: User, email: str, code: OneTimeCode, *, is_to_new: bool
) -> None:
    """Store one code of a change to ``email`` that an administrator begins; the other one stays, if it is out."""
    token_type: Literal["email_change_token_new", "email_change_token_current"] = (
        "email_change_token_new" if is_to_new else "email_change_token_current"
    )
    columns: dict[UserColumn, object] = {
        "email_change": email,
        token_type: code.token_hash,
        "email_change_sent_at": core.now(),
        "email_change_confirm_status": 0,
    }
    await users.update_user(connection, user.id, UserChanges(columns))
    await one_time.put_code(connection, user.id, token_type, code, email if is_to_new else user.email)


async def confirm_email_change(core: AuthCore, connection: Connection, user: User, stored: StoredCode) -> bool:
    """Act on a code of a change that was just taken, with the user's row locked.

    False where the other address must agree too. Raises 422 email_exists where somebody took the address meanwhile.
    """
    status = await users.email_change_status(connection, user.id)
    settings = core.settings
    needs_both = settings.email_enable_confirmations and settings.email.double_confirm_changes and bool(user.email)
    if needs_both and status == 0:
        columns: dict[UserColumn, object] = {_OTHER_COLUMN[stored.token_type]: "", "email_change_confirm_status": 1}
        await users.update_user(connection, user.id, UserChanges(columns))
        return False
    if await users.find_duplicate_email(connection, user.email_change, user.aud, apart_from=user.id):
        raise unprocessable(ErrorCode.EMAIL_EXISTS, DUPLICATE_EMAIL)
    await take_email(core, connection, user, user.email_change)
    return True


async def take_email(core: AuthCore, connection: Connection, user: User, email: str) -> None:
    """Give the user the address, confirmed, on the identity too; every code that is out is taken back."""
    data = {"email": email, "email_verified": True}
    if not await users.merge_identity_data(connection, user.id, "email", data):
        await users.insert_identity(
            connection, user.id, "email", {"sub": str(user.id), **data, "phone_verified": False}
        )
    columns: dict[UserColumn, object] = {
        "email": email,
        "email_change": "",
        "email_change_token_current": "",
        "email_change_token_new": "",
        "email_change_confirm_status": 0,
        "is_anonymous": False,
    }
    if not user.is_email_confirmed:
        columns |= {"email_confirmed_at": core.now(), "confirmation_token": ""}
    metadata = {"email_verified": True} if not user.is_email_confirmed else None
    await audit.record(connection, Entry(user_actor(user), Action.USER_MODIFIED))
    await users.update_user(connection, user.id, UserChanges(columns, user_metadata=metadata))
    await users.clear_one_time_tokens(connection, user.id)
