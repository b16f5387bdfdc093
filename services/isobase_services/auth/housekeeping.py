"""The task that keeps auth's tables small. Every process has one; an advisory lock lets one of them work at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

from isobase_platform.errors import DatabaseError, Unavailable
from isobase_services.auth.core import AuthCore
from isobase_services.auth.store.stale import Sweep, run_sweep, sweeps_of

__all__ = ["Housekeeper"]

MAX_BATCHES = 20
"""Batches of one kind in one round: a backlog of years is worked off in many rounds, not in one."""
SPREAD = 0.2
"""The part by which waits differ, so that processes that were started together do not all wake together."""

_log = logging.getLogger("isobase.auth.housekeeping")


class Housekeeper:
    """Removes stale rows every ``auth.housekeeping.interval_s`` seconds, the first time after one such wait."""

    def __init__(self, core: AuthCore) -> None:
        self._core = core
        self._settings = core.settings.housekeeping
        self._sweeps = sweeps_of(core.settings)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to wait; nothing where housekeeping is switched off."""
        if self._settings.enabled and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name="auth housekeeping")

    async def stop(self) -> None:
        """End the task; a statement that runs is cancelled and leaves nothing half done."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

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
        while True:
            await asyncio.sleep(self._settings.interval_s * random.uniform(1 - SPREAD, 1 + SPREAD))  # noqa: S311  spread
            try:
                removed = await self.run_round()
            except (DatabaseError, Unavailable) as error:
                _log.warning("housekeeping failed", extra={"reason": error.message})
            else:
                if removed:
                    _log.info("housekeeping removed what was stale", extra={"rows": removed})
