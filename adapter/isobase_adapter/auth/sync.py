"""Keeps users equal while others sign in beside the adapter: browsers that talk to one side, links of mails, OAuth.

It begins with a sweep over all users, then asks both sides every few seconds who changed, and sweeps again now and then,
as only a comparison finds who left or signed out. It keeps no position: killed anywhere, it begins with a sweep again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from isobase_adapter.auth.carrier import BATCH_USERS, UserCarrier
from isobase_adapter.auth.errors import TooManyRemovals, UserConflict
from isobase_adapter.auth.limits import MergeLimits
from isobase_adapter.auth.resolve import users_changed
from isobase_adapter.auth.sweep import sweep
from isobase_adapter.contracts import Fence, WriterMoved
from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.sides import Side

__all__ = ["UserSync", "UserSyncTimes"]

logger = logging.getLogger("isobase.migration.auth")


@dataclass(slots=True, frozen=True)
class UserSyncTimes:
    """When it looks, in seconds."""

    poll_s: float = 2.0
    sweep_s: float = 300.0
    overlap_s: float = 60.0
    """So far back each look goes: a transaction may commit later than its times say."""


class UserSync:
    """Follows users on both sides.

    target_of: gives the side that is written second now, None where auth is left alone (stage off or complete). fence_of:
    gives the fence that keeps what is carried behind the writer, or None.
    """

    def __init__(
        self,
        databases: Mapping[Side, SideDatabase],
        target_of: Callable[[], Side | None],
        *,
        fence_of: Callable[[Side], Fence | None] = lambda target: None,
        times: UserSyncTimes | None = None,
    ) -> None:
        """Take the parts; the databases stay the caller's to close."""
        self._databases = databases
        self._carrier = UserCarrier(databases)
        self._target_of = target_of
        self._fence_of = fence_of
        self._times = times or UserSyncTimes()
        self._since: dict[Side, datetime] = {}
        self._swept_at_s: float | None = None
        self.changed = 0
        """How many rows were written so far."""
        self.error: str | None = None
        """Why the last look failed, for ``status``; None where it did not."""

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until ``stop`` is set; what fails is logged and tried again."""
        while not stop.is_set():
            try:
                await self.round()
            except (*DATABASE_FAILURES, WriterMoved) as error:
                self.error = type(error).__name__
                logger.warning("users could not be followed, trying again: %s", self.error)
            try:
                async with asyncio.timeout(self._times.poll_s):
                    await stop.wait()
            except TimeoutError:
                continue

    async def round(self) -> int:
        """Look once, and sweep where it is time to; returns how many rows were written.

        Users who cannot be carried until an operator has looked (``UserConflict``, ``TooManyRemovals``) are told in ``error``
        and the log. Raises the databases' own errors and the fence's.
        """
        target = self._target_of()
        if target is None:
            self._swept_at_s = None
            return 0
        limits = MergeLimits(fence=self._fence_of(target))
        now = {side: await self._now(side) for side in Side}
        self.error, changed = None, 0
        try:
            if self._swept_at_s is None or time.monotonic() - self._swept_at_s > self._times.sweep_s:
                changed = await self._sweep(target, limits)
            else:
                changed = await self._poll(target, limits)
        except (UserConflict, TooManyRemovals) as error:
            self.error = str(error)
            logger.warning("users are not carried: %s", self.error)
        self._since = now
        self.changed += changed
        return changed

    async def _sweep(self, target: Side, limits: MergeLimits) -> int:
        begun_at_s = time.monotonic()
        try:
            changed = (await sweep(self._carrier, target, limits=limits)).changed
        except (UserConflict, TooManyRemovals):
            # Everybody else is done: the next one is not due yet.
            self._swept_at_s = begun_at_s
            raise
        self._swept_at_s = begun_at_s
        return changed

    async def _poll(self, target: Side, limits: MergeLimits) -> int:
        found: set[str] = set()
        for side, since in self._since.items():
            moment = since - timedelta(seconds=self._times.overlap_s)
            found |= await users_changed(self._databases[side], moment)
        users, changed = sorted(found), 0
        for start in range(0, len(users), BATCH_USERS):
            batch = users[start : start + BATCH_USERS]
            ours = await self._carrier.digests(Side.SUPABASE, batch)
            theirs = await self._carrier.digests(Side.ISOBASE, batch)
            differing = [user for user in batch if ours.get(user) != theirs.get(user)]
            changed += await self._merge(differing, target, limits)
        return changed

    async def _merge(self, users: list[str], target: Side, limits: MergeLimits) -> int:
        if not users:
            return 0
        try:
            return (await self._carrier.merge(users, target, limits)).changed
        except UserConflict as conflict:
            # One by one, so that those who are in nobody's way are carried.
            self.error = str(conflict)
            changed = 0
            for user in users:
                with contextlib.suppress(UserConflict):
                    changed += (await self._carrier.merge([user], target, limits)).changed
            return changed

    async def _now(self, side: Side) -> datetime:
        (row,) = await self._databases[side].fetch("select pg_catalog.now()")
        moment: datetime = row[0]
        return moment
