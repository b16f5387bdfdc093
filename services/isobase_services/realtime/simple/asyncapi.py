"""The AsyncAPI 3.0 description of the socket at ``/realtime``, served as ``/realtime/asyncapi.json``.

The members of each action come from the models that check them (``actions``), so the description cannot say anything else.
Source: asyncapi.com, specification 3.0.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from isobase_platform import __version__
from isobase_services.realtime.simple.actions import ACTIONS

__all__ = ["asyncapi_document"]

_CHANNEL: Final = "#/channels/realtime"
_DIALECT: Final = "application/schema+json;version=draft-07"

_MESSAGE_MEMBERS: Mapping[str, Any] = {
    "id": {"type": "string", "format": "uuid"},
    "roomId": {"type": "string"},
    "seq": {"type": "integer", "description": "Counts the room's messages from 1, without gaps"},
    "sender": {"type": ["string", "null"], "description": "The user's id; null for the service"},
    "message": {"description": "Any JSON"},
    "clientId": {"type": ["string", "null"]},
    "createdAt": {"type": "string", "format": "date-time"},
}
_PERSON: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "user": {"type": "string"},
        "ref": {"type": "string", "description": "Names this entry: one for each connection"},
        "replaces": {"type": "string", "description": "The entry that it takes the place of"},
        "status": {"type": "object"},
    },
}
_ADDRESS: Mapping[str, Any] = {
    "roomId": {"type": "string"},
    "channel": {"type": "string"},
    "subscription": {"type": "string"},
}
_ERROR: Mapping[str, Any] = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "details": {"type": ["string", "null"]},
        "hint": {"type": ["string", "null"]},
        "request_id": {"type": ["string", "null"]},
    },
}
_PEOPLE: Mapping[str, Any] = {"type": "array", "items": _PERSON}

_EVENTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "message": ("Somebody said something in a room", _MESSAGE_MEMBERS),
    "typing": (
        "Somebody types in a room, or has ended",
        {
            "roomId": {"type": "string"},
            "user": {"type": ["string", "null"]},
            "typing": {"type": "boolean"},
            "expiresInMs": {"type": "integer"},
        },
    ),
    "read": (
        "Somebody has read a room up to a message",
        {"roomId": {"type": "string"}, "user": {"type": "string"}, "seq": {"type": "integer"}},
    ),
    "presence": (
        "Who is in a room, or who came and went",
        {"roomId": {"type": "string"}, "present": _PEOPLE, "joined": _PEOPLE, "left": _PEOPLE},
    ),
    "member": (
        "A member was added, removed, or has another role",
        {
            "roomId": {"type": "string"},
            "user": {"type": "string"},
            "change": {"enum": ["added", "removed", "role"]},
            "role": {"enum": ["owner", "member", None]},
        },
    ),
    "room": (
        "A room was changed or deleted",
        {"roomId": {"type": "string"}, "change": {"enum": ["created", "updated", "deleted"]}},
    ),
    "left": ("The server ended a room, channel or subscription of the socket", _ADDRESS),
    "broadcast": (
        "Something was sent to a channel",
        {**_ADDRESS, "event": {"type": ["string", "null"]}, "payload": {}},
    ),
    "subscribed": ("Row changes come from now on", {"subscription": {"type": "string"}}),
    "change": ("A row was changed", {"subscription": {"type": "string"}, "change": {"type": "object"}}),
    "error": (
        "Something went wrong that is no answer to an action",
        {"ok": {"const": False}, **_ADDRESS, "error": _ERROR},
    ),
    "ping": ("A sign of life, which needs no answer", {}),
    "restarting": ("The server is about to close the socket with 1012; connect again", {}),
}


def asyncapi_document() -> Mapping[str, Any]:
    """The document as a JSON-ready mapping."""
    messages: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for name, model in ACTIONS.items():
        schema = _plain(model.model_json_schema(by_alias=True))
        schema.pop("$defs", None)
        schema.pop("description", None)
        schema["properties"] = {
            "action": {"const": name},
            "requestId": {"type": ["string", "integer"], "description": "Given back in the answer"},
            **schema.get("properties", {}),
        }
        schema["required"] = ["action", *schema.get("required", [])]
        summary = " ".join((model.__doc__ or "").replace("``", "").split())
        messages[f"{name}Action"] = {"name": name, "summary": summary, "payload": _schema(schema)}
        operations[name] = {
            "action": "receive",
            "channel": {"$ref": _CHANNEL},
            "summary": summary,
            "messages": [{"$ref": f"{_CHANNEL}/messages/{name}Action"}],
            "reply": {
                "channel": {"$ref": _CHANNEL},
                "messages": [{"$ref": f"{_CHANNEL}/messages/answer"}, {"$ref": f"{_CHANNEL}/messages/refusal"}],
            },
        }
    messages["answer"] = _message(
        "The action was done; what it asked for stands beside",
        {"action": {"enum": list(ACTIONS)}, "ok": {"const": True}, "requestId": {"type": ["string", "integer"]}},
        ["action", "ok"],
    )
    messages["refusal"] = _message(
        "The action was not done",
        {
            "action": {"enum": list(ACTIONS)},
            "ok": {"const": False},
            "requestId": {"type": ["string", "integer"]},
            "error": _ERROR,
        },
        ["action", "ok", "error"],
    )
    for name, (summary, members) in _EVENTS.items():
        messages[f"{name}Event"] = _message(summary, {"action": {"const": name}, **members}, ["action"])
    operations["hear"] = {
        "action": "send",
        "channel": {"$ref": _CHANNEL},
        "summary": "What the server tells by itself",
        "messages": [{"$ref": f"{_CHANNEL}/messages/{name}Event"} for name in _EVENTS],
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Isobase realtime, the simple face",
            "version": __version__,
            "description": "Rooms, channels and row changes as JSON on a WebSocket.",
        },
        "servers": {"local": {"host": "127.0.0.1:54321", "protocol": "ws"}},
        "defaultContentType": "application/json",
        "channels": {"realtime": {"address": "/realtime", "messages": messages}},
        "operations": operations,
    }


def _plain(schema: Any) -> Any:
    """A schema without the titles and references that pydantic makes; its one reference is to any JSON."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {}
    return {name: _plain(value) for name, value in schema.items() if not (name == "title" and isinstance(value, str))}


def _message(summary: str, members: Mapping[str, Any], required: list[str]) -> Mapping[str, Any]:
    return {"summary": summary, "payload": _schema({"type": "object", "required": required, "properties": members})}


def _schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"schemaFormat": _DIALECT, "schema": schema}
