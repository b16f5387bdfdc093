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
