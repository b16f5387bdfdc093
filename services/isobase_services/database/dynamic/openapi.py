"""The simple data face's part of ``/openapi.json``, made from the models that the endpoints use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from isobase_services.database.dynamic.bodies import ColumnBody, DatabaseBody, MemberBody, ReferenceBody, TableBody

__all__ = ["OPENAPI"]

_DATABASE_ID, _TABLE_ID = "8c1b6c1e-2f0a-4b7e-9a55-3d2c1b0a9f8e", "1f5d7a90-6b3c-4e21-8d4f-a0b1c2d3e4f5"
_ROW_ID, _USER_ID = "e7a1c3d5-9b2f-4a68-b0c1-d2e3f4a5b6c7", "5f1c9b6e-6f0a-4c5e-9f57-0d2b8f5f6a11"
_AT = "2026-01-05T10:00:00+00:00"

_DATABASE = {"database_id": _DATABASE_ID, "name": "inventory", "schema": f"db_{_DATABASE_ID.replace('-', '')}"} | {
    "created_at": _AT
}
_NEW_TABLE: dict[str, Any] = {
    "name": "items",
    "columns": [
        {"name": "title", "type": "text", "nullable": False},
        {"name": "quantity", "type": "integer", "default": 1},
        {"name": "shelf_id", "type": "uuid", "references": {"table": "shelves", "on_delete": "cascade"}},
    ],
    "access": "owner",
}
_TABLE: dict[str, Any] = {
    "table_id": _TABLE_ID,
    "database_id": _DATABASE_ID,
    "name": "items",
    "access": "owner",
    "columns": [
        {
            "name": "id",
            "type": "uuid",
            "nullable": False,
            "default": "gen_random_uuid()",
            "unique": True,
            "references": None,
        },
        {
            "name": "title",
            "type": "text",
            "nullable": False,
            "default": None,
            "unique": False,
            "references": None,
        },
    ],
    "created_at": _AT,
}
_MEMBER = {"user_id": _USER_ID, "role": "writer", "created_at": _AT}
_ROW = {"id": _ROW_ID, "created_at": _AT, "owner": _USER_ID, "title": "Lamp", "quantity": 2, "shelf_id": None}

_TEXT: Mapping[str, Any] = {"type": "string"}
_UUID: Mapping[str, Any] = {"type": "string", "format": "uuid"}
_TIME: Mapping[str, Any] = {"type": "string", "format": "date-time"}
_ROW_SCHEMA: Mapping[str, Any] = {"type": "object", "additionalProperties": True}


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema


def _definitions(*models: type[BaseModel]) -> dict[str, Any]:
    """The models and the enums that they use."""
    found: dict[str, Any] = {}
    for model in models:
        found |= model.model_json_schema(ref_template="#/components/schemas/{model}").get("$defs", {})
    return found | {model.__name__: _schema(model) for model in models}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(of: str, name: str) -> dict[str, Any]:
    return _object(**{name: {"type": "array", "items": _reference(of)}})


def _answer(description: str, schema: Mapping[str, Any], example: object) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema, "example": example}}}


def _error(description: str, code: str, message: str) -> dict[str, Any]:
    example = {"error": {"code": code, "message": message, "details": None, "hint": None, "request_id": "9f6d1c4e"}}
    return _answer(description, _reference("Error"), example)


def _body(schema: Mapping[str, Any], example: object) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def _path(name: str, example: str) -> dict[str, Any]:
    return {"name": f"{name}_id", "in": "path", "required": True, "schema": _UUID, "example": example}


def _query(name: str, description: str, example: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": _TEXT, "description": description, "example": example}


_UNAUTHORIZED = _error("No bearer token, or one that does not verify", "invalid_token", "Sign in first")
_FORBIDDEN = _error("Your role does not allow it", "forbidden", "Your role in this database does not allow this")
_NO_DATABASE = _error("No such database, or not yours", "database_not_found", "There is no such database")
_NO_TABLE = _error("No such table, or not yours to know of", "table_not_found", "There is no such table")
_NO_ROW = _error("No such row, or not yours to see", "row_not_found", "There is no such row")
_QUOTA = _error("The limit is reached", "quota_reached", "A user has at most 50 databases")
_BAD_BODY = _error("The body is not valid", "invalid_body", "The request body is not valid")
_POLICIES = _error("Policies do not allow it", "forbidden", "The table's policies do not allow this")

_IN_DATABASE = [_path("database", _DATABASE_ID)]
_OF_MEMBER = [*_IN_DATABASE, _path("user", _USER_ID)]
_OF_TABLE = [*_IN_DATABASE, _path("table", _TABLE_ID)]
_OF_ROW = [*_OF_TABLE, _path("row", _ROW_ID)]
_FILTERS = [
    _query("{column}", "A filter, operator and value, as in /rest/v1; any number of them", "gte.18"),
    _query("select", "Columns, aliases, casts and tables that are referred to", "title,shelves(name)"),
    _query("order", "Columns to sort by", "quantity.desc"),
    _query("limit", "At most so many rows", "20"),
    _query("offset", "Leave out the first so many", "40"),
    _query("count", "exact: say in count how many rows match, whatever the limit", "exact"),
]


def _operation(tag_summary: str, responses: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "tags": ["databases"],
        "summary": tag_summary,
        "security": [{"bearer": []}],
        **more,
        "responses": {**responses, "401": _UNAUTHORIZED},
    }


def _deleted(name: str, example: str) -> dict[str, Any]:
    schema = _object(**{name: _UUID, "deleted": {"type": "boolean"}})
    return _answer("Deleted", schema, {name: example, "deleted": True})


_DATABASE_PATHS: dict[str, Any] = {
    "/db": {
        "post": _operation(
            "Create a database",
            {
                "201": _answer("Created", _reference("Database"), _DATABASE),
                "400": _BAD_BODY,
                "403": _QUOTA,
                "409": _error("The name is in use", "database_exists", "You have a database named inventory already"),
            },
            description="A database is a PostgreSQL schema; official clients reach its tables with schema().",
            requestBody=_body(_reference("DatabaseBody"), {"name": "inventory"}),
        ),
        "get": _operation(
            "List your databases",
            {"200": _answer("Databases", _list("Database", "databases"), {"databases": [_DATABASE]})},
        ),
    },
    "/db/{database_id}": {
        "get": _operation(
            "Get a database",
            {"200": _answer("The database", _reference("Database"), _DATABASE), "404": _NO_DATABASE},
            parameters=_IN_DATABASE,
        ),
        "delete": _operation(
            "Delete a database with all its tables and rows",
            {"200": _deleted("database_id", _DATABASE_ID), "403": _FORBIDDEN, "404": _NO_DATABASE},
            parameters=_IN_DATABASE,
        ),
    },
    "/db/{database_id}/members": {
        "get": _operation(
            "List the members",
            {"200": _answer("Members", _list("Member", "members"), {"members": [_MEMBER]}), "404": _NO_DATABASE},
            parameters=_IN_DATABASE,
        ),
    },
    "/db/{database_id}/members/{user_id}": {
        "put": _operation(
            "Make a user a member, or change a member's role",
            {
                "200": _answer("The member", _reference("Member"), _MEMBER),
                "400": _BAD_BODY,
                "403": _FORBIDDEN,
                "404": _error("No such database or user", "user_not_found", "There is no such user"),
            },
            parameters=_OF_MEMBER,
            requestBody=_body(_reference("MemberBody"), {"role": "writer"}),
        ),
        "delete": _operation(
            "Remove a member, or leave",
            {
                "200": _answer(
                    "Removed",
                    _object(user_id=_UUID, removed={"type": "boolean"}),
                    {"user_id": _USER_ID, "removed": True},
                ),
                "403": _FORBIDDEN,
                "404": _error("No such database or member", "member_not_found", "There is no such member"),
            },
            parameters=_OF_MEMBER,
        ),
    },
}
_TABLE_PATHS: dict[str, Any] = {
    "/db/{database_id}/tables": {
        "post": _operation(
            "Create a table",
            {
                "201": _answer("Created", _reference("Table"), _TABLE),
                "400": _error(
                    "The definition is not valid",
                    "invalid_default",
                    "The default of column quantity must be a whole number of 32 bits",
                ),
                "403": _FORBIDDEN,
                "404": _NO_DATABASE,
                "409": _error("The name is in use", "table_exists", "The database has a table named items already"),
            },
            description="Every table also has id, created_at and owner. Row-level security is on from birth: `owner` gives"
            " each user rows of his own, `members` is for the database's members, `public_read` is for all to read.",
            parameters=_IN_DATABASE,
            requestBody=_body(_reference("TableBody"), _NEW_TABLE),
        ),
        "get": _operation(
            "List the tables",
            {"200": _answer("Tables", _list("Table", "tables"), {"tables": [_TABLE]}), "404": _NO_DATABASE},
            parameters=_IN_DATABASE,
        ),
    },
    "/db/{database_id}/tables/{table_id}": {
        "get": _operation(
            "Get a table",
            {"200": _answer("The table", _reference("Table"), _TABLE), "404": _NO_TABLE},
            parameters=_OF_TABLE,
        ),
        "delete": _operation(
            "Delete a table with all its rows",
            {
                "200": _deleted("table_id", _TABLE_ID),
                "403": _FORBIDDEN,
                "404": _NO_TABLE,
                "409": _error("Another refers to it", "table_in_use", "The table shelves is referred to by items"),
            },
            parameters=_OF_TABLE,
        ),
    },
}
_ROWS = "/db/{database_id}/tables/{table_id}/rows"
_ROW_PATHS: dict[str, Any] = {
    _ROWS: {
        "post": _operation(
            "Insert a row or several",
            {
                "201": _answer(
                    "Inserted: the row, or for a list of them the list as rows",
                    {"oneOf": [_ROW_SCHEMA, _list("Row", "rows")]},
                    _ROW,
                ),
                "400": _error(
                    "A column or value that cannot be", "unknown_column", "The table items has no column tilte"
                ),
                "403": _POLICIES,
                "404": _NO_TABLE,
                "409": _error(
                    "A row like it is there, or what it refers to is not",
                    "23505",
                    'duplicate key value violates unique constraint "items_title_key"',
                ),
                "413": _error(
                    "The body is too large", "body_too_large", "The request body is larger than 52428800 bytes"
                ),
            },
            parameters=_OF_TABLE,
            requestBody=_body(
                {"oneOf": [_ROW_SCHEMA, {"type": "array", "items": _ROW_SCHEMA}]}, {"title": "Lamp", "quantity": 2}
            ),
        ),
        "get": _operation(
            "Read rows",
            {
                "200": _answer(
                    "The rows that you may see",
                    {
                        **_object(rows={"type": "array", "items": _ROW_SCHEMA}),
                        "properties": {
                            "rows": {"type": "array", "items": _ROW_SCHEMA},
                            "count": {"type": "integer", "description": "With count=exact: all rows that match"},
                        },
                    },
                    {"rows": [_ROW], "count": 1},
                ),
                "400": _error("The query cannot be read", "invalid_query", '"failed to parse filter (18)" (line 1)'),
                "404": _NO_TABLE,
            },
            description="Filters, select, order, limit and offset as in /rest/v1."
            " A table with access public_read needs no token.",
            parameters=[*_OF_TABLE, *_FILTERS],
        ),
    },
    _ROWS + "/{row_id}": {
        "get": _operation(
            "Get a row",
            {"200": _answer("The row", _ROW_SCHEMA, _ROW), "404": _NO_ROW},
            parameters=_OF_ROW,
        ),
        "patch": _operation(
            "Change a row",
            {
                "200": _answer("The row as it is now", _ROW_SCHEMA, {**_ROW, "quantity": 3}),
                "400": _BAD_BODY,
                "403": _POLICIES,
                "404": _NO_ROW,
            },
            parameters=_OF_ROW,
            requestBody=_body(_ROW_SCHEMA, {"quantity": 3}),
        ),
        "delete": _operation(
            "Delete a row",
            {"200": _deleted("row_id", _ROW_ID), "403": _POLICIES, "404": _NO_ROW},
            parameters=_OF_ROW,
        ),
    },
}

OPENAPI: Mapping[str, Any] = {
    "paths": {**_DATABASE_PATHS, **_TABLE_PATHS, **_ROW_PATHS},
    "schemas": {
        **_definitions(DatabaseBody, TableBody, ColumnBody, ReferenceBody, MemberBody),
        "Database": _object(database_id=_UUID, name=_TEXT, schema=_TEXT, created_at=_TIME),
        "Member": _object(user_id=_UUID, role=_reference("DatabaseRole"), created_at=_TIME),
        "Table": _object(
            table_id=_UUID,
            database_id=_UUID,
            name=_TEXT,
            access=_reference("Access"),
            columns={"type": "array", "items": _reference("TableColumn")},
            created_at=_TIME,
        ),
        "TableColumn": _object(
            name=_TEXT,
            type=_TEXT,
            nullable={"type": "boolean"},
            default={"type": ["string", "null"], "description": "An SQL expression"},
            unique={"type": "boolean"},
            references={"anyOf": [_reference("ReferenceBody"), {"type": "null"}]},
        ),
        "Row": _ROW_SCHEMA,
    },
}
