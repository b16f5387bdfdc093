"""What of a caller's claims a policy reads, and its value as PostgreSQL would have it.

Only what is certain is answered here: a claim whose text or cast PostgreSQL might see otherwise is ``UNKNOWN``, and is then
asked of PostgreSQL. Source: schema.sql ``auth.uid``, ``auth.jwt``; PostgreSQL's ``jsonb`` operators ``->`` and ``->>``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from isobase_platform.caller import Claims

__all__ = ["UNKNOWN", "ClaimTerm", "Kind", "Unknown", "Value", "canonical", "claim_value"]


class Unknown(Enum):
    """The type of ``UNKNOWN``."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN
"""Only PostgreSQL can say."""

Value: TypeAlias = "str | Unknown | None"
"""A value as the log writes it; None for NULL."""


class Kind(Enum):
    """Types whose values are equal exactly when their texts in the log are."""

    TEXT = "text"
    UUID = "uuid"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    OTHER = "other"
    """Any other type, of which only NULL can be told."""


@dataclass(slots=True, frozen=True)
class ClaimTerm:
    """A claim by its path (``auth.jwt() -> 'a' ->> 'b'`` is ``("a", "b")``), cast to ``cast`` and compared as ``kind``."""

    path: tuple[str, ...]
    cast: Kind = Kind.TEXT
    kind: Kind = Kind.TEXT


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_INTEGER = re.compile(r"-?[0-9]{1,9}")
_BOOLEANS = {"t": "t", "true": "t", "f": "f", "false": "f"}


def canonical(text: str, kind: Kind) -> Value:
    """The text that PostgreSQL writes for ``text`` cast to ``kind``; ``UNKNOWN`` where only it can say, or would refuse."""
    if kind is Kind.TEXT:
        return text
    if kind is Kind.UUID:
        return text.lower() if _UUID.fullmatch(text) else UNKNOWN
    if kind is Kind.INTEGER:
        return str(int(text)) if _INTEGER.fullmatch(text) else UNKNOWN
    return _BOOLEANS.get(text, UNKNOWN) if kind is Kind.BOOLEAN else UNKNOWN


def claim_value(term: ClaimTerm, claims: Claims) -> Value:
    """The value of a term for a caller."""
    if not _is_plain(claims.json):
        return UNKNOWN
    value: object = claims.raw
    for name in term.path:
        # -> and ->> of what is no object, or lacks the name, are NULL.
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    if value is None:
        return None
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, int):
        text = str(value)
    elif isinstance(value, str) and value:
        text = value
    else:
        # Numbers with a fraction, objects, lists; and "", which the functions of auth make NULL and ->> does not.
        return UNKNOWN
    return canonical(text, term.cast)


def _is_plain(text: str) -> bool:
    """False for claims that PostgreSQL cannot hold: any policy that reads one of them raises."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\\u0000" not in text
