"""Which tables a function's text writes: what a trigger changes beside the row that it is called for."""

from __future__ import annotations

import re
from collections.abc import Collection

__all__ = ["tables_written_by"]

_NAME = r'(?:"[^"]+"|[\w$]+)'
_PART = re.compile(_NAME)
_WRITES = re.compile(
    rf"\b(?:insert\s+into|update|delete\s+from)\s+(?:only\s+)?({_NAME}(?:\s*\.\s*{_NAME})?)", re.IGNORECASE
)


def tables_written_by(source: str, known: Collection[str]) -> list[str]:
    """Give the tables (``schema.table``, of ``known``) that a function's text inserts into, updates or deletes from.

    Read from the text: what it composes and executes is not seen.
    """
    found: set[str] = set()
    for match in _WRITES.finditer(source):
        parts = [part.strip('"') if part.startswith('"') else part.lower() for part in _PART.findall(match[1])]
        if len(parts) == 2:
            found.add(".".join(parts))
        else:
            # Without a schema it is found by the function's path: any of that name may be meant.
            found.update(name for name in known if name.partition(".")[2] == parts[0])
    return sorted(found & set(known))
