"""Visits every state that can be reached, breadth first, so that the trace of a violation is a shortest one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tests.adapter.model.protocol import Protocol
from tests.adapter.model.state import State

__all__ = ["Finding", "explore"]


@dataclass(slots=True, frozen=True)
class Finding:
    """What an exploration came to. ``trace``: the steps that lead to ``violation``; both empty where all holds."""

    states: int
    settled: int
    violation: str = ""
    trace: tuple[str, ...] = ()
    is_complete: bool = True

    def __str__(self) -> str:
        """The trace, a step per line."""
        lines = [f"{self.states} states, {self.settled} settled", *(f"  {step}" for step in self.trace), self.violation]
        return "\n".join(lines)


def explore(protocol: Protocol, first: State, *, limit: int = 5_000_000) -> Finding:
    """Visit everything from ``first`` on, until a violation or ``limit`` states.

    A state that nothing can follow must be settled: otherwise a write waits for ever. Of a state that was visited its
    64-bit hash is kept, with that of the one before: of a million states two are the same by chance once in ten million.
    """
    came_from: dict[int, tuple[int, str] | None] = {hash(first): None}
    waiting = deque([first])
    settled = 0
    while waiting:
        state = waiting.popleft()
        number = hash(state)
        violation = protocol.violation(state)
        settled += protocol.is_settled(state)
        is_stuck = True
        if violation is None:
            for label, following in protocol.steps(state):
                is_stuck = False
                following_number = hash(following)
                if following_number not in came_from:
                    came_from[following_number] = (number, label)
                    waiting.append(following)
            if is_stuck and not protocol.is_settled(state):
                violation = f"nothing can follow: {state}"
        if violation is not None:
            return Finding(len(came_from), settled, violation, _trace(came_from, number))
        if len(came_from) > limit:
            return Finding(len(came_from), settled, is_complete=False)
    return Finding(len(came_from), settled)


def _trace(came_from: dict[int, tuple[int, str] | None], number: int) -> tuple[str, ...]:
    steps: list[str] = []
    while (before := came_from[number]) is not None:
        number, label = before
        steps.append(label)
    return tuple(reversed(steps))
