"""What the parts of the description share: small schemas, answers, errors, parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

DATABASE_ID, TABLE_ID = "8c1b6c1e-2f0a-4b7e-9a55-3d2c1b0a9f8e", "1f5d7a90-6b3c-4e21-8d4f-a0b1c2d3e4f5"
ROW_ID, USER_ID = "e7a1c3d5-9b2f-4a68-b0c1-d2e3f4a5b6c7", "5f1c9b6e-6f0a-4c5e-9f57-0d2b8f5f6a11"
AT = "2026-01-05T10:00:00+00:00"

DATABASE = {
    "database_id": DATABASE_ID,
    "name": "inventory",
    "schema": f"db_{DATABASE_ID.replace('-', '')}",
    "role": "owner",
    "created_at": AT,
}
NEW_TABLE: dict[str, Any] = {
    "name": "items",
    "columns": [
        {"name": "title", "type": "text", "nullable": False},
        {"name": "quantity", "type": "integer", "default": 1, "check": "quantity >= 0"},
        {"name": "shelf_id", "type": "uuid", "references": {"table": "shelves", "on_delete": "cascade"}},
    ],
    "access": "private",
}
TABLE: dict[str, Any] = {
    "table_id": TABLE_ID,
    "database_id": DATABASE_ID,
    "name": "items",
    "access": "private",
    "columns": [
        {
            "name": "id",
            "type": "uuid",
            "nullable": False,
            "default": "gen_random_uuid()",
            "unique": True,
            "primary_key": True,
            "identity": False,
            "references": None,
            "check": None,
        },
        {
            "name": "title",
            "type": "text",
            "nullable": False,
            "default": None,
            "unique": False,
            "primary_key": False,
            "identity": False,
            "references": None,
            "check": None,
        },
    ],
    "indexes": [{"name": "items_owner_idx", "columns": ["owner"], "unique": False, "method": "btree"}],
    "comment": None,
    "realtime": False,
    "created_at": AT,
}
MEMBER = {"user_id": USER_ID, "role": "editor", "created_at": AT}
ROW = {"id": ROW_ID, "created_at": AT, "owner": USER_ID, "title": "Lamp", "quantity": 2, "shelf_id": None}

TEXT: Mapping[str, Any] = {"type": "string"}
UUID: Mapping[str, Any] = {"type": "string", "format": "uuid"}
TIME: Mapping[str, Any] = {"type": "string", "format": "date-time"}
ROW_SCHEMA: Mapping[str, Any] = {"type": "object", "additionalProperties": True}


def object_schema(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema


def definitions(*models: type[BaseModel]) -> dict[str, Any]:
    """The models and the enums that they use."""
    found: dict[str, Any] = {}
    for model in models:
        found |= model.model_json_schema(ref_template="#/components/schemas/{model}").get("$defs", {})
    return found | {model.__name__: schema(model) for model in models}


def reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def list_schema(of: str, name: str) -> dict[str, Any]:
    return object_schema(**{name: {"type": "array", "items": reference(of)}})


def answer(description: str, schema: Mapping[str, Any], example: object) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema, "example": example}}}


def error(description: str, code: str, message: str) -> dict[str, Any]:
    example = {"error": {"code": code, "message": message, "details": None, "hint": None, "request_id": "9f6d1c4e"}}
    return answer(description, reference("Error"), example)


def body(schema: Mapping[str, Any], example: object) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def path(name: str, example: str) -> dict[str, Any]:
    return {"name": f"{name}_id", "in": "path", "required": True, "schema": UUID, "example": example}


def query(name: str, description: str, example: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": TEXT, "description": description, "example": example}


UNAUTHORIZED = error("No bearer token, or one that does not verify", "invalid_token", "Sign in first")
FORBIDDEN = error("Your role does not allow it", "forbidden", "Your role in this database does not allow this")
NO_DATABASE = error("No such database, or not yours", "database_not_found", "There is no such database")
NO_TABLE = error("No such table, or not yours to know of", "table_not_found", "There is no such table")
NO_ROW = error("No such row, or not yours to see", "row_not_found", "There is no such row")
QUOTA = error("The limit is reached", "quota_reached", "A user has at most 50 databases")
BAD_BODY = error("The body is not valid", "invalid_body", "The request body is not valid")
LAST_OWNER = error("The last owner stays", "last_owner", "A database keeps at least one owner")
POLICIES = error("Policies do not allow it", "forbidden", "The table's policies do not allow this")

IN_DATABASE = [path("database", DATABASE_ID)]
OF_MEMBER = [*IN_DATABASE, path("user", USER_ID)]
OF_TABLE = [*IN_DATABASE, path("table", TABLE_ID)]
OF_ROW = [
    *OF_TABLE,
    path("row", ROW_ID)
    | {"schema": TEXT, "description": "The primary key's value; those of several columns are separated by commas"},
]
WRITE_OPTIONS = [
    query("upsert", "merge or ignore: what becomes of rows that are there already", "merge"),
    query("on_conflict", "The unique columns that tell rows; default is the primary key", "title"),
    query("return", "minimal: answer with the number of written rows only", "minimal"),
]
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "A key of your choice, such as a UUID: a write that is sent again with it happens once and gets the first"
    " answer, with Idempotency-Replayed: true",
    "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
}
FILTERS = [
    query("{column}", "A filter, operator and value, as in /rest/v1; any number of them", "gte.18"),
    query("select", "Columns, aliases, casts and tables that are referred to", "title,shelves(name)"),
    query("order", "Columns to sort by", "quantity.desc"),
    query("limit", "At most so many rows", "20"),
    query("offset", "Leave out the first so many", "40"),
    query("cursor", "next_cursor of the page before; empty for the first page", ""),
    query("count", "exact: say in count how many rows match, whatever the limit", "exact"),
]


def operation(tag_summary: str, responses: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "tags": ["databases"],
        "summary": tag_summary,
        "security": [{"bearer": []}],
        **more,
        "responses": {**responses, "401": UNAUTHORIZED},
    }


def deleted(name: str, example: str) -> dict[str, Any]:
    schema = object_schema(**{name: UUID, "deleted": {"type": "boolean"}})
    return answer("Deleted", schema, {name: example, "deleted": True})
