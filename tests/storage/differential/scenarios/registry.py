"""What a scenario is, and the list of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tests.storage.differential.asking import Asking

__all__ = ["SCENARIOS", "Play", "Scenario", "scenario"]

Play: TypeAlias = Callable[[Asking], None]


@dataclass(slots=True, frozen=True)
class Scenario:
    """A sequence of requests."""

    name: str
    play: Play


SCENARIOS: list[Scenario] = []


def scenario(play: Play) -> Play:
    """Register a function as a scenario."""
    SCENARIOS.append(Scenario(play.__name__, play))
    return play
