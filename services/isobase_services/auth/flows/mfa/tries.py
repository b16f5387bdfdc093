"""Reading a challenge to answer it, and how many answers may be tried.

Six digits are few. A challenge takes five codes, and all recent challenges of a factor together ten, from whatever address
they come; upstream counts requests per address only.
"""

from __future__ import annotations

import ipaddress
from uuid import UUID

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, unprocessable
from isobase_services.auth.flows.mfa.challenge import expiry_of
from isobase_services.auth.flows.mfa.holder import Holder
from isobase_services.auth.models import ClientFacts, Factor
from isobase_services.auth.store import factors
from isobase_services.auth.store.factors import UNKNOWN_ADDRESS, OpenChallenge

__all__ = ["MAX_TRIES_PER_CHALLENGE", "MAX_WRONG_CODES_PER_FACTOR", "open_challenge"]

MAX_TRIES_PER_CHALLENGE = 5
MAX_WRONG_CODES_PER_FACTOR = 10
WRONG_CODES_WINDOW_S = 900.0


async def open_challenge(
    core: AuthCore, holder: Holder, factor: Factor, challenge_id: UUID, facts: ClientFacts, *, is_guessable: bool
) -> OpenChallenge:
    """The challenge that is to be answered. With ``is_guessable`` the answer is counted before anybody looks at it.

    Raises 422 mfa_factor_not_found, mfa_ip_address_mismatch (also for one that was answered), mfa_challenge_expired (also
    after five tries); 429 over_request_rate_limit after ten wrong codes for the factor in a quarter of an hour.
    """
    async with core.transaction() as connection:
        # One answer at a time, or many sent at once would all find a try left.
        await factors.lock_user(connection, holder.user.id)
        challenge = await factors.find_challenge(connection, factor.id, challenge_id, window_s=WRONG_CODES_WINDOW_S)
        if challenge is None:
            raise unprocessable(ErrorCode.MFA_FACTOR_NOT_FOUND, "MFA factor with the provided challenge ID not found")
        refusal = _refusal(core, challenge, facts, is_guessable=is_guessable)
        if refusal is None and is_guessable:
            await factors.take_try(connection, challenge.id)
        if challenge.verified_at is None and challenge.tries == 0 and _is_over(core, challenge):
            # As upstream. What was tried or answered stays until it is swept: deleting it would forget tries and used codes.
            await factors.delete_challenge(connection, challenge.id)
    if refusal is not None:
        raise refusal
    return challenge


def _refusal(core: AuthCore, challenge: OpenChallenge, facts: ClientFacts, *, is_guessable: bool) -> AuthError | None:
    if challenge.verified_at is not None or not _is_same_address(challenge.ip, facts.ip):
        return unprocessable(ErrorCode.MFA_IP_ADDRESS_MISMATCH, "Challenge and verify IP addresses mismatch.")
    if _is_over(core, challenge) or challenge.tries >= MAX_TRIES_PER_CHALLENGE:
        return unprocessable(
            ErrorCode.MFA_CHALLENGE_EXPIRED,
            f"MFA challenge {challenge.id} has expired, verify against another challenge or create a new challenge.",
        )
    if is_guessable and challenge.wrong_of_factor >= MAX_WRONG_CODES_PER_FACTOR:
        return AuthError(429, ErrorCode.OVER_REQUEST_RATE_LIMIT, "Request rate limit reached")
    return None


def _is_over(core: AuthCore, challenge: OpenChallenge) -> bool:
    return core.now() > expiry_of(core, challenge.created_at)


def _is_same_address(opened_from: str, answered_from: str | None) -> bool:
    return ipaddress.ip_address(opened_from) == ipaddress.ip_address(answered_from or UNKNOWN_ADDRESS)
