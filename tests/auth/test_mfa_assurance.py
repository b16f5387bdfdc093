"""Who may do what at which assurance level: enrolling ahead, giving factors up, administrators, changing credentials."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx

from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.auth.mfa import aal_of, answer, challenge, claims_of, code_now, enroll, enroll_verified


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Status and code."""
    return response.status_code, response.json()["error_code"]


async def test_second_factor_is_enrolled_at_aal2_only(auth: AuthServer) -> None:
    _, raised = await enroll_verified(auth, await auth.sign_up(), friendly_name="first")
    weak = (await auth.sign_in()).json()
    refused = await auth.client.post(
        "/factors", json={"factor_type": "totp", "friendly_name": "second"}, headers=bearer(weak)
    )
    assert (error_of(refused), refused.json()["msg"]) == (
        (403, "insufficient_aal"),
        "AAL2 required to enroll a new factor",
    )
    second = await enroll(auth, raised, friendly_name="second")
    assert (await answer(auth, raised, second["id"], code_now(second["totp"]["secret"]))).status_code == 200


async def test_factor_enrolled_ahead_does_not_walk_past_the_users_own(start_auth: StartAuth) -> None:
    async with start_auth() as auth:
        phone = auth.settings.auth.mfa.phone.model_copy(update={"enroll_enabled": True, "verify_enabled": True})
        mfa = auth.settings.auth.mfa.model_copy(update={"phone": phone})
    async with start_auth(mfa=mfa) as auth:
        session = await auth.sign_up()
        thief = (await auth.sign_in()).json()
        planted = await enroll(auth, thief, factor_type="phone", phone="+15555550199", friendly_name="planted")
        opened = uuid4()
        await auth.database.execute(
            "insert into auth.mfa_challenges (id, factor_id, created_at, ip_address)"
            " values ($1, $2::text::uuid, now(), '127.0.0.1')",
            opened,
            planted["id"],
        )
        await enroll_verified(auth, session, friendly_name="own")
        thief = (await auth.sign_in()).json()
        asked = await auth.client.post(f"/factors/{planted['id']}/challenge", json={}, headers=bearer(thief))
        assert error_of(asked) == (403, "insufficient_aal")
        assert error_of(await answer(auth, thief, planted["id"], "123456", str(opened))) == (403, "insufficient_aal")


async def test_of_two_first_factors_verified_at_once_one_counts(auth: AuthServer) -> None:
    session = await auth.sign_up()
    other = (await auth.sign_in()).json()
    mine, theirs = await enroll(auth, session, friendly_name="a"), await enroll(auth, other, friendly_name="b")
    pairs = [(session, mine), (other, theirs)]
    opened = [await challenge(auth, holder, factor["id"]) for holder, factor in pairs]
    answers = await asyncio.gather(
        *(
            answer(auth, holder, factor["id"], code_now(factor["totp"]["secret"]), challenge_id)
            for (holder, factor), challenge_id in zip(pairs, opened, strict=True)
        )
    )
    assert [response.status_code for response in answers].count(200) == 1
    assert await auth.count("mfa_factors", "status = 'verified'") == 1
    assert await auth.count("sessions") == 1


async def test_verified_factor_is_given_up_at_aal2_only_and_sessions_drop(auth: AuthServer) -> None:
    factor, raised = await enroll_verified(auth, await auth.sign_up())
    weak = (await auth.sign_in()).json()
    refused = await auth.client.delete(f"/factors/{factor['id']}", headers=bearer(weak))
    assert (error_of(refused), refused.json()["msg"]) == (
        (422, "insufficient_aal"),
        "AAL2 required to unenroll verified factor",
    )
    gone = await auth.client.delete(f"/factors/{factor['id']}", headers=bearer(raised))
    assert (gone.status_code, gone.json()) == (200, {"id": factor["id"]})
    refreshed = (await auth.refresh(raised["refresh_token"])).json()
    assert aal_of(refreshed) == "aal1"
    assert [use["method"] for use in claims_of(refreshed)["amr"]] == ["password"]
    assert claims_of(refreshed)["session_id"] == claims_of(raised)["session_id"]
    assert await auth.count("sessions", "aal = 'aal2' or factor_id is not null") == 0
    assert "factors" not in refreshed["user"]


async def test_token_from_before_the_factor_does_not_rise_with_its_session(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor, raised = await enroll_verified(auth, session)
    old = bearer(session)
    assert (await auth.client.get("/user", headers=old)).status_code == 200
    assert error_of(await auth.client.delete(f"/factors/{factor['id']}", headers=old)) == (422, "insufficient_aal")
    assert error_of(await auth.client.put("/user", json={"password": "another password"}, headers=old)) == (
        401,
        "insufficient_aal",
    )
    enrolment = await auth.client.post("/factors", json={"factor_type": "totp", "friendly_name": "x"}, headers=old)
    assert error_of(enrolment) == (403, "insufficient_aal")
    assert (await auth.client.delete(f"/factors/{factor['id']}", headers=bearer(raised))).status_code == 200


async def test_unverified_factor_is_given_up_at_aal1(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session)
    assert (await auth.client.delete(f"/factors/{factor['id']}", headers=bearer(session))).status_code == 200
    missing = await auth.client.delete(f"/factors/{factor['id']}", headers=bearer(session))
    assert error_of(missing) == (404, "mfa_factor_not_found")


async def test_lost_factor_is_deleted_by_an_administrator(auth: AuthServer) -> None:
    factor, raised = await enroll_verified(auth, await auth.sign_up(), friendly_name="lost")
    url = f"/admin/users/{raised['user']['id']}/factors"
    (listed,) = (await auth.client.get(url, headers=auth.service_headers)).json()
    assert (listed["id"], listed["status"], listed["friendly_name"]) == (factor["id"], "verified", "lost")
    assert "secret" not in listed
    assert error_of(await auth.client.get(url, headers=bearer(raised))) == (403, "not_admin")
    missing = await auth.client.delete(f"{url}/{uuid4()}", headers=auth.service_headers)
    assert error_of(missing) == (404, "mfa_factor_not_found")
    no_id = await auth.client.delete(f"{url}/x", headers=auth.service_headers)
    assert error_of(no_id) == (404, "validation_failed")
    gone = await auth.client.delete(f"{url}/{factor['id']}", headers=auth.service_headers)
    assert (gone.status_code, gone.json()) == (200, listed)
    assert (await auth.client.get(url, headers=auth.service_headers)).json() == []
    assert aal_of((await auth.refresh(raised["refresh_token"])).json()) == "aal1"
    await enroll(auth, (await auth.sign_in()).json())


async def test_administrators_rename_factors(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session, friendly_name="one")
    await enroll(auth, session, friendly_name="two")
    url = f"/admin/users/{session['user']['id']}/factors/{factor['id']}"
    renamed = await auth.client.put(
        url, json={"friendly_name": "three", "phone": "+15555550100"}, headers=auth.service_headers
    )
    assert (renamed.status_code, renamed.json()["friendly_name"], renamed.json()["phone"]) == (200, "three", "")
    taken = await auth.client.put(url, json={"friendly_name": "two"}, headers=auth.service_headers)
    assert error_of(taken) == (422, "mfa_factor_name_conflict")
    unchanged = await auth.client.put(url, json={}, headers=auth.service_headers)
    assert unchanged.json()["friendly_name"] == "three"


async def test_credentials_change_at_aal2_only_once_a_factor_is_verified(auth: AuthServer) -> None:
    _, raised = await enroll_verified(auth, await auth.sign_up())
    weak = (await auth.sign_in()).json()
    for change in ({"password": "another password"}, {"email": "new@example.com"}, {"phone": "+15555550123"}):
        refused = await auth.client.put("/user", json=change, headers=bearer(weak))
        assert error_of(refused) == (401, "insufficient_aal"), change
    data = await auth.client.put("/user", json={"data": {"colour": "blue"}}, headers=bearer(weak))
    assert data.status_code == 200
    changed = await auth.client.put("/user", json={"password": "another password"}, headers=bearer(raised))
    assert changed.status_code == 200


async def test_anonymous_users_have_no_factors(start_auth: StartAuth) -> None:
    async with start_auth(enable_anonymous_sign_ins=True) as auth:
        session = (await auth.client.post("/signup", json={})).json()
        for method, path in (("POST", "/factors"), ("GET", "/factors"), ("DELETE", f"/factors/{uuid4()}")):
            refused = await auth.client.request(method, path, headers=bearer(session))
            assert error_of(refused) == (403, "no_authorization")
            assert refused.json()["msg"] == "Anonymous user not allowed to perform these actions"


async def test_factors_ask_for_a_token_before_anything_else(auth: AuthServer) -> None:
    for method, path in (("POST", "/factors"), ("POST", "/factors/x/verify"), ("GET", "/factors/x/y/z")):
        assert error_of(await auth.client.request(method, path)) == (401, "no_authorization")
    service = await auth.client.post("/factors", json={"factor_type": "totp"}, headers=auth.service_headers)
    assert error_of(service) == (403, "bad_jwt")


async def test_factor_is_looked_up_before_the_method_is_refused(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session)
    for path, expected in (
        (f"/factors/{uuid4()}", (404, "mfa_factor_not_found")),
        ("/factors/x", (404, "validation_failed")),
    ):
        assert error_of(await auth.client.get(path, headers=bearer(session))) == expected
    assert (await auth.client.get(f"/factors/{factor['id']}", headers=bearer(session))).status_code == 405


async def test_numbers_of_factors_are_limited_even_when_they_come_at_once(start_auth: StartAuth) -> None:
    async with start_auth() as auth:
        mfa = auth.settings.auth.mfa.model_copy(update={"max_enrolled_factors": 3})
    async with start_auth(mfa=mfa) as auth:
        session = await auth.sign_up()
        answers = await asyncio.gather(
            *(
                auth.client.post(
                    "/factors", json={"factor_type": "totp", "friendly_name": str(number)}, headers=bearer(session)
                )
                for number in range(5)
            )
        )
        assert sorted(response.status_code for response in answers) == [200, 200, 200, 422, 422]
        refused = next(response for response in answers if response.status_code == 422)
        assert (error_of(refused), refused.json()["msg"]) == (
            (422, "too_many_enrolled_mfa_factors"),
            "Maximum number of verified factors reached, unenroll to continue",
        )


async def test_factors_that_were_never_challenged_make_room_after_a_while(auth: AuthServer) -> None:
    session = await auth.sign_up()
    forgotten = await enroll(auth, session, friendly_name="same name")
    started = await enroll(auth, session, friendly_name="started")
    await challenge(auth, session, started["id"])
    await auth.database.execute("update auth.mfa_factors set created_at = now() - interval '301 s'")
    fresh = await enroll(auth, session, friendly_name="same name")
    ids = {str(row["id"]) for row in await auth.database.fetch("select id from auth.mfa_factors")}
    assert ids == {started["id"], fresh["id"]}
    assert forgotten["id"] not in ids


async def test_every_step_stands_in_the_log(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor, raised = await enroll_verified(auth, session)
    await auth.client.delete(f"/factors/{factor['id']}", headers=bearer(raised))
    rows = await auth.database.fetch("select payload from auth.audit_log_entries order by created_at")
    entries: list[dict[str, Any]] = [json.loads(row["payload"]) for row in rows]
    steps = [(entry["action"], entry["log_type"]) for entry in entries if entry["log_type"] in ("factor", "token")]
    assert steps == [
        ("factor_in_progress", "factor"),
        ("challenge_created", "factor"),
        ("verification_attempted", "factor"),
        ("token_revoked", "token"),
        ("factor_unenrolled", "factor"),
    ]
    assert entries[-1]["traits"] == {
        "factor_id": factor["id"],
        "factor_status": "verified",
        "session_id": claims_of(raised)["session_id"],
    }
    assert factor["totp"]["secret"] not in json.dumps(entries)


async def test_ended_session_is_not_raised(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session)
    challenge_id = await challenge(auth, session, factor["id"])
    await auth.database.execute("update auth.refresh_tokens set revoked = true")
    code = code_now(factor["totp"]["secret"])
    refused = await answer(auth, session, factor["id"], code, challenge_id)
    assert error_of(refused) == (403, "session_not_found")
    assert await auth.count("mfa_factors", "status = 'verified'") == 0
    assert await auth.count("mfa_challenges", "verified_at is not null") == 0


async def test_soft_deleted_user_keeps_no_factor(auth: AuthServer) -> None:
    _, raised = await enroll_verified(auth, await auth.sign_up())
    await auth.client.request(
        "DELETE",
        f"/admin/users/{raised['user']['id']}",
        json={"should_soft_delete": True},
        headers=auth.service_headers,
    )
    assert await auth.count("mfa_factors") == 0


async def test_stepping_up_refreshing_and_signing_out_at_once_fail_nobody(auth: AuthServer) -> None:
    for number in range(4):
        email = f"user{number}@example.com"
        first = await auth.sign_up(email)
        others = [(await auth.sign_in(email)).json() for _ in range(4)]
        factor = await enroll(auth, first)
        challenge_id = await challenge(auth, first, factor["id"])
        answers = await asyncio.gather(
            answer(auth, first, factor["id"], code_now(factor["totp"]["secret"]), challenge_id),
            *(auth.refresh(session["refresh_token"]) for session in [first, *others]),
            *(auth.client.post("/logout", params={"scope": "others"}, headers=bearer(item)) for item in others[:2]),
            auth.client.post("/logout", params={"scope": "global"}, headers=bearer(others[2])),
        )
        assert [response.status_code for response in answers if response.status_code >= 500] == []
