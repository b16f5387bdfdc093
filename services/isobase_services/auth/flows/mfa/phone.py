"""Codes by SMS as a second factor. A code is stored as a hash that is bound to its challenge and number."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode
from isobase_services.auth.flows.codes import check_channel
from isobase_services.auth.flows.mfa.holder import Holder
from isobase_services.auth.messages import SmsKind, SmsMessage
from isobase_services.auth.models import ClientFacts, Factor
from isobase_services.auth.store import audit, factors, users
from isobase_services.auth.store.audit import Entry

__all__ = ["is_right_code", "send_code"]


async def send_code(
    core: AuthCore, holder: Holder, factor: Factor, facts: ClientFacts, channel: str, entry: Entry
) -> tuple[UUID, datetime]:
    """Open a challenge, send its code, and return (id, time) of the challenge. A code that cannot be sent leaves none.

    Raises 400 validation_failed for an unknown channel, 429 over_sms_send_rate_limit, and as ``Messages.send_sms``.
    """
    wanted = check_channel(core, channel)
    settings = core.settings.mfa.phone
    challenge_id = uuid4()
    digits = settings.otp_length
    code = core.messages.texts.test_code(factor.phone) or f"{secrets.randbelow(10**digits):0{digits}d}"
    async with core.transaction() as connection:
        await factors.lock_user(connection, holder.user.id)
        current = await users.find_by_id(connection, holder.user.id)
        known = next((item for item in current.factors if item.id == factor.id), None) if current else None
        if known is None:
            raise AuthError(404, ErrorCode.MFA_FACTOR_NOT_FOUND, "Factor not found")
        _check_frequency(known.last_challenged_at, core.now(), settings.max_frequency_s)
        created_at = await factors.insert_challenge(
            connection, factor.id, challenge_id, facts.ip, otp_code=_code_hash(challenge_id, factor.phone, code)
        )
        await factors.mark_challenged(connection, factor.id, created_at)
        await audit.record(connection, entry)
    message = SmsMessage(
        kind=SmsKind.FACTOR,
        user=holder.user,
        phone=factor.phone,
        code=code,
        channel=wanted,
        template=settings.template,
        facts=facts,
    )
    try:
        await core.messages.send_sms(message)
    except AuthError:
        async with core.transaction() as connection:
            await factors.delete_challenge(connection, challenge_id)
            await factors.mark_challenged(connection, factor.id, known.last_challenged_at)
        raise
    return challenge_id, created_at


async def is_right_code(core: AuthCore, challenge_id: UUID, factor: Factor, stored: str | None, code: str) -> bool:
    """Whether ``code`` is the one that was sent, in constant time; the provider is asked where it makes the codes."""
    texts = core.messages.texts
    if texts.checks_codes and texts.test_code(factor.phone) is None:
        return await texts.check_code(factor.phone, code.strip())
    given = _code_hash(challenge_id, factor.phone, code.strip())
    return bool(stored) and hmac.compare_digest((stored or "").encode(), given.encode())


def _code_hash(challenge_id: UUID, phone: str, code: str) -> str:
    return hashlib.sha256(f"{challenge_id}:{phone}:{code}".encode()).hexdigest()


def _check_frequency(sent_at: datetime | None, now: datetime, interval_s: float) -> None:
    if sent_at is None:
        return
    left_s = (sent_at + timedelta(seconds=interval_s) - now).total_seconds()
    if left_s > 0:
        raise AuthError(
            429,
            ErrorCode.OVER_SMS_SEND_RATE_LIMIT,
            f"For security purposes, you can only request this after {int(left_s)} seconds.",
        )
