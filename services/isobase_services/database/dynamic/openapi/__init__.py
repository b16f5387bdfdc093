"""The simple data face's part of ``/openapi.json``, made from the models that the endpoints use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isobase_services.database.dynamic.bodies import (
    ColumnBody,
    DatabaseBody,
    IndexBody,
    MemberBody,
    NewMemberBody,
    PolicyBody,
    ReferenceBody,
    TableBody,
)
from isobase_services.database.dynamic.change_bodies import TableChangeBody
from isobase_services.database.dynamic.openapi import databases, rows, tables
from isobase_services.database.dynamic.openapi.parts import (
    ROW_SCHEMA,
    TEXT,
    TIME,
    UUID,
    definitions,
    object_schema,
    reference,
)

__all__ = ["OPENAPI"]

OPENAPI: Mapping[str, Any] = {
    "paths": {**databases.PATHS, **tables.PATHS, **rows.PATHS},
    "schemas": {
        **definitions(
            DatabaseBody,
            TableChangeBody,
            TableBody,
            ColumnBody,
            ReferenceBody,
            PolicyBody,
            IndexBody,
            MemberBody,
            NewMemberBody,
        ),
        "Database": object_schema(
            database_id=UUID,
            name=TEXT,
            schema=TEXT,
            role={"anyOf": [reference("DatabaseRole"), {"type": "null"}], "description": "Yours; null for the service"},
            created_at=TIME,
        ),
        "Member": object_schema(user_id=UUID, role=reference("DatabaseRole"), created_at=TIME),
        "Table": object_schema(
            table_id=UUID,
            database_id=UUID,
            name=TEXT,
            access=reference("Access"),
            columns={"type": "array", "items": reference("TableColumn")},
            indexes={"type": "array", "items": reference("TableIndex")},
            comment={"type": ["string", "null"]},
            realtime={"type": "boolean", "description": "Whether realtime sends the table's changes"},
            created_at=TIME,
        ),
        "TableColumn": object_schema(
            name=TEXT,
            type=TEXT,
            nullable={"type": "boolean"},
            default={"type": ["string", "null"], "description": "An SQL expression"},
            unique={"type": "boolean"},
            primary_key={"type": "boolean"},
            identity={"type": "boolean"},
            references={"anyOf": [reference("ReferenceBody"), {"type": "null"}]},
            check={"type": ["string", "null"], "description": "An SQL expression"},
        ),
        "TableIndex": object_schema(
            name=TEXT, columns={"type": "array", "items": TEXT}, unique={"type": "boolean"}, method=TEXT
        ),
        "Row": ROW_SCHEMA,
    },
}
