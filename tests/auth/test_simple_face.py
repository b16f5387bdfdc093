"""/auth/signup, signin, refresh, signout for any HTTP client."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from isobase_services.auth import create_service
from tests.auth.conftest import PASSWORD, AuthServer, StartAuth, bearer

ALICE = {"email": "alice@example.com", "password": PASSWORD}


async def test_sign_up_and_in_give_short_tokens_and_a_session_of_a_week(auth: AuthServer) -> None:
    up = await auth.simple.post("/signup", json={**ALICE, "data": {"full_name": "Alice"}})
    assert up.status_code == 201
    assert up.json().keys() == {"access_token", "token_type", "expires_in", "refresh_token", "user"}
    assert (up.json()["token_type"], up.json()["expires_in"]) == ("bearer", 900)
    assert up.json()["user"]["email"] == "alice@example.com"
    assert up.json()["user"]["user_metadata"]["full_name"] == "Alice"
    answer = await auth.simple.post("/signin", json=ALICE)
    assert answer.status_code == 200
    claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 900
    assert claims["role"] == "authenticated"
    left_s = await auth.database.fetchval("select min(extract(epoch from not_after - now()))::int from auth.sessions")
    assert 7 * 86400 - 60 < left_s <= 7 * 86400


async def test_both_faces_share_users_and_sessions(auth: AuthServer) -> None:
    session = await auth.sign_up()
    assert (await auth.simple.post("/signin", json=ALICE)).status_code == 200
    refreshed = await auth.simple.post("/refresh", json={"refresh_token": session["refresh_token"]})
    assert (refreshed.status_code, refreshed.json()["expires_in"]) == (200, 900)
    answer = await auth.client.get("/user", headers={"authorization": f"Bearer {refreshed.json()['access_token']}"})
    assert answer.status_code == 200


async def test_access_token_never_outlives_its_session(auth: AuthServer) -> None:
    session = (await auth.simple.post("/signup", json=ALICE)).json()
    await auth.database.execute("update auth.sessions set not_after = now() + interval '60 seconds'")
    refreshed = await auth.simple.post("/refresh", json={"refresh_token": session["refresh_token"]})
    assert 0 < refreshed.json()["expires_in"] <= 60
    await auth.database.execute("update auth.sessions set not_after = now() - interval '1 second'")
    ended = await auth.simple.post("/refresh", json={"refresh_token": refreshed.json()["refresh_token"]})
    assert (ended.status_code, ended.json()["error"]["code"]) == (401, "session_expired")


async def test_sign_out_ends_this_session_and_by_scope_all(auth: AuthServer) -> None:
    first = (await auth.simple.post("/signup", json=ALICE)).json()
    second = (await auth.simple.post("/signin", json=ALICE)).json()
    headers = {"authorization": f"Bearer {first['access_token']}"}
    assert (await auth.simple.post("/signout", headers=headers)).status_code == 204
    again = await auth.simple.post("/signout", headers=headers)
    assert (again.status_code, again.json()["error"]["code"]) == (401, "session_not_found")
    headers = {"authorization": f"Bearer {second['access_token']}"}
    assert (await auth.simple.post("/signout", json={"scope": "global"}, headers=headers)).status_code == 204
    assert await auth.count("sessions") == 0


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/signup", ALICE, 409, "user_already_exists"),
        ("/signup", {"email": "bob@example.com", "password": "x"}, 422, "weak_password"),
        ("/signup", {"email": "bob@example.com", "password": "x" * 80}, 400, "validation_failed"),
        ("/signup", {"email": "nobody", "password": PASSWORD}, 400, "validation_failed"),
        ("/signup", {"email": "bob@example.com"}, 400, "bad_request"),
        ("/signup", {**ALICE, "data": []}, 400, "bad_request"),
        ("/signin", {"email": "alice@example.com", "password": "wrong"}, 401, "invalid_credentials"),
        ("/signin", {"email": "bob@example.com", "password": PASSWORD}, 401, "invalid_credentials"),
        ("/signin", {"email": 5, "password": PASSWORD}, 400, "bad_request"),
        ("/signin", {}, 400, "bad_request"),
        ("/refresh", {"refresh_token": "abcdefghij23"}, 401, "refresh_token_not_found"),
        ("/refresh", {"refresh_token": "nonsense"}, 400, "validation_failed"),
        ("/refresh", {}, 400, "bad_request"),
        ("/signout", {}, 401, "no_authorization"),
        ("/nothing", {}, 404, "not_found"),
    ],
)
async def test_errors_have_true_statuses_and_the_simple_shape(
    auth: AuthServer, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    await auth.sign_up()
    answer = await auth.simple.post(path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error.keys() == {"code", "message", "details", "hint", "request_id"}
    assert error["request_id"] == answer.headers["x-request-id"]
    assert PASSWORD not in answer.text
    assert await auth.count("users") == 1


async def test_bad_json_oversize_body_and_wrong_method_have_the_simple_shape(auth: AuthServer) -> None:
    bad = await auth.simple.post("/signin", content=b"{")
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, "bad_json")
    large = await auth.simple.post("/signin", content=b" " * (1 << 20) + b"{}")
    assert (large.status_code, large.json()["error"]["code"]) == (413, "body_too_large")
    wrong = await auth.simple.get("/signin")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["error"]["code"] == "method_not_allowed"


async def test_sign_up_that_waits_for_confirmation_has_no_tokens(start_auth: StartAuth) -> None:
    async with start_auth(email_enable_confirmations=True) as auth:
        answer = await auth.simple.post("/signup", json=ALICE)
        assert answer.status_code == 201
        assert answer.json()["access_token"] is answer.json()["refresh_token"] is None
        refused = await auth.simple.post("/signin", json=ALICE)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "email_not_confirmed")


async def test_every_route_is_described_with_an_example(auth: AuthServer) -> None:
    service = create_service(auth.platform)
    paths = service.openapi["paths"]
    names = ("signup", "signin", "send-otp", "verify-otp", "refresh", "signout")
    assert set(paths) == {f"/auth/{name}" for name in names}
    for path in paths.values():
        assert "example" in path["post"]["requestBody"]["content"]["application/json"]
    references = set(str(service.openapi).split("#/components/schemas/")[1:])
    referred = {reference.split("'")[0] for reference in references}
    assert referred <= {"Error", *service.openapi["schemas"]}
    await service.drain(1.0)


async def test_this_face_signs_with_a_published_pair_and_the_other_with_the_projects_secret(auth: AuthServer) -> None:
    here = (await auth.simple.post("/signup", json=ALICE)).json()
    there = (await auth.sign_in()).json()
    keys = (await auth.client.get("/.well-known/jwks.json")).json()["keys"]
    header = jwt.get_unverified_header(here["access_token"])
    assert header["alg"] == "RS256"
    assert header["kid"] in {key["kid"] for key in keys}
    assert jwt.get_unverified_header(there["access_token"]) == {"alg": "HS256", "typ": "JWT"}
    assert (await auth.client.get("/user", headers=bearer(here))).status_code == 200
