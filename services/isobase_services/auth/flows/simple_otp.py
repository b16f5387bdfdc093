"""Sign-in by code on the simple face: the Supabase face's codes with a shorter life and a cap on sending.

The answer is the same for every address. Source: contracts auth section 5.
"""

from __future__ import annotations

import hashlib

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode
from isobase_services.auth.flows.codes import refuse_haste_of_stranger
from isobase_services.auth.flows.otp import OtpRequest, request_magic_link
from isobase_services.auth.flows.verify import HalfConfirmed, VerifyRequest, verify_code
from isobase_services.auth.models import AUTHENTICATED_AUDIENCE, ClientFacts, Grant, JsonObject, SessionTerms
from isobase_services.auth.rules import normal_email

__all__ = ["send_simple_code", "verify_simple_code"]

CAP_WINDOW_S = 3600.0
_NO_SIGNUP = frozenset({ErrorCode.SIGNUP_DISABLED, ErrorCode.OTP_DISABLED})


async def send_simple_code(core: AuthCore, email: str, data: JsonObject, redirect_to: str, facts: ClientFacts) -> None:
    """Mail a code to the address, whoever it belongs to; somebody new is registered where sign-ups are on.

    Raises 400 validation_failed, 422 email_provider_disabled; 429 over_email_send_rate_limit beyond
    ``auth.simple_otp_per_hour`` codes per address and hour, counted in the store and so across processes.
    """
    address = normal_email(email)
    await _count(core, address)
    wanted = OtpRequest(
        email=address,
        phone="",
        creates_user=True,
        data=data,
        channel="",
        code_challenge="",
        code_challenge_method="",
        audience=AUTHENTICATED_AUDIENCE,
        redirect_to=redirect_to,
    )
    try:
        await request_magic_link(core, wanted, facts)
    except AuthError as error:
        if error.code not in _NO_SIGNUP:
            raise
        # Nothing is sent where nobody may be registered; that must not be told from a code that was.
        interval_s = core.settings.email.max_frequency_s
        await refuse_haste_of_stranger(core, "simple", address, interval_s, ErrorCode.OVER_EMAIL_SEND_RATE_LIMIT)


async def verify_simple_code(core: AuthCore, email: str, code: str, facts: ClientFacts, terms: SessionTerms) -> Grant:
    """Exchange a code for a session. Raises 403 otp_expired for one that is not good, user_banned."""
    wanted = VerifyRequest(
        type="email",
        token=code,
        token_hash="",
        email=email,
        phone="",
        redirect_to="",
        audience=AUTHENTICATED_AUDIENCE,
        max_age_s=core.settings.simple_otp_s,
    )
    result = await verify_code(core, wanted, facts, terms)
    if isinstance(result, HalfConfirmed):
        raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "A code to sign in with cannot be half of a change")
    return result


async def _count(core: AuthCore, address: str) -> None:
    key = f"auth:simple-otp:{hashlib.sha256(address.encode()).hexdigest()}"
    if await core.platform.store.increment(key, CAP_WINDOW_S) > core.settings.simple_otp_per_hour:
        raise AuthError(
            429,
            ErrorCode.OVER_EMAIL_SEND_RATE_LIMIT,
            f"No more than {core.settings.simple_otp_per_hour} codes per hour are sent to an address",
        )
