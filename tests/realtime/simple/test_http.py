"""Rooms over HTTP, and the description of the socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from isobase_services.realtime.simple.actions import ACTIONS
from tests.realtime.client import PATIENCE_S
from tests.realtime.conftest import ALICE, BOB, Stack
from tests.realtime.simple.conftest import Connect

ASYNCAPI_SCHEMA = Path(__file__).parents[2] / "node" / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"


class Http:
    """A caller of the HTTP face."""

    def __init__(self, stack: Stack, token: str | None) -> None:
        self._base = f"{stack.url}/realtime"
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}

    async def __call__(
        self, method: str, path: str, body: object = None, *, raw: bytes | None = None
    ) -> tuple[int, Any]:
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        async with httpx.AsyncClient(headers=self._headers, timeout=PATIENCE_S) as http:
            answer = await http.request(method, self._base + path, content=content)
        return answer.status_code, answer.json() if answer.content else None


async def test_a_server_makes_a_room_and_speaks_in_it_and_members_hear_it(connect: Connect, stack: Stack) -> None:
    service = Http(stack, stack.settings.service_role_token)
    status, room = await service("POST", "/rooms", {"roomId": "support", "name": "Support", "members": [ALICE]})
    assert (status, room["createdBy"], room["name"]) == (201, None, "Support")
    alice = await connect(ALICE)
    await alice.do("joinRoom", roomId="support")
    status, message = await service("POST", "/rooms/support/messages", {"message": "welcome", "clientId": "w"})
    assert (status, message["sender"], message["seq"]) == (201, None, 1)
    assert await service("POST", "/rooms/support/messages", {"message": "welcome", "clientId": "w"}) == (201, message)
    assert (await alice.event("message"))["message"] == "welcome"
    assert await service("POST", "/rooms/support/members", {"user": BOB, "role": "owner"}) == (
        200,
        {"roomId": "support", "user": BOB},
    )
    assert (await alice.event("member", user=BOB))["role"] == "owner"
    assert (await service("DELETE", "/rooms/support/members/" + ALICE))[0] == 204
    await alice.event("left", roomId="support")


async def test_rooms_are_made_listed_changed_read_and_deleted(stack: Stack) -> None:
    alice, bob = Http(stack, stack.token(ALICE)), Http(stack, stack.token(BOB))
    status, room = await alice("POST", "/rooms")
    path = f"/rooms/{room['roomId']}"
    assert (status, room["role"], await alice("GET", path)) == (201, "owner", (200, room))
    for number in range(3):
        await alice("POST", f"{path}/messages", {"message": number})
    status, page = await alice("GET", f"{path}/messages?limit=2&before=3")
    assert (status, [item["message"] for item in page["messages"]], page["more"]) == (200, [0, 1], False)
    assert (await alice("PATCH", path, {"name": "New"}))[1]["name"] == "New"
    assert [item["name"] for item in (await alice("GET", "/rooms?limit=5"))[1]["rooms"]] == ["New"]
    assert await alice("POST", f"{path}/read") == (200, {"roomId": room["roomId"], "seq": 3})
    assert [item["role"] for item in (await alice("GET", f"{path}/members"))[1]["members"]] == ["owner"]
    for method, suffix, body in (
        ("GET", "", None),
        ("PATCH", "", {"name": "x"}),
        ("DELETE", "", None),
        ("GET", "/messages", None),
        ("POST", "/messages", {"message": "x"}),
        ("POST", "/read", {}),
        ("GET", "/members", None),
        ("POST", "/members", {}),
        ("DELETE", f"/members/{ALICE}", None),
    ):
        status, answer = await bob(method, path + suffix, body)
        assert (status, answer["error"]["code"]) == (404, "room_not_found"), (method, suffix)
    assert await alice("DELETE", path) == (204, None)
    assert (await alice("GET", path))[0] == 404


REFUSED: list[tuple[str, str, bytes | None, tuple[int, str]]] = [
    ("POST", "/rooms", b"{", (400, "invalid_json")),
    ("POST", "/rooms", b"[]", (400, "invalid_json")),
    ("POST", "/rooms", b'{"public": "yes"}', (400, "invalid_body")),
    ("POST", "/rooms", b'{"roomId": "no/slash"}', (400, "invalid_body")),
    ("POST", "/rooms/general/messages", b"{}", (400, "invalid_body")),
    ("POST", "/rooms/general/messages", b'{"message": "' + b"x" * 17_000 + b'"}', (413, "message_too_large")),
    ("POST", "/rooms/general/messages", b'"' + b"x" * 70_000 + b'"', (413, "body_too_large")),
    ("GET", "/rooms/general/messages?limit=0", None, (400, "invalid_parameter")),
    ("GET", "/rooms/general/messages?limit=many", None, (400, "invalid_parameter")),
    ("GET", "/rooms/no%20room", None, (400, "invalid_parameter")),
    ("DELETE", "/rooms", None, (405, "method_not_allowed")),
    ("GET", "/halls", None, (404, "not_found")),
]


async def test_a_request_that_cannot_be_done_is_refused_in_the_simple_shape(stack: Stack) -> None:
    alice = Http(stack, stack.token(ALICE))
    for method, path, raw, expected in REFUSED:
        status, answer = await alice(method, path, raw=raw)
        assert (status, answer["error"]["code"]) == expected, (method, path)
        assert answer["error"].keys() == {"code", "message", "details", "hint", "request_id"}


async def test_without_a_user_rooms_are_closed(stack: Stack) -> None:
    for token, status in ((None, 401), ("nonsense", 401), (stack.anon_key, 403)):
        answer = await Http(stack, token)("GET", "/rooms")
        assert answer[0] == status
    assert (await Http(stack, stack.settings.service_role_token)("POST", "/rooms/general/read"))[1]["error"][
        "code"
    ] in (
        "user_required",
        "room_not_found",
    )


async def test_the_description_of_the_socket_is_valid_asyncapi_and_names_every_action(stack: Stack) -> None:
    if not ASYNCAPI_SCHEMA.exists():
        pytest.fail("The schema of AsyncAPI is missing: run `make test-deps`")
    status, document = await Http(stack, None)("GET", "/asyncapi.json")
    assert status == 200
    jsonschema.Draft7Validator(json.loads(ASYNCAPI_SCHEMA.read_text())).validate(document)
    assert set(document["operations"]) == {*ACTIONS, "hear"}
    messages = document["channels"]["realtime"]["messages"]
    schema = messages["sendMessageAction"]["payload"]["schema"]
    jsonschema.Draft7Validator(schema).validate({"action": "sendMessage", "roomId": "general", "message": [1]})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate({"action": "sendMessage", "roomId": "general"})
