"""Keeps secrets out of stored mismatches, and bounds them.

Values of columns and parameters that are named like secrets, everything of auth, and texts that look like tokens or
keys are replaced; long texts are cut, deep and long values too. What is left still tells what differs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from isobase_adapter.shadow.answers import Exact

__all__ = ["MAX_SAMPLE_BYTES", "bounded_sample", "censored", "censored_query"]

MAX_SAMPLE_BYTES = 8192
MAX_TEXT_CHARS = 200
MAX_ITEMS = 20
MAX_DEPTH = 4
HIDDEN = "[hidden]"
SECRET_NAME = re.compile(
    r"pass|secret|token|api_?key|apikey|private|credential|otp|hash|salt|signature|session|cookie|authorization"
    r"|card|cvc|cvv|iban|ssn|pin$|_pin_|\bjwt",
    re.IGNORECASE,
)
SECRET_TEXT = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+|\bsb_(secret|publishable)_\w+|\bsk_(live|test)_\w+|Bearer\s+\S+"
    r"|\$2[aby]\$\d\d\$|\$argon2|-----BEGIN|\bAKIA[0-9A-Z]{16}\b|postgres(ql)?://\S+:\S+@"
)
STRUCTURE = frozenset({"select", "order", "limit", "offset", "on_conflict", "columns", "and", "or"})
OPERATOR = re.compile(r"^((?:not\.)?[a-z]+(?:\([^)]*\))?)\.")


def censored(value: Any, *, hides_all: bool = False, _depth: int = 0) -> Any:
    """Give ``value`` as it may be stored. hides_all: keep names and types alone, as for auth."""
    match value:
        case dict() if _depth < MAX_DEPTH:
            return {
                str(name): HIDDEN
                if SECRET_NAME.search(str(name)) and item is not None
                else censored(item, hides_all=hides_all, _depth=_depth + 1)
                for name, item in list(value.items())[:MAX_ITEMS]
            }
        case list() | tuple() if _depth < MAX_DEPTH:
            return [censored(item, hides_all=hides_all, _depth=_depth + 1) for item in value[:MAX_ITEMS]]
        case dict() | list() | tuple():
            return "[deep]"
        case None | bool():
            return value
        case _ if hides_all:
            return HIDDEN
        case Exact():
            return value.written
        case str():
            if SECRET_TEXT.search(value):
                return HIDDEN
            return value if len(value) <= MAX_TEXT_CHARS else f"{value[:MAX_TEXT_CHARS]}... ({len(value)} characters)"
        case _:
            return value


def censored_query(query: Sequence[tuple[str, str]], *, hides_all: bool = False) -> str:
    """Give a request's query: filters keep their operator, values stay unless they are secret."""
    pairs = []
    for name, value in query[: MAX_ITEMS * 2]:
        if name in STRUCTURE and name not in ("and", "or"):
            shown = value
        elif hides_all or SECRET_NAME.search(name) or SECRET_TEXT.search(value):
            operator = OPERATOR.match(value)
            shown = f"{operator[1]}.{HIDDEN}" if operator else HIDDEN
        elif name in ("and", "or") and SECRET_NAME.search(value):
            shown = HIDDEN
        else:
            shown = value
        pairs.append((name, shown[: MAX_TEXT_CHARS * 2]))
    return urlencode(pairs, safe="[](),.*:!")


def bounded_sample(sample: dict[str, Any]) -> dict[str, Any]:
    """Give the sample, without its answers where it is too large to store."""
    if len(json.dumps(sample, default=str)) <= MAX_SAMPLE_BYTES:
        return sample
    return {name: "[too large]" if name in ("supabase", "isobase", "first", "second") else value
            for name, value in sample.items()}  # fmt: skip
