"""What is decided about a session, as tables."""

from __future__ import annotations

import pytest

from isobase.auth.errors import (
    AuthApiError,
    AuthError,
    AuthRetryableError,
    AuthSessionMissingError,
    AuthUnknownError,
)
from isobase.auth.session_rules import (
    LONGEST_RETRY_S,
    is_expired,
    is_refresh_due,
    is_refusal,
    measured_skew_s,
    refresh_margin_s,
    retry_delay_s,
    stored_session,
)
from isobase.auth.types import Session

NOW = 1_800_000_000.0
USER = {
    "id": "8d0f9a5e-9d7c-4a53-9f0e-0f8a4c1c5a11",
    "app_metadata": {},
    "user_metadata": {},
    "aud": "authenticated",
    "created_at": "2026-01-01T00:00:00Z",
}


def session(*, ends_in: float, lives: int = 3600) -> Session:
    return Session.model_validate(
        {
            "access_token": "a",
            "refresh_token": "r",
            "token_type": "bearer",
            "expires_in": lives,
            "expires_at": int(NOW + ends_in),
            "user": USER,
        }
    )


@pytest.mark.parametrize(
    ("lives_s", "margin_s"),
    [(3600, 90.0), (900, 90.0), (600, 60.0), (60, 10.0), (10, 5.0), (0, 0.0)],
)
def test_the_margin_before_the_end_fits_how_long_a_token_lives(lives_s: int, margin_s: float) -> None:
    assert refresh_margin_s(lives_s) == margin_s


@pytest.mark.parametrize(
    ("ends_in_s", "due", "expired"), [(3600, False, False), (91, False, False), (90, True, False), (-1, True, True)]
)
def test_a_session_is_due_before_it_has_ended(ends_in_s: float, due: bool, expired: bool) -> None:
    found = session(ends_in=ends_in_s)
    assert (is_refresh_due(found, NOW), is_expired(found, NOW)) == (due, expired)


@pytest.mark.parametrize("skew_s", [-60.0, 60.0])
def test_a_clock_that_is_wrong_by_a_minute_is_measured_and_allowed_for(skew_s: float) -> None:
    here = NOW - skew_s  # what this machine's clock shows when the server's shows NOW
    issued = session(ends_in=3600)
    skew = measured_skew_s(issued, here)
    assert skew == skew_s
    assert not is_refresh_due(issued, here + 3500, skew)
    assert is_refresh_due(issued, here + 3511, skew)
    assert is_expired(issued, here + 3600, skew)


def test_the_way_of_an_answer_is_not_taken_for_a_wrong_clock() -> None:
    assert measured_skew_s(session(ends_in=3600), NOW + 1.5) == 0.0


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (AuthApiError("no", 400, "refresh_token_not_found"), True),
        (AuthApiError("no", 400, "refresh_token_already_used"), True),
        (AuthApiError("no", 400, "session_expired"), True),
        (AuthApiError("no", 403, "user_banned"), True),
        (AuthApiError("Invalid Refresh Token", 400, None), True),
        (AuthSessionMissingError(), True),
        (AuthApiError("Invalid API key", 401, None), False),
        (AuthApiError("no Route matched", 404, None), False),
        (AuthApiError("slow down", 429, "over_request_rate_limit"), False),
        (AuthApiError("at the same time", 409, "conflict"), False),
        (AuthApiError("a hook", 422, "hook_timeout"), False),
        (AuthApiError("broken", 500, "unexpected_failure"), False),
        (AuthRetryableError("away", 0), False),
        (AuthUnknownError("a page", ValueError()), False),
    ],
    ids=lambda value: (
        f"{getattr(value, 'code', None)}-{getattr(value, 'status', '')}" if value not in (True, False) else ""
    ),
)
def test_only_a_definite_refusal_ends_a_session(error: AuthError, refused: bool) -> None:
    assert is_refusal(error) is refused


def test_retries_wait_longer_and_longer_but_not_for_ever() -> None:
    delays = [retry_delay_s(failures) for failures in range(1, 200)]
    assert all(delay <= LONGEST_RETRY_S for delay in delays)
    assert delays[0] <= 0.5
    assert delays[11] >= LONGEST_RETRY_S / 2


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"access_token": "a"}', "\x00"])
def test_what_is_no_session_is_read_as_none(text: str | None) -> None:
    assert stored_session(text) is None


def test_a_session_survives_being_kept() -> None:
    kept = session(ends_in=60)
    assert stored_session(kept.model_dump_json()) == kept
