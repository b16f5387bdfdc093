"""Compares all users of both sides, names those that differ and in what, and repairs them. Never shows a value."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from isobase_adapter.auth.carrier import UserCarrier
from isobase_adapter.auth.errors import UserConflict
from isobase_adapter.auth.merge import Row
from isobase_adapter.auth.rows import Found, TableShape
from isobase_adapter.auth.shared import copy_shared, differing_shared
from isobase_adapter.auth.sweep import FIRST, next_page
from isobase_adapter.auth.tables import TOKENS
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.sides import Side

__all__ = ["DifferingUser", "UsersReport", "verify_users"]

MAX_NAMED = 1000
SETTLE_S = 2.0
"""Users that differ are looked at again after this: their write may have been on its way."""
PART = "users"


@dataclass(slots=True, frozen=True)
class DifferingUser:
    """A user who is not the same on both sides. ``only``: the side that alone has them; else ``differences`` tells what
    differs, by table: columns, or ``missing at SIDE``.
    """

    user: str
    only: str | None = None
    differences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class UsersReport:
    """What a comparison came to. ``named`` holds the first thousand of ``differing`` users."""

    users: int = 0
    differing: int = 0
    repaired: int = 0
    named: list[DifferingUser] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    """Rows of no user that differ (programs, SSO and custom providers)."""
    conflicts: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs, or everything was repaired."""
        return self.differing == self.repaired and not self.shared and not self.conflicts

    def as_json(self) -> dict[str, Any]:
        """Give it for a report."""
        return {"is_equal": self.is_equal, **asdict(self)}


async def verify_users(
    databases: Mapping[Side, SideDatabase],
    *,
    writer: Side = Side.SUPABASE,
    repairs: bool = False,
    progress: Progress = NO_PROGRESS,
    settle_s: float = SETTLE_S,
) -> UsersReport:
    """Compare every user of both sides; with ``repairs`` merge those that differ, ``writer``'s state before the other's."""
    carrier = UserCarrier(databases)
    report = UsersReport()
    (row,) = await databases[writer].fetch("select count(*) from auth.users")
    progress.begin(PART, int(row[0]), "users")
    if repairs:
        await copy_shared(databases, writer)
    report.shared = await differing_shared(databases)
    after = FIRST
    while True:
        page = await next_page(carrier, after)
        differing = await _differing(carrier, page.users)
        if differing:
            await asyncio.sleep(settle_s)
            differing = await _differing(carrier, differing)
        if differing:
            await _name(carrier, differing, report)
            if repairs:
                await _repair(carrier, differing, writer, report)
        report.users += len(page.users)
        report.differing += len(differing)
        after = page.end
        progress.advance(PART, len(page.users))
        if page.is_last:
            break
    progress.end(PART, f"{report.users} users, {report.differing} differ, {report.repaired} repaired")
    return report


async def _differing(carrier: UserCarrier, users: Sequence[str]) -> list[str]:
    if not users:
        return []
    ours = await carrier.digests(Side.SUPABASE, users)
    theirs = await carrier.digests(Side.ISOBASE, users)
    return [user for user in users if ours.get(user) != theirs.get(user)]


async def _repair(carrier: UserCarrier, users: Sequence[str], writer: Side, report: UsersReport) -> None:
    for user in users:
        try:
            await carrier.merge([user], writer.other)
        except UserConflict as conflict:
            if conflict.users not in report.conflicts:
                report.conflicts.append(conflict.users)
    report.repaired += len(users) - len(await _differing(carrier, users))


async def _name(carrier: UserCarrier, users: Sequence[str], report: UsersReport) -> None:
    named = users[: MAX_NAMED - len(report.named)]
    if not named:
        return
    shapes = await carrier.shapes()
    found = {side: await carrier.read(side, named) for side in Side}
    for user in named:
        report.named.append(_difference(user, found, shapes))


def _difference(user: str, found: Mapping[Side, Found], shapes: Mapping[str, TableShape]) -> DifferingUser:
    ours, theirs = ({key: row for key, row in found[side].rows.items() if row.owner == user} for side in Side)
    if not ours or not theirs:
        return DifferingUser(user, only=str(Side.SUPABASE if ours else Side.ISOBASE))
    differences: dict[str, set[str]] = {}
    for key in ours.keys() | theirs.keys():
        one, other = ours.get(key), theirs.get(key)
        if one is None or other is None:
            differences.setdefault(key[0], set()).add(f"missing at {Side.SUPABASE if one is None else Side.ISOBASE}")
        elif one.digest != other.digest:
            differences.setdefault(key[0], set()).update(_columns(one, other, shapes[key[0]]))
    for side in Side:
        if _live(user, found[side]) - _live(user, found[side.other]):
            differences.setdefault(TOKENS.name, set()).add(f"missing at {side.other}")
    return DifferingUser(user, differences={table: tuple(sorted(what)) for table, what in sorted(differences.items())})


def _columns(one: Row, other: Row, shape: TableShape) -> set[str]:
    pairs = zip(shape.columns, one.values, other.values, strict=True)
    return {name for name, mine, theirs in pairs if mine != theirs}


def _live(user: str, found: Found) -> set[str]:
    return {
        token
        for token, row in found.tokens.items()
        if found.token_owners[token] == user and row.get("revoked") != "true"
    }
