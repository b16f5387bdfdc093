"""What operators do with the control store: list and set flags and rules, read history, clients and mismatches.

An operator is no client: nothing here registers one. ``isobase migrate flags`` and ``status`` are its command line.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Collection
from dataclasses import dataclass
from time import monotonic
from typing import Any, Self
from uuid import UUID

from isobase_adapter.contracts import Flag, Snapshot, Writer
from isobase_adapter.control.changes import (
    BEHIND,
    behind_of,
    effective_flag,
    planned_flag,
    planned_removal,
    planned_writer,
)
from isobase_adapter.control.errors import ChangeRefused
from isobase_adapter.control.records import ClientRecord, FlagChange
from isobase_adapter.control.store import PlannedChange, Store
from isobase_adapter.stages import Stage, clamped, writer_of

__all__ = ["LONGEST_CALL_S", "FlagView", "Operator", "SetFlag", "account_name", "views_of"]

LONGEST_CALL_S = 180.0
"""A call that began longer ago has ended: the official clients' longest limit is 120 s."""
ACKNOWLEDGE_TIMEOUT_S = 5.0
POLL_S = 0.1


@dataclass(slots=True, frozen=True)
class FlagView:
    """A flag with its writer. ``acts_as``: the stage that is acted upon while that side is written first."""

    flag: Flag
    writer: Writer

    @property
    def acts_as(self) -> Stage:
        """The stage that is acted upon."""
        return clamped(self.flag.stage, self.writer.side)

    @property
    def wants_handover(self) -> bool:
        """Whether the stage holds for everybody and asks for another writer than there is."""
        return self.flag.is_for_all and writer_of(self.flag.stage) is not self.writer.side


@dataclass(slots=True, frozen=True)
class SetFlag:
    """What setting a flag came to.

    ``heard``: clients that act upon it; ``not_heard``: those that did not say so in time.
    """

    view: FlagView
    version: int
    heard: tuple[ClientRecord, ...]
    not_heard: tuple[ClientRecord, ...]


class Operator:
    """An operator at a store. ``by``: who is told in the history, default the account of the operating system."""

    def __init__(self, store: Store, *, by: str = "") -> None:
        """Ask nothing yet."""
        self.store = store
        self.by = by or account_name()

    async def __aenter__(self) -> Self:
        """Connect. Raises ``ControlAway``."""
        await self.store.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the store."""
        await self.store.close()

    async def list_flags(self) -> tuple[FlagView, ...]:
        """Give every flag with its writer, by name."""
        return views_of(await self.store.read_snapshot())

    async def set_flag(
        self,
        pattern: str,
        stage: Stage,
        *,
        share_percent: float = 100.0,
        users: Collection[str] = (),
        reason: str = "",
        expected_version: int | None = None,
        timeout_s: float = ACKNOWLEDGE_TIMEOUT_S,
    ) -> SetFlag:
        """Set a flag, and wait until all clients act upon it.

        expected_version: of the flag that was looked at (0: there was none); a change in between is refused.
        timeout_s: how long to wait for clients. Raises ``ChangeRefused``, also where a client does not act upon the
        flag's last change yet: it might write as two stages before.
        """
        before = await self.store.read_snapshot()
        now = effective_flag(before, pattern)
        if now.version and now.stage is not stage:
            await self._refuse_unheard(pattern, now.version, timeout_s)

        if stage is Stage.COMPLETE and now.stage is Stage.RAMP_DOWN:
            # Before the flag: whatever ends here, the mark is there when the first write is not carried.
            await self.set_rule(pattern, BEHIND, True)

        def plan(snapshot: Snapshot) -> PlannedChange:
            _check_version(snapshot, pattern, expected_version)
            flag = planned_flag(snapshot, pattern, stage, share_percent=share_percent, users=users)
            if stage is Stage.LIVE and flag.before is Stage.RAMP_DOWN and (marked := behind_of(snapshot, pattern)):
                raise ChangeRefused(
                    f"{pattern}: Supabase lacks what was written while {', '.join(marked)} was complete; isobase migrate"
                    f" rollback {pattern} brings it there first"
                )
            return PlannedChange(flag, planned_writer(snapshot, pattern))

        snapshot = await self.store.change_flag(pattern, plan, changed_by=self.by, reason=reason)
        heard, not_heard = await self.wait_until_heard(snapshot.version, timeout_s=timeout_s)
        (view,) = (view for view in views_of(snapshot) if view.flag.pattern == pattern)
        return SetFlag(view, snapshot.version, heard, not_heard)

    async def remove_flag(self, pattern: str, *, reason: str = "") -> Snapshot:
        """Remove a flag where the one that covers it says the same. Raises ``ChangeRefused``."""

        def plan(snapshot: Snapshot) -> PlannedChange:
            planned_removal(snapshot, pattern)
            return PlannedChange(None)

        return await self.store.change_flag(pattern, plan, changed_by=self.by, reason=reason)

    async def set_rule(self, pattern: str, name: str, value: Any) -> Snapshot:
        """Set a rule of a pattern (plain JSON values), or remove it with None."""
        return await self.store.change_rule(pattern, name, value, changed_by=self.by)

    async def history(self, pattern: str | None = None, *, limit: int = 100) -> tuple[FlagChange, ...]:
        """Give the newest changes of flags first."""
        return await self.store.read_history(pattern, limit)

    async def clients(self) -> tuple[ClientRecord, ...]:
        """Give all clients."""
        return await self.store.read_clients()

    async def forget_client(self, client: UUID) -> bool:
        """Forget a client that went silent and will not come back: a handover waits for it no longer.

        False where there is none. Raises ``ChangeRefused`` while it is heard, and where it did not act upon the last change
        and a call of it may still be on its way (three minutes).
        """
        version = (await self.store.read_snapshot()).version
        for record in await self.store.read_clients():
            if record.id != client:
                continue
            if not record.is_silent:
                raise ChangeRefused(f"{record.name} was heard {record.silent_s:.0f} s ago: end it first")
            if record.version < version and record.silent_s < LONGEST_CALL_S:
                wait_s = LONGEST_CALL_S - record.silent_s
                raise ChangeRefused(
                    f"{record.name} does not know the last change, and a call of it may still arrive; ask again in"
                    f" {wait_s:.0f} s"
                )
        return await self.store.forget_client(client)

    async def _refuse_unheard(self, pattern: str, version: int, timeout_s: float) -> None:
        _, late = await self.wait_until_heard(version, timeout_s=timeout_s)
        if late:
            names = ", ".join(f"{client.name} (silent for {client.silent_s:.0f} s, {client.id})" for client in late)
            raise ChangeRefused(
                f"{pattern}: these clients do not act upon its last change yet: {names}; wait, or forget those that are gone"
            )

    async def wait_until_heard(
        self, version: int, *, timeout_s: float = ACKNOWLEDGE_TIMEOUT_S
    ) -> tuple[tuple[ClientRecord, ...], tuple[ClientRecord, ...]]:
        """Wait until all clients act upon change ``version``; gives who does and who does not.

        Clients that are silent already are not waited for, but counted among those who do not.
        """
        deadline = monotonic() + timeout_s
        while True:
            clients = await self.store.read_clients()
            late = tuple(client for client in clients if client.version < version)
            if all(client.is_silent for client in late) or monotonic() >= deadline:
                return tuple(client for client in clients if client.version >= version), late
            await asyncio.sleep(POLL_S)


def views_of(snapshot: Snapshot) -> tuple[FlagView, ...]:
    """Give every flag with its writer, by name."""
    return tuple(
        FlagView(flag, snapshot.writers.get(pattern, Writer(pattern)))
        for pattern, flag in sorted(snapshot.flags.items())
    )


def _check_version(snapshot: Snapshot, pattern: str, expected: int | None) -> None:
    if expected is None:
        return
    now = snapshot.flags[pattern].version if pattern in snapshot.flags else 0
    if now != expected:
        raise ChangeRefused(
            f"{pattern}: somebody changed this flag meanwhile (version {now}, not {expected}); look again"
        )


def account_name() -> str:
    """Give the account of the operating system, for who is told in histories."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"
