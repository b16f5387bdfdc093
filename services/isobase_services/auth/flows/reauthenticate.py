"""A code that a signed-in user must give to change the password. Contracts auth 2.11; supabase/auth api/reauthenticate.go."""

from __future__ import annotations

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request, unprocessable
from isobase_services.auth.flows.codes import is_right_code, issue_email_code, issue_sms_code, send_code
from isobase_services.auth.messages import EmailKind, SmsKind
from isobase_services.auth.models import ClientFacts, User
from isobase_services.auth.store import audit, one_time, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.users import UserChanges

__all__ = ["check_nonce", "send_nonce"]


async def send_nonce(core: AuthCore, user: User, facts: ClientFacts) -> str:
    """Send a code to the user's address, else to the number; returns the provider's id of a text message.

    Raises 400 validation_failed for a user who has neither, 422 email_not_confirmed or phone_not_confirmed, 429, 500 where
    sending fails.
    """
    if not user.email and not user.phone:
        raise bad_request(
            ErrorCode.VALIDATION_FAILED, "Reauthentication requires the user to have an email or a phone number"
        )
    if user.email and not user.is_email_confirmed:
        raise unprocessable(ErrorCode.EMAIL_NOT_CONFIRMED, "Please verify your email first.")
    if not user.email and not user.is_phone_confirmed:
        raise unprocessable(ErrorCode.PHONE_NOT_CONFIRMED, "Please verify your phone first.")
    async with core.transaction() as connection:
        await audit.record(connection, Entry(user_actor(user), Action.USER_REAUTHENTICATE_REQUESTED))
        if user.email:
            issued = await issue_email_code(core, connection, user, EmailKind.REAUTHENTICATION)
        else:
            issued = await issue_sms_code(core, connection, user, SmsKind.REAUTHENTICATION, user.phone)
    return await send_code(core, issued, facts)


async def check_nonce(core: AuthCore, user: User, nonce: str) -> None:
    """Spend the code that the user was sent. Raises 422 reauthentication_not_valid; a wrong one costs a try."""
    address = user.email or user.phone
    life_s = core.settings.email.otp_expiry_s if user.email else core.settings.sms.otp_expiry_s
    async with core.connection() as connection:
        candidates = await one_time.claim_try(connection, address, ("reauthentication_token",), user.aud)
    for stored in candidates:
        is_right = await is_right_code(core, stored, address, nonce)
        if is_right and stored.user_id == user.id and stored.is_fresh(core.now(), life_s):
            async with core.transaction() as connection:
                if await one_time.take_code(connection, stored):
                    await users.update_user(connection, user.id, UserChanges({"reauthentication_token": ""}))
                    await users.clear_one_time_tokens(connection, user.id)
                    return
    raise _not_valid()


def _not_valid() -> AuthError:
    return unprocessable(ErrorCode.REAUTHENTICATION_NOT_VALID, "Nonce has expired or is invalid")
