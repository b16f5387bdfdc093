"""Rate limits of auth: what is counted, whose calls count together, and what does not let anybody around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
from pydantic import SecretStr

from isobase_platform.config import Settings
from isobase_platform.config_auth.rate_limit import RateLimitSettings
from isobase_services.auth.errors import AuthError
from isobase_services.auth.limits import Limited, Limits
from isobase_services.auth.models import ClientFacts
from isobase_services.auth.simple.checks import CHECKS as SIMPLE_CHECKS
from isobase_services.auth.v1 import ROUTES
from isobase_services.auth.v1.checks import CHECKS
from tests.auth.conftest import PASSWORD, AuthServer, StartAuth, bearer, running_auth, with_auth
from tests.auth.receivers import receiving
from tests.auth.test_hooks import hook_settings
from tests.plugins.redis import RedisServer

RATES = ("sign_in_sign_ups", "token_refresh", "token_verifications", "web3", "passkey", "mfa")
HERE = "203.0.113.7"
ELSEWHERE = "203.0.113.8"


def rates(**changes: object) -> RateLimitSettings:
    """Limits with a burst of two, which is not filled again while a test runs."""
    return RateLimitSettings.model_validate({"burst": 2, **dict.fromkeys(RATES, 1), **changes})


async def statuses(client: httpx.AsyncClient, times: int, path: str, body: dict[str, object]) -> list[int]:
    return [(await client.post(path, json=body)).status_code for _ in range(times)]


BAD_SIGN_IN: dict[str, object] = {"email": "nobody@example.com", "password": PASSWORD}
SIGN_IN = "/token?grant_type=password"


async def test_an_address_that_calls_too_often_is_answered_429_and_others_are_not(start_auth: StartAuth) -> None:
    async with start_auth(rate_limit=rates()) as auth:
        async with auth.client_at(HERE) as here, auth.client_at(ELSEWHERE) as elsewhere:
            assert await statuses(here, 3, SIGN_IN, BAD_SIGN_IN) == [400, 400, 429]
            refused = await here.post(SIGN_IN, json=BAD_SIGN_IN, headers={"x-supabase-api-version": "2024-01-01"})
            assert refused.json() == {"code": "over_request_rate_limit", "message": "Request rate limit reached"}
            assert refused.headers["x-sb-error-code"] == "over_request_rate_limit"
            assert "retry-after" not in refused.headers
            assert await statuses(elsewhere, 1, SIGN_IN, BAD_SIGN_IN) == [400]
        legacy = await auth.client_at(HERE).post(SIGN_IN, json=BAD_SIGN_IN)
    assert legacy.json() == {"code": 429, "error_code": "over_request_rate_limit", "msg": "Request rate limit reached"}


async def test_this_machine_itself_is_not_limited(start_auth: StartAuth) -> None:
    async with start_auth(rate_limit=rates()) as auth:
        assert await statuses(auth.client, 6, SIGN_IN, BAD_SIGN_IN) == [400] * 6


async def test_it_is_where_the_settings_say_so(start_auth: StartAuth) -> None:
    async with start_auth(rate_limit=rates(unlimited_addresses=())) as auth:
        assert await statuses(auth.client, 3, SIGN_IN, BAD_SIGN_IN) == [400, 400, 429]


async def test_a_strangers_forwarded_header_gives_no_new_address(start_auth: StartAuth) -> None:
    async with start_auth(rate_limit=rates()) as auth:
        async with auth.client_at(HERE) as here:
            answers = [
                await here.post(
                    SIGN_IN,
                    json=BAD_SIGN_IN,
                    headers={"x-forwarded-for": f"198.51.100.{n}", "sb-forwarded-for": f"198.51.100.{n}"},
                )
                for n in range(4)
            ]
    assert [answer.status_code for answer in answers] == [400, 400, 429, 429]


async def test_behind_a_trusted_proxy_clients_are_told_apart_and_cannot_name_themselves(
    auth_database: Settings, start_auth: StartAuth
) -> None:
    settings = with_auth(auth_database, rate_limit=rates()).model_copy(update={"trusted_proxies": ("10.0.0.0/8",)})
    async with running_auth(settings) as auth, auth.client_at("10.0.0.1") as proxy:

        async def status(forwarded: str) -> int:
            answer = await proxy.post(SIGN_IN, json=BAD_SIGN_IN, headers={"x-forwarded-for": forwarded})
            return answer.status_code

        assert [await status(HERE) for _ in range(3)] == [400, 400, 429]
        assert await status(ELSEWHERE) == 400
        assert await status(f"198.51.100.77, {HERE}") == 429


async def test_one_subscribers_share_of_ipv6_is_one_address(start_auth: StartAuth) -> None:
    async with start_auth(rate_limit=rates()) as auth:
        results = []
        for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:2::3", "2001:db8:1:3::1"):
            async with auth.client_at(address) as client:
                results += await statuses(client, 1, SIGN_IN, BAD_SIGN_IN)
    assert results == [400, 400, 429, 400]


async def test_the_simple_face_is_no_second_try(start_auth: StartAuth) -> None:
    async with start_auth(rate_limit=rates()) as auth:
        async with auth.client_at(HERE) as here:
            assert await statuses(here, 2, SIGN_IN, BAD_SIGN_IN) == [400, 400]
            simple = await here.post("http://isobase/auth/signin", json=BAD_SIGN_IN)
    assert simple.status_code == 429
    assert simple.json()["error"]["code"] == "over_request_rate_limit"


async def test_every_grant_but_web3_shares_a_bucket(start_auth: StartAuth) -> None:
    async with start_auth(rate_limit=rates()) as auth:
        async with auth.client_at(HERE) as here:
            assert await statuses(here, 2, "/token?grant_type=refresh_token", {"refresh_token": "x"}) == [400, 400]
            assert await statuses(here, 1, SIGN_IN, BAD_SIGN_IN) == [429]
            assert 429 not in await statuses(here, 1, "/token?grant_type=web3", {"chain": "solana"})


async def test_sign_ups_and_anonymous_sign_ups_are_counted_apart(start_auth: StartAuth) -> None:
    async with start_auth(rate_limit=rates(anonymous_users=1), enable_anonymous_sign_ins=True) as auth:
        async with auth.client_at(HERE) as here:
            assert await statuses(here, 2, "/signup", {}) == [200, 429]
            users = [{"email": f"u{n}@example.com", "password": PASSWORD} for n in range(3)]
            assert [(await here.post("/signup", json=user)).status_code for user in users] == [200, 200, 429]


async def test_changes_of_a_user_are_limited_only_for_who_is_signed_in(start_auth: StartAuth) -> None:
    async with start_auth(rate_limit=rates()) as auth:
        session = await auth.sign_up()
        async with auth.client_at(HERE) as here:
            assert [(await here.put("/user", json={})).status_code for _ in range(4)] == [401] * 4
            changes = [await here.put("/user", json={"data": {"n": n}}, headers=bearer(session)) for n in range(3)]
            assert [change.status_code for change in changes] == [200, 200, 429]
            assert (await here.get("/user", headers=bearer(session))).status_code == 200


async def test_a_session_remembers_the_clients_address_not_the_proxys(
    auth_database: Settings, start_auth: StartAuth
) -> None:
    settings = with_auth(auth_database).model_copy(update={"trusted_proxies": ("10.0.0.0/8",)})
    async with running_auth(settings) as auth, auth.client_at("10.0.0.1") as proxy:
        body = {"email": "alice@example.com", "password": PASSWORD}
        await proxy.post("/signup", json=body, headers={"x-forwarded-for": f"1.1.1.1, {HERE}"})
        assert await auth.database.fetchval("select host(ip) from auth.sessions") == HERE


@asynccontextmanager
async def two_processes(settings: Settings) -> AsyncIterator[tuple[AuthServer, AuthServer]]:
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(running_auth(settings)),
            await stack.enter_async_context(running_auth(settings)),
        )


@pytest.mark.parametrize("store", ["postgresql", "redis"])
async def test_two_processes_count_together(
    store: str, auth_database: Settings, start_auth: StartAuth, request: pytest.FixtureRequest
) -> None:
    settings = with_auth(auth_database, rate_limit=rates(burst=5))
    if store == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        settings = settings.model_copy(update={"redis_url": SecretStr(server.url)})
    async with two_processes(settings) as processes:
        assert {process.platform.store.kind for process in processes} == {store}
        results: list[int] = []
        for number in range(8):
            async with processes[number % 2].client_at("203.0.113.99") as client:
                results += await statuses(client, 1, SIGN_IN, BAD_SIGN_IN)
    assert results == [400] * 5 + [429] * 3


async def test_a_store_that_fails_locks_nobody_out_and_opens_no_door(
    auth_database: Settings, start_auth: StartAuth, redis_server: RedisServer
) -> None:
    settings = with_auth(auth_database, rate_limit=rates()).model_copy(
        update={"redis_url": SecretStr(redis_server.url)}
    )
    async with running_auth(settings) as auth, auth.client_at("203.0.113.98") as here:
        assert await statuses(here, 1, SIGN_IN, BAD_SIGN_IN) == [400]
        redis_server.stop()
        try:
            assert await statuses(here, 3, SIGN_IN, BAD_SIGN_IN) == [400, 400, 429]
        finally:
            redis_server.start()


async def test_what_the_whole_server_sends_is_limited_per_hour(start_auth: StartAuth) -> None:
    async with start_auth(rate_limit=rates(email_sent=2, sms_sent=0)) as auth:
        limits = Limits(auth.platform)
        await limits.check_email_sent()
        await limits.check_email_sent()
        with pytest.raises(AuthError) as mail:
            await limits.check_email_sent()
        with pytest.raises(AuthError) as sms:
            await limits.check_sms_sent()
    assert (mail.value.status, mail.value.code, mail.value.message) == (
        429,
        "over_email_send_rate_limit",
        "email rate limit exceeded",
    )
    assert (sms.value.status, sms.value.code, sms.value.message) == (
        429,
        "over_sms_send_rate_limit",
        "SMS rate limit exceeded",
    )


async def test_refusals_are_counted_in_the_metrics(start_auth: StartAuth) -> None:
    async with start_auth(rate_limit=rates(burst=1)) as auth:
        limits = Limits(auth.platform)
        await limits.check(Limited.VERIFY, ClientFacts(None, HERE))
        with pytest.raises(AuthError):
            await limits.check(Limited.VERIFY, ClientFacts(None, HERE))
        samples = auth.platform.metrics.rate_limited.collect()
    assert [(sample.labels, sample.value) for metric in samples for sample in metric.samples if sample.value == 1] == [
        ({"kind": "verify"}, 1.0)
    ]


@pytest.mark.parametrize("path", ["/signup", "/otp", "/magiclink", "/recover", "/resend"])
async def test_when_the_hours_mails_are_spent_the_answer_is_the_same_for_every_address(
    start_auth: StartAuth, path: str
) -> None:
    async with receiving() as hook:
        async with start_auth(
            hook=hook_settings("send_email", hook.url), rate_limit=rates(email_sent=1), email_enable_confirmations=True
        ) as auth:
            await auth.client.post("/admin/users", json={"email": "alice@example.com"}, headers=auth.service_headers)
            limits = Limits(auth.platform)
            await limits.check_email_left()
            await limits.check_email_sent()
            for address in ("alice@example.com", "nobody@example.com"):
                body = {"email": address, "password": PASSWORD, "type": "signup"}
                refused = await auth.client.post(path, json=body)
                assert (refused.status_code, refused.json()["error_code"], refused.json()["msg"]) == (
                    429,
                    "over_email_send_rate_limit",
                    "email rate limit exceeded",
                )
            assert await auth.count("users") == 1
    assert hook.calls == []


def test_every_check_stands_before_a_route_that_exists() -> None:
    assert set(CHECKS) <= {(route.method, route.path) for route in ROUTES}


def test_what_sends_messages_or_tries_secrets_is_limited() -> None:
    assert {path for _, path in CHECKS} >= {"/signup", "/recover", "/resend", "/magiclink", "/otp", "/token", "/verify"}
    assert {path for _, path in SIMPLE_CHECKS} == {"/signup", "/signin", "/refresh", "/send-otp", "/verify-otp"}
