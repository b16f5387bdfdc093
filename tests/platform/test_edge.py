"""The gateway's edge, driven over ASGI: routing, request ids, CORS, the API-key gate, and the error boundary."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isobase_platform.errors import BadRequest, DatabaseError, IsobaseError
from isobase_platform.http.body import read_body
from isobase_platform.http.edge import Edge
from isobase_platform.http.errors import ErrorBoundary, render_simple
from isobase_platform.http.request import bearer_token, request_facts
from isobase_platform.observe import Metrics
from isobase_platform.service import ApiKeyRule, Mount
from isobase_platform.tokens import ApiKeys

KEYS = ApiKeys(anon="aa.bb.cc", service_role="ss.bb.cc", publishable="sb_publishable_1", secret="sb_secret_1")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what an app behind the edge sees."""
    facts = request_facts(scope)
    body = {
        "path": facts.path,
        "root_path": scope["root_path"],
        "token": bearer_token(scope),
        "headers": json.loads(facts.headers_json),
        "cookies": json.loads(facts.cookies_json),
    }
    await JSONResponse(body)(scope, receive, send)


async def raising(scope: Scope, receive: Receive, send: Send) -> None:
    kind = Request(scope).query_params["kind"]
    if kind == "bad":
        raise BadRequest("No.", details="why", hint="how")
    if kind == "rls":
        raise DatabaseError("permission denied", "42501")
    if kind == "sqlstate":
        raise DatabaseError("inner text of the server", "XX000")
    if kind == "half":
        raise BadRequest("There is no column \ud800")
    if kind == "body":
        await read_body(scope, receive, limit_bytes=10)
    raise RuntimeError("inner text")


def edge(*, require_api_key: bool = False, bare: Mount | None = None) -> Edge:
    boundary: ASGIApp = ErrorBoundary(raising, render_simple)
    mounts = [
        Mount("/auth", echo, ApiKeyRule.NONE),
        Mount("/auth/v1", echo, ApiKeyRule.OPAQUE_ONLY),
        Mount("/rest/v1", echo, ApiKeyRule.BEARER, cors_expose=("Content-Range",)),
        Mount("/fail", boundary, ApiKeyRule.NONE),
    ]
    return Edge(mounts, keys=KEYS, metrics=Metrics(), require_api_key=require_api_key, bare=bare)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=edge(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        yield opened


async def seen(client: httpx.AsyncClient, path: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    response = await client.get(path, headers=headers)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_the_longest_prefix_wins_and_ends_at_a_segment(client: httpx.AsyncClient) -> None:
    assert (await seen(client, "/auth/v1/user"))["path"] == "/user"
    assert (await seen(client, "/auth/v2"))["root_path"] == "/auth"
    response = await client.get("/rest/v10")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


async def test_every_answer_carries_a_request_id_and_a_given_one_is_kept(client: httpx.AsyncClient) -> None:
    fresh = (await client.get("/auth")).headers["x-request-id"]
    assert len(fresh) == 32
    kept = await client.get("/nowhere", headers={"x-request-id": "abc-1"})
    assert kept.headers["x-request-id"] == "abc-1"
    assert kept.json()["error"]["request_id"] == "abc-1"
    odd = await client.get("/auth", headers={"x-request-id": "x" * 200})
    assert odd.headers["x-request-id"] != "x" * 200


@pytest.mark.parametrize(
    ("path", "headers", "token"),
    [
        ("/rest/v1", {"apikey": "aa.bb.cc"}, "aa.bb.cc"),
        ("/rest/v1", {"apikey": "aa.bb.cc", "authorization": "Bearer uu.bb.cc"}, "uu.bb.cc"),
        ("/rest/v1", {"apikey": "sb_secret_1"}, "ss.bb.cc"),
        ("/rest/v1", {"apikey": "sb_publishable_1", "authorization": "Bearer sb_publishable_1"}, "aa.bb.cc"),
        ("/rest/v1?apikey=sb_publishable_1", {}, "aa.bb.cc"),
        ("/rest/v1", {}, None),
        ("/auth/v1", {"apikey": "aa.bb.cc"}, None),
        ("/auth/v1", {"apikey": "sb_secret_1"}, "ss.bb.cc"),
        ("/auth", {"apikey": "sb_secret_1"}, None),
    ],
)
async def test_what_an_api_key_becomes(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], token: str | None
) -> None:
    assert (await seen(client, path, headers))["token"] == token


async def test_an_opaque_key_that_is_not_ours_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.get("/rest/v1", headers={"apikey": "sb_secret_other"})
    assert response.status_code == 401
    assert response.json()["message"] == "Unknown API key"


async def test_a_required_key_is_missed_at_the_gate_and_not_where_no_key_is_asked() -> None:
    transport = httpx.ASGITransport(app=edge(require_api_key=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        refused = await client.get("/rest/v1")
        assert refused.status_code == 401
        assert refused.json()["message"] == "No API key found in request"
        assert (await client.get("/auth")).status_code == 200
        assert (await client.get("/rest/v1", headers={"apikey": "aa.bb.cc"})).status_code == 200


async def test_a_browsers_preflight_is_answered_for_any_origin(client: httpx.AsyncClient) -> None:
    response = await client.options(
        "/rest/v1/t",
        headers={
            "origin": "http://localhost:5173",
            "access-control-request-method": "POST",
            "access-control-request-headers": "apikey,authorization,content-type,x-client-info",
        },
    )
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert "PATCH" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-headers"] == "apikey,authorization,content-type,x-client-info"


async def test_an_answer_to_another_origin_exposes_the_mounts_headers(client: httpx.AsyncClient) -> None:
    response = await client.get("/rest/v1", headers={"origin": "http://localhost:5173"})
    assert response.headers["access-control-allow-origin"] == "*"
    assert "Content-Range" in response.headers["access-control-expose-headers"]


async def test_cookies_and_headers_reach_the_facts_that_policies_read(client: httpx.AsyncClient) -> None:
    facts = await seen(client, "/rest/v1/x", {"cookie": "a=1; b=2", "x-tenant": "t1"})
    assert facts["cookies"] == {"a": "1", "b": "2"}
    assert facts["headers"]["x-tenant"] == "t1"


async def test_headers_and_cookies_are_read_as_utf_8_where_they_are(client: httpx.AsyncClient) -> None:
    for raw, text in (("é".encode(), "é"), (b"\xe9", "é")):
        response = await client.get("/rest/v1/x", headers=[(b"x-tenant", raw), (b"cookie", b"c=" + raw)])
        facts = response.json()
        assert (facts["headers"]["x-tenant"], facts["cookies"]) == (text, {"c": text})


@pytest.mark.parametrize(
    ("text", "cookies"),
    [
        ('a=b=c; other={"x": "y, z"}; d; c=1', {"a": "b=c", "other": '{"x": "y, z"}', "d": "", "c": "1"}),
        ('a="x y"; a=2', {"a": "2"}),
        ('a="x y"', {"a": '"x y"'}),
        ("a=%20x", {"a": "%20x"}),
        ("", {}),
    ],
)
async def test_one_odd_cookie_hides_no_other(client: httpx.AsyncClient, text: str, cookies: dict[str, str]) -> None:
    assert (await seen(client, "/rest/v1/x", {"cookie": text}))["cookies"] == cookies


async def test_an_error_of_the_house_is_rendered_in_the_faces_shape(client: httpx.AsyncClient) -> None:
    response = await client.get("/fail?kind=bad", headers={"x-request-id": "r1"})
    assert response.status_code == 400
    assert response.json() == {
        "error": {"code": "bad_request", "message": "No.", "details": "why", "hint": "how", "request_id": "r1"}
    }


async def test_a_refusal_of_row_level_security_is_403(client: httpx.AsyncClient) -> None:
    response = await client.get("/fail?kind=rls")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "42501")


@pytest.mark.parametrize("kind", ["unknown", "sqlstate"])
async def test_an_unknown_failure_is_a_500_with_a_request_id_and_no_inner_text(
    client: httpx.AsyncClient, kind: str
) -> None:
    response = await client.get(f"/fail?kind={kind}")
    assert response.status_code == 500
    assert "inner text" not in response.text
    assert response.json()["error"]["request_id"] == response.headers["x-request-id"]


async def test_a_body_over_the_limit_is_refused_with_and_without_a_declared_length(client: httpx.AsyncClient) -> None:
    declared = await client.post("/fail?kind=body", content=b"x" * 11)
    assert declared.status_code == 413

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 6
        yield b"x" * 6

    assert (await client.post("/fail?kind=body", content=chunks())).status_code == 413


async def test_a_bare_mount_answers_at_the_root() -> None:
    transport = httpx.ASGITransport(app=edge(bare=Mount("/rest/v1", echo)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await seen(client, "/items"))["path"] == "/items"
        assert (await seen(client, "/rest/v1/items"))["path"] == "/items"


async def test_a_key_of_any_characters_in_the_query_is_no_token_and_no_failure(client: httpx.AsyncClient) -> None:
    assert (await client.get("/rest/v1/x?apikey=%E4%B8%AD%0D%0A")).status_code == 200
    assert (await client.get("/rest/v1/x?apikey=sb_%E4%B8%AD")).status_code == 401


async def test_an_error_that_quotes_half_a_surrogate_pair_keeps_its_status(client: httpx.AsyncClient) -> None:
    response = await client.get("/fail?kind=half")
    assert (response.status_code, response.json()["error"]["message"]) == (400, "There is no column \ud800")


async def test_an_error_that_cannot_be_rendered_is_a_500_in_the_faces_shape() -> None:
    def render(error: IsobaseError, scope: Scope) -> Response:
        return Response(error.message.encode("ascii"), status_code=error.status)

    app = ErrorBoundary(raising, render)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.get("/?kind=half")
    assert (response.status_code, response.text) == (500, "An unexpected error happened")


async def test_a_failure_beside_every_boundary_is_a_500_with_a_request_id() -> None:
    transport = httpx.ASGITransport(app=edge(bare=Mount("/bare", raising)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.get("/bare?kind=unknown")
    assert response.status_code == 500
    assert response.json()["error"]["request_id"] == response.headers["x-request-id"]
    assert "inner text" not in response.text


@pytest.mark.parametrize("path", ["/rest/v1/items", "/fail", "/nowhere", "/page"])
async def test_a_socket_is_turned_away_where_none_is_expected(path: str) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    app = Edge(
        [Mount("/rest/v1", echo), Mount("/fail", raising)], keys=KEYS, metrics=Metrics(), pages={"/page": raising}
    )
    scope = {"type": "websocket", "path": path, "root_path": "", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
