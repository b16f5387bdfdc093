"""Which change of a flag is allowed, as pure functions on a snapshot.

A flag goes to a neighbour of its stage, and only once its stage holds for everybody; within a stage its share may grow
and shrink; a stage that does not hold for everybody goes back to the one before, for everybody. A pattern without a
flag is where the pattern that covers it is, else ``off`` with Supabase as writer, and a new flag's writer is the one
that the capabilities had till then: no write changes its side without a handover.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from isobase_adapter.capabilities import patterns_of
from isobase_adapter.contracts import Flag, Snapshot, Writer
from isobase_adapter.control.errors import ChangeRefused
from isobase_adapter.stages import Stage, clamped

__all__ = [
    "BEHIND",
    "behind_of",
    "covering",
    "effective_flag",
    "effective_writer",
    "planned_flag",
    "planned_removal",
    "planned_writer",
]

BEHIND = "supabase_is_behind"
"""The rule that marks a pattern that was ``complete``: Supabase lacks what was written then until a rollback brought it."""
MAX_LISTED_USERS = 10_000
"""Users that a flag may list; a share is for more."""


def covering(patterns: Iterable[str], pattern: str) -> str | None:
    """Give the most specific of ``patterns`` that decides for all that ``pattern`` means, itself included."""
    fitting = [other for other in patterns if other == pattern or _covers(other, pattern)]
    return max(fitting, key=lambda other: (other == pattern, len(other)), default=None)


def effective_flag(snapshot: Snapshot, pattern: str) -> Flag:
    """Give the flag that decides for ``pattern``, under its own name; ``off`` where none does."""
    name = covering(snapshot.flags, pattern)
    if name is None:
        return Flag(pattern, Stage.OFF, Stage.OFF)
    return replace(snapshot.flags[name], pattern=pattern)


def effective_writer(snapshot: Snapshot, pattern: str) -> Writer:
    """Give the writer of ``pattern``, under its own name; Supabase where none was named."""
    name = covering(snapshot.writers, pattern)
    if name is None:
        return Writer(pattern)
    return replace(snapshot.writers[name], pattern=pattern)


def planned_flag(
    snapshot: Snapshot, pattern: str, stage: Stage, *, share_percent: float = 100.0, users: Collection[str] = ()
) -> Flag:
    """Give ``pattern``'s flag after the change.

    share_percent: of users, 0 to 100. users: ids that are in whatever the share. Raises ``ChangeRefused``.
    """
    _check_values(pattern, share_percent, users)
    now = effective_flag(snapshot, pattern)
    writer = effective_writer(snapshot, pattern)
    if writer.is_handing_over:
        raise ChangeRefused(f"{pattern}: the writer is being handed over; wait until that has ended")
    if stage is now.stage:
        before = now.before
    elif now.is_for_all:
        if not now.stage.may_become(stage):
            names = " or ".join(other for other in Stage if now.stage.may_become(other))
            raise ChangeRefused(f"{pattern}: from {now.stage} the next stage is {names}, not {stage}")
        before = now.stage
    elif stage is now.before and share_percent >= 100:
        before = now.stage
    else:
        raise ChangeRefused(
            f"{pattern}: {now.stage} holds for {now.share_percent:g} % of users; take it to 100 % before the next stage,"
            f" or go back to {now.before} with 100 %"
        )
    if clamped(stage, writer.side) is not stage:
        raise ChangeRefused(
            f"{pattern}: {writer.side} is written first, which {stage} does not allow; hand the writer over to"
            f" {writer.side.other} first"
        )
    return Flag(pattern, stage, before, float(share_percent), frozenset(users))


def behind_of(snapshot: Snapshot, pattern: str) -> list[str]:
    """Give the marked patterns that have something in common with ``pattern``."""
    marked = [name for name, rules in snapshot.rules.items() if rules.get(BEHIND)]
    return sorted(name for name in marked if name == pattern or _covers(name, pattern) or _covers(pattern, name))


def planned_writer(snapshot: Snapshot, pattern: str) -> Writer | None:
    """Give the writer that a new flag for ``pattern`` begins with, or None where it has one."""
    return None if pattern in snapshot.writers else effective_writer(snapshot, pattern)


def planned_removal(snapshot: Snapshot, pattern: str) -> None:
    """Check that ``pattern``'s flag may go, because the one that covers it says the same.

    Raises ``ChangeRefused``.
    """
    if pattern not in snapshot.flags:
        raise ChangeRefused(f"{pattern}: there is no flag of this name")
    now, writer = snapshot.flags[pattern], effective_writer(snapshot, pattern)
    rest = Snapshot(
        {name: flag for name, flag in snapshot.flags.items() if name != pattern},
        {name: other for name, other in snapshot.writers.items() if name != pattern},
    )
    then, then_writer = effective_flag(rest, pattern), effective_writer(rest, pattern)
    if not (now.is_for_all and then.is_for_all and now.stage is then.stage):
        raise ChangeRefused(
            f"{pattern}: without this flag it would go from {now.stage} to {then.stage}; both must be the same, for everybody"
        )
    if writer.side is not then_writer.side or writer.is_handing_over or then_writer.is_handing_over:
        raise ChangeRefused(f"{pattern}: without this flag the writer would change; hand it over first")


def _covers(other: str, pattern: str) -> bool:
    return other.endswith("*") and pattern.startswith(other[:-1])


def _check_values(pattern: str, share_percent: float, users: Collection[str]) -> None:
    try:
        known = patterns_of(pattern)
    except ValueError as error:
        raise ChangeRefused(str(error)) from error
    if pattern not in known:
        raise ChangeRefused(f"not a capability or pattern: {pattern!r}; did you mean {' or '.join(known)}?")
    if not 0 <= share_percent <= 100:
        raise ChangeRefused(f"{pattern}: a share is from 0 to 100 percent, not {share_percent:g}")
    if len(users) > MAX_LISTED_USERS:
        raise ChangeRefused(f"{pattern}: a flag lists at most {MAX_LISTED_USERS:,} users; use a share")
