"""User metadata as clients send it: JSON text that may be anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from isobase_platform.strict_json import refuse_constant

__all__ = ["parse_user_metadata"]


def parse_user_metadata(text: str) -> Mapping[str, Any] | None:
    """The JSON object in ``text``; None where it is none, or holds what PostgreSQL's jsonb cannot."""
    try:
        value = json.loads(text, parse_constant=refuse_constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and "\\u0000" not in json.dumps(value) else None
