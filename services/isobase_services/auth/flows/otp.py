"""Sign-in by a code or link alone: POST /otp and /magiclink.

Who is not known yet is registered, without a password; who is known gets a magic link. The answer is the same. Source:
contracts auth §1; supabase/auth internal/api/otp.go, magic_link.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isobase_platform.errors import DatabaseError
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import (
    AuthError,
    ErrorCode,
    bad_request,
    fail_with_database_error,
    is_address_taken,
    unprocessable,
)
from isobase_services.auth.flows.codes import (
    IssuedCode,
    check_channel,
    issue_email_code,
    issue_sms_code,
    post_code,
    refuse_haste_of_stranger,
    send_sign_up_code,
)
from isobase_services.auth.flows.doors import has_doors
from isobase_services.auth.flows.new_user import (
    NewAccount,
    add_identity,
    check_sign_ups,
    confirm_account,
    insert_account,
    reload_user,
)
from isobase_services.auth.hooks.new_users import may_create, was_created
from isobase_services.auth.messages import EmailKind, SmsKind
from isobase_services.auth.models import ClientFacts, JsonObject, User
from isobase_services.auth.rules import check_pkce_pair, normal_email, normal_phone
from isobase_services.auth.store import audit, flow_state, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.flow_state import NewFlow

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["OtpRequest", "check_magic_links", "request_magic_link", "request_otp"]

MAX_ATTEMPTS = 2
"""A second look after somebody else registered the address between our look-up and our insert."""


@dataclass(slots=True, frozen=True)
class OtpRequest:
    """Who wants to be let in; one of ``email`` and ``phone``. Absent texts are empty."""

    email: str
    phone: str
    creates_user: bool
    data: JsonObject
    channel: str
    code_challenge: str
    code_challenge_method: str
    audience: str
    redirect_to: str


async def request_otp(core: AuthCore, request: OtpRequest, facts: ClientFacts) -> str:
    """Send a code; returns the provider's id of a text message, else an empty text.

    Raises 400 validation_failed, phone_provider_disabled; 422 otp_disabled for an unknown address where no user may be made
    of it, signup_disabled, email_provider_disabled; 429.
    """
    if request.email and request.phone:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Only an email address or phone number should be provided")
    if request.email and request.channel:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Channel should only be specified with Phone OTP")
    check_pkce_pair(request.code_challenge, request.code_challenge_method)
    if not request.creates_user and not await _is_known(core, request):
        raise unprocessable(ErrorCode.OTP_DISABLED, "Signups not allowed for otp")
    if request.email:
        await request_magic_link(core, request, facts)
        return ""
    if request.phone:
        return await _request_sms(core, request, facts)
    raise bad_request(ErrorCode.VALIDATION_FAILED, "One of email or phone must be set")


def check_magic_links(core: AuthCore) -> None:
    """Raise 422 email_provider_disabled where sign-in by e-mail or by magic link is off."""
    if not core.settings.email_enable_signup:
        raise unprocessable(ErrorCode.EMAIL_PROVIDER_DISABLED, "Email logins are disabled")
    if not core.settings.email.magic_link_enabled:
        raise unprocessable(ErrorCode.EMAIL_PROVIDER_DISABLED, "Login with magic link is disabled")


async def request_magic_link(core: AuthCore, request: OtpRequest, facts: ClientFacts) -> None:
    """Mail a magic link, or for an address that is not confirmed yet the link that confirms it.

    Raises 422 email_provider_disabled, signup_disabled, validation_failed without an address; 400 validation_failed; 429.
    """
    settings = core.settings
    check_magic_links(core)
    if not request.email:
        raise unprocessable(ErrorCode.VALIDATION_FAILED, "Password recovery requires an email")
    email = normal_email(request.email)
    check_pkce_pair(request.code_challenge, request.code_challenge_method)
    account = NewAccount("email", email, request.audience, request.data)
    for _ in range(MAX_ATTEMPTS):
        async with core.connection() as connection:
            user = await users.find_by_email(connection, email, request.audience)
            is_taken = user is None and await _is_elsewhere(connection, email, request.audience)
        if is_taken:
            # It is an identity's of somebody who signs in by another address, or of another audience; nobody is told.
            await refuse_haste_of_stranger(
                core, "magiclink", email, settings.email.max_frequency_s, ErrorCode.OVER_EMAIL_SEND_RATE_LIMIT
            )
            return
        if user is None or not user.is_email_confirmed:
            check_sign_ups(core)
        if user is None:
            await may_create(core.hooks, account.row, facts)
        try:
            made, issued = await _issue_link(core, request, account, user)
        except DatabaseError as error:
            _check_is_taken(error)
            continue
        post_code(core, issued, facts)
        if user is None:
            await was_created(core.hooks, made, facts)
        return
    raise unprocessable(ErrorCode.USER_ALREADY_EXISTS, "User already registered")


async def _is_elsewhere(connection: Connection, email: str, audience: str) -> bool:
    found = await users.find_duplicate_email(connection, email, audience)
    return (found or await users.find_in_any_audience(connection, email=email)) is not None


async def _issue_link(
    core: AuthCore, request: OtpRequest, account: NewAccount, user: User | None
) -> tuple[User, IssuedCode]:
    async with core.transaction() as connection:
        if user is None:
            user = await _register(core, connection, account)
        elif not user.is_email_confirmed and not any(item.provider == "email" for item in user.identities):
            await add_identity(core, connection, account, user.id, user.email)
        # With sign-ups confirmed at once a magic link does it all; otherwise the confirmation is the link.
        is_link = user.is_email_confirmed or not core.settings.email_enable_confirmations
        kind = EmailKind.MAGICLINK if is_link else EmailKind.SIGNUP
        return user, await _issue(core, connection, request, user, kind)


async def _issue(
    core: AuthCore, connection: Connection, request: OtpRequest, user: User, kind: EmailKind
) -> IssuedCode:
    is_signup = kind is EmailKind.SIGNUP
    challenge_method = check_pkce_pair(request.code_challenge, request.code_challenge_method)
    if challenge_method is not None:
        flow = NewFlow(
            provider_type="email" if is_signup else "magiclink",
            method="email/signup" if is_signup else "magiclink",
            user_id=user.id,
            challenge=request.code_challenge,
            challenge_method=challenge_method,
        )
        await flow_state.start_flow(connection, flow)
    action, traits = Action.USER_RECOVERY_REQUESTED, None
    if is_signup:
        action, traits = Action.USER_CONFIRMATION_REQUESTED, {"provider": "email"}
    await audit.record(connection, Entry(user_actor(user), action, traits))
    return await issue_email_code(
        core, connection, user, kind,
        redirect_to=request.redirect_to, is_pkce=challenge_method is not None, resets_password=has_doors(user),
    )  # fmt: skip


async def _register(core: AuthCore, connection: Connection, account: NewAccount) -> User:
    """A new user without a password; confirmed at once where the project asks for no confirmation."""
    await insert_account(core, connection, account)
    settings = core.settings
    is_email = account.provider == "email"
    needs_confirmation = settings.email_enable_confirmations if is_email else settings.phone_enable_confirmations
    if needs_confirmation:
        return await reload_user(connection, account.id)
    user = await confirm_account(core, connection, account, account.id)
    traits = {"provider": "email"} if is_email else {"provider": "phone", "channel": "sms"}
    await audit.record(connection, Entry(user_actor(user), Action.USER_SIGNED_UP, traits))
    return user


async def _request_sms(core: AuthCore, request: OtpRequest, facts: ClientFacts) -> str:
    if not core.settings.phone_enable_signup:
        raise bad_request(ErrorCode.PHONE_PROVIDER_DISABLED, "Unsupported phone provider")
    phone, channel = normal_phone(request.phone), check_channel(core, request.channel)
    account = NewAccount("phone", phone, request.audience, request.data)
    for _ in range(MAX_ATTEMPTS):
        async with core.connection() as connection:
            user = await users.find_by_phone(connection, phone, request.audience)
            is_taken = user is None and await users.find_in_any_audience(connection, phone=phone) is not None
        if is_taken:
            interval_s = core.settings.sms.max_frequency_s
            await refuse_haste_of_stranger(core, "sms", phone, interval_s, ErrorCode.OVER_SMS_SEND_RATE_LIMIT)
            return ""
        is_new = user is None
        if user is None or not user.is_phone_confirmed:
            check_sign_ups(core)
        if is_new:
            await may_create(core.hooks, account.row, facts)
        try:
            async with core.transaction() as connection:
                if user is None:
                    user = await _register(core, connection, account)
                is_signup = not user.is_phone_confirmed and core.settings.phone_enable_confirmations
                entry = Entry(user_actor(user), Action.USER_RECOVERY_REQUESTED, {"channel": channel})
                if is_signup:
                    entry = Entry(user_actor(user), Action.USER_CONFIRMATION_REQUESTED, {"provider": "phone"})
                await audit.record(connection, entry)
                issued = await issue_sms_code(
                    core, connection, user, SmsKind.CONFIRMATION, phone,
                    channel=channel, resets_password=user.has_password and not user.is_phone_confirmed,
                )  # fmt: skip
        except DatabaseError as error:
            _check_is_taken(error)
            continue
        message_id = await send_sign_up_code(core, issued, facts, is_new=is_new)
        if is_new:
            await was_created(core.hooks, user, facts)
        # As upstream, which answers a sign-up in disguise without the id.
        return "" if is_signup else message_id
    raise unprocessable(ErrorCode.USER_ALREADY_EXISTS, "User already registered")


async def _is_known(core: AuthCore, request: OtpRequest) -> bool:
    # As upstream, an address that is none counts as unknown here.
    try:
        email = normal_email(request.email) if request.email else ""
        phone = normal_phone(request.phone) if request.phone else ""
    except AuthError:
        return False
    async with core.connection() as connection:
        if email:
            return await users.find_by_email(connection, email, request.audience) is not None
        return not phone or await users.find_by_phone(connection, phone, request.audience) is not None


def _check_is_taken(error: DatabaseError) -> None:
    """Return where somebody else took the address meanwhile; raise 500 for any other refusal of the database."""
    if not is_address_taken(error):
        fail_with_database_error("Database error saving new user", error)
