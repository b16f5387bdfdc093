"""Who calls and with what request: the plain values that a statement runs under.

``Claims`` is a verified token's content; ``Caller`` adds the role it stands for and the request's outer facts. Nothing
here does I/O; ``tokens`` makes the first, ``http`` the second, ``rls`` reads both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ANON_ROLE", "AUTHENTICATED_ROLE", "NO_CLAIMS", "SERVICE_ROLE", "Caller", "Claims", "RequestFacts"]

ANON_ROLE = "anon"
AUTHENTICATED_ROLE = "authenticated"
SERVICE_ROLE = "service_role"


@dataclass(slots=True, frozen=True)
class Claims:
    """The payload of a verified token.

    ``raw`` is the payload as parsed; ``json`` the same as compact JSON text, made once because every statement sends
    it. Absent claims are None.
    """

    raw: Mapping[str, Any]
    json: str

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Claims:
        """Wrap a payload that has been verified already."""
        return cls(raw=payload, json=json.dumps(payload, separators=(",", ":"), ensure_ascii=False))

    def text(self, name: str) -> str | None:
        """The claim as text, or None where it is absent or not a string."""
        value = self.raw.get(name)
        return value if isinstance(value, str) else None

    @property
    def role(self) -> str | None:
        """The database role that the token asks for."""
        return self.text("role")

    @property
    def sub(self) -> str | None:
        """The user's id as text."""
        return self.text("sub")

    @property
    def session_id(self) -> str | None:
        """The auth session that the token belongs to."""
        return self.text("session_id")

    @property
    def expires_at_s(self) -> int | None:
        """``exp`` in unix seconds."""
        value = self.raw.get("exp")
        return int(value) if isinstance(value, int | float) else None


NO_CLAIMS = Claims(raw={}, json="{}")


@dataclass(slots=True, frozen=True)
class RequestFacts:
    """What policies and functions may read of the HTTP request: ``request.method``, ``.path``, ``.headers``, ``.cookies``.

    ``headers_json`` and ``cookies_json`` are JSON objects with lower-case header names, as PostgREST sets them.
    """

    method: str = ""
    path: str = ""
    headers_json: str = "{}"
    cookies_json: str = "{}"


NO_REQUEST = RequestFacts()


@dataclass(slots=True, frozen=True)
class Caller:
    """A role with its claims and the request it came by: all that the RLS door needs to run a statement."""

    role: str
    claims: Claims = NO_CLAIMS
    request: RequestFacts = field(default=NO_REQUEST)

    @property
    def user_id(self) -> str | None:
        """The ``sub`` claim."""
        return self.claims.sub

    @property
    def is_service(self) -> bool:
        """True for the role that bypasses row-level security."""
        return self.role == SERVICE_ROLE

    @classmethod
    def service(cls) -> Caller:
        """The service itself, for work that no user asked for by name. Policies do not apply to it."""
        return cls(role=SERVICE_ROLE, claims=Claims.from_payload({"role": SERVICE_ROLE}))
