"""Codes going out: made, stored in the caller's transaction, and handed to ``core.messages`` when that is over.

Nothing waits for a mail server while it holds a connection. Public endpoints ``post_code``: what they answer must tell by
neither text nor time whether an address is known. Callers that are signed in ``send_code`` and learn of a failure.

A code may be marked ``resets_password``: somebody registered an address that they have not proven to own, and now somebody
asks to be let in by a code alone. Who uses it owns the address, the password may be the other's: it goes, with whatever else
opens the account (``flows.doors``). (Upstream keeps it; who registered a victim's address first could sign in to the account
that the victim then confirms.)

Source: contracts auth 2.8, 2.11, 2.12; supabase/auth internal/api/mail.go, internal/api/phone.go.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request
from isobase_services.auth.links import LinkType, action_link
from isobase_services.auth.messages import Channel, EmailKind, EmailMessage, SmsKind, SmsMessage
from isobase_services.auth.models import ClientFacts, User
from isobase_services.auth.rules import check_send_frequency
from isobase_services.auth.store import one_time, users
from isobase_services.auth.store.one_time import OneTimeTokenType, StoredCode
from isobase_services.auth.store.users import UserChanges, UserColumn
from isobase_services.auth.tokens import OneTimeCode, is_code_of, new_one_time_code

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = [
    "INVALID_CHANNEL",
    "IssuedCode",
    "check_channel",
    "is_right_code",
    "issue_email_code",
    "issue_sms_code",
    "post_code",
    "refuse_haste_of_stranger",
    "send_code",
    "send_sign_up_code",
    "store_code",
]


@dataclass(slots=True, frozen=True)
class IssuedCode:
    """A stored code, and the message that has yet to carry it to its reader."""

    message: EmailMessage | SmsMessage
    token_type: OneTimeTokenType
    token_hash: str = field(repr=False)


INVALID_CHANNEL = (
    "Invalid channel, supported values are 'sms' or 'whatsapp'. 'whatsapp' is only supported if Twilio or Twilio Verify "
    "is used as the provider."
)

_EMAIL_TOKENS: dict[EmailKind, OneTimeTokenType] = {
    EmailKind.SIGNUP: "confirmation_token",
    EmailKind.INVITE: "confirmation_token",
    EmailKind.MAGICLINK: "recovery_token",
    EmailKind.RECOVERY: "recovery_token",
    EmailKind.EMAIL_CHANGE: "email_change_token_new",
    EmailKind.REAUTHENTICATION: "reauthentication_token",
}
_LINK_TYPES: dict[EmailKind, LinkType] = {
    EmailKind.SIGNUP: "signup",
    EmailKind.INVITE: "invite",
    EmailKind.MAGICLINK: "magiclink",
    EmailKind.RECOVERY: "recovery",
}
_SMS_TOKENS: dict[SmsKind, OneTimeTokenType] = {
    SmsKind.CONFIRMATION: "confirmation_token",
    SmsKind.PHONE_CHANGE: "phone_change_token",
    SmsKind.REAUTHENTICATION: "reauthentication_token",
}
_SENT_COLUMNS: dict[OneTimeTokenType, UserColumn] = {
    "confirmation_token": "confirmation_sent_at",
    "recovery_token": "recovery_sent_at",
    "phone_change_token": "phone_change_sent_at",
    "reauthentication_token": "reauthentication_sent_at",
}
_TOKEN_COLUMNS: dict[OneTimeTokenType, UserColumn] = {
    "confirmation_token": "confirmation_token",
    "recovery_token": "recovery_token",
    "phone_change_token": "phone_change_token",
    "reauthentication_token": "reauthentication_token",
}


async def issue_email_code(
    core: AuthCore,
    connection: Connection,
    user: User,
    kind: EmailKind,
    *,
    redirect_to: str = "",
    is_pkce: bool = False,
    resets_password: bool = False,
) -> IssuedCode:
    """Store a code for the user's e-mail address and return the mail that carries it.

    Raises 429 over_email_send_rate_limit within ``auth.email.max_frequency_s`` of the last one of the kind; magic links and
    recovery share one clock, an invitation has none.
    """
    settings, token_type = core.settings.email, _EMAIL_TOKENS[kind]
    if kind is not EmailKind.INVITE:
        check_send_frequency(_sent_at(user, token_type), core.now(), settings.max_frequency_s)
    code = new_one_time_code(user.email, digits=settings.otp_length, is_pkce=is_pkce)
    await store_code(
        core, connection, user, token_type, code, user.email,
        is_invite=kind is EmailKind.INVITE, resets_password=resets_password,
    )  # fmt: skip
    link_type = _LINK_TYPES.get(kind)
    message = EmailMessage(
        kind=kind,
        user=user,
        address=user.email,
        code=code.code,
        token_hash=code.token_hash,
        link=action_link(core.platform.settings, link_type, code.token_hash, redirect_to) if link_type else "",
        redirect_to=redirect_to,
    )
    return IssuedCode(message, token_type, code.token_hash)


async def issue_sms_code(
    core: AuthCore,
    connection: Connection,
    user: User,
    kind: SmsKind,
    phone: str,
    *,
    channel: Channel = "sms",
    resets_password: bool = False,
) -> IssuedCode:
    """Store a code for ``phone`` and return the text message that carries it.

    Raises 429 over_sms_send_rate_limit within ``auth.sms.max_frequency_s`` of the last one of the kind.
    """
    settings, token_type = core.settings.sms, _SMS_TOKENS[kind]
    check_send_frequency(
        _sent_at(user, token_type), core.now(), settings.max_frequency_s, ErrorCode.OVER_SMS_SEND_RATE_LIMIT
    )
    fixed = core.messages.texts.test_code(phone)
    code = new_one_time_code(phone, digits=settings.otp_length, fixed=fixed)
    await store_code(core, connection, user, token_type, code, phone, resets_password=resets_password)
    if kind is SmsKind.PHONE_CHANGE:
        await users.update_user(connection, user.id, UserChanges({"phone_change": phone}))
    message = SmsMessage(kind=kind, user=user, phone=phone, code=code.code, channel=channel)
    return IssuedCode(message, token_type, code.token_hash)


async def store_code(
    core: AuthCore,
    connection: Connection,
    user: User,
    token_type: OneTimeTokenType,
    code: OneTimeCode,
    address: str,
    *,
    is_invite: bool = False,
    resets_password: bool = False,
) -> None:
    """Write a code to the user's row and to the one-time tokens, in the place of an earlier one."""
    now = core.now()
    columns: dict[UserColumn, object] = {_TOKEN_COLUMNS[token_type]: code.token_hash, _SENT_COLUMNS[token_type]: now}
    if is_invite:
        columns["invited_at"] = now
    await users.update_user(connection, user.id, UserChanges(columns))
    await one_time.put_code(connection, user.id, token_type, code, address, resets_password=resets_password)


def post_code(core: AuthCore, issued: IssuedCode, facts: ClientFacts) -> None:
    """Send in the background; should it fail for good, a new code may be asked for at once."""

    async def take_back() -> None:
        await _take_back(core, issued)

    core.messages.post(replace(issued.message, facts=facts), on_failure=take_back)


async def send_code(core: AuthCore, issued: IssuedCode, facts: ClientFacts) -> str:
    """Send and wait for it; returns the provider's id of a text message, else an empty text.

    Raises upstream's "Error sending ..." where it fails; a new code may then be asked for at once.
    """
    try:
        if isinstance(issued.message, SmsMessage):
            return await core.messages.send_sms(replace(issued.message, facts=facts))
        await core.messages.send_email(replace(issued.message, facts=facts))
    except AuthError:
        await _take_back(core, issued)
        raise
    return ""


async def refuse_haste_of_stranger(core: AuthCore, kind: str, address: str, interval_s: float, code: ErrorCode) -> None:
    """Treat who asks for a code for an unknown address as one who asks for a known one: 429 in haste, and as slowly.

    Otherwise the second request within the interval would tell the two apart.
    """
    now = core.now()
    if interval_s > 0:
        key = f"auth:stranger:{kind}:{hashlib.sha256(address.encode()).hexdigest()}"
        store = core.platform.store
        if not await store.add(key, str(now.timestamp()).encode(), interval_s):
            first = await store.get(key)
            if first is not None:
                check_send_frequency(_moment(first), now, interval_s, code)
    async with core.transaction() as connection:
        await one_time.flush_like_a_write(connection)


async def send_sign_up_code(core: AuthCore, issued: IssuedCode, facts: ClientFacts, *, is_new: bool) -> str:
    """As ``send_code``; with ``is_new`` a failure takes the user away again: nothing is kept of a sign-up that fails."""
    try:
        return await send_code(core, issued, facts)
    except AuthError:
        if is_new:
            async with core.connection() as connection:
                await users.delete_user(connection, issued.message.user.id)
        raise


def check_channel(core: AuthCore, channel: str) -> Channel:
    """The channel of a text message, ``sms`` where none is named. Raises 400 validation_failed where it cannot be had."""
    wanted = channel or "sms"
    if not core.messages.texts.takes_channel(wanted):
        raise bad_request(ErrorCode.VALIDATION_FAILED, INVALID_CHANNEL)
    return "whatsapp" if wanted == "whatsapp" else "sms"


async def is_right_code(core: AuthCore, stored: StoredCode, address: str, code: str) -> bool:
    """Whether ``code`` is the one that went to ``address``; asks the provider of text messages where it makes the codes.

    Never with a connection held.
    """
    texts = core.messages.texts
    if texts.checks_codes and "@" not in address and texts.test_code(address) is None:
        return await texts.check_code(address, code)
    return is_code_of(stored.token_hash, address, code, stored.salt)


async def _take_back(core: AuthCore, issued: IssuedCode) -> None:
    async with core.connection() as connection:
        await one_time.forget_sending(connection, issued.message.user.id, issued.token_type, issued.token_hash)


def _sent_at(user: User, token_type: OneTimeTokenType) -> datetime | None:
    return {
        "confirmation_token": user.confirmation_sent_at,
        "recovery_token": user.recovery_sent_at,
        "phone_change_token": user.phone_change_sent_at,
        "reauthentication_token": user.reauthentication_sent_at,
    }[token_type]


def _moment(stored: bytes) -> datetime:
    return datetime.fromtimestamp(float(stored), UTC)
