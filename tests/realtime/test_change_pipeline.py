"""The worker between ring and delivery: what is refused for good is dropped alone, and told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from isobase_platform.errors import DatabaseError
from isobase_services.realtime.changes.catalog import Catalog
from isobase_services.realtime.changes.pipeline import Pipeline
from isobase_services.realtime.changes.rows import Row
from isobase_services.realtime.changes.tables import Table
from tests.realtime.test_change_log import TABLE, transactions

BOARD = Table(oid=TABLE, schema="public", name="board", has_row_security=False, columns={}, key=())


class OneTable:
    """The catalog's answer for the table of the slices."""

    async def table(self, oid: int) -> Table:
        return BOARD

    def forget(self, oid: int) -> None:
        """Nothing is remembered."""


async def test_a_change_that_is_refused_for_good_is_dropped_alone_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isobase_services.realtime.changes.pipeline.DELIVERY_RETRY_DELAYS_S", (0.0,))
    handed_on: list[int] = []
    dropped: list[str] = []

    async def deliver(rows: Sequence[Row]) -> None:
        lsns = [row.position.point.lsn for row in rows]
        if 50 in lsns:
            raise DatabaseError("refused", "XX000")
        handed_on.extend(lsns)

    pipeline = Pipeline(cast(Catalog, OneTable()), wants=lambda schema, table: True, deliver=deliver)
    pipeline.on_drop = lambda: dropped.append("told")
    done = asyncio.Event()
    lsns = list(range(20, 100, 5))
    for item in transactions(*lsns):
        pipeline.offer(item, "e")
    pipeline.between(done.set)
    pipeline.start()
    await asyncio.wait_for(done.wait(), 60)
    await pipeline.stop()
    assert handed_on == [lsn for lsn in lsns if lsn != 50]
    assert dropped == ["told"]
