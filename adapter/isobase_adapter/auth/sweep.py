"""Goes through all users of both sides and merges those that differ:

behind ``USERS`` things, the bulk copy and repairs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from isobase_adapter.auth.errors import TooManyRemovals, UserConflict
from isobase_adapter.auth.limits import MergeLimits
from isobase_adapter.sides import Side

if TYPE_CHECKING:
    from isobase_adapter.auth.carrier import UserCarrier

__all__ = ["FIRST", "PAGE_USERS", "OnPage", "Page", "Swept", "next_page", "sweep"]

FIRST = "00000000-0000-0000-0000-000000000000"
PAGE_USERS = 500
REMOVALS_LET_PASS = 50
REMOVALS_SHARE = 0.2
"""A sweep that would remove more users than these, and more than this share of those seen, asks for an operator."""


@dataclass(slots=True, frozen=True)
class Page:
    """The next users of both sides. ``is_last``: none come after."""

    users: tuple[str, ...]
    only: dict[Side, frozenset[str]]
    """Which of them one side alone has."""
    end: str
    is_last: bool


@dataclass(slots=True)
class Swept:
    """What a sweep came to. ``changed`` counts rows; ``after``: how far it came, an id."""

    users: int = 0
    changed: int = 0
    after: str = FIRST
    only_at_target: list[str] = field(default_factory=list)
    """Users that were left alone, because only the target has them and nothing was to be adopted."""
    conflicts: list[UserConflict] = field(default_factory=list)


OnPage: TypeAlias = Callable[[Swept], Awaitable[None]]


async def next_page(carrier: UserCarrier, after: str, size: int = PAGE_USERS) -> Page:
    """Give the users of both sides whose ids come next after ``after``."""
    pages = {side: await carrier.page(side, after, size) for side in Side}
    ends = [ids[-1] for ids in pages.values() if len(ids) == size]
    end = min(ends) if ends else max((ids[-1] for ids in pages.values() if ids), default=after)
    here = {side: frozenset(user for user in ids if user <= end) for side, ids in pages.items()}
    users = tuple(sorted(here[Side.SUPABASE] | here[Side.ISOBASE]))
    return Page(users, {side: here[side] - here[side.other] for side in Side}, end, not ends)


async def sweep(
    carrier: UserCarrier,
    target: Side,
    *,
    limits: MergeLimits = MergeLimits(),  # noqa: B008  frozen
    on_page: OnPage | None = None,
    done: Swept | None = None,
    page_users: int = PAGE_USERS,
) -> Swept:
    """Merge every user whose rows differ, in the order of their ids.

    on_page: awaited after each page, with what was done so far. done: filled as it goes; its ``after`` says where
    to begin. page_users: how many are compared at a time. Raises ``UserConflict`` once all others are done, and
    ``TooManyRemovals`` before it removes more users than looks like people leaving.
    """
    done = Swept() if done is None else done
    removals = 0
    while True:
        page = await next_page(carrier, done.after, page_users)
        differing = await _differing(carrier, page)
        known = await carrier.agreed_counts(differing)
        removals += sum(1 for user in differing if user in page.only[target] and known.get(user, (0, False))[1])
        if removals > REMOVALS_LET_PASS and removals > REMOVALS_SHARE * (done.users + len(page.users)):
            raise TooManyRemovals(
                f"{removals} users of the {target} side are gone at the other: nothing more was removed"
            )
        if not limits.adopts:
            done.only_at_target += [
                user for user in differing if user in page.only[target] and not known.get(user, (0, False))[1]
            ]
        await _merge(carrier, differing, target, limits, done)
        done.users += len(page.users)
        done.after = page.end
        if on_page is not None:
            await on_page(done)
        if page.is_last:
            break
    if done.conflicts:
        raise done.conflicts[0]
    return done


async def _differing(carrier: UserCarrier, page: Page) -> list[str]:
    """Who is not the same on both sides, or not known to be."""
    if not page.users:
        return []
    ours = await carrier.digests(Side.SUPABASE, page.users)
    theirs = await carrier.digests(Side.ISOBASE, page.users)
    agreed = await carrier.agreed_counts(page.users)
    found = []
    for user in page.users:
        mine = ours.get(user)
        if mine is None or mine != theirs.get(user) or agreed.get(user, (0, False))[0] != mine.rows:
            found.append(user)
    return found


async def _merge(carrier: UserCarrier, users: list[str], target: Side, limits: MergeLimits, done: Swept) -> None:
    if not users:
        return
    try:
        done.changed += (await carrier.merge(users, target, limits)).changed
    except UserConflict:
        # One by one, so that those who are in nobody's way are carried.
        for user in users:
            try:
                done.changed += (await carrier.merge([user], target, limits)).changed
            except UserConflict as conflict:
                if all(conflict.users != known.users for known in done.conflicts):
                    done.conflicts.append(conflict)
