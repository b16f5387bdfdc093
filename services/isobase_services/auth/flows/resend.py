"""Sending again what did not arrive: POST /resend. It answers the same whether there was anything to send or not.

Source: supabase/auth internal/api/resend.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, bad_request
from isobase_services.auth.flows.codes import (
    IssuedCode,
    issue_email_code,
    issue_sms_code,
    post_code,
    refuse_haste_of_stranger,
)
from isobase_services.auth.flows.email_change import request_email_change
from isobase_services.auth.messages import EmailKind, SmsKind
from isobase_services.auth.models import ClientFacts, User
from isobase_services.auth.rules import check_pkce_pair, normal_email, normal_phone
from isobase_services.auth.store import audit, flow_state, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.flow_state import NewFlow

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["ResendRequest", "resend"]


@dataclass(slots=True, frozen=True)
class ResendRequest:
    """What is to be sent again: ``type`` is signup, email_change, sms or phone_change."""

    type: str
    email: str
    phone: str
    code_challenge: str
    code_challenge_method: str
    audience: str
    redirect_to: str


async def resend(core: AuthCore, request: ResendRequest, facts: ClientFacts) -> None:
    """Send a new code of the type, where one is pending.

    Raises 400 validation_failed, email_provider_disabled, phone_provider_disabled; 429.
    """
    email, phone = _check(core, request)
    async with core.connection() as connection:
        if email:
            user = await users.find_by_email(connection, email, request.audience)
        else:
            user = await users.find_by_phone(connection, phone, request.audience)
    if user is None or not _is_pending(user, request.type):
        settings = core.settings
        interval_s = settings.email.max_frequency_s if email else settings.sms.max_frequency_s
        code = ErrorCode.OVER_EMAIL_SEND_RATE_LIMIT if email else ErrorCode.OVER_SMS_SEND_RATE_LIMIT
        if request.type != "signup":
            # Official clients' suites expect no complaint here. It tells who has a change or an unconfirmed number pending.
            interval_s = 0
        await refuse_haste_of_stranger(core, request.type, email or phone, interval_s, code)
        return
    async with core.transaction() as connection:
        issued = await _issue(core, connection, user, request)
    post_code(core, issued, facts)


def _check(core: AuthCore, request: ResendRequest) -> tuple[str, str]:
    if request.type in ("signup", "email_change"):
        check_pkce_pair(request.code_challenge, request.code_challenge_method)
    elif request.type not in ("sms", "phone_change"):
        raise bad_request(
            ErrorCode.VALIDATION_FAILED, "Missing one of these types: signup, email_change, sms, phone_change"
        )
    if not request.email and request.type == "signup":
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Type provided requires an email address")
    if not request.phone and request.type == "sms":
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Type provided requires a phone number")
    if request.email and request.phone:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Only an email address or phone number should be provided.")
    if request.email:
        if not core.settings.email_enable_signup:
            raise bad_request(ErrorCode.EMAIL_PROVIDER_DISABLED, "Email logins are disabled")
        return normal_email(request.email), ""
    if request.phone:
        if not core.settings.phone_enable_signup:
            raise bad_request(ErrorCode.PHONE_PROVIDER_DISABLED, "Phone logins are disabled")
        return "", normal_phone(request.phone)
    raise bad_request(ErrorCode.VALIDATION_FAILED, "Missing email address or phone number")


def _is_pending(user: User, resend_type: str) -> bool:
    return {
        "signup": not user.is_email_confirmed and bool(user.email),
        "sms": not user.is_phone_confirmed and bool(user.phone),
        "email_change": bool(user.email_change),
        "phone_change": bool(user.phone_change),
    }[resend_type]


async def _issue(core: AuthCore, connection: Connection, user: User, request: ResendRequest) -> IssuedCode:
    actor = user_actor(user)
    if request.type == "sms":
        await audit.record(connection, Entry(actor, Action.USER_RECOVERY_REQUESTED))
        return await issue_sms_code(core, connection, user, SmsKind.CONFIRMATION, user.phone)
    if request.type == "phone_change":
        return await issue_sms_code(core, connection, user, SmsKind.PHONE_CHANGE, user.phone_change)
    is_signup = request.type == "signup"
    challenge_method = check_pkce_pair(request.code_challenge, request.code_challenge_method)
    if challenge_method is not None:
        method = "email/signup" if is_signup else "email_change"
        flow = NewFlow(
            provider_type=method,
            method=method,
            user_id=user.id,
            challenge=request.code_challenge,
            challenge_method=challenge_method,
        )
        await flow_state.start_flow(connection, flow)
    is_pkce = challenge_method is not None
    if not is_signup:
        return await request_email_change(
            core, connection, user, user.email_change, is_pkce=is_pkce, redirect_to=request.redirect_to
        )
    await audit.record(connection, Entry(actor, Action.USER_CONFIRMATION_REQUESTED))
    return await issue_email_code(
        core, connection, user, EmailKind.SIGNUP, redirect_to=request.redirect_to, is_pkce=is_pkce
    )
