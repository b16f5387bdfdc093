"""Bad input on every face of a running Isobase: the upstream's status and body, nothing changed, never a stack trace."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import httpx
import jwt
import pytest

from tests.plugins.stack import Stack

REST_TIMEOUT_S = 60.0
ANON, SERVICE, EXPIRED, FORGED, NONSENSE = "anon", "service", "expired", "forged", "nonsense"


@dataclass(frozen=True)
class Case:
    """One request and what must come back: the status and the members of the body that upstream fixes."""

    method: str
    path: str
    status: int
    body: Mapping[str, Any]
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str | None = ANON


JSON_TYPE = {"content-type": "application/json"}
BIG = b'{"x":"' + b"x" * 1_100_000 + b'"}'
V2 = {**JSON_TYPE, "x-supabase-api-version": "2024-01-01"}

REST = {
    "unknown table": Case("GET", "/rest/v1/no_such_table", 404, {"code": "PGRST205"}),
    "unknown function": Case("POST", "/rest/v1/rpc/no_such_function", 404, {"code": "PGRST202"}, b"{}", JSON_TYPE),
    "unknown column": Case("GET", "/rest/v1/tags?select=nothing", 400, {"code": "42703"}),
    "unknown operator": Case("GET", "/rest/v1/tags?name=equals.x", 400, {"code": "PGRST100"}),
    "broken select": Case("GET", "/rest/v1/tags?select=id,(", 400, {"code": "PGRST100"}),
    "broken logic": Case("GET", "/rest/v1/tags?or=(id.eq.1", 400, {"code": "PGRST100"}),
    "value of another type": Case("GET", "/rest/v1/tags?id=eq.x", 400, {"code": "22P02"}),
    "no relationship": Case("GET", "/rest/v1/tags?select=id,profiles(*)", 400, {"code": "PGRST200"}),
    "broken JSON": Case("POST", "/rest/v1/tags", 400, {"code": "PGRST102"}, b"{bad", JSON_TYPE),
    "unknown content type": Case(
        "POST", "/rest/v1/tags", 400, {"code": "PGRST102"}, b"x", {"content-type": "image/png"}
    ),
    "unknown column written": Case(
        "POST", "/rest/v1/tags", 400, {"code": "PGRST204"}, b'{"nope":1}', JSON_TYPE, SERVICE
    ),
    "broken constraint": Case(
        "POST", "/rest/v1/tags", 400, {"code": "23514"}, b'{"name":"No Tag"}', JSON_TYPE, SERVICE
    ),
    "duplicate": Case("POST", "/rest/v1/tags", 409, {"code": "23505"}, b'{"name":"birds"}', JSON_TYPE, SERVICE),
    "write of anon": Case("POST", "/rest/v1/tags", 401, {"code": "42501"}, b'{"name":"x"}', JSON_TYPE),
    "wrong method": Case("TRACE", "/rest/v1/tags", 405, {"code": "PGRST117"}),
    "unknown schema": Case("GET", "/rest/v1/tags", 406, {"code": "PGRST106"}, None, {"accept-profile": "auth"}),
    "unknown media type": Case("GET", "/rest/v1/tags", 406, {"code": "PGRST107"}, None, {"accept": "image/png"}),
    "not one row": Case(
        "GET", "/rest/v1/tags", 406, {"code": "PGRST116"}, None, {"accept": "application/vnd.pgrst.object+json"}
    ),
    "range past the end": Case(
        "GET", "/rest/v1/tags?offset=1000", 416, {"code": "PGRST103"}, None, {"prefer": "count=exact"}
    ),
    "deeper path": Case("GET", "/rest/v1/tags/1", 404, {"code": "PGRST125"}),
    "expired token": Case("GET", "/rest/v1/tags", 401, {"code": "PGRST303"}, token=EXPIRED),
    "forged token": Case("GET", "/rest/v1/tags", 401, {"code": "PGRST301"}, token=FORGED),
    "no token at all": Case("GET", "/rest/v1/tags", 401, {"code": "PGRST301"}, token=NONSENSE),
    "NUL in a filter": Case("GET", "/rest/v1/tags?name=eq.a%00b", 400, {}),
    "broken UTF-8": Case("GET", "/rest/v1/tags?name=eq.%ff", 400, {}),
    "deep select": Case("GET", "/rest/v1/tags?select=" + "a(" * 500, 400, {"code": "PGRST100"}),
    "very many embeds": Case(
        "GET", "/rest/v1/notes?select=" + ",".join(f"a{n}:profiles(id)" for n in range(201)), 400, {"code": "PGRST100"}
    ),
    "deep logic": Case("GET", "/rest/v1/tags?or=" + "and(" * 500, 400, {"code": "PGRST100"}),
    "deep JSON": Case("POST", "/rest/v1/tags", 400, {}, b"[" * 100_000, JSON_TYPE),
}
AUTH = {
    "broken JSON": Case("POST", "/auth/v1/signup", 400, {"code": 400, "error_code": "bad_json"}, b"{bad", JSON_TYPE),
    "broken JSON, new version": Case("POST", "/auth/v1/signup", 400, {"code": "bad_json"}, b"{bad", V2),
    "no e-mail": Case("POST", "/auth/v1/signup", 422, {"error_code": "anonymous_provider_disabled"}, b"{}", JSON_TYPE),
    "bad e-mail": Case(
        "POST",
        "/auth/v1/signup",
        400,
        {"error_code": "validation_failed"},
        b'{"email":"x","password":"password123"}',
        JSON_TYPE,
    ),
    "short password": Case(
        "POST",
        "/auth/v1/signup",
        422,
        {"error_code": "weak_password", "weak_password": {"reasons": ["length"]}},
        b'{"email":"short@example.com","password":"x"}',
        JSON_TYPE,
    ),
    "long password": Case(
        "POST",
        "/auth/v1/signup",
        400,
        {"error_code": "validation_failed"},
        json.dumps({"email": "long@example.com", "password": "x" * 73}).encode(),
        JSON_TYPE,
    ),
    "wrong password": Case(
        "POST",
        "/auth/v1/token?grant_type=password",
        400,
        {"error_code": "invalid_credentials", "msg": "Invalid login credentials"},
        b'{"email":"nobody@example.com","password":"password123"}',
        JSON_TYPE,
    ),
    "unknown grant": Case(
        "POST", "/auth/v1/token?grant_type=magic", 400, {"error_code": "invalid_credentials"}, b"{}", JSON_TYPE
    ),
    "unknown refresh token": Case(
        "POST",
        "/auth/v1/token?grant_type=refresh_token",
        400,
        {"error_code": "refresh_token_not_found"},
        b'{"refresh_token":"abcdefghijkl"}',
        JSON_TYPE,
    ),
    "no bearer": Case("GET", "/auth/v1/user", 401, {"error_code": "no_authorization"}, token=None),
    "forged token": Case("GET", "/auth/v1/user", 403, {"error_code": "bad_jwt"}, token=FORGED),
    "expired token": Case("GET", "/auth/v1/user", 403, {"error_code": "bad_jwt"}, token=EXPIRED),
    "not an admin": Case("GET", "/auth/v1/admin/users", 403, {"error_code": "not_admin"}),
    "oversize body": Case("POST", "/auth/v1/signup", 413, {"error_code": "request_entity_too_large"}, BIG, JSON_TYPE),
}
STORAGE = {
    "unknown bucket": Case(
        "GET", "/storage/v1/bucket/nothing", 400, {"statusCode": "404", "error": "Bucket not found"}, token=SERVICE
    ),
    "unknown object": Case(
        "GET", "/storage/v1/object/avatars/none.png", 400, {"statusCode": "404", "error": "not_found"}, token=SERVICE
    ),
    "bad key": Case(
        "POST",
        "/storage/v1/object/avatars/a%5C..%5Cb",
        400,
        {"statusCode": "400", "error": "InvalidKey"},
        b"x",
        {"content-type": "image/png"},
        SERVICE,
    ),
    "upload of anon": Case(
        "POST",
        "/storage/v1/object/photos/x.txt",
        400,
        {"statusCode": "403", "error": "Unauthorized"},
        b"x",
        {"content-type": "text/plain"},
    ),
    "wrong type": Case(
        "POST",
        "/storage/v1/object/photos/x.exe",
        400,
        {"statusCode": "415", "error": "invalid_mime_type"},
        b"x",
        {"content-type": "application/x-msdownload"},
        SERVICE,
    ),
    "too large": Case(
        "POST",
        "/storage/v1/object/avatars/big.png",
        400,
        {"statusCode": "413", "error": "Payload too large"},
        b"x" * 1_048_577,
        {"content-type": "image/png"},
        SERVICE,
    ),
    "broken JSON": Case("POST", "/storage/v1/bucket", 400, {}, b"{bad", JSON_TYPE, SERVICE),
    "no name": Case("POST", "/storage/v1/bucket", 400, {"error": "Error"}, b"{}", JSON_TYPE, SERVICE),
    "no token": Case(
        "GET", "/storage/v1/bucket", 400, {"statusCode": "403", "message": "Invalid Compact JWS"}, token=NONSENSE
    ),
    "expired token": Case(
        "GET", "/storage/v1/bucket", 400, {"statusCode": "403", "error": "Unauthorized"}, token=EXPIRED
    ),
    "forged signed URL": Case("GET", "/storage/v1/object/sign/avatars/x.png?token=abc", 400, {"error": "InvalidJWT"}),
    "unknown route": Case("GET", "/storage/v1/nothing/here", 404, {"statusCode": 404}),
}
REALTIME = {
    "no messages": Case("POST", "/realtime/v1/api/broadcast", 422, {}, b"{}", JSON_TYPE),
    "no event": Case(
        "POST",
        "/realtime/v1/api/broadcast",
        422,
        {"errors": {"messages": [{"event": ["can't be blank"]}]}},
        b'{"messages":[{"topic":"t","payload":{}}]}',
        JSON_TYPE,
    ),
    "forged token": Case(
        "POST", "/realtime/v1/api/broadcast", 401, {"message": "Unauthorized"}, b'{"messages":[]}', JSON_TYPE, FORGED
    ),
}
SIMPLE = {
    "broken JSON": Case("POST", "/auth/signup", 400, {"error": {}}, b"{bad", JSON_TYPE, None),
    "missing member": Case("POST", "/auth/signin", 400, {"error": {}}, b'{"email":"a@example.com"}', JSON_TYPE, None),
    "wrong password": Case(
        "POST",
        "/auth/signin",
        401,
        {"error": {}},
        b'{"email":"nobody@example.com","password":"password123"}',
        JSON_TYPE,
        None,
    ),
    "wrong method": Case("GET", "/auth/signup", 405, {"error": {}}, token=None),
    "unknown route": Case("GET", "/nothing", 404, {"error": {"code": "not_found"}}, token=None),
    "database without sign-in": Case("POST", "/db", 401, {"error": {}}, b'{"name":"x"}', JSON_TYPE),
    "database of nobody": Case("GET", "/db/00000000-0000-4000-8000-000000000000/tables", 401, {"error": {}}),
    "upload without sign-in": Case("POST", "/storage/upload", 401, {"error": {}}, b"", JSON_TYPE),
    "file of nobody": Case("GET", "/storage/00000000-0000-4000-8000-000000000000", 401, {"error": {}}),
    "forged token": Case("GET", "/db", 401, {"error": {}}, token=FORGED),
}
CASES = [
    pytest.param(case, id=f"{face}: {name}")
    for face, cases in {
        "rest": REST,
        "auth": AUTH,
        "storage": STORAGE,
        "realtime": REALTIME,
        "simple": SIMPLE,
    }.items()
    for name, case in cases.items()
]

# What a refused request could have changed: rows of the sample project, users, objects, dynamic databases.
STATE = """
select (select count(*) from public.tags) as tags, (select count(*) from auth.users) as users,
       (select count(*) from auth.sessions) as sessions, (select count(*) from storage.objects) as objects,
       (select count(*) from storage.buckets) as buckets, (select count(*) from isobase.databases) as databases
"""


@pytest.fixture(scope="module", autouse=True)
def at_rest(stack: Stack) -> None:
    """Wait for the end of what tests of other files asked of the stack and did not wait for: it may change the state, too."""
    deadline_s = time.monotonic() + REST_TIMEOUT_S
    quiet = 0
    while quiet < 3:  # what lies unread in a socket is seen the next time
        assert time.monotonic() < deadline_s
        figures = httpx.get(f"{stack.url}/metrics").text
        (busy,) = re.findall(r"^isobase_http_requests_in_flight (\S+)$", figures, re.MULTILINE)
        quiet = quiet + 1 if float(busy) <= 1 else 0  # one is this question
        time.sleep(0.05)


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as opened:
        yield opened


@pytest.fixture
async def admin(stack: Stack) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(stack.admin_dsn)
    yield connection
    await connection.close()


def token_of(kind: str, stack: Stack) -> str:
    payload = {"sub": str(uuid4()), "role": "authenticated", "aud": "authenticated"}
    if kind == EXPIRED:
        return jwt.encode({**payload, "exp": int(time.time()) - 3600}, stack.jwt_secret, algorithm="HS256")
    if kind == FORGED:
        expiry = int(time.time()) + 3600
        return jwt.encode({**payload, "exp": expiry}, "another-secret-of-more-than-thirty-two-bytes", algorithm="HS256")
    return {ANON: stack.anon_key, SERVICE: stack.service_role_key, NONSENSE: "nonsense"}[kind]


@pytest.mark.parametrize("case", CASES)
async def test_bad_input_gets_the_upstreams_answer_and_changes_nothing(
    case: Case, stack: Stack, client: httpx.AsyncClient, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    before = await admin.fetchrow(STATE)
    headers = dict(case.headers)
    if case.token is not None:
        headers["authorization"] = f"Bearer {token_of(case.token, stack)}"
    answer = await client.request(case.method, case.path, content=case.content, headers=headers)
    assert answer.status_code == case.status, answer.text
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    assert holds(answer.json(), case.body), answer.text
    assert answer.headers["x-request-id"]
    assert await admin.fetchrow(STATE) == before


def holds(body: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether ``body`` has all that ``wanted`` says, nested objects member by member."""
    return all(
        name in body and (holds(body[name], value) if isinstance(value, Mapping) else body[name] == value)
        for name, value in wanted.items()
    )


async def test_a_body_over_the_limit_of_the_data_api_is_refused_before_it_is_sent(stack: Stack) -> None:
    place = urlsplit(stack.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = (
        f"POST /rest/v1/tags HTTP/1.1\r\nHost: {place.netloc}\r\napikey: {stack.anon_key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {10**10}\r\n\r\n"
    )
    writer.write(head.encode())
    async with asyncio.timeout(60):
        status = await reader.readline()
    writer.transport.abort()
    assert status.split()[1] == b"413"


@pytest.mark.parametrize(
    ("key", "status"),
    [("", 401), ("nonsense", 401), ("sb_publishable_other", 401)],
    ids=["none", "nonsense", "unknown"],
)
async def test_a_socket_without_a_key_of_the_project_is_refused(
    client: httpx.AsyncClient, key: str, status: int
) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    answer = await client.get(f"/realtime/v1/websocket?apikey={key}&vsn=2.0.0", headers=upgrade)
    assert answer.status_code == status
    assert "error" in answer.json()
