"""The part of ``/openapi.json`` that describes rooms over HTTP. The socket is described by ``asyncapi``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isobase_services.realtime.simple.actions import ROOM_ID_PATTERN

__all__ = ["OPENAPI"]

_SECURITY: list[Mapping[str, list[str]]] = [{"bearer": []}, {"apikey": []}]
_ROOM_EXAMPLE: Mapping[str, Any] = {
    "roomId": "plans",
    "name": "Plans",
    "public": False,
    "metadata": {"color": "green"},
    "createdBy": "2f0c6f9e-7a3b-4c1d-8e5f-6a7b8c9d0e1f",
    "createdAt": "2026-01-01T12:00:00.000Z",
    "role": "owner",
    "lastSeq": 17,
    "lastMessageAt": "2026-01-02T08:30:00.000Z",
    "readSeq": 12,
    "unread": 5,
}
_MESSAGE_EXAMPLE: Mapping[str, Any] = {
    "id": "6a1d2f3e-5b4c-4d7a-9e8f-0a1b2c3d4e5f",
    "roomId": "plans",
    "seq": 17,
    "sender": "2f0c6f9e-7a3b-4c1d-8e5f-6a7b8c9d0e1f",
    "message": "hello",
    "clientId": "m-1",
    "createdAt": "2026-01-02T08:30:00.000Z",
}


def _error(description: str) -> Mapping[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def _answer(description: str, example: Mapping[str, Any], schema: str | None = None) -> Mapping[str, Any]:
    described = {"type": "object"} if schema is None else {"$ref": f"#/components/schemas/{schema}"}
    return {"description": description, "content": {"application/json": {"schema": described, "example": example}}}


def _body(
    properties: Mapping[str, Any], example: Mapping[str, Any], required: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return {"required": bool(required), "content": {"application/json": {"schema": schema, "example": example}}}


def _path(name: str, description: str, example: str) -> Mapping[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


def _query(name: str, description: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


_ROOM = _path("roomId", "The room", "plans")
_USER = _path("user", "The user's id", "2f0c6f9e-7a3b-4c1d-8e5f-6a7b8c9d0e1f")
_LIMIT = _query("limit", "How many at the most", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50})
_REFUSALS: Mapping[str, Any] = {
    "400": _error("Something is missing or wrong"),
    "401": _error("No token, or one that does not verify"),
    "403": _error("The caller may not do this"),
}
_IN_ROOM: Mapping[str, Any] = {**_REFUSALS, "404": _error("There is no such room, or it is not open to the caller")}
_NEW_MEMBERS: Mapping[str, Any] = {
    "name": {"type": ["string", "null"], "maxLength": 200},
    "public": {"type": "boolean", "description": "Whether the room is open to every signed-in user"},
    "metadata": {"type": "object", "description": "Anything, up to 16 KiB"},
}


def _operation(summary: str, responses: Mapping[str, Any], **members: Any) -> Mapping[str, Any]:
    return {"tags": ["rooms"], "summary": summary, "security": _SECURITY, **members, "responses": responses}


OPENAPI: Mapping[str, Any] = {
    "paths": {
        "/realtime/rooms": {
            "get": _operation(
                "List one's rooms and the public ones",
                {"200": _answer("The latest first", {"rooms": [_ROOM_EXAMPLE], "next": None}), **_REFUSALS},
                parameters=[_LIMIT, _query("before", "`next` of the page before", {"type": "string"})],
            ),
            "post": _operation(
                "Make a room",
                {"201": _answer("Made", _ROOM_EXAMPLE, "Room"), **_REFUSALS, "409": _error("The id is taken")},
                requestBody=_body(
                    {
                        "roomId": {"type": "string", "pattern": ROOM_ID_PATTERN},
                        **_NEW_MEMBERS,
                        "members": {"type": "array", "items": {"type": "string"}, "maxItems": 1000},
                    },
                    {"roomId": "plans", "name": "Plans"},
                ),
            ),
        },
        "/realtime/rooms/{roomId}": {
            "get": _operation(
                "Get a room", {"200": _answer("The room", _ROOM_EXAMPLE, "Room"), **_IN_ROOM}, parameters=[_ROOM]
            ),
            "patch": _operation(
                "Change a room",
                {"200": _answer("Changed", _ROOM_EXAMPLE, "Room"), **_IN_ROOM},
                parameters=[_ROOM],
                requestBody=_body(_NEW_MEMBERS, {"name": "New plans"}),
            ),
            "delete": _operation(
                "Delete a room and what was said in it",
                {"204": {"description": "Deleted"}, **_IN_ROOM},
                parameters=[_ROOM],
            ),
        },
        "/realtime/rooms/{roomId}/messages": {
            "get": _operation(
                "Read what was said",
                {
                    "200": _answer(
                        "The oldest first", {"roomId": "plans", "messages": [_MESSAGE_EXAMPLE], "more": False}
                    ),
                    **_IN_ROOM,
                },
                parameters=[
                    _ROOM,
                    _LIMIT,
                    _query("before", "Messages before this number", {"type": "integer", "minimum": 0}),
                    _query("after", "Messages after this number", {"type": "integer", "minimum": 0}),
                    _query("since", "Messages from this time on", {"type": "string", "format": "date-time"}),
                ],
            ),
            "post": _operation(
                "Say something",
                {
                    "201": _answer("Stored and published", _MESSAGE_EXAMPLE, "RoomMessage"),
                    **_IN_ROOM,
                    "413": _error("The message is too large"),
                    "429": _error("The project's rate is used up"),
                },
                parameters=[_ROOM],
                requestBody=_body(
                    {
                        "message": {"description": "Any JSON"},
                        "clientId": {
                            "type": "string",
                            "description": "Makes sending it again harmless",
                            "maxLength": 128,
                        },
                    },
                    {"message": "hello", "clientId": "m-1"},
                    ("message",),
                ),
            ),
        },
        "/realtime/rooms/{roomId}/read": {
            "post": _operation(
                "Note how far one has read",
                {"200": _answer("How far that is", {"roomId": "plans", "seq": 17}), **_IN_ROOM},
                parameters=[_ROOM],
                requestBody=_body(
                    {"seq": {"type": "integer", "description": "A message's number; without it, all"}}, {"seq": 17}
                ),
            )
        },
        "/realtime/rooms/{roomId}/members": {
            "get": _operation(
                "List the members",
                {
                    "200": _answer(
                        "At most 1000",
                        {
                            "roomId": "plans",
                            "members": [
                                {
                                    "user": _USER["example"],
                                    "role": "owner",
                                    "since": "2026-01-01T12:00:00.000Z",
                                    "readSeq": 17,
                                }
                            ],
                            "more": False,
                        },
                    ),
                    **_IN_ROOM,
                },
                parameters=[_ROOM],
            ),
            "post": _operation(
                "Add a member, give another role, or come to a public room",
                {"200": _answer("Done", {"roomId": "plans", "user": _USER["example"]}), **_IN_ROOM},
                parameters=[_ROOM],
                requestBody=_body(
                    {
                        "user": {"type": "string", "description": "Without it, the caller"},
                        "role": {"enum": ["owner", "member"], "default": "member"},
                    },
                    {"user": _USER["example"]},
                ),
            ),
        },
        "/realtime/rooms/{roomId}/members/{user}": {
            "delete": _operation(
                "Remove a member, or leave",
                {"204": {"description": "Removed"}, **_IN_ROOM, "409": _error("A room keeps at least one owner")},
                parameters=[_ROOM, _USER],
            )
        },
    },
    "schemas": {
        "Room": {
            "type": "object",
            "required": ["roomId", "public", "lastSeq"],
            "properties": {
                "roomId": {"type": "string"},
                **_NEW_MEMBERS,
                "createdBy": {"type": ["string", "null"]},
                "createdAt": {"type": "string", "format": "date-time"},
                "role": {"enum": ["owner", "member", "guest", None], "description": "What the caller is in it"},
                "lastSeq": {"type": "integer", "description": "The number of the newest message"},
                "lastMessageAt": {"type": ["string", "null"], "format": "date-time"},
                "readSeq": {"type": ["integer", "null"], "description": "How far the caller has read"},
                "unread": {"type": "integer"},
            },
            "example": _ROOM_EXAMPLE,
        },
        "RoomMessage": {
            "type": "object",
            "required": ["id", "roomId", "seq", "sender", "message", "createdAt"],
            "properties": {
                "id": {"type": "string", "format": "uuid"},
                "roomId": {"type": "string"},
                "seq": {"type": "integer", "description": "Counts the room's messages from 1, without gaps"},
                "sender": {"type": ["string", "null"], "description": "The user's id; null for the service"},
                "message": {"description": "Any JSON"},
                "clientId": {"type": ["string", "null"]},
                "createdAt": {"type": "string", "format": "date-time"},
            },
            "example": _MESSAGE_EXAMPLE,
        },
    },
}
