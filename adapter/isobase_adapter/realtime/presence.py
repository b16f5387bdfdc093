"""Who is present on either side, as one state. Pure.

Somebody who is on both sides is there once: presences of a key are the same where all but their ``presence_ref`` is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

__all__ = ["State", "changes", "merged"]

State: TypeAlias = dict[str, list[dict[str, Any]]]


def merged(states: Sequence[Mapping[str, Sequence[Mapping[str, Any]]]]) -> State:
    """Give the union of several sides' states, the first one's references first."""
    found: State = {}
    for state in states:
        for key, presences in state.items():
            known = found.setdefault(key, [])
            there = Counter(map(_content, known))
            for presence in presences:
                content = _content(presence)
                if there[content]:
                    there[content] -= 1
                else:
                    known.append(dict(presence))
    return {key: presences for key, presences in found.items() if presences}


def changes(before: State, after: State) -> tuple[State, State]:
    """Give who came and who left between two states; another reference of the same presence is no change."""
    return _missing(after, before), _missing(before, after)


def _missing(state: State, other: State) -> State:
    """What ``state`` has and ``other`` has not."""
    found: State = {}
    for key, presences in state.items():
        there = Counter(map(_content, other.get(key, [])))
        new = []
        for presence in presences:
            content = _content(presence)
            if there[content]:
                there[content] -= 1
            else:
                new.append(presence)
        if new:
            found[key] = new
    return found


def _content(presence: Mapping[str, Any]) -> str:
    return json.dumps(
        {name: presence[name] for name in presence if name != "presence_ref"}, sort_keys=True, default=str
    )
