"""Rules: settings of a pattern that operators change while clients run (``Snapshot.rules``).

The most specific pattern that has a rule of the name decides; a value of the wrong type counts as none.
"""

from __future__ import annotations

from typing import Any

from isobase_adapter.capabilities import Capability, most_specific
from isobase_adapter.contracts import Snapshot
from isobase_adapter.settings import rpc_rule_of

__all__ = ["RULES", "check_rule", "names_rule", "number_rule", "rule"]

RULES = {
    "sample_percent": "how many reads are compared in stage shadow_read, 0 to 100",
    "noise_percent": "how many of those are asked of the answering side twice instead, 0 to 100",
    "ignore_columns": "columns that are not compared, as a list; items.created_at means those of embedded rows",
    "rpc": "what a function does: read, sync, tables:a|b, both or first_only (docs/migration/client.md)",
    "key_columns": "columns by which rows are paired, as a list; without it a likely key is found",
}
"""Name and meaning of each rule that this version reads."""


def rule(snapshot: Snapshot, capability: Capability, name: str) -> Any:
    """Give a rule's value for a capability, None where none is set."""
    rules = snapshot.rules
    if not rules:
        return None
    pattern = most_specific((pattern for pattern, values in rules.items() if name in values), capability)
    return None if pattern is None else rules[pattern][name]


def number_rule(snapshot: Snapshot, capability: Capability, name: str, default: float) -> float:
    """Give a rule that is a percentage."""
    value = rule(snapshot, capability, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        return default
    return float(value)


def names_rule(snapshot: Snapshot, capability: Capability, name: str) -> tuple[str, ...]:
    """Give a rule that is a list of names."""
    value = rule(snapshot, capability, name)
    return tuple(str(each) for each in value) if isinstance(value, list) else ()


def check_rule(name: str, value: Any) -> None:
    """Raise ``ValueError`` for a rule that is unknown or a value that it cannot have; None removes a rule."""
    if name not in RULES:
        raise ValueError(f"there is no rule {name!r}; rules are {', '.join(RULES)}")
    if value is None:
        return
    if name.endswith("_percent"):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            raise ValueError(f"{name} is a number from 0 to 100")
    elif name == "rpc":
        if not isinstance(value, str):
            raise ValueError("rpc is a text such as read or tables:orders|payments")
        rpc_rule_of(value)
    elif not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f'{name} is a list of names, such as ["updated_at"]')
