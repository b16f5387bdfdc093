"""What a client counts, per capability: calls, fallbacks, refusals, second writes. Kept in memory, and by OpenTelemetry
where it is installed.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

__all__ = ["Metrics"]


class Metrics:
    """Counters by name and capability; any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._taken: Counter[tuple[str, str]] = Counter()
        self._meter: Any = None
        self._instruments: dict[str, Any] = {}
        self._has_looked = False

    def add(self, name: str, capability: str, value: int = 1) -> None:
        """Count ``value`` more."""
        with self._lock:
            self._counts[name, capability] += value
        instrument = self._instrument(name)
        if instrument is not None:
            instrument.add(value, {"capability": capability})

    def counts(self) -> dict[str, dict[str, int]]:
        """Give all counts since the client was made, by name and capability."""
        with self._lock:
            counts = list(self._counts.items())
        found: dict[str, dict[str, int]] = {}
        for (name, capability), value in sorted(counts):
            found.setdefault(name, {})[capability] = value
        return found

    def take(self) -> Mapping[tuple[str, str], int]:
        """Give what was counted since the last ``take``, by (name, capability)."""
        with self._lock:
            new = self._counts - self._taken
            self._taken = Counter(self._counts)
        return new

    def _instrument(self, name: str) -> Any:
        if not self._has_looked:
            self._has_looked = True
            try:
                from opentelemetry import metrics
            except ImportError:
                return None
            self._meter = metrics.get_meter("isobase.migration")
        if self._meter is None:
            return None
        if name not in self._instruments:
            self._instruments[name] = self._meter.create_counter(f"isobase.migration.{name}")
        return self._instruments[name]
