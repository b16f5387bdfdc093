"""What a new password must pass, what a change of one asks for, and that a flood of sign-ins stops nobody else."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from isobase_platform.config_auth.security import PwnedPasswordSettings, SecuritySettings
from isobase_services.auth.passwords import MAX_QUEUED_PER_WORKER
from tests.auth.conftest import PASSWORD, AuthServer, StartAuth, bearer, until_done
from tests.auth.receivers import Call, receiving

LEAKED = "password1234"
STRONGER = "quite another horse"


def digest(password: str) -> str:
    return hashlib.sha1(password.encode()).hexdigest().upper()


def leaks(call: Call) -> Response:
    """A range with the leaked password, and a line of padding for the good one."""
    lines = [f"{digest(LEAKED)[5:]}:42", f"{digest(PASSWORD)[5:]}:0", f"{'0' * 35}:1"]
    return PlainTextResponse("\r\n".join(lines))


def asking(url: str, **changes: object) -> SecuritySettings:
    return SecuritySettings(
        pwned_passwords=PwnedPasswordSettings.model_validate({"enabled": True, "url": f"{url}/range/", **changes})
    )


async def test_a_leaked_password_is_refused_and_only_five_characters_of_its_hash_are_told(
    start_auth: StartAuth,
) -> None:
    async with receiving(leaks) as service, start_auth(security=asking(service.url)) as auth:
        refused = await auth.client.post("/signup", json={"email": "alice@example.com", "password": LEAKED})
        assert refused.status_code == 422
        assert refused.json() == {
            "code": 422,
            "error_code": "weak_password",
            "msg": "Password is known to be weak and easy to guess, please choose a different one.",
            "weak_password": {"reasons": ["pwned"]},
        }
        assert await auth.count("users") == 0
        session = await auth.sign_up()
        change = await auth.client.put("/user", json={"password": LEAKED}, headers=bearer(session))
        assert change.json()["error_code"] == "weak_password"
    assert service.calls[0].path == f"/range/{digest(LEAKED)[:5]}"
    assert service.calls[0].headers["add-padding"] == "true"
    assert all(digest(LEAKED)[5:] not in str(call) for call in service.calls)


async def test_reasons_come_together(start_auth: StartAuth) -> None:
    def every(call: Call) -> Response:
        return PlainTextResponse(f"{digest('abc')[5:]}:3")

    async with receiving(every) as service, start_auth(security=asking(service.url)) as auth:
        refused = await auth.client.post("/signup", json={"email": "alice@example.com", "password": "abc"})
    assert refused.json()["weak_password"] == {"reasons": ["length", "pwned"]}
    assert refused.json()["msg"] == (
        "Password should be at least 6 characters."
        " Password is known to be weak and easy to guess, please choose a different one."
    )


async def test_a_sign_in_with_a_leaked_password_works_and_says_so(start_auth: StartAuth) -> None:
    async with start_auth() as auth:
        await auth.sign_up(password=LEAKED)
        async with receiving(leaks) as service:
            async with start_auth(security=asking(service.url)) as asking_auth:
                await asking_auth.sign_up(email="bob@example.com")
                await auth.sign_up(password=LEAKED, email="carol@example.com")
                signed_in = (await asking_auth.sign_in("carol@example.com", LEAKED)).json()
    assert signed_in["weak_password"]["reasons"] == ["pwned"]
    assert signed_in["access_token"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda call: PlainTextResponse("", 500),
        lambda call: PlainTextResponse("", 302, headers={"location": "/"}),
        lambda call: PlainTextResponse("x" * 1_100_000),
    ],
)
async def test_where_leaks_cannot_be_asked_for_the_settings_decide(start_auth: StartAuth, answer: Any) -> None:
    body = {"email": "alice@example.com", "password": PASSWORD}
    async with receiving(answer) as service:
        async with start_auth(security=asking(service.url, fail_closed=True)) as closed:
            refused = await closed.client.post("/signup", json=body)
            assert refused.status_code == 500
            assert refused.json()["msg"] == "Unable to perform password strength check with HaveIBeenPwned.org."
            assert await closed.count("users") == 0
        async with start_auth(security=asking(service.url)) as opened:
            assert (await opened.client.post("/signup", json=body)).status_code == 200


async def test_a_sign_in_never_fails_because_leaks_cannot_be_asked_for(start_auth: StartAuth) -> None:
    async with receiving(lambda call: PlainTextResponse("", 500)) as service, start_auth() as auth:
        await auth.sign_up()
        async with start_auth(security=asking(service.url, fail_closed=True)) as strict:
            await auth.sign_up("bob@example.com")
            signed_in = await strict.sign_in("bob@example.com")
    assert (signed_in.status_code, signed_in.json()["weak_password"]) == (200, None)


def wanting_current() -> SecuritySettings:
    return SecuritySettings(update_password_require_current_password=True)


async def change(auth: AuthServer, session: dict[str, Any], **body: object) -> tuple[int, str | None]:
    answer = await auth.client.put("/user", json=body, headers=bearer(session))
    return answer.status_code, answer.json().get("error_code")


async def test_the_current_password_is_asked_for(start_auth: StartAuth) -> None:
    async with start_auth(security=wanting_current()) as auth:
        session = await auth.sign_up()
        assert await change(auth, session, password=STRONGER) == (400, "current_password_required")
        wrong = await change(auth, session, password=STRONGER, current_password="wrong")
        assert wrong == (400, "current_password_invalid")
        assert (await auth.sign_in()).status_code == 200
        assert await change(auth, session, data={"n": 1}) == (200, None)
        assert await change(auth, session, password=STRONGER, current_password=PASSWORD) == (200, None)
        assert (await auth.sign_in(password=STRONGER)).status_code == 200


async def test_who_has_just_recovered_the_account_need_not_know_it(start_auth: StartAuth) -> None:
    async with start_auth(security=wanting_current()) as auth:
        session = await auth.sign_up()
        await auth.database.execute("update auth.mfa_amr_claims set authentication_method = 'otp'")
        assert await change(auth, session, password=STRONGER) == (200, None)


async def test_it_is_not_asked_for_where_the_project_does_not_want_it(auth: AuthServer) -> None:
    session = await auth.sign_up()
    assert await change(auth, session, password=STRONGER, current_password="ignored") == (200, None)


async def test_others_are_answered_while_a_flood_of_sign_ins_waits_and_the_flood_is_bounded(
    start_auth: StartAuth, held_hashes: threading.Event
) -> None:
    async with start_auth(password_hash_workers=1) as auth:
        session = await auth.sign_up()
        floods = [asyncio.create_task(auth.sign_in("nobody@example.com")) for _ in range(MAX_QUEUED_PER_WORKER + 28)]
        await until_done(floods, 28)
        others = await asyncio.gather(*(auth.client.get("/user", headers=bearer(session)) for _ in range(5)))
        refused = [flood.result() for flood in floods if flood.done()]
        held_hashes.set()
        await asyncio.gather(*floods)
    assert [answer.status_code for answer in others] == [200] * 5
    # They were answered before the flood was.
    assert [answer.status_code for answer in refused] == [504] * 28
    assert {answer.json()["error_code"] for answer in refused} == {"request_timeout"}


async def test_a_service_that_answers_json_is_no_list(start_auth: StartAuth) -> None:
    async with receiving(lambda call: JSONResponse({"leaked": True})) as service:
        async with start_auth(security=asking(service.url)) as auth:
            assert (await auth.sign_up())["user"]["email"] == "alice@example.com"
