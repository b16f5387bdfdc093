"""Which transactions of the log everybody can see already.

A commit is in the log, and decoded, before its backend has left the list of running transactions; with a synchronous standby
that is away the time between may be long. Whoever asked a policy in that gap would look at a database without the change, and
the change would be lost. So nothing is asked, and nothing is told to a client, before the transaction is visible.

Source: PostgreSQL documentation, "Transaction ID and Snapshot Information Functions"; ``RecordTransactionCommit`` and
``ProcArrayEndTransaction`` for the order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass

from isobase_platform.pool import Pools

__all__ = ["Snapshot", "VisibleTransactions", "parse_snapshot"]

MAX_WAIT_S = 60.0
"""How long a batch waits for its transactions to become visible before it goes on without; a synchronous standby that is gone
can hold a committed transaction back for ever."""
FIRST_DELAY_S = 0.001
MAX_DELAY_S = 0.25

XIDS = 2**32
"""Numbers of transactions in one epoch; the log names a transaction without its epoch."""

_log = logging.getLogger("isobase.realtime")


@dataclass(slots=True, frozen=True)
class Snapshot:
    """What a statement of now sees. ``xmax``: the first number that no finished transaction has reached, with its epoch.
    ``running``: the numbers below it that are not finished, with their epochs.
    """

    xmax: int
    running: frozenset[int]

    def shows(self, xid: int) -> bool:
        """True when the transaction of the log with this number (32 bits) is finished for everybody.

        The number is taken to be the one nearest to ``xmax``: no transaction of the log is half an epoch away.
        """
        distance = (xid - self.xmax) % XIDS
        if distance < XIDS // 2:
            return False
        return self.xmax + distance - XIDS not in self.running


def parse_snapshot(text: str) -> Snapshot:
    """Read the text of ``pg_current_snapshot()``, ``xmin:xmax:xid,xid``."""
    _xmin, xmax, running = text.split(":")
    return Snapshot(int(xmax), frozenset(int(xid) for xid in running.split(",") if xid))


class VisibleTransactions:
    """Waits for transactions of the log to become visible, on connections of the service."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    async def wait_for(self, xids: Collection[int]) -> None:
        """Return when all of ``xids`` are visible, at the latest after ``MAX_WAIT_S`` seconds with a line in the log.

        Raises ``Unavailable`` and ``DatabaseError`` when the database cannot be asked.
        """
        waits_until_s = time.monotonic() + MAX_WAIT_S
        delay_s = FIRST_DELAY_S
        missing = set(xids)
        while missing:
            async with self._pools.acquire(None) as connection:
                snapshot = parse_snapshot(await connection.fetchval("select pg_catalog.pg_current_snapshot()::text"))
            missing = {xid for xid in missing if not snapshot.shows(xid)}
            if not missing:
                return
            if time.monotonic() >= waits_until_s:
                _log.warning(
                    "row changes are delivered though their transactions are not visible yet; is a synchronous standby away?",
                    extra={"transactions": len(missing), "waited_s": MAX_WAIT_S},
                )
                return
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, MAX_DELAY_S)
