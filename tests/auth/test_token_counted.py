"""Refresh tokens that stand in no table, of sessions that were carried from GoTrue with its second algorithm."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from uuid import UUID

import jwt
import pytest

from isobase_services.auth.counted_tokens import CountedToken
from tests.auth.conftest import AuthServer, StartAuth, bearer

KEY = bytes(range(32))
ALICE = UUID("0e3e5d2c-5b0a-4f5c-8a57-1f0c9d6a7b11")


async def counting(auth: AuthServer, counter: int = 5) -> tuple[UUID, dict[str, Any]]:
    """A session that counts its tokens, as GoTrue leaves it."""
    session = await auth.sign_up()
    claims = jwt.decode(session["access_token"], options={"verify_signature": False})
    await auth.database.execute(
        "update auth.sessions set refresh_token_hmac_key = $2, refresh_token_counter = $3 where id = $1",
        claims["session_id"],
        base64.urlsafe_b64encode(KEY).rstrip(b"=").decode(),
        counter,
    )
    await auth.database.execute("delete from auth.refresh_tokens")
    return UUID(claims["session_id"]), session


@pytest.mark.parametrize("counter", [0, 1, 127, 128, 300, 2**31, 2**63 - 1])
def test_a_token_is_read_as_it_was_written(counter: int) -> None:
    token = CountedToken.encode(ALICE, counter, KEY)
    read = CountedToken.parse(token)
    assert read is not None
    assert (read.session_id, read.counter) == (ALICE, counter)
    assert read.is_signed_with(KEY)
    assert not read.is_signed_with(KEY[::-1])
    assert KEY.hex() not in repr(read)


def test_what_upstream_wrote_is_read() -> None:
    # A vector of the form in the module's docstring, put together by hand.
    raw = bytes.fromhex("00" + ALICE.hex + "ac02")
    read = CountedToken.parse(CountedToken.encode(ALICE, 300, KEY))
    assert read is not None
    assert base64.urlsafe_b64decode(CountedToken.encode(ALICE, 300, KEY) + "==")[: len(raw)] == raw


@pytest.mark.parametrize("token", ["", "abcdefghijkl", "A" * 52, "A" * 5000, "AB!" * 20, "é" * 52])
def test_what_is_no_such_token_is_none(token: str) -> None:
    assert CountedToken.parse(token) is None


def test_a_changed_token_is_none() -> None:
    token = CountedToken.encode(ALICE, 7, KEY)
    for place in range(0, len(token), 5):
        other = "A" if token[place] != "A" else "B"
        assert CountedToken.parse(token[:place] + other + token[place + 1 :]) is None


async def test_the_newest_token_gives_the_next_and_keeps_the_session(auth: AuthServer) -> None:
    session_id, before = await counting(auth)
    answer = await auth.refresh(CountedToken.encode(session_id, 5, KEY))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["refresh_token"] == CountedToken.encode(session_id, 6, KEY)
    assert body["user"]["id"] == before["user"]["id"]
    assert (await auth.client.get("/user", headers=bearer(body))).status_code == 200
    assert await auth.count("sessions", "refresh_token_counter = 6 and refreshed_at is not null") == 1
    assert await auth.count("refresh_tokens") == 0


async def test_the_token_before_gives_the_newest_again_however_late(auth: AuthServer) -> None:
    session_id, _ = await counting(auth)
    answer = await auth.refresh(CountedToken.encode(session_id, 4, KEY))
    assert answer.json()["refresh_token"] == CountedToken.encode(session_id, 5, KEY)


async def test_an_older_token_of_a_moment_ago_gives_the_newest(start_auth: StartAuth) -> None:
    async with start_auth(refresh_token_reuse_interval_s=300) as auth:
        session_id, _ = await counting(auth)
        await auth.refresh(CountedToken.encode(session_id, 5, KEY))
        answer = await auth.refresh(CountedToken.encode(session_id, 2, KEY))
        assert answer.json()["refresh_token"] == CountedToken.encode(session_id, 6, KEY)


@pytest.mark.parametrize("rotates", [True, False])
async def test_a_stolen_token_ends_the_session_although_the_request_fails(start_auth: StartAuth, rotates: bool) -> None:
    async with start_auth(enable_refresh_token_rotation=rotates) as auth:
        session_id, _ = await counting(auth)
        await auth.database.execute("update auth.sessions set created_at = created_at - interval '1 hour'")
        answer = await auth.refresh(CountedToken.encode(session_id, 2, KEY))
        assert (answer.status_code, answer.json()["error_code"]) == (400, "refresh_token_already_used")
        assert await auth.count("sessions") == (0 if rotates else 1)


@pytest.mark.parametrize(
    "counter, key, code",
    [(6, KEY, "validation_failed"), (5, KEY[::-1], "refresh_token_not_found")],
    ids=["ahead", "another key"],
)
async def test_a_token_that_the_session_never_gave_is_refused(
    auth: AuthServer, counter: int, key: bytes, code: str
) -> None:
    session_id, _ = await counting(auth)
    answer = await auth.refresh(CountedToken.encode(session_id, counter, key))
    assert (answer.status_code, answer.json()["error_code"]) == (400, code)
    assert await auth.count("sessions", "refresh_token_counter = 5") == 1


async def test_a_session_that_does_not_count_takes_no_counted_token(auth: AuthServer) -> None:
    session = await auth.sign_up()
    claims = jwt.decode(session["access_token"], options={"verify_signature": False})
    answer = await auth.refresh(CountedToken.encode(UUID(claims["session_id"]), 0, b""))
    assert (answer.status_code, answer.json()["error_code"]) == (400, "refresh_token_not_found")
    assert (await auth.refresh(CountedToken.encode(ALICE, 0, KEY))).status_code == 400


async def test_ten_refreshes_at_once_agree_on_one_token(auth: AuthServer) -> None:
    session_id, _ = await counting(auth)
    token = CountedToken.encode(session_id, 5, KEY)
    answers = await asyncio.gather(*(auth.refresh(token) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["refresh_token"] for answer in answers} == {CountedToken.encode(session_id, 6, KEY)}


async def test_a_banned_user_cannot_refresh(auth: AuthServer) -> None:
    session_id, _ = await counting(auth)
    await auth.database.execute("update auth.users set banned_until = now() + interval '1 hour'")
    answer = await auth.refresh(CountedToken.encode(session_id, 5, KEY))
    assert (answer.status_code, answer.json()["error_code"]) == (400, "user_banned")


async def test_a_session_without_a_key_takes_no_token_that_anybody_can_sign(auth: AuthServer) -> None:
    session_id, _ = await counting(auth)
    for stored in ("", "a2V5"):
        await auth.database.execute(
            "update auth.sessions set refresh_token_hmac_key = $2 where id = $1", session_id, stored
        )
        forged = CountedToken.encode(session_id, 5, base64.urlsafe_b64decode(stored))
        answer = await auth.client.post("/token?grant_type=refresh_token", json={"refresh_token": forged})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "refresh_token_not_found")
