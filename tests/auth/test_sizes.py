"""What a user may make large, and how large."""

from __future__ import annotations

import pytest

from tests.auth.conftest import PASSWORD, AuthServer, StartAuth, bearer

NEARLY_ALL = "x" * 900_000


async def test_metadata_do_not_grow_without_end(auth: AuthServer) -> None:
    """Each request is merged into what is there, so that their number would decide how large a user becomes."""
    session = await auth.sign_up()
    first = await auth.client.put("/user", json={"data": {"one": NEARLY_ALL}}, headers=bearer(session))
    assert first.status_code == 200
    second = await auth.client.put(
        "/user", json={"data": {"two": NEARLY_ALL}, "password": "the second words"}, headers=bearer(session)
    )
    assert second.status_code == 400, second.text[:300]
    assert (await auth.sign_in()).status_code == 200  # the whole change was refused
    swapped = {"data": {"one": None, "two": NEARLY_ALL}}
    assert (await auth.client.put("/user", json=swapped, headers=bearer(session))).status_code == 200


async def test_name_of_a_user_is_short_in_the_audit_log(auth: AuthServer) -> None:
    await auth.sign_up(data={"full_name": NEARLY_ALL})
    assert (await auth.sign_in()).status_code == 200
    longest = await auth.database.fetchval("select max(length(payload::text)) from auth.audit_log_entries")
    assert 255 < longest < 1000


@pytest.mark.parametrize("factor_type", ["totp", "phone", "webauthn"])
async def test_factor_of_a_very_long_name_is_refused(auth: AuthServer, factor_type: str) -> None:
    session = await auth.sign_up()
    body = {"factor_type": factor_type, "friendly_name": "ä" * 513, "phone": "4915112345678"}
    answer = await auth.client.post("/factors", json=body, headers=bearer(session))
    switched_off = "mfa_phone_enroll_not_enabled" if factor_type == "phone" else "mfa_webauthn_enroll_not_enabled"
    expected = (400, "validation_failed") if factor_type == "totp" else (422, switched_off)
    assert (answer.status_code, answer.json()["error_code"]) == expected
    if factor_type == "totp":
        body["friendly_name"] = "ä" * 512
        assert (await auth.client.post("/factors", json=body, headers=bearer(session))).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/signup", {"email": "bob@example.com", "password": PASSWORD}),
        ("/signup", {}),
        ("/otp", {"email": "bob@example.com"}),
    ],
)
async def test_audience_without_room_in_its_column_is_the_callers_mistake(
    start_auth: StartAuth, path: str, body: dict[str, str]
) -> None:
    async with start_auth(enable_anonymous_sign_ins=True) as auth:
        answer = await auth.client.post(path, json=body, headers={"x-jwt-aud": "a" * 256})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")
        assert await auth.count("users") == 0


@pytest.mark.parametrize("field", ["role", "aud"])
async def test_administrators_too_are_told_of_what_is_too_long(auth: AuthServer, field: str) -> None:
    body = {"email": "bob@example.com", field: "a" * 256}
    answer = await auth.client.post("/admin/users", json=body, headers=auth.service_headers)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")
