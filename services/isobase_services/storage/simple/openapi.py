"""The simple face's part of ``/openapi.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["OPENAPI"]

_FILE_EXAMPLE: Mapping[str, Any] = {
    "file_id": "6a1d2f3e-5b4c-4d7a-9e8f-0a1b2c3d4e5f",
    "url": "http://127.0.0.1:54321/storage/v1/object/sign/user-files/2f0c.../3e5f-cat.png?token=eyJ...",
    "expires_in": 3600,
    "key": "2f0c6f9e-7a3b-4c1d-8e5f-6a7b8c9d0e1f/albums/9f86d081884c-cat.png",
    "size": 48213,
    "content_type": "image/png",
}
_FILE_ID: Mapping[str, Any] = {
    "name": "file_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
    "example": _FILE_EXAMPLE["file_id"],
}


def _error(description: str) -> Mapping[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def _file(description: str) -> Mapping[str, Any]:
    content = {"schema": {"$ref": "#/components/schemas/StoredFile"}, "example": _FILE_EXAMPLE}
    return {"description": description, "content": {"application/json": content}}


_UNAUTHORIZED = _error("No bearer token, or one that does not verify")

OPENAPI: Mapping[str, Any] = {
    "paths": {
        "/storage/upload": {
            "post": {
                "tags": ["storage"],
                "summary": "Upload a file",
                "description": "The file belongs to the signed-in user. `folder` and `public` must come before `file`.",
                "security": [{"bearer": []}],
                "requestBody": {
                    "required": True,
                    "content": {
                        "multipart/form-data": {
                            "schema": {
                                "type": "object",
                                "required": ["file"],
                                "properties": {
                                    "folder": {
                                        "type": "string",
                                        "description": "Folder below the user's own, such as albums/2026",
                                    },
                                    "public": {
                                        "type": "boolean",
                                        "default": False,
                                        "description": "Whether anybody may read the file by its URL",
                                    },
                                    "file": {"type": "string", "format": "binary"},
                                },
                            },
                            "example": {"folder": "albums", "file": "(binary)"},
                        }
                    },
                },
                "responses": {
                    "201": _file("Stored"),
                    "400": _error("Not a form, no file in it, or a folder that cannot be"),
                    "401": _UNAUTHORIZED,
                    "403": _error("Policies refuse, or the token is no user's"),
                    "413": _error("Larger than the limit"),
                },
            }
        },
        "/storage/{file_id}": {
            "get": {
                "tags": ["storage"],
                "summary": "Get a file's URL",
                "description": "A signed URL that is good for `expires_in` seconds, or a lasting one for a public file.",
                "security": [{"bearer": []}],
                "parameters": [_FILE_ID],
                "responses": {
                    "200": _file("The file"),
                    "401": _UNAUTHORIZED,
                    "404": _error("No such file, or not yours"),
                },
            },
            "delete": {
                "tags": ["storage"],
                "summary": "Delete a file",
                "security": [{"bearer": []}],
                "parameters": [_FILE_ID],
                "responses": {
                    "200": {
                        "description": "Deleted",
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "properties": {
                                        "file_id": {"type": "string", "format": "uuid"},
                                        "deleted": {"type": "boolean"},
                                    },
                                },
                                "example": {"file_id": _FILE_EXAMPLE["file_id"], "deleted": True},
                            }
                        },
                    },
                    "401": _UNAUTHORIZED,
                    "403": _error("Policies keep the file"),
                    "404": _error("No such file, or not yours"),
                },
            },
        },
    },
    "schemas": {
        "StoredFile": {
            "type": "object",
            "required": ["file_id", "url", "expires_in", "key", "size", "content_type"],
            "properties": {
                "file_id": {"type": "string", "format": "uuid"},
                "url": {"type": "string", "format": "uri"},
                "expires_in": {"type": ["integer", "null"], "description": "Seconds; null for a public file"},
                "key": {"type": "string"},
                "size": {"type": ["integer", "null"], "description": "Bytes"},
                "content_type": {"type": ["string", "null"]},
            },
        }
    },
}
