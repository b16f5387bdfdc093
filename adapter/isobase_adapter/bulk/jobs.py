"""How far bulk work has come, in ``isobase.migration_jobs`` of the Isobase side's database.

A mark that is set in the transaction of the rows it speaks of is there exactly when they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from isobase_adapter.bulk.connections import Connection

__all__ = ["Jobs"]


class Jobs:
    """The marks of one job, on a connection to the Isobase side's database."""

    def __init__(self, connection: Connection, job: str) -> None:
        self._connection = connection
        self._job = job

    async def read(self) -> dict[str, dict[str, Any]]:
        """Give all parts' states."""
        records = await self._connection.fetch(
            "select part, state::text as state from isobase.migration_jobs where job = $1", self._job
        )
        return {record["part"]: json.loads(record["state"]) for record in records}

    async def set(self, part: str, state: dict[str, Any]) -> None:
        """Keep a part's state, in the transaction that the connection is in."""
        await self._connection.execute(
            "insert into isobase.migration_jobs as j (job, part, state) values ($1, $2, $3::text::jsonb)"
            " on conflict (job, part) do update set state = excluded.state, updated_at = now()",
            self._job,
            part,
            json.dumps(state),
        )

    async def forget(self, parts: Iterable[str]) -> None:
        """Forget these parts."""
        await self._connection.execute(
            "delete from isobase.migration_jobs where job = $1 and part = any($2::text[])", self._job, list(parts)
        )
