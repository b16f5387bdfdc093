"""Databases and tables made at run time (``client.db``): Isobase's ``/db``.

``models`` holds what is said of databases, tables and columns, ``conditions`` filters, ``requests`` what is sent (all
pure); ``_async`` sends.
"""

from __future__ import annotations

from isobase._face.errors import IsobaseAPIError
from isobase.db._async.databases import AsyncDatabases
from isobase.db._async.rows import AsyncRows
from isobase.db._sync.databases import SyncDatabases
from isobase.db._sync.rows import SyncRows
from isobase.db.conditions import (
    Condition,
    condition,
    contains,
    eq,
    gt,
    gte,
    ilike,
    in_,
    is_null,
    like,
    lt,
    lte,
    neq,
    not_,
)
from isobase.db.models import (
    Access,
    Column,
    ColumnChange,
    Database,
    DatabaseRole,
    Index,
    Member,
    Page,
    Policy,
    Reference,
    Table,
)

__all__ = [
    "Access",
    "AsyncDatabases",
    "AsyncRows",
    "Column",
    "ColumnChange",
    "Condition",
    "Database",
    "DatabaseRole",
    "Index",
    "IsobaseAPIError",
    "Member",
    "Page",
    "Policy",
    "Reference",
    "SyncDatabases",
    "SyncRows",
    "Table",
    "condition",
    "contains",
    "eq",
    "gt",
    "gte",
    "ilike",
    "in_",
    "is_null",
    "like",
    "lt",
    "lte",
    "neq",
    "not_",
]
