"""Copies all users of the source, page by page: what was begun goes on where it was ended.

It is the merge of every user without bringing anything home, so it may run while both sides are written, be repeated,
and never takes an older state for a newer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from isobase_adapter.auth.carrier import UserCarrier
from isobase_adapter.auth.errors import UserConflict
from isobase_adapter.auth.limits import MergeLimits
from isobase_adapter.auth.shared import copy_shared
from isobase_adapter.auth.sweep import FIRST, PAGE_USERS, Swept, sweep
from isobase_adapter.bulk.connections import Connection
from isobase_adapter.bulk.jobs import Jobs
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.sides import Side

__all__ = ["JOB", "PART", "CopiedUsers", "copy_users"]

JOB = "copy-users"
PART = "users"
_COUNT = "select count(*) from auth.users"


@dataclass(slots=True)
class CopiedUsers:
    """What a copy came to. ``rows``: written, in this run; ``users``: looked at, in all runs."""

    users: int = 0
    rows: int = 0
    shared: int = 0
    """Rows that belong to no user: programs, SSO and custom providers."""
    only_at_target: list[str] = field(default_factory=list)
    """Users that the target has and the source has not:

    left alone here; whoever signs in on either side is merged later.
    """
    conflicts: list[tuple[str, ...]] = field(default_factory=list)
    """Users that stand in each other's way: same address, phone or identity, other ids."""


async def copy_users(
    databases: Mapping[Side, SideDatabase],
    *,
    source: Side = Side.SUPABASE,
    progress: Progress = NO_PROGRESS,
    starts_again: bool = False,
    page_users: int = PAGE_USERS,
) -> CopiedUsers:
    """Copy every user with identities, factors, sessions and refresh tokens, and what belongs to no user.

    starts_again: begin with the first user, whatever was copied before. page_users: how many at a time. Raises
    ``AuthTablesDiffer`` and the databases' own errors; what was copied until then stays, and the next call goes
    on behind it.
    """
    carrier = UserCarrier(databases)
    (row,) = await databases[source].fetch(_COUNT)
    mark = {} if starts_again else await _read_mark(databases[Side.ISOBASE])
    before = int(mark.get("users", 0))
    copied = CopiedUsers(shared=await copy_shared(databases, source))
    progress.begin(PART, int(row[0]), "users")
    progress.advance(PART, before)
    told = 0

    async def on_page(done: Swept) -> None:
        nonlocal told
        progress.advance(PART, done.users - told)
        told = done.users
        await _set_mark(databases[Side.ISOBASE], {"after": done.after, "users": before + done.users})

    def note(done: Swept) -> None:
        copied.users, copied.rows = before + done.users, done.changed
        copied.only_at_target = done.only_at_target
        copied.conflicts = [conflict.users for conflict in done.conflicts]

    done = Swept(after=str(mark.get("after", FIRST)))
    try:
        await sweep(
            carrier, source.other, limits=MergeLimits(adopts=False), on_page=on_page, done=done, page_users=page_users
        )
    except UserConflict:
        pass
    finally:
        note(done)
    await _set_mark(databases[Side.ISOBASE], {})
    progress.end(PART, f"{copied.users} users, {copied.rows} rows written")
    return copied


async def _read_mark(database: SideDatabase) -> dict[str, Any]:
    async with database.transaction() as connection:
        return (await Jobs(cast(Connection, connection), JOB).read()).get(PART, {})


async def _set_mark(database: SideDatabase, state: dict[str, Any]) -> None:
    async with database.transaction() as connection:
        await Jobs(cast(Connection, connection), JOB).set(PART, state)
