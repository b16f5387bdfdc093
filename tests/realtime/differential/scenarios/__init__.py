"""All scenarios; importing a module of them registers its own."""

from __future__ import annotations

from tests.realtime.differential.scenarios import broadcasts, changes, joins, presences, private
from tests.realtime.differential.scenarios.registry import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "Scenario", "broadcasts", "changes", "joins", "presences", "private"]
