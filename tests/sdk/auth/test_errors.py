"""The auth client's errors: what each carries, and which of the server's answers becomes which."""

from __future__ import annotations

import copy
import pickle

import httpx
import pytest

from isobase.auth.constants import API_VERSION_HEADER_NAME
from isobase.auth.errors import (
    AuthApiError,
    AuthError,
    AuthImplicitGrantRedirectError,
    AuthInvalidJwtError,
    AuthRetryableError,
    AuthSessionMissingError,
    AuthUnknownError,
    AuthWeakPasswordError,
    CustomAuthError,
    UserDoesntExist,
)
from isobase.auth.helpers import handle_exception

NEW_API = {API_VERSION_HEADER_NAME: "2024-01-01"}


def refusal(status: int, body: object = None, *, text: str = "", headers: dict[str, str] | None = None) -> AuthError:
    """Give what the client raises for one answer."""
    request = httpx.Request("GET", "http://127.0.0.1/user")
    answer = {"json": body} if body is not None else {"text": text}
    response = httpx.Response(status, headers=headers, request=request, **answer)
    with pytest.raises(httpx.HTTPStatusError) as caught:
        response.raise_for_status()
    return handle_exception(caught.value)


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        pytest.param({"code": "user_banned", "message": "User is banned"}, NEW_API, "user_banned", id="new"),
        pytest.param({"code": 400, "error_code": "user_banned", "msg": "User is banned"}, {}, "user_banned", id="old"),
        pytest.param({"code": "user_banned", "message": "User is banned"}, {}, None, id="new body, old headers"),
        pytest.param({"error": "invalid_request", "error_description": "User is banned"}, {}, None, id="OAuth"),
        pytest.param(
            {"code": "not_in_any_list", "message": "User is banned"}, NEW_API, "not_in_any_list", id="unknown"
        ),
    ],
)
def test_a_refusal_carries_message_status_and_code(body: object, headers: dict[str, str], code: str | None) -> None:
    error = refusal(400, body, headers=headers)
    assert isinstance(error, AuthApiError)
    assert error.to_dict() == {"name": "AuthApiError", "message": "User is banned", "status": 400, "code": code}
    assert str(error) == "User is banned"


@pytest.mark.parametrize(
    "body",
    [
        {"code": "weak_password", "message": "Too weak", "weak_password": {"reasons": ["length"]}},
        {"message": "Too weak", "weak_password": {"reasons": ["length"]}},
    ],
    ids=["by its code", "from before there were codes"],
)
def test_a_weak_password_is_refused_with_the_reasons(body: object) -> None:
    error = refusal(422, body, headers=NEW_API)
    assert isinstance(error, AuthWeakPasswordError)
    assert (error.code, error.reasons, error.to_dict()["reasons"]) == ("weak_password", ["length"], ["length"])


def test_a_weak_password_without_reasons_is_still_a_weak_password() -> None:
    error = refusal(422, {"code": "weak_password", "message": "Too weak"}, headers=NEW_API)
    assert isinstance(error, AuthWeakPasswordError)
    assert error.reasons == []


@pytest.mark.parametrize("status", [502, 503, 504, 520, 524, 530])
@pytest.mark.parametrize("text", ["", "<html>bad gateway</html>", '{"message": "away"}'])
def test_a_server_that_is_away_may_be_asked_again(status: int, text: str) -> None:
    error = refusal(status, text=text)
    assert isinstance(error, AuthRetryableError)
    assert error.status == status
    assert error.message


def test_a_server_that_was_not_reached_may_be_asked_again() -> None:
    error = handle_exception(httpx.ConnectError("refused"))
    assert isinstance(error, AuthRetryableError)
    assert (error.status, error.message) == (0, "refused")


def test_an_answer_that_is_no_json_is_an_unknown_error_with_its_reason() -> None:
    error = refusal(500, text="<html>")
    assert isinstance(error, AuthUnknownError)
    assert isinstance(error.original_error, ValueError)
    assert error.code is None


@pytest.mark.parametrize(
    ("error", "name", "status", "code"),
    [
        (UserDoesntExist(), "UserDoesntExist", 404, "user_not_found"),
        (AuthSessionMissingError(), "AuthSessionMissingError", 400, None),
        (AuthInvalidJwtError("no"), "AuthInvalidJwtError", 400, "invalid_jwt"),
        (AuthRetryableError("no", 503), "AuthRetryableError", 503, None),
        (AuthWeakPasswordError("no", 422, ["length"]), "AuthWeakPasswordError", 422, "weak_password"),
        (
            AuthImplicitGrantRedirectError("no", {"error": "e", "code": "c"}),
            "AuthImplicitGrantRedirectError",
            500,
            None,
        ),
    ],
)
def test_an_error_that_the_client_finds_says_its_name_status_and_code(
    error: CustomAuthError, name: str, status: int, code: str | None
) -> None:
    assert (error.name, error.status, error.code) == (name, status, code)
    assert {"name": name, "message": error.message, "status": status, "code": code}.items() <= error.to_dict().items()


def test_errors_can_be_copied_and_sent_to_another_process() -> None:
    error = AuthWeakPasswordError("Too weak", 422, ["length"])
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is AuthWeakPasswordError
        assert again.to_dict() == error.to_dict()
        assert str(again) == "Too weak"
