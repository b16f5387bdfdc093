"""What cascades at the source is carried whatever comes in between: every state of a small family of tables is looked at.

Parents may be deleted and inserted again, a child be moved from one to the other; the child and its own child go with
what they refer to. A carrier takes what a call named, at any time and in any order, as ``rows.related`` does it. Once
nothing waits any more, both sides are equal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pytest

PARENTS = ("p", "q")
REFERS = {"c": PARENTS, "g": ("c",)}
"""A child that refers to one of two parents, and a row that refers to the child."""
ROWS = (*PARENTS, *REFERS)

Side = frozenset[tuple[str, str]]
"""The rows that are there, each with what it refers to ("": nothing)."""


class State(NamedTuple):
    source: Side
    target: Side
    waiting: frozenset[tuple[str, bool]] = frozenset()
    """Rows to be carried; whether they may be there anew."""


def postponed(waiting: frozenset[tuple[str, bool]], row: str, *, is_anew: bool) -> frozenset[tuple[str, bool]]:
    """A newer item of a row replaces the older; that it may be there anew stays said."""
    others = frozenset(item for item in waiting if item[0] != row)
    return others | {(row, is_anew or (row, True) in waiting)}


def without(side: Side, row: str, cascades: Mapping[str, str]) -> Side:
    """Delete a row with all that refers to it, as the source's foreign keys do it."""
    side = frozenset(each for each in side if each[0] != row)
    for name, referred in list(side):
        if referred == row:
            is_kept = cascades[name] == "set null"
            side = side - {(name, referred)} | {(name, "")} if is_kept else without(side, name, cascades)
    return side


def carried(state: State, row: str, *, is_anew: bool) -> State:
    """Make a row at the target what it is at the source, after what refers to it there."""
    present = dict(state.source)
    if is_anew or row not in present:
        for name, referred in sorted(state.target):
            if referred == row:
                state = carried(state, name, is_anew=False)
    target = frozenset(each for each in state.target if each[0] != row)
    return state._replace(target=target | {(row, present[row])} if row in present else target)


def steps(state: State, cascades: Mapping[str, str], *, says_anew: bool) -> Iterator[tuple[str, State]]:
    """Everything that may happen next."""
    present = dict(state.source)
    for row in ROWS:
        if row in present:
            source = without(state.source, row, cascades)
            yield f"delete {row}", state._replace(source=source, waiting=postponed(state.waiting, row, is_anew=False))
        for referred in REFERS.get(row, ("",)):
            if referred and referred not in present:
                continue
            if row not in present:
                waiting = postponed(state.waiting, row, is_anew=says_anew)
                yield (
                    f"insert {row} {referred}",
                    state._replace(source=state.source | {(row, referred)}, waiting=waiting),
                )
            elif present[row] != referred:
                source = state.source - {(row, present[row])} | {(row, referred)}
                waiting = postponed(state.waiting, row, is_anew=False)
                yield f"move {row} to {referred}", state._replace(source=source, waiting=waiting)
    for row, is_anew in state.waiting:
        after = carried(state, row, is_anew=is_anew)
        yield f"carry {row}", after._replace(waiting=state.waiting - {(row, is_anew)})


def divergence(cascades: Mapping[str, str], *, says_anew: bool) -> list[str] | None:
    """Look at every state that can be; give the way to one where nothing waits and the sides differ."""
    start = State(frozenset(), frozenset())
    came_by: dict[State, tuple[State, str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        if not state.waiting and state.source != state.target:
            way: list[str] = []
            step = came_by[state]
            while step is not None:
                way.append(step[1])
                step = came_by[step[0]]
            return way[::-1]
        for name, after in steps(state, cascades, says_anew=says_anew):
            if after not in came_by:
                came_by[after] = (state, name)
                waiting.append(after)
    return None


@pytest.mark.parametrize("action", ["cascade", "set null"])
def test_nothing_that_a_deletion_did_is_missed_where_inserted_rows_are_named_as_there_anew(action: str) -> None:
    cascades = {"c": action, "g": "cascade"}
    assert divergence(cascades, says_anew=True) is None
    way = divergence(cascades, says_anew=False)
    assert way is not None
    assert way[-1].startswith("carry"), way
