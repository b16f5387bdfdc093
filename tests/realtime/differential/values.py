"""Making frames comparable: what is random or a time becomes a name, checked for its form, the same on both sides.

An id becomes ``<uuid 1>``, numbered by its first appearance in the scenario, so that the same value in two places stays the
same; so do presence's references and the ids of bindings. A time becomes ``<now>`` with its form (fraction and zone) kept.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.auth.differential.values import JsonValue, differences

__all__ = ["JsonValue", "Names", "differences"]

NEAR_S = 120.0
MAX_BINDING_ID = 2**27
MIN_BINDING_ID = 1000
"""Ids of rows in scenarios are smaller."""
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_INSIDE = re.compile(rf"(?P<uuid>{_UUID})|(?P<iso>{_ISO})|(?P<ago>(?<=expired )\d+(?= seconds? ago))")
_PHX_REFS = frozenset({"phx_ref", "phx_ref_prev"})
_PHX_REF = re.compile(r"[\w+/=-]{8,32}")


@dataclass(slots=True)
class Names:
    """The names given on one side of one scenario. ``known``: values of the scenario's own, which stay as they are."""

    known: frozenset[str] = frozenset()
    given: dict[str, str] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)

    def normal(self, value: JsonValue, key: str = "") -> JsonValue:
        """``value``, found under ``key``, with names for what is random."""
        if isinstance(value, Mapping):
            return {self.text(name): self.normal(item, name) for name, item in sorted(value.items())}
        if isinstance(value, list):
            items = [self.normal(item, key) for item in value]
            # Which bindings a change is for is a set.
            return [*sorted({str(item) for item in items})] if key == "ids" else items
        if isinstance(value, str):
            if key in _PHX_REFS and _PHX_REF.fullmatch(value):
                return self.name("phx_ref", value)
            return self.text(value)
        if isinstance(value, int) and not isinstance(value, bool) and key in ("id", "ids") and value > MIN_BINDING_ID:
            return self.name("binding", str(value)) if value < MAX_BINDING_ID else f"<too large {value}>"
        return value

    def text(self, text: str) -> str:
        """A text with names for what is random in it."""
        return text if text in self.known else _INSIDE.sub(self._named, text)

    def name(self, kind: str, value: str) -> str:
        """The name of a random value, a new one where it is seen for the first time."""
        if value not in self.given:
            self.count[kind] = self.count.get(kind, 0) + 1
            self.given[value] = f"<{kind} {self.count[kind]}>"
        return self.given[value]

    def _named(self, found: re.Match[str]) -> str:
        kind, text = found.lastgroup or "", found[0]
        if text in self.known:
            return text
        if kind == "ago":
            return "<n>"
        return self.name(kind, text) if kind == "uuid" else _moment(text)


def _moment(text: str) -> str:
    """``<now>`` with the form of a time near now; any other time as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if abs(moment.timestamp() - time.time()) > NEAR_S:
        return text
    fraction = text.partition(".")[2].rstrip("Z").partition("+")[0]
    # PostgreSQL leaves out the last zeros of microseconds; three digits and Z is what the server writes itself.
    form = ".ms" if len(fraction) == 3 and text.endswith("Z") else ""
    zone = "Z" if text.endswith("Z") else text[-6:] if "+" in text[-6:] else ""
    return f"<now{form}{zone}>"
