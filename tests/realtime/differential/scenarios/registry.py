"""What a scenario is, and the list of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from tests.realtime.differential.playing import Stage

__all__ = ["SCENARIOS", "Play", "Scenario", "scenario"]

Play: TypeAlias = Callable[[Stage], Awaitable[None]]


@dataclass(slots=True, frozen=True)
class Scenario:
    """A sequence of steps."""

    name: str
    play: Play


SCENARIOS: list[Scenario] = []


def scenario(play: Play) -> Play:
    """Register a function as a scenario."""
    SCENARIOS.append(Scenario(getattr(play, "__name__"), play))  # noqa: B009  a Callable has no __name__ for mypy
    return play
