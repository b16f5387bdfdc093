"""One generated request, and how it goes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from isobase_platform.caller import SERVICE_ROLE

__all__ = ["Request"]

Parameter = tuple[str, str]
_PLAIN = "(),.*:!-_~"


@dataclass(slots=True, frozen=True)
class Request:
    """A request. ``is_ordered``: its rows have one order, also those of its embeds; else rows compare as sets."""

    resource: str
    method: str = "GET"
    parameters: tuple[Parameter, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    role: str | None = SERVICE_ROLE
    is_ordered: bool = False
    raw_query: str | None = None

    @property
    def query(self) -> str:
        """The query string, encoded; ``raw_query`` where one was given."""
        if self.raw_query is not None:
            return self.raw_query
        return "&".join(f"{quote(name, safe=_PLAIN)}={quote(value, safe=_PLAIN)}" for name, value in self.parameters)

    @property
    def path(self) -> str:
        """Path and query as they go on the wire."""
        path = "/" + quote(self.resource, safe="/")
        return f"{path}?{self.query}" if self.query else path

    @property
    def is_write(self) -> bool:
        """Whether it may change rows."""
        return self.method not in {"GET", "HEAD", "OPTIONS"}

    def has(self, name: str) -> bool:
        """Whether a parameter of this name is among its own."""
        return any(name == key for key, _ in self.parameters)

    def __str__(self) -> str:
        shown = f"{self.method} {self.path}"
        if self.headers:
            shown += f" {dict(self.headers)}"
        if self.role != SERVICE_ROLE:
            shown += f" role={self.role}"
        return shown + (f" body={self.body!r}" if self.body is not None else "")
