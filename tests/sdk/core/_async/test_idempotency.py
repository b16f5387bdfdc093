"""A write is sent again only under a key that the server is known to keep."""

from __future__ import annotations

import json
import math
import socket

import httpx
import pytest

from isobase import AsyncClient, AsyncClientOptions, call_options
from isobase._http import AsyncSession, current_options
from isobase._http._async import features
from isobase._http._async.features import AsyncFeatures
from isobase._http.options import CallPolicy
from tests.sdk.core.conftest import Heard, WireServer, answer

WELL_KNOWN = "/.well-known/isobase"
KEY = "0b6e0a2c-5f0e-4c5e-9a3c-1f3b6a1d2e4f"


def serve(wire: WireServer, *, keeps_keys: bool, lost: int) -> None:
    """Let a server lose the answers to its first ``lost`` writes, and say whether it keeps keys."""
    features = answer(json.dumps({"features": ["idempotency-key"]}).encode())
    left = [lost]

    def reply(heard: Heard, _number: int) -> bytes | None:
        if heard.target == WELL_KNOWN:
            return features if keeps_keys else answer(b"{}", "404 Not Found")
        left[0] -= 1
        return None if left[0] >= 0 else answer(b"[]", "201 Created")

    wire.answer = reply


def writes(wire: WireServer) -> list[Heard]:
    """The writes that the server heard."""
    return [heard for heard in wire.heard if heard.target != WELL_KNOWN]


def session_at(wire: WireServer, shared: AsyncSession, policy: CallPolicy | None = None) -> AsyncSession:
    """A session that may ask the server what it can do."""
    return AsyncSession.sharing(
        shared,
        headers={},
        timeout=30.0,
        policy=policy or CallPolicy(),
        features=AsyncFeatures(shared, wire.url + WELL_KNOWN),
    )


async def test_a_keyed_write_whose_answer_was_lost_is_sent_again_under_its_key(wire: WireServer) -> None:
    serve(wire, keeps_keys=True, lost=2)
    async with AsyncSession() as shared:
        session = session_at(wire, shared)
        with call_options(idempotency_key=KEY):
            response = await session.request("POST", wire.url + "/t", json={"a": 1})
    assert response.status_code == 201
    assert [heard.headers["idempotency-key"] for heard in writes(wire)] == [KEY] * 3
    assert {heard.body for heard in writes(wire)} == {b'{"a":1}'}


async def test_a_keyed_write_is_sent_once_to_a_server_that_keeps_no_keys(wire: WireServer) -> None:
    serve(wire, keeps_keys=False, lost=1)
    async with AsyncSession() as shared:
        session = session_at(wire, shared)
        with call_options(idempotency_key=KEY), pytest.raises(httpx.RemoteProtocolError):
            await session.request("POST", wire.url + "/t", json={})
    assert len(writes(wire)) == 1


async def test_a_write_without_a_key_is_sent_once_and_nothing_is_asked(wire: WireServer) -> None:
    serve(wire, keeps_keys=True, lost=1)
    async with AsyncSession() as shared:
        session = session_at(wire, shared)
        with pytest.raises(httpx.RemoteProtocolError):
            await session.request("POST", wire.url + "/t", json={})
    assert [heard.target for heard in wire.heard] == ["/t"]


async def test_automatic_keys_differ_from_write_to_write_and_the_server_is_asked_once(wire: WireServer) -> None:
    serve(wire, keeps_keys=True, lost=1)
    async with AsyncSession() as shared:
        session = session_at(wire, shared, CallPolicy(automatic_keys=True))
        for _ in range(2):
            assert (await session.request("POST", wire.url + "/t", json={})).status_code == 201
    first, again, second = (heard.headers["idempotency-key"] for heard in writes(wire))
    assert first == again != second
    assert sum(heard.target == WELL_KNOWN for heard in wire.heard) == 1


async def test_automatic_keys_are_not_sent_to_a_server_that_keeps_none(wire: WireServer) -> None:
    serve(wire, keeps_keys=False, lost=0)
    async with AsyncSession() as shared:
        session = session_at(wire, shared, CallPolicy(automatic_keys=True))
        await session.request("POST", wire.url + "/t", json={})
    assert "idempotency-key" not in writes(wire)[0].headers


async def test_a_write_that_is_still_being_done_is_asked_for_again(wire: WireServer) -> None:
    in_use = answer(b'{"code":"idempotency_key_in_use"}', "409 Conflict")
    serve(wire, keeps_keys=True, lost=0)
    created = wire.answer
    wire.answer = lambda heard, number: in_use if heard.target == "/t" and number == 2 else created(heard, number)
    async with AsyncSession() as shared:
        session = session_at(wire, shared)
        with call_options(idempotency_key=KEY):
            response = await session.request("POST", wire.url + "/t", json={})
    assert response.status_code == 201
    assert len(writes(wire)) == 2


async def test_the_option_of_the_client_gives_inserts_keys(wire: WireServer) -> None:
    serve(wire, keeps_keys=True, lost=1)
    async with AsyncClient(wire.url, "key", AsyncClientOptions(idempotency_keys=True)) as client:
        await client.table("t").insert({"a": 1}).execute()
    keys = {heard.headers["idempotency-key"] for heard in writes(wire)}
    assert len(writes(wire)) == 2
    assert len(keys) == 1


@pytest.mark.parametrize(("left_s", "asking_s"), [(math.inf, 5.0), (60.0, 5.0), (3.0, 1.5), (-1.0, 0.0)])
async def test_a_server_is_asked_for_no_longer_than_half_of_what_a_call_has_left(
    monkeypatch: pytest.MonkeyPatch, left_s: float, asking_s: float
) -> None:
    asked: list[float | None] = []

    async def ask(*_: object) -> httpx.Response:
        asked.append(current_options().timeout)
        raise httpx.ReadTimeout("silent")

    monkeypatch.setattr(features, "ASKING_TIMEOUT_S", 5.0)
    async with AsyncSession() as session:
        monkeypatch.setattr(session, "request", ask)
        assert not await AsyncFeatures(session, "http://127.0.0.1:1").has("idempotency-key", left_s)
    assert asked == [asking_s]


async def test_a_server_that_says_nothing_of_keys_costs_a_write_no_more_than_its_time(
    wire: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "ASKING_TIMEOUT_S", 0.5)

    def act(peer: socket.socket, heard: Heard, _number: int) -> None:
        if heard.target == WELL_KNOWN:
            wire.closing.wait()
        peer.sendall(answer(b"[]", "201 Created"))

    wire.act = act
    async with AsyncSession() as shared:
        session = session_at(wire, shared)
        with call_options(idempotency_key=KEY, timeout=60.0):
            response = await session.request("POST", wire.url + "/t", json={})
        assert response.status_code == 201
