"""One request of the differential suite, and where PostgREST 14 answers otherwise than 12.0.2.

A path is sent as it is written here. ``newer`` says what of the answer is not compared with 12.0.2 because version 14, whose
answers the data API gives, changed it; ``status`` and ``code`` then hold version 14's (PostgREST's CHANGELOG and Error.hs).
``only_code`` compares an error's code and not its words: those of a parser, or of PostgreSQL about SQL that each server
writes in its own way. What 14 changed for whole classes of answers is in ``newer_answer`` of the test module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from isobase_platform.caller import SERVICE_ROLE

__all__ = ["ALL", "EXACT", "RETURN", "SINGLE", "Case", "Facet", "reads"]

Facet: TypeAlias = Literal["status", "body", "headers"]


@dataclass(slots=True, frozen=True)
class Case:
    """One request. ``role`` None sends no token; ``body`` other than bytes is sent as JSON."""

    name: str
    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    role: str | None = SERVICE_ROLE
    newer: frozenset[Facet] = frozenset()
    only_code: bool = False
    status: int | None = None
    code: str | None = None

    @property
    def content(self) -> bytes | None:
        """The body as bytes."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body).encode()


def reads(area: str, *paths: str, **options: object) -> list[Case]:
    """One GET per path; ``options`` are those of ``Case``."""
    return [Case(f"{area} {path}", path, **options) for path in paths]  # type: ignore[arg-type]


ALL: frozenset[Facet] = frozenset({"status", "headers", "body"})

RETURN = {"Prefer": "return=representation"}
SINGLE = {"Accept": "application/vnd.pgrst.object+json"}
EXACT = {"Prefer": "count=exact"}
