"""Where the real servers are: what the environment names, and what is missing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MissingServerError", "Places"]


class MissingServerError(Exception):
    """A server that cannot be done without is not named, or is not where it is said to be."""


_NEEDED: Mapping[str, tuple[str, str]] = {
    "POSTGRES_UPSTREAM_BIN": ("initdb", "the folder of the programs of PostgreSQL 15 or 17, with wal2json and pgjwt"),
    "POSTGRES_UPSTREAM_CHECKOUT": ("migrations/db/init-scripts", "a checkout of supabase/postgres"),
    "GOTRUE_UPSTREAM_BINARY": ("", "the program of supabase/auth, as `make build` leaves it"),
    "POSTGREST_UPSTREAM_BINARY": ("", "the program of PostgREST"),
    "STORAGE_UPSTREAM_CHECKOUT": ("dist/start/server.js", "a checkout of supabase/storage, built"),
}


@dataclass(slots=True, frozen=True)
class Places:
    """The servers. ``realtime_url``: of a running supabase/realtime, whose tenants are made with ``realtime_secret``."""

    postgres: Path
    postgres_checkout: Path
    gotrue: Path
    postgrest: Path
    storage_checkout: Path
    node: str
    realtime_url: str | None
    realtime_secret: str

    @classmethod
    def from_environment(cls) -> Places:
        """What the environment names. Raises ``MissingServerError`` with everything that is missing."""
        missing = []
        for name, (inside, what) in _NEEDED.items():
            given = os.environ.get(name)
            if not given:
                missing.append(f"{name} is not set: {what}")
            elif not (Path(given) / inside).exists():
                missing.append(f"{name}: {Path(given) / inside} is not there; it has to be {what}")
        if missing:
            raise MissingServerError("\n".join(missing))
        postgres, checkout, gotrue, postgrest, storage = (Path(os.environ[name]).resolve() for name in _NEEDED)
        return cls(
            postgres,
            checkout,
            gotrue,
            postgrest,
            storage,
            node=os.environ.get("NODE_UPSTREAM_BINARY") or "node",
            realtime_url=os.environ.get("REALTIME_UPSTREAM_URL", "").rstrip("/") or None,
            realtime_secret=os.environ.get("REALTIME_UPSTREAM_SECRET", ""),
        )
