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


_UPLOAD_ID: Mapping[str, Any] = {
    "name": "upload_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
    "example": "0b9a4a1e-61c5-4a5e-8f0e-4a4d7c1c2f11",
}
_BEGUN_EXAMPLE: Mapping[str, Any] = {
    "upload_id": _UPLOAD_ID["example"],
    "upload_url": "http://127.0.0.1:54321/storage/v1/object/upload/sign/user-files/story-media/2f0c.../x.png?token=eyJ...",
    "method": "PUT",
    "headers": {"content-type": "image/png"},
    "key": "story-media/2f0c6f9e-7a3b-4c1d-8e5f-6a7b8c9d0e1f/1767600000000-9f86d081884c7d65.png",
    "expires_in": 900,
}
_UNAUTHORIZED = _error("No bearer token, or one that does not verify")

OPENAPI: Mapping[str, Any] = {
    "paths": {
        "/storage/upload": {
            "post": {
                "tags": ["storage"],
                "summary": "Upload a file",
                "description": "The file belongs to the signed-in user. The other fields must come before `file`.",
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
                                    "type": {
                                        "type": "string",
                                        "description": "A kind of upload, which decides folder, bucket and limits; "
                                        "its variables are further fields",
                                        "examples": ["profile-picture", "story-media"],
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
        "/storage/uploads": {
            "post": {
                "tags": ["storage"],
                "summary": "Announce a file that is sent directly",
                "description": "Answers with the request to send the bytes by; then complete the upload.",
                "security": [{"bearer": []}],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/AnnouncedFile"},
                            "example": {
                                "kind": "activity-image",
                                "content_type": "image/png",
                                "size": 48213,
                                "variables": {"activity_id": "a-17"},
                            },
                        }
                    },
                },
                "responses": {
                    "201": {
                        "description": "Send the file with this method, these headers, to this URL",
                        "content": {
                            "application/json": {
                                "schema": {"$ref": "#/components/schemas/BegunUpload"},
                                "example": _BEGUN_EXAMPLE,
                            }
                        },
                    },
                    "400": _error("No such kind, or a variable that is missing or cannot be"),
                    "401": _UNAUTHORIZED,
                    "403": _error("Policies refuse, or the token is no user's"),
                    "413": _error("Larger than the kind's limit"),
                    "415": _error("A type that the kind does not take"),
                },
            }
        },
        "/storage/uploads/{upload_id}/complete": {
            "post": {
                "tags": ["storage"],
                "summary": "Complete an announced upload",
                "description": "What arrived is looked at and becomes a file. Repeating it gives the same answer.",
                "security": [{"bearer": []}],
                "parameters": [_UPLOAD_ID],
                "responses": {
                    "200": _file("The file"),
                    "401": _UNAUTHORIZED,
                    "403": _error("Policies refuse, or the token is no user's"),
                    "404": _error("No such upload, or not yours"),
                    "409": _error("Nothing has arrived, or another size than was announced"),
                    "410": _error("Not completed in time"),
                },
            }
        },
        "/storage/{file_id}": {
            "get": {
                "tags": ["storage"],
                "summary": "Get a file's URL",
                "description": "A signed URL that is good for `expires_in` seconds, or a lasting one for a public file.",
                "security": [{"bearer": []}],
                "parameters": [
                    _FILE_ID,
                    {
                        "name": "expires_in",
                        "in": "query",
                        "schema": {"type": "integer", "minimum": 1, "maximum": 604800},
                        "description": "Life of a signed URL in seconds",
                    },
                    {
                        "name": "download",
                        "in": "query",
                        "schema": {"type": "string"},
                        "description": "The name that browsers save the file under; empty: its own",
                    },
                ],
                "responses": {
                    "200": _file("The file"),
                    "400": _error("expires_in is out of range"),
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
        "AnnouncedFile": {
            "type": "object",
            "required": ["kind", "content_type", "size"],
            "properties": {
                "kind": {"type": "string", "examples": ["profile-picture", "activity-image", "story-media"]},
                "content_type": {"type": "string"},
                "size": {"type": "integer", "description": "Bytes, exactly"},
                "variables": {
                    "type": "object",
                    "additionalProperties": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,100}$"},
                    "description": "What the kind's key asks for, such as activity_id",
                },
            },
        },
        "BegunUpload": {
            "type": "object",
            "required": ["upload_id", "upload_url", "method", "headers", "key", "expires_in"],
            "properties": {
                "upload_id": {"type": "string", "format": "uuid"},
                "upload_url": {"type": "string", "format": "uri"},
                "method": {"type": "string"},
                "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                "key": {"type": "string"},
                "expires_in": {"type": "integer", "description": "Seconds"},
            },
        },
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
        },
    },
}
