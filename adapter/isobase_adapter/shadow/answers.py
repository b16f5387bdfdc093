"""An answer as the comparison sees it: status, rows or value, count, error code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Exact", "ReadAnswer", "parsed_json"]


class Exact(str):
    """A JSON number with a point or an exponent, as it was written: 1.0 and 1.00 are not the same answer.

    It begins with a character that no text of PostgreSQL holds, so that no string equals it.
    """

    __slots__ = ()

    @classmethod
    def of(cls, written: str) -> Exact:
        """Keep a number as it was written."""
        return cls(f"\0{written}")

    @property
    def written(self) -> str:
        """The number as it was written."""
        return self[1:]


@dataclass(slots=True, frozen=True)
class ReadAnswer:
    """A side's answer to a read. ``headers``: names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)

    @property
    def is_error(self) -> bool:
        """Whether the side refused or failed."""
        return self.status >= 400

    @property
    def is_json(self) -> bool:
        """Whether the body says that it is JSON."""
        media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return media_type == "application/json" or media_type.endswith("+json")

    @property
    def count(self) -> str | None:
        """The total of Content-Range, None where none was asked for."""
        total = self.headers.get("content-range", "").rpartition("/")[2]
        return total if total and total != "*" else None

    @property
    def error_code(self) -> str | None:
        """The error's code, None where the body has none."""
        value = parsed_json(self) if self.is_json else None
        if not isinstance(value, dict):
            return None
        for name in ("code", "error_code", "error"):
            if isinstance(value.get(name), str | int) and not isinstance(value.get(name), Exact):
                return str(value[name])
        return None


def parsed_json(answer: ReadAnswer) -> Any:
    """Give the body's value with numbers as they were written. Raises ``ValueError``."""
    return json.loads(answer.body, parse_float=Exact.of) if answer.body else None
