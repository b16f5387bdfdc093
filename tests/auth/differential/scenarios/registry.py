"""What a scenario is, and the list of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tests.auth.differential.asking import Asking

__all__ = ["SCENARIOS", "Play", "Scenario", "scenario"]

Play: TypeAlias = Callable[[Asking], None]


@dataclass(slots=True, frozen=True)
class Scenario:
    """A sequence of requests under a configuration."""

    name: str
    configuration: str
    play: Play


SCENARIOS: list[Scenario] = []


def scenario(*configurations: str) -> Callable[[Play], Play]:
    """Register a function as a scenario under each of the configurations."""

    def register(play: Play) -> Play:
        name = play.__name__
        SCENARIOS.extend(Scenario(name, configuration, play) for configuration in configurations)
        return play

    return register
