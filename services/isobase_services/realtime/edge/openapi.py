"""The part of ``/openapi.json`` that describes broadcasts over HTTP, for senders without a client library.

Sockets are described in docs/realtime.md. Source: contracts/realtime.md 1.12.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["OPENAPI"]

_SECURITY: list[Mapping[str, list[str]]] = [{"bearer": []}, {"apikey": []}]
_RATE_HEADERS: Mapping[str, Any] = {
    "x-rate-limit": {
        "description": "Messages per second that the project may send and receive",
        "schema": {"type": "integer"},
    },
    "x-rate-rolling": {"description": "Their average over the last minute", "schema": {"type": "integer"}},
    "x-rate-limit-remaining": {"description": "What is left of the limit", "schema": {"type": "integer"}},
}


def _answer(description: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    answer: dict[str, Any] = {"description": description, "headers": _RATE_HEADERS}
    if body is not None:
        answer["content"] = {"application/json": {"schema": {"type": "object"}, "example": body}}
    return answer


_UNAUTHORIZED = _answer("No token, or one that does not verify", {"message": "Unauthorized"})
_MALFORMED = _answer("The body is not JSON")
_TOO_LARGE = _answer("A body of more than 8,000,000 bytes")


def _path(name: str, description: str, example: str) -> Mapping[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


OPENAPI: Mapping[str, Any] = {
    "paths": {
        "/realtime/v1/api/broadcast": {
            "post": {
                "tags": ["realtime"],
                "summary": "Broadcast several messages",
                "description": "All or none, but for those to private channels that policies refuse: they are skipped.",
                "security": _SECURITY,
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Broadcasts"}}},
                },
                "responses": {
                    "202": _answer("Handed on"),
                    "400": _MALFORMED,
                    "401": _UNAUTHORIZED,
                    "413": _TOO_LARGE,
                    "422": _answer(
                        "Something is missing or wrong; nothing was sent",
                        {"errors": {"messages": [{}, {"event": ["can't be blank"]}]}},
                    ),
                    "429": _answer("The project's rate is used up", {"message": "You have exceeded your rate limit"}),
                    "503": _answer("The policies of a private channel could not be asked; nothing was sent"),
                },
            }
        },
        "/realtime/v1/api/broadcast/{topic}/events/{event}": {
            "post": {
                "tags": ["realtime"],
                "summary": "Broadcast one message",
                "description": "The body is the payload: JSON, or raw bytes, which reach sockets of protocol 2.0.0 only.",
                "security": _SECURITY,
                "parameters": [
                    _path("topic", "The channel's name, without realtime:", "room-1"),
                    _path("event", "The event that its subscribers listen to", "message"),
                    {
                        "name": "private",
                        "in": "query",
                        "description": "true for the private channel of that name, whose policies decide",
                        "schema": {"type": "boolean", "default": False},
                    },
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"type": "object"}, "example": {"text": "hello"}},
                        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                    },
                },
                "responses": {
                    "202": _answer("Handed on"),
                    "400": _MALFORMED,
                    "401": _UNAUTHORIZED,
                    "403": _answer("Policies refuse", {"message": "Unauthorized"}),
                    "413": _TOO_LARGE,
                    "415": _answer(
                        "Neither JSON nor raw bytes",
                        {"error": "Unsupported Media Type. Use application/json or application/octet-stream"},
                    ),
                    "422": _answer(
                        "The payload is too large, or the policies could not be asked",
                        {"errors": {"payload": ["Payload size exceeds tenant limit"]}},
                    ),
                    "429": _answer("The project's rate is used up", {"message": "You have exceeded your rate limit"}),
                },
            }
        },
    },
    "schemas": {
        "Broadcasts": {
            "type": "object",
            "required": ["messages"],
            "properties": {
                "messages": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["topic", "event", "payload"],
                        "properties": {
                            "topic": {"type": "string", "description": "The channel's name, without realtime:"},
                            "event": {"type": "string"},
                            "payload": {"type": "object"},
                            "private": {"type": "boolean", "default": False},
                            "id": {"type": "string", "description": "Given back as meta.id"},
                        },
                    },
                }
            },
            "example": {"messages": [{"topic": "room-1", "event": "message", "payload": {"text": "hello"}}]},
        }
    },
}
