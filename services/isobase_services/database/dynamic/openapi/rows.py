"""Rows: the description of their routes."""

from __future__ import annotations

from typing import Any

from isobase_services.database.dynamic.openapi.parts import (
    BAD_BODY,
    FILTERS,
    IDEMPOTENCY_KEY,
    NO_ROW,
    NO_TABLE,
    OF_ROW,
    OF_TABLE,
    POLICIES,
    ROW,
    ROW_ID,
    ROW_SCHEMA,
    WRITE_OPTIONS,
    answer,
    body,
    deleted,
    error,
    list_schema,
    object_schema,
    operation,
)

__all__ = ["PATHS"]

KEY_REUSED = error(
    "The Idempotency-Key came with another request before",
    "idempotency_key_reused",
    "The Idempotency-Key was used for another request",
)
KEY_IN_USE = error(
    "The write with this Idempotency-Key is still being done, or its answer was too large to be kept",
    "idempotency_key_in_use",
    "A request with this Idempotency-Key is still being answered",
)
_ROWS = "/db/{database_id}/tables/{table_id}/rows"
PATHS: dict[str, Any] = {
    _ROWS: {
        "post": operation(
            "Insert a row or several",
            {
                "201": answer(
                    "Inserted: the row, or for a list of them the list as rows",
                    {"oneOf": [ROW_SCHEMA, list_schema("Row", "rows")]},
                    ROW,
                ),
                "200": answer("Merged or left, with upsert", list_schema("Row", "rows"), {"rows": [ROW]}),
                "400": error("A column or value that cannot be", "invalid_value", "The column quantity takes integer"),
                "403": POLICIES,
                "404": NO_TABLE,
                "409": error(
                    "A row like it is there, or what it refers to is not",
                    "23505",
                    'duplicate key value violates unique constraint "items_title_key"',
                ),
                "422": KEY_REUSED,
                "413": error(
                    "The body is too large", "body_too_large", "The request body is larger than 52428800 bytes"
                ),
            },
            parameters=[*OF_TABLE, *WRITE_OPTIONS, IDEMPOTENCY_KEY],
            requestBody=body(
                {"oneOf": [ROW_SCHEMA, {"type": "array", "items": ROW_SCHEMA}]}, {"title": "Lamp", "quantity": 2}
            ),
        ),
        "get": operation(
            "Read rows",
            {
                "200": answer(
                    "The rows that you may see",
                    {
                        **object_schema(rows={"type": "array", "items": ROW_SCHEMA}),
                        "properties": {
                            "rows": {"type": "array", "items": ROW_SCHEMA},
                            "count": {"type": "integer", "description": "With count=exact: all rows that match"},
                            "next_cursor": {"type": ["string", "null"], "description": "Where there are more rows"},
                        },
                    },
                    {"rows": [ROW], "count": 1},
                ),
                "400": error("The query cannot be read", "invalid_query", '"failed to parse filter (18)" (line 1)'),
                "404": NO_TABLE,
            },
            description="Filters, select, order, limit and offset as in /rest/v1."
            " A table with access public-read or public needs no token.",
            parameters=[*OF_TABLE, *FILTERS],
        ),
    },
    _ROWS + "/{row_id}": {
        "get": operation(
            "Get a row",
            {"200": answer("The row", ROW_SCHEMA, ROW), "404": NO_ROW},
            parameters=OF_ROW,
        ),
        "patch": operation(
            "Change a row",
            {
                "200": answer("The row as it is now", ROW_SCHEMA, {**ROW, "quantity": 3}),
                "400": BAD_BODY,
                "403": POLICIES,
                "404": NO_ROW,
                "409": KEY_IN_USE,
                "422": KEY_REUSED,
            },
            parameters=[*OF_ROW, IDEMPOTENCY_KEY],
            requestBody=body(ROW_SCHEMA, {"quantity": 3}),
        ),
        "delete": operation(
            "Delete a row",
            {
                "200": deleted("row_id", ROW_ID),
                "403": POLICIES,
                "404": NO_ROW,
                "409": KEY_IN_USE,
                "422": KEY_REUSED,
            },
            parameters=[*OF_ROW, IDEMPOTENCY_KEY],
        ),
    },
}
