"""The token corpus against every entry point of every service: refused in the face's own shape, and nobody falls over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import pytest
import websockets

from tests.faces.token_corpus import FORGED, GOOD, ODD, Material
from tests.plugins.stack import Stack

NOWHERE = "00000000-0000-4000-8000-000000000000"
TIMEOUT_S = 60.0
V2 = {"x-supabase-api-version": "2024-01-01"}
JSON_TYPE = {"content-type": "application/json"}
BROADCAST = b'{"messages":[{"topic":"room","event":"e","payload":{}}]}'


def is_gotrue(answer: httpx.Response) -> bool:
    body = answer.json()
    return bool(body.keys() >= {"code", "error_code", "msg"} and body["code"] == answer.status_code)


def is_gotrue_current(answer: httpx.Response) -> bool:
    body = answer.json()
    is_echoed = answer.headers.get("x-supabase-api-version") == V2["x-supabase-api-version"]
    return body.keys() == {"code", "message"} and isinstance(body["code"], str) and is_echoed


def is_postgrest(answer: httpx.Response) -> bool:
    return bool(answer.json().keys() == {"code", "message", "details", "hint"})


def is_storage(answer: httpx.Response) -> bool:
    return bool(answer.json().keys() >= {"statusCode", "error", "message"})


def is_simple(answer: httpx.Response) -> bool:
    body = answer.json()
    return bool(body.keys() == {"error"} and body["error"].keys() >= {"code", "message", "request_id"})


def is_realtime(answer: httpx.Response) -> bool:
    return bool(answer.json().keys() & {"message", "error"})


@dataclass(slots=True, frozen=True)
class EntryPoint:
    """A place that takes a token: the statuses of a refused one, the shape of its errors, and what a good one gets."""

    method: str
    path: str
    refused: frozenset[int]
    shape: Callable[[httpx.Response], bool]
    good: frozenset[int]
    headers: Mapping[str, str] | None = None
    content: bytes | None = None
    by: str = "authorization"
    """Where the token goes: the header, or ``query``, which is part of the path."""


def _at(
    method: str,
    path: str,
    refused: int | tuple[int, ...],
    shape: Callable[[httpx.Response], bool],
    good: int = 200,
    **rest: Any,
) -> EntryPoint:
    statuses = refused if isinstance(refused, tuple) else (refused,)
    return EntryPoint(method, path, frozenset(statuses), shape, frozenset({good}), **rest)


ENTRY_POINTS = {
    "auth, user": _at("GET", "/auth/v1/user", (401, 403), is_gotrue),
    "auth, user, current version": _at("GET", "/auth/v1/user", (401, 403), is_gotrue_current, headers=V2),
    "auth, changing the user": _at(
        "PUT", "/auth/v1/user", (401, 403), is_gotrue, headers=JSON_TYPE, content=b'{"data":{}}'
    ),
    "auth, administration": _at("GET", "/auth/v1/admin/users", (401, 403), is_gotrue, 403),
    "data API, rows": _at("GET", "/rest/v1/tags?select=id", 401, is_postgrest),
    "data API, functions": _at(
        "POST", "/rest/v1/rpc/no_such_function", 401, is_postgrest, 404, headers=JSON_TYPE, content=b"{}"
    ),
    "data API, description": _at("GET", "/rest/v1/", 401, is_postgrest),
    "databases": _at("GET", "/db", 401, is_simple),
    "tables": _at("GET", f"/db/{NOWHERE}/tables", 401, is_simple, 404),
    "storage, buckets": _at("GET", "/storage/v1/bucket", 400, is_storage),
    "storage, an object": _at("GET", "/storage/v1/object/authenticated/photos/none.png", 400, is_storage, 400),
    "storage, a list": _at(
        "POST", "/storage/v1/object/list/photos", 400, is_storage, headers=JSON_TYPE, content=b'{"prefix":""}'
    ),
    "storage, a signed URL": _at(
        "GET", "/storage/v1/object/sign/photos/none.png?token={token}", 400, is_storage, 400, by="query"
    ),
    "files": _at("GET", f"/storage/{NOWHERE}", 401, is_simple, 404),
    "realtime, a broadcast": _at(
        "POST", "/realtime/v1/api/broadcast", 401, is_realtime, 202, headers=JSON_TYPE, content=BROADCAST
    ),
    "simple face of auth": _at(
        "POST", "/auth/signout", 401, is_simple, 400, headers=JSON_TYPE, content=b'{"scope":"nothing"}'
    ),
}


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.url, timeout=TIMEOUT_S) as opened:
        yield opened


@pytest.fixture(scope="module")
def material(stack: Stack) -> Material:
    """A user of the stack, whose session is made by the simple face: so there is a pair, too."""
    user = {"email": "corpus@example.com", "password": "correct horse battery"}
    answer = httpx.post(f"{stack.url}/auth/signup", json=user, timeout=TIMEOUT_S)
    assert answer.status_code == 201, answer.text
    token = answer.json()["access_token"]
    kid = jwt.get_unverified_header(token)["kid"]
    keys = httpx.get(f"{stack.url}/auth/v1/.well-known/jwks.json").json()["keys"]
    claims = jwt.decode(token, options={"verify_signature": False})
    return Material(stack.jwt_secret, claims, next(key for key in keys if key["kid"] == kid))


async def send(client: httpx.AsyncClient, point: EntryPoint, token: str) -> httpx.Response:
    headers = dict(point.headers or {})
    path = point.path.replace("{token}", quote(token, safe=""))
    if point.by == "authorization":
        return await client.request(
            point.method,
            path,
            content=point.content,
            headers=[
                *((name.encode(), value.encode()) for name, value in headers.items()),
                (b"authorization", f"Bearer {token}".encode()),
            ],
        )
    return await client.request(point.method, path, content=point.content, headers=headers)


async def everywhere(client: httpx.AsyncClient, token: str) -> dict[str, httpx.Response]:
    answers = await asyncio.gather(*(send(client, point, token) for point in ENTRY_POINTS.values()))
    return dict(zip(ENTRY_POINTS, answers, strict=True))


async def test_a_good_token_is_taken_everywhere(client: httpx.AsyncClient, material: Material) -> None:
    answers = await everywhere(client, GOOD(material))
    statuses = {name: answer.status_code for name, answer in answers.items()}
    assert statuses == {name: next(iter(point.good)) for name, point in ENTRY_POINTS.items()}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_token_is_refused_everywhere(name: str, client: httpx.AsyncClient, material: Material) -> None:
    for place, answer in (await everywhere(client, FORGED[name](material))).items():
        point = ENTRY_POINTS[place]
        assert answer.status_code in point.refused, f"{place}: {answer.status_code} {answer.text}"
        assert point.shape(answer), f"{place}: {answer.text}"
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("name", ODD)
async def test_nobody_falls_over_an_odd_token(name: str, client: httpx.AsyncClient, material: Material) -> None:
    for place, answer in (await everywhere(client, ODD[name](material))).items():
        assert answer.status_code < 500, f"{place}: {answer.status_code} {answer.text}"
        assert answer.is_success or ENTRY_POINTS[place].shape(answer), f"{place}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize("name", [name for name in ODD if name.startswith("role ") and name != "role missing"])
async def test_a_role_that_is_not_for_users_reads_nothing(
    name: str, client: httpx.AsyncClient, material: Material
) -> None:
    answers = await everywhere(client, ODD[name](material))
    assert not answers["data API, rows"].is_success
    assert not answers["databases"].is_success
    assert answers["auth, administration"].status_code == 403


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("no sub", 403, "bad_jwt"),
        ("sub empty", 403, "bad_jwt"),
        ("sub no UUID", 400, "bad_jwt"),
        ("sub of nobody", 403, "user_not_found"),
        ("session revoked", 403, "session_not_found"),
        ("session no UUID", 403, "bad_jwt"),
        ("no aud", 400, "validation_failed"),
    ],
)
async def test_auth_says_what_is_wrong_with_claims(
    name: str, status: int, code: str, client: httpx.AsyncClient, material: Material
) -> None:
    answer = await send(client, ENTRY_POINTS["auth, user"], ODD[name](material))
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)


async def handshake(stack: Stack, token: str) -> int:
    """The status that a socket with ``token`` as its key is answered."""
    url = f"{stack.url.replace('http', 'ws')}/realtime/v1/websocket?vsn=2.0.0&apikey={quote(token, safe='')}"
    try:
        async with websockets.connect(url, open_timeout=TIMEOUT_S):
            return 101
    except websockets.InvalidStatus as error:
        return error.response.status_code
    except TimeoutError:
        return 0


async def joined(stack: Stack, token: str) -> tuple[str, Any]:
    """How a channel answers a join with ``token``: the status and the reason."""
    url = f"{stack.url.replace('http', 'ws')}/realtime/v1/websocket?vsn=2.0.0&apikey={stack.anon_key}"
    config = {"broadcast": {}, "presence": {"key": ""}, "postgres_changes": []}
    async with websockets.connect(url, open_timeout=TIMEOUT_S) as socket, asyncio.timeout(TIMEOUT_S):
        await socket.send(
            json.dumps(["1", "1", "realtime:room", "phx_join", {"config": config, "access_token": token}])
        )
        while True:
            _, ref, _, event, payload = json.loads(await socket.recv())
            if (ref, event) == ("1", "phx_reply"):
                return payload["status"], payload["response"].get("reason")


async def test_a_good_token_opens_a_socket_and_a_channel(stack: Stack, material: Material) -> None:
    assert await handshake(stack, GOOD(material)) == 101
    assert (await joined(stack, GOOD(material)))[0] == "ok"


# Upstream takes whitespace and percent-encoding off a socket's token; what is left of this one is a good token.
SOCKET_FORGED = {name: build for name, build in FORGED.items() if name != "a percent sign"}


async def test_a_forged_token_opens_no_socket(stack: Stack, material: Material) -> None:
    answers = await asyncio.gather(*(handshake(stack, build(material)) for build in SOCKET_FORGED.values()))
    assert {
        name: status for name, status in zip(SOCKET_FORGED, answers, strict=True) if status not in (401, 403, 431)
    } == {}


async def test_a_forged_token_joins_no_channel(stack: Stack, material: Material) -> None:
    answers = await asyncio.gather(*(joined(stack, build(material)) for build in SOCKET_FORGED.values()))
    taken = {name: answer for name, answer in zip(SOCKET_FORGED, answers, strict=True) if answer[0] != "error"}
    assert taken == {}
    assert all(isinstance(reason, str) and reason for _, reason in answers)


async def test_an_odd_token_breaks_no_socket(stack: Stack, material: Material) -> None:
    answers = await asyncio.gather(*(joined(stack, build(material)) for build in ODD.values()))
    assert {status for status, _ in answers} <= {"ok", "error"}
    for name, (status, reason) in zip(ODD, answers, strict=True):
        assert status == "ok" or "unexpected" not in reason.lower(), name
