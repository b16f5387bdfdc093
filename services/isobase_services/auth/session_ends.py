"""When a session ends by itself: pure functions over its row, the user and the settings.

Source: supabase/auth internal/models/sessions.go (CheckValidity) and internal/tokens/service.go; contracts auth 2.5.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from isobase_services.auth.models import AAL2, Session

if TYPE_CHECKING:
    from isobase_platform.config_auth.sessions import SessionSettings

__all__ = ["SessionEnd", "end_of", "is_replaced", "token_end"]


class SessionEnd(StrEnum):
    """Why a session is over, in the words that a refresh is refused with."""

    OVER = "Invalid Refresh Token: Session Expired"
    INACTIVE = "Invalid Refresh Token: Session Expired (Inactivity)"
    LOW_AAL = "Invalid Refresh Token: Session Expired (Low AAL: User Needs MFA Verification)"
    REPLACED = "Invalid Refresh Token: Session Expired (Revoked by Newer Login)"


def end_of(
    session: Session,
    settings: SessionSettings,
    now: datetime,
    *,
    has_verified_factor: bool,
    token_used_at: datetime | None = None,
) -> SessionEnd | None:
    """Why ``session`` is over at ``now``, or None while it is not.

    ``token_used_at``: when the refresh token at hand was last written, for sessions that were never refreshed.
    """
    if session.is_past_end(now) or _is_past(session.created_at, settings.timebox_s, now):
        return SessionEnd.OVER
    if _is_past(_last_used(session, token_used_at), settings.inactivity_timeout_s, now):
        return SessionEnd.INACTIVE
    if has_verified_factor and session.aal != AAL2 and _is_past(session.created_at, settings.low_aal_s, now):
        return SessionEnd.LOW_AAL
    return None


def is_replaced(
    session: Session,
    others: Iterable[Session],
    settings: SessionSettings,
    now: datetime,
    *,
    has_verified_factor: bool,
    token_used_at: datetime,
) -> bool:
    """Whether one of the user's other sessions (of the same tag) that is not over was used after this one."""
    tag = _tag(session, settings.tags)
    used_at = _last_used(session, token_used_at)
    return any(
        _last_used(other, None) > used_at
        and _tag(other, settings.tags) == tag
        and end_of(other, settings, now, has_verified_factor=has_verified_factor) is None
        for other in others
    )


def token_end(
    settings: SessionSettings,
    *,
    created_at: datetime,
    not_after: datetime | None,
    now: datetime,
    needs_second_factor: bool,
) -> datetime | None:
    """Until when an access token that is made ``now`` may live at most, or None where the session has no end.

    ``needs_second_factor``: the user has a verified factor and the session has not passed it.
    """
    ends = [not_after]
    if settings.timebox_s is not None:
        ends.append(created_at + timedelta(seconds=settings.timebox_s))
    if settings.inactivity_timeout_s is not None:
        ends.append(now + timedelta(seconds=settings.inactivity_timeout_s))
    if settings.low_aal_s is not None and needs_second_factor:
        ends.append(created_at + timedelta(seconds=settings.low_aal_s))
    return min((end for end in ends if end is not None), default=None)


def _last_used(session: Session, token_used_at: datetime | None) -> datetime:
    if session.refreshed_at is not None:
        return session.refreshed_at
    return max(session.created_at, token_used_at) if token_used_at is not None else session.created_at


def _is_past(start: datetime, length_s: float | None, now: datetime) -> bool:
    return length_s is not None and now > start + timedelta(seconds=length_s)


def _tag(session: Session, tags: tuple[str, ...]) -> str:
    if not tags:
        return ""
    return session.tag if session.tag in tags else tags[0]
