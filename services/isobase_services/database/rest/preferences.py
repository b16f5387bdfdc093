"""The ``Prefer`` header. Source: PostgREST v14 ``ApiRequest/Preferences.hs``; order of Preference-Applied as there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from isobase_services.database.query.errors import RequestError

__all__ = ["Preferences", "parse_preferences"]

_KNOWN = {
    "resolution": ("merge-duplicates", "ignore-duplicates"),
    "missing": ("default", "null"),
    "return": ("representation", "headers-only", "minimal"),
    "count": ("exact", "planned", "estimated"),
    "tx": ("commit", "rollback"),
    "handling": ("strict", "lenient"),
    "params": ("single-object",),
}


@dataclass(slots=True, frozen=True)
class Preferences:
    """What the client prefers; None where it did not say."""

    resolution: str | None = None
    missing: str | None = None
    returns: str | None = None
    count: str | None = None
    tx: str | None = None
    handling: str | None = None
    timezone: str | None = None
    max_affected: int | None = None

    def applied(self, **honoured: object) -> str | None:
        """The value of ``Preference-Applied`` for what was ``honoured``, in upstream's order; None for nothing."""
        order = ("resolution", "missing", "returns", "count", "tx", "handling", "timezone", "max_affected")
        names = {"returns": "return", "max_affected": "max-affected"}
        parts = [
            f"{names.get(name, name)}={getattr(self, name)}"
            for name in order
            if honoured.get(name) and getattr(self, name) is not None
        ]
        return ", ".join(parts) or None


def parse_preferences(values: Iterable[str]) -> Preferences:
    """Read all ``Prefer`` headers; the first of a kind counts. With handling=strict an unknown one is PGRST122."""
    found: dict[str, str] = {}
    unknown: list[str] = []
    for text in (part.strip() for value in values for part in value.split(",")):
        if not text:
            continue
        name, _, value = (part.strip() for part in text.partition("="))
        if (
            value in _KNOWN.get(name, ())
            or (name == "timezone" and value)
            or (name == "max-affected" and value.isdigit())
        ):
            found.setdefault(name, value)
        else:
            unknown.append(text)
    if unknown and found.get("handling") == "strict":
        raise RequestError(
            "Invalid preferences given with handling=strict",
            code="PGRST122",
            details=f"Invalid preferences: {', '.join(unknown)}",
        )
    limit = found.get("max-affected")
    return Preferences(
        found.get("resolution"),
        found.get("missing"),
        found.get("return"),
        found.get("count"),
        found.get("tx"),
        found.get("handling"),
        found.get("timezone"),
        int(limit) if limit is not None else None,
    )
