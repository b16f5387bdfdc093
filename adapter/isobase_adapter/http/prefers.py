"""The ``Prefer`` header of a call (RFC 7240, as PostgREST reads it), and what the answer says was applied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import httpx

__all__ = ["Prefer"]


@dataclass(slots=True, frozen=True)
class Prefer:
    """Preferences in the order they were given; of two of one name the first counts."""

    given: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, headers: httpx.Headers) -> Prefer:
        """Read the header, which may stand there several times."""
        parts = (part.strip() for line in headers.get_list("prefer") for part in line.split(","))
        pairs = (part.partition("=") for part in parts if part)
        return cls(tuple((name.strip().lower(), value.strip()) for name, _, value in pairs))

    def get(self, name: str) -> str | None:
        """Give a preference's value."""
        return next((value for key, value in self.given if key == name), None)

    def written(self, **changed: str) -> str:
        """Give the header with some preferences set to other values."""
        kept = [(name, value) for name, value in self.given if name not in changed]
        return ",".join(f"{name}={value}" if value else name for name, value in [*kept, *changed.items()])

    def headers(self, raw: Iterable[tuple[bytes, bytes]], **changed: str) -> list[tuple[bytes, bytes]]:
        """Give a request's headers with this ``Prefer``, changed."""
        kept = [(name, value) for name, value in raw if name.lower() != b"prefer"]
        return [*kept, (b"prefer", self.written(**changed).encode("latin-1"))]
