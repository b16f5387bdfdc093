"""Render: plain values as the JSON of the simple data face, and its errors in the house's shape."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from isobase_platform.errors import DatabaseError, Forbidden, IsobaseError, NotFound
from isobase_platform.http.errors import render_simple
from isobase_services.database.dynamic.models import Access, Database, Member, PolicySpec, ShownColumn, Table
from isobase_services.database.dynamic.page import Page
from isobase_services.database.query.errors import RequestError

__all__ = [
    "database_body",
    "json_answer",
    "member_body",
    "page_answer",
    "render_error",
    "row_answer",
    "rows_answer",
    "table_body",
]

_WORDS = {"PGRST200": "unknown_relationship", "PGRST201": "ambiguous_relationship", "PGRST204": "unknown_column"}


def database_body(database: Database) -> dict[str, Any]:
    """A database as the client sees it."""
    return {
        "database_id": str(database.id),
        "name": database.name,
        "schema": database.schema,
        "role": database.role.value if database.role is not None else None,
        "created_at": database.created_at.isoformat(),
    }


def table_body(table: Table) -> dict[str, Any]:
    """A table as the client sees it."""
    return {
        "table_id": str(table.id),
        "database_id": str(table.database_id),
        "name": table.name,
        "access": table.access.value,
        "columns": [_column_body(column) for column in table.columns],
        "indexes": [
            {"name": index.name, "columns": list(index.columns), "unique": index.is_unique, "method": index.method}
            for index in table.indexes
        ],
        **({"policies": [_policy_body(policy) for policy in table.policies]} if table.access is Access.CUSTOM else {}),
        "comment": table.comment,
        "realtime": table.is_live,
        "created_at": table.created_at.isoformat(),
    }


def _column_body(column: ShownColumn) -> dict[str, Any]:
    reference = column.references
    return {
        "name": column.name,
        "type": column.type,
        "nullable": column.is_nullable,
        "default": column.default,
        "unique": column.is_unique,
        "primary_key": column.is_primary_key,
        "identity": column.is_identity,
        "references": (
            {"table": reference.table, "column": reference.column, "on_delete": reference.on_delete.value}
            if reference is not None
            else None
        ),
        "check": column.check,
    }


def _policy_body(policy: PolicySpec) -> dict[str, Any]:
    return {
        "command": policy.command.value,
        "to": [role.value for role in policy.roles],
        "using": policy.using,
        "check": policy.check,
    }


def member_body(member: Member) -> dict[str, Any]:
    """A member as the client sees one."""
    return {
        "user_id": str(member.user_id),
        "role": member.role.value,
        "created_at": member.created_at.isoformat(),
    }


def json_answer(body: object, status: int = 200) -> Response:
    """A JSON body."""
    return JSONResponse(body, status_code=status)


def rows_answer(rows: str, status: int = 200) -> Response:
    """``{"rows": [...]}``; ``rows`` is PostgreSQL's JSON, handed on as it is."""
    return Response(f'{{"rows":{rows}}}', status_code=status, media_type="application/json")


def page_answer(page: Page) -> Response:
    """``{"rows": [...]}``, with ``count`` where it was asked for and ``next_cursor`` where there are more rows.

    Where a cursor was asked for, ``next_cursor`` is there on the last page too, and null.
    """
    count = f',"count":{page.count}' if page.count is not None else ""
    has_cursor = page.next_cursor is not None or page.is_paged
    cursor = f',"next_cursor":{json.dumps(page.next_cursor)}' if has_cursor else ""
    return Response(f'{{"rows":{page.rows}{count}{cursor}}}', media_type="application/json")


def row_answer(row: str, status: int = 200) -> Response:
    """One row; PostgreSQL's JSON, handed on as it is."""
    return Response(row, status_code=status, media_type="application/json")


def render_error(error: IsobaseError, scope: Scope) -> Response:
    """The house's shape. The engine speaks PostgREST's codes, which become this face's words with true statuses."""
    if isinstance(error, RequestError):
        code = _WORDS.get(error.code, "invalid_query")
        error = IsobaseError(error.message, code=code, status=400, details=error.details, hint=error.hint)
    elif isinstance(error, DatabaseError):
        if error.is_insufficient_privilege:
            error = Forbidden("The table's policies do not allow this", details=error.message)
        elif error.sqlstate in {"42P01", "3F000"}:
            error = NotFound("There is no such table", code="table_not_found")  # dropped meanwhile
    return render_simple(error, scope)
