"""The task that keeps auth's tables small. Every process has one; an advisory lock lets one of them work at a time."""

from __future__ import annotations

import logging

from isobase_platform.errors import DatabaseError, Unavailable
from isobase_platform.recurring import Recurring
from isobase_services.auth.core import AuthCore
from isobase_services.auth.store.stale import Sweep, run_sweep, sweeps_of

__all__ = ["Housekeeper"]

MAX_BATCHES = 20
"""Batches of one kind in one round: a backlog of years is worked off in many rounds, not in one."""

_log = logging.getLogger("isobase.auth.housekeeping")


class Housekeeper:
    """Removes stale rows every ``auth.housekeeping.interval_s`` seconds, the first time after one such wait."""

    def __init__(self, core: AuthCore) -> None:
        self._core = core
        self._settings = core.settings.housekeeping
        self._sweeps = sweeps_of(core.settings)
        self._loop = Recurring("auth housekeeping", self._settings.interval_s, self._work)

    def start(self) -> None:
        """Begin to wait; nothing where housekeeping is switched off."""
        if self._settings.enabled:
            self._loop.start()

    async def stop(self) -> None:
        """End the task; a statement that runs is cancelled and leaves nothing half done."""
        await self._loop.stop()

    async def run_round(self) -> dict[str, int]:
        """Remove what is stale now; returns the numbers of rows by kind, without those of which there were none."""
        removed: dict[str, int] = {}
        for sweep in self._sweeps:
            if rows := await self._run(sweep):
                removed[sweep.name] = rows
        if expired := await self._core.platform.store.sweep():
            removed["store"] = expired
        return removed

    async def _run(self, sweep: Sweep) -> int:
        total = 0
        batch_rows = self._settings.batch_rows
        for _ in range(MAX_BATCHES):
            async with self._core.transaction() as connection:
                rows = await run_sweep(connection, sweep, batch_rows)
            if not rows:
                break
            total += rows
            if rows < max(1, batch_rows // sweep.share):
                break
        return total

    async def _work(self) -> None:
        try:
            removed = await self.run_round()
        except (DatabaseError, Unavailable) as error:
            _log.warning("housekeeping failed", extra={"reason": error.message})
        else:
            if removed:
                _log.info("housekeeping removed what was stale", extra={"rows": removed})
