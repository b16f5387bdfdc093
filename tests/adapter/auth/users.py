"""What the two sides have of users, compared."""

from __future__ import annotations

import json
from typing import Any

from tests.adapter.pair import Pair, SideStack

__all__ = ["USER_TABLES", "rows_at", "same_users"]

USER_TABLES = (
    "users",
    "identities",
    "mfa_factors",
    "sessions",
    "mfa_amr_claims",
    "refresh_tokens",
    "one_time_tokens",
)


def rows_at(side: SideStack, table: str) -> list[dict[str, Any]]:
    """A table's rows at a side, without the ids that each side counts on its own."""
    found = side.rows(f"auth.{table}")
    if table == "refresh_tokens":
        found = [{name: value for name, value in row.items() if name != "id"} for row in found]
    return sorted(found, key=lambda row: json.dumps(row, sort_keys=True))


def same_users(pair: Pair, *tables: str) -> None:
    """Assert that both sides have the same users with all that is theirs."""
    for table in tables or USER_TABLES:
        assert rows_at(pair.supabase, table) == rows_at(pair.isobase, table), table
