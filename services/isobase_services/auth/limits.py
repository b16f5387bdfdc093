"""How often auth lets itself be asked: per kind of call and client address, and in all for what it sends.

Source: contracts auth 2.12; supabase/auth internal/api/apilimiter. Why addresses count even where no proxy names them,
and why this machine's own do not: docs/decisions/0014-rate-limits-by-peer.md.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import TYPE_CHECKING

from isobase_platform.config_auth.rate_limit import RateLimitSettings
from isobase_platform.limits import Rate, RateLimiter
from isobase_platform.networks import Networks, parse_address
from isobase_services.auth.errors import AuthError, ErrorCode

if TYPE_CHECKING:
    from isobase_platform.runtime import Platform
    from isobase_services.auth.models import ClientFacts

__all__ = ["Limited", "Limits"]

FIVE_MINUTES_S = 300.0
HOUR_S = 3600.0
MINUTE_S = 60.0
IPV6_PREFIX_BITS = 64
"""One subscriber's share of IPv6: all its addresses count as one."""


class Limited(StrEnum):
    """The kinds of calls that are limited, each with buckets of its own."""

    SIGN_UP = "sign_up"
    ANONYMOUS_SIGN_UP = "anonymous_sign_up"
    OTP = "otp"
    MAGIC_LINK = "magic_link"
    RECOVER = "recover"
    RESEND = "resend"
    USER_UPDATE = "user_update"
    VERIFY = "verify"
    TOKEN = "token"  # noqa: S105  a kind of call
    WEB3 = "web3"
    PASSKEY = "passkey"
    CLIENT_REGISTRATION = "client_registration"
    MFA_CHALLENGE = "mfa_challenge"
    MFA_VERIFY = "mfa_verify"


class Limits:
    """The limits of one process; their state is in the store."""

    def __init__(self, platform: Platform) -> None:
        settings = platform.settings.auth.rate_limit
        self._limiter = RateLimiter(platform.store, platform.metrics.store_failures)
        self._refused = platform.metrics.rate_limited
        self._rates = _rates(settings)
        self._unlimited = Networks(platform.settings.unlimited_addresses)
        self._email = Rate(settings.email_sent, HOUR_S, settings.email_sent)
        self._sms = Rate(settings.sms_sent, HOUR_S, settings.sms_sent)

    async def check(self, kind: Limited, facts: ClientFacts) -> None:
        """Count one call of a kind by its client's address; raises 429 over_request_rate_limit beyond the rate.

        A client without an address (a unix socket) and those of ``Settings.unlimited_addresses`` are not counted.
        """
        key = self._key(facts.ip)
        if key is not None and not await self._limiter.allows(f"{kind}:{key}", self._rates[kind]):
            self._refused.labels(kind).inc()
            raise AuthError(429, ErrorCode.OVER_REQUEST_RATE_LIMIT, "Request rate limit reached")

    async def check_email_sent(self) -> None:
        """Count one mail that leaves the server; raises 429 over_email_send_rate_limit beyond the hour's number."""
        if not await self._limiter.allows("email_sent", self._email):
            raise self._no_mail_left()

    async def check_email_left(self) -> None:
        """Raise 429 over_email_send_rate_limit where the hour's mails are spent; nothing is counted.

        For routes that must not tell whether an address is known: what they send leaves later, or not at all.
        """
        if not await self._limiter.would_allow("email_sent", self._email):
            raise self._no_mail_left()

    def _no_mail_left(self) -> AuthError:
        self._refused.labels("email_sent").inc()
        return AuthError(429, ErrorCode.OVER_EMAIL_SEND_RATE_LIMIT, "email rate limit exceeded")

    async def check_sms_sent(self) -> None:
        """Count one text message that leaves the server; raises 429 over_sms_send_rate_limit beyond the hour's number."""
        if not await self._limiter.allows("sms_sent", self._sms):
            self._refused.labels("sms_sent").inc()
            raise AuthError(429, ErrorCode.OVER_SMS_SEND_RATE_LIMIT, "SMS rate limit exceeded")

    def _key(self, ip: str | None) -> str | None:
        address = parse_address(ip) if ip is not None else None
        if address is None or self._unlimited.has(address):
            return None
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((address, IPV6_PREFIX_BITS), strict=False))
        return str(address)


def _rates(settings: RateLimitSettings) -> dict[Limited, Rate]:
    def in_five_minutes(events: int) -> Rate:
        return Rate(events, FIVE_MINUTES_S, settings.burst)

    messages = in_five_minutes(settings.sign_in_sign_ups)
    factors = Rate(settings.mfa, MINUTE_S, settings.burst)
    return {
        Limited.SIGN_UP: messages,
        Limited.ANONYMOUS_SIGN_UP: Rate(settings.anonymous_users, HOUR_S, settings.anonymous_users),
        Limited.OTP: messages,
        Limited.MAGIC_LINK: messages,
        Limited.RECOVER: messages,
        Limited.RESEND: messages,
        Limited.USER_UPDATE: messages,
        Limited.VERIFY: in_five_minutes(settings.token_verifications),
        Limited.TOKEN: in_five_minutes(settings.token_refresh),
        Limited.WEB3: in_five_minutes(settings.web3),
        Limited.PASSKEY: in_five_minutes(settings.passkey),
        Limited.CLIENT_REGISTRATION: in_five_minutes(settings.dynamic_client_registration),
        Limited.MFA_CHALLENGE: factors,
        Limited.MFA_VERIFY: factors,
    }
