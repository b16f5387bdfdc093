"""Tables: the description of their routes."""

from __future__ import annotations

from typing import Any

from isobase_services.database.dynamic.openapi.parts import (
    FORBIDDEN,
    IN_DATABASE,
    NEW_TABLE,
    NO_DATABASE,
    NO_TABLE,
    OF_TABLE,
    TABLE,
    TABLE_ID,
    answer,
    body,
    deleted,
    error,
    list_schema,
    operation,
    reference,
)

__all__ = ["PATHS"]

PATHS: dict[str, Any] = {
    "/db/{database_id}/tables": {
        "post": operation(
            "Create a table",
            {
                "201": answer("Created", reference("Table"), TABLE),
                "400": error(
                    "The definition is not valid",
                    "invalid_default",
                    "The default of column quantity must be a whole number of 32 bits",
                ),
                "403": FORBIDDEN,
                "404": NO_DATABASE,
                "409": error("The name is in use", "table_exists", "The database has a table named items already"),
            },
            description="Every table also has id, created_at and owner. Row-level security is on from birth: `private` gives"
            " each member rows of their own, `members` is for the database's members, `public-read` is for all to read,"
            " `public` for all to read and add to.",
            parameters=IN_DATABASE,
            requestBody=body(reference("TableBody"), NEW_TABLE),
        ),
        "get": operation(
            "List the tables",
            {"200": answer("Tables", list_schema("Table", "tables"), {"tables": [TABLE]}), "404": NO_DATABASE},
            parameters=IN_DATABASE,
        ),
    },
    "/db/{database_id}/tables/{table_id}": {
        "get": operation(
            "Get a table",
            {"200": answer("The table", reference("Table"), TABLE), "404": NO_TABLE},
            parameters=OF_TABLE,
        ),
        "patch": operation(
            "Change a table",
            {
                "200": answer("The table as it is now", reference("Table"), TABLE),
                "400": error("What cannot be", "unknown_column", "The table items has no column tilte"),
                "403": FORBIDDEN,
                "404": NO_TABLE,
                "409": error(
                    "The rows do not allow it",
                    "value_does_not_fit",
                    "The column quantity cannot become smallint: it holds a value that would be lost",
                ),
            },
            description="All of it or nothing. Columns are dropped, renamed, changed and added in this order.",
            parameters=OF_TABLE,
            requestBody=body(
                reference("TableChangeBody"),
                {
                    "columns": {
                        "rename": {"title": "label"},
                        "change": [{"name": "quantity", "type": "bigint", "default": 0}],
                        "add": [{"name": "price", "type": "numeric(10, 2)", "check": "price > 0"}],
                    },
                    "indexes": {"add": [{"columns": ["label", "price"], "unique": True}]},
                    "realtime": True,
                },
            ),
        ),
        "delete": operation(
            "Delete a table with all its rows",
            {
                "200": deleted("table_id", TABLE_ID),
                "403": FORBIDDEN,
                "404": NO_TABLE,
                "409": error("Another refers to it", "table_in_use", "The table shelves is referred to by items"),
            },
            parameters=OF_TABLE,
        ),
    },
}
