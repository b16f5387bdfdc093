"""The auth client's models: what they read, what they show of themselves, and what importing them costs."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from isobase.auth import types
from isobase.auth.helpers import parse_auth_response, parse_user_response
from isobase.auth.paging import place_of
from isobase.auth.types import AuthMFAChallengeResponse, AuthMFAEnrollResponse, Session, User

USER: dict[str, Any] = {
    "id": "11111111-1111-4111-8111-111111111111",
    "aud": "authenticated",
    "email": "person@example.com",
    "app_metadata": {},
    "user_metadata": {},
    "created_at": "2026-01-01T00:00:00.123456Z",
    "a_field_of_the_future": 1,
}
SESSION = {
    "access_token": "secret-access",
    "refresh_token": "secret-refresh",
    "expires_in": 3600,
    "token_type": "bearer",
    "user": USER,
}


def answer(body: object) -> httpx.Response:
    return httpx.Response(200, json=body)


def test_a_session_is_read_with_its_user() -> None:
    read = parse_auth_response(answer(SESSION))
    assert read.session is not None
    assert read.user == read.session.user == User.model_validate(USER)


def test_a_user_who_has_still_to_confirm_is_read_without_a_session() -> None:
    read = parse_auth_response(answer(USER))
    assert read.session is None
    assert read.user is not None
    assert read.user.email == "person@example.com"


def test_an_answer_that_is_neither_is_refused() -> None:
    with pytest.raises(ValidationError):
        parse_auth_response(answer({"msg": "hello"}))


@pytest.mark.parametrize("body", [USER, {"user": USER}], ids=["bare", "wrapped"])
def test_a_user_is_read_bare_and_wrapped(body: object) -> None:
    assert parse_user_response(answer(body)).user.id == USER["id"]


def test_a_session_without_its_end_is_given_one_by_this_machines_clock() -> None:
    session = Session.model_validate(SESSION)
    assert session.expires_at is not None
    assert abs(session.expires_at - time.time() - 3600) < 60


def test_the_end_that_the_server_gave_is_kept() -> None:
    assert Session.model_validate({**SESSION, "expires_at": 17}).expires_at == 17


def test_a_session_survives_its_storage_as_json() -> None:
    session = Session.model_validate(SESSION)
    assert Session.model_validate_json(session.model_dump_json()) == session
    assert json.loads(session.model_dump_json())["access_token"] == "secret-access"


def test_tokens_do_not_stand_in_the_repr_of_a_session() -> None:
    shown = repr(Session.model_validate({**SESSION, "provider_token": "secret-provider"}))
    assert "secret" not in shown
    assert "person@example.com" in shown


@pytest.mark.parametrize(
    "body", [b'{"access_token": "secret", "refr', b'{"access_token": "secret", "user": {"id": "secret"}}', b'"secret"']
)
def test_an_answer_that_cannot_be_read_is_not_shown(body: bytes) -> None:
    for parse in (parse_auth_response, parse_user_response):
        with pytest.raises(ValidationError) as caught:
            parse(httpx.Response(200, content=body))
        assert "secret" not in str(caught.value)


def test_a_phone_factor_without_a_number_is_refused() -> None:
    with pytest.raises(ValidationError, match="phone is required when type is 'phone'"):
        AuthMFAEnrollResponse.model_validate({"id": "x", "type": "phone", "friendly_name": "mine"})


def test_a_challenge_says_its_factors_type_under_upstreams_name() -> None:
    challenge = AuthMFAChallengeResponse.model_validate({"id": "x", "type": "totp", "expires_at": 5})
    assert challenge.factor_type == "totp"


def test_every_exported_type_is_there_once() -> None:
    assert len(types.__all__) == len(set(types.__all__))
    for name in types.__all__:
        assert hasattr(types, name), name


@pytest.mark.parametrize(
    ("headers", "place"),
    [
        pytest.param({}, (None, 0, 0), id="nothing said"),
        pytest.param(
            {
                "x-total-count": "120",
                "link": '</admin/users?page=12&per_page=5>; rel="next", </admin/users?page=24&per_page=5>; rel="last"',
            },
            (12, 24, 120),
            id="in the middle",
        ),
        pytest.param(
            {"x-total-count": "3", "link": '</admin/users?per_page=5&page=1>; rel="last"'}, (None, 1, 3), id="end"
        ),
        pytest.param(
            {"x-total-count": "many", "link": "</admin/users?page=x>; rel=next"}, (None, 0, 0), id="no numbers"
        ),
    ],
)
def test_the_place_of_a_page_is_read_from_the_headers(
    headers: dict[str, str], place: tuple[int | None, int, int]
) -> None:
    found = place_of(httpx.Response(200, headers=headers))
    assert (found.next_page, found.last_page, found.total) == place
