"""The ``Prefer`` header. Source: PostgREST v14 ``ApiRequest/Preferences.hs``; order of Preference-Applied as there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from isobase_services.database.query.errors import RequestError

__all__ = ["Preferences", "parse_preferences"]

_KNOWN = {
    "resolution": ("merge-duplicates", "ignore-duplicates"),
    "missing": ("default", "null"),
    "return": ("representation", "headers-only", "minimal"),
    "count": ("exact", "planned", "estimated"),
    "tx": ("commit", "rollback"),
    "handling": ("strict", "lenient"),
}
_AFFECTED = re.compile(r"-?[0-9]{1,18}")


@dataclass(slots=True, frozen=True)
class Preferences:
    """What the client prefers; None where it did not say. ``invalid`` are the ones that mean nothing here."""

    resolution: str | None = None
    missing: str | None = None
    returns: str | None = None
    count: str | None = None
    tx: str | None = None
    handling: str | None = None
    timezone: str | None = None
    max_affected: int | None = None
    invalid: tuple[str, ...] = ()

    @property
    def is_strict(self) -> bool:
        """Whether preferences that cannot be honoured are errors."""
        return self.handling == "strict"

    @property
    def wants_rows(self) -> bool:
        """Whether a write shall return what it wrote."""
        return self.returns == "representation"

    @property
    def wants_count(self) -> bool:
        """Whether rows are counted (an estimate counts as far as the limit of rows)."""
        return self.count in {"exact", "estimated"}

    def check(self) -> None:
        """PGRST122 for invalid ones under handling=strict; called when the rest of the request has proved sound."""
        if self.invalid and self.is_strict:
            raise RequestError(
                "Invalid preferences given with handling=strict",
                code="PGRST122",
                details=f"Invalid preferences: {', '.join(self.invalid)}",
            )

    def check_affected(self, rows: int) -> None:
        """PGRST124 when more ``rows`` are affected than max-affected allows under handling=strict."""
        if self.is_strict and self.max_affected is not None and rows > self.max_affected:
            raise RequestError(
                "Query result exceeds max-affected preference constraint",
                code="PGRST124",
                details=f"The query affects {rows} rows",
            )

    def without(self, *names: str) -> Preferences:
        """The same without the preferences of these field names, which the request at hand does not honour."""
        nothing: dict[str, Any] = dict.fromkeys(names)
        return replace(self, **nothing)

    def applied(self) -> str | None:
        """The value of ``Preference-Applied``, in upstream's order; None for nothing."""
        named = (
            ("resolution", self.resolution),
            ("missing", self.missing),
            ("return", self.returns),
            ("count", self.count),
            ("tx", self.tx),
            ("handling", self.handling),
            ("timezone", self.timezone),
            ("max-affected", self.max_affected if self.is_strict else None),
        )
        return ", ".join(f"{name}={value}" for name, value in named if value is not None) or None


def parse_preferences(values: Iterable[str], *, allows_tx: bool, knows_time_zone: Callable[[str], bool]) -> Preferences:
    """Read all ``Prefer`` headers; the first of a kind counts.

    ``allows_tx``: whether the server lets clients choose how the transaction ends. A time zone that ``knows_time_zone``
    does not know is one of the invalid.
    """
    found: dict[str, str] = {}
    invalid: list[str] = []
    for text in (part.strip() for value in values for part in value.split(",")):
        name, _, value = text.partition("=")
        if value in _KNOWN.get(name, ()):
            found.setdefault(name, value)
        elif name == "timezone" and "timezone" not in found and knows_time_zone(value):
            found[name] = value
        elif name == "max-affected" and "=" in text:
            if _AFFECTED.fullmatch(value):
                found.setdefault(name, value)
        else:
            invalid.append(text)
    limit = found.get("max-affected")
    return Preferences(
        found.get("resolution"),
        found.get("missing"),
        found.get("return"),
        found.get("count"),
        found.get("tx") if allows_tx else None,
        found.get("handling"),
        found.get("timezone"),
        int(limit) if limit is not None else None,
        tuple(invalid),
    )
