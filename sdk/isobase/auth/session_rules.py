"""What the auth client decides about a session, without doing anything: when it is to be refreshed, what a failed
refresh means.

Times are seconds of ``time.time()``. ``skew_s`` is how far the server's clock is ahead of this machine's, as far as
that is known.
"""

from __future__ import annotations

import random

from pydantic import ValidationError

from isobase.auth.errors import AuthApiError, AuthSessionMissingError
from isobase.auth.types import JWTPayload, Session, User

__all__ = [
    "is_expired",
    "is_refresh_due",
    "is_refusal",
    "is_signed_out_answer",
    "measured_skew_s",
    "refresh_due_at",
    "refresh_margin_s",
    "retry_delay_s",
    "session_of_tokens",
    "stored_session",
    "token_end",
]

LONGEST_MARGIN_S = 90.0
"""supabase-js refreshes that long before the end; a clock that is wrong by a minute still refreshes in time."""
SHORTEST_MARGIN_S = 10.0
IGNORED_SKEW_S = 2.0
"""A difference this small is the way of the answer, not of the clock."""
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 60.0

_PASSING_STATUS = frozenset({408, 409, 425, 429})
_PASSING_CODES = frozenset(
    {"conflict", "hook_timeout", "hook_timeout_after_retry", "over_request_rate_limit", "request_timeout"}
)


def stored_session(text: str | None) -> Session | None:
    """Read a session from the text it is kept as; None when that is no session, or one that does not tell when it
    ends.
    """
    if not text:
        return None
    try:
        session = Session.model_validate_json(text)
    except (ValidationError, ValueError):
        return None
    return session if session.expires_at is not None else None


def refresh_margin_s(expires_in: float) -> float:
    """Give how long before its end a token that lives ``expires_in`` seconds is to be refreshed: a tenth of its life,
    within limits.
    """
    return min(LONGEST_MARGIN_S, max(SHORTEST_MARGIN_S, expires_in * 0.1), max(expires_in, 0) * 0.5)


def refresh_due_at(session: Session, skew_s: float = 0.0) -> float | None:
    """Give when to refresh, by this machine's clock; None for a session that does not end."""
    if session.expires_at is None:
        return None
    return session.expires_at - skew_s - refresh_margin_s(session.expires_in)


def is_refresh_due(session: Session, now: float, skew_s: float = 0.0) -> bool:
    """Tell whether the session is so near its end that it is to be refreshed before use."""
    due_at = refresh_due_at(session, skew_s)
    return due_at is not None and due_at <= now


def is_expired(session: Session, now: float, skew_s: float = 0.0) -> bool:
    """Tell whether the server takes the access token no more."""
    return session.expires_at is not None and session.expires_at - skew_s <= now


def measured_skew_s(session: Session, received_at: float) -> float:
    """Give how far the server's clock is ahead (negative: behind), from a session that has just been issued.

    The server tells when the token ends and how long it lives; the difference is the server's time when it answered.
    """
    if session.expires_at is None:
        return 0.0
    skew_s = session.expires_at - session.expires_in - received_at
    return skew_s if abs(skew_s) > IGNORED_SKEW_S else 0.0


def is_refusal(error: BaseException) -> bool:
    """Tell whether a failed refresh says that the refresh token is worth nothing any more.

    Everything else (no network, a gateway's error page, too many requests, a key that the gateway refuses) leaves the
    session as it is.
    """
    if isinstance(error, AuthSessionMissingError):
        return True
    if not isinstance(error, AuthApiError) or not 400 <= error.status < 500:
        return False
    if error.code is None:
        # GoTrue before it had codes answers 400 invalid_grant; gateways answer 401 and 404 without a code.
        return error.status == 400
    return error.status not in _PASSING_STATUS and error.code not in _PASSING_CODES


def is_signed_out_answer(error: BaseException) -> bool:
    """Tell whether a refused sign-out means that there was nothing left to sign out of."""
    return isinstance(error, AuthSessionMissingError) or (
        isinstance(error, AuthApiError) and error.status in (401, 403, 404)
    )


def retry_delay_s(failures: int) -> float:
    """Give how long to wait after the ``failures``-th failure in a row: doubling, with jitter, never above
    ``LONGEST_RETRY_S``.
    """
    whole = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures - 1, 16))
    return whole * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret


def token_end(claims: JWTPayload) -> int | None:
    """Give when an access token ends, from its claims; None when they do not say."""
    ends_at = claims.get("exp")
    return int(ends_at) if ends_at else None


def session_of_tokens(
    access_token: str,
    refresh_token: str,
    ends_at: int,
    user: User,
    now: float,
    *,
    token_type: str = "bearer",  # noqa: S107 - a kind of token, none itself
) -> Session:
    """Put together a session whose tokens came from elsewhere."""
    return Session(
        access_token=access_token,
        refresh_token=refresh_token,
        user=user,
        token_type=token_type,
        expires_in=ends_at - round(now),
        expires_at=ends_at,
    )
