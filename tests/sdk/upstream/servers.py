"""Start the real PostgREST and GoTrue, and find the real supabase/realtime, where the environment names them.

``POSTGREST_UPSTREAM_BINARY`` and ``GOTRUE_UPSTREAM_BINARY`` are paths of programs, ``REALTIME_UPSTREAM_URL`` and
``REALTIME_UPSTREAM_DATABASE_URL`` a running server and its tenant's database, both as docs/testing.md says.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import jwt

from tests.plugins.ports import free_ports
from tests.plugins.stack import clean_environment

__all__ = [
    "UpstreamStack",
    "gotrue_named",
    "postgrest_named",
    "realtime_named",
    "running_postgrest",
    "running_program",
]

DEMO_SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


def postgrest_named() -> str | None:
    """The program of PostgREST to test with."""
    return os.environ.get("POSTGREST_UPSTREAM_BINARY") or None


def gotrue_named() -> str | None:
    """The program of GoTrue to test with."""
    return os.environ.get("GOTRUE_UPSTREAM_BINARY") or None


def realtime_named() -> str | None:
    """The address of the supabase/realtime to test with."""
    return os.environ.get("REALTIME_UPSTREAM_URL", "").rstrip("/") or None


@dataclass
class UpstreamStack:
    """A supabase/realtime behind a gateway, as tests drive it; it has the demo secret."""

    url: str
    owner: asyncpg.Connection[asyncpg.Record]

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def anon_key(self) -> str:
        return self.token(role="anon")

    def token(
        self, user: str | None = None, *, role: str = "authenticated", life_s: float = 3600, **claims: object
    ) -> str:
        """A signed user token."""
        now = time.time()
        payload: dict[str, object] = {"role": role, "iat": int(now) - 5, "exp": int(now + life_s), **claims}
        return jwt.encode(payload | ({"sub": user} if user else {}), DEMO_SECRET, algorithm="HS256")

    async def sql(self, text: str, *arguments: object) -> list[asyncpg.Record]:
        """Run statements as the owner."""
        if not arguments:
            await self.owner.execute(text)
            return []
        return await self.owner.fetch(text, *arguments)


@contextmanager
def running_program(
    command: Sequence[str],
    environment: Mapping[str, str],
    health_url: str,
    folder: Path,
    *,
    working_folder: Path | None = None,
) -> Iterator[None]:
    """Run a server until the end of the block, once it answers 200 at ``health_url``; its log is in ``folder``."""
    log_path = folder / f"{Path(command[0]).name}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**clean_environment(), **environment},
            cwd=working_folder or folder,
            stdout=log,
            stderr=log,
        )
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not _is_up(health_url):
            assert process.poll() is None, log_path.read_text()
            assert time.monotonic() < deadline_s, log_path.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_up(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@contextmanager
def running_postgrest(binary: str, dsn: str, jwt_secret: str, schemas: Sequence[str], folder: Path) -> Iterator[str]:
    """PostgREST as Supabase runs it, and with what the tests ask of plans and of ``tx=rollback``; gives its URL."""
    (port,) = free_ports(1)
    environment = {
        "PGRST_DB_URI": dsn.replace("supabase_admin:", "authenticator:"),
        "PGRST_DB_SCHEMAS": ",".join(schemas),
        "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
        "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_DB_PLAN_ENABLED": "true",
        "PGRST_DB_TX_END": "commit-allow-override",
        "PGRST_JWT_SECRET": jwt_secret,
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": str(port),
        "PGRST_LOG_LEVEL": "error",
    }
    url = f"http://127.0.0.1:{port}"
    with running_program([binary], environment, f"{url}/authors?limit=0", folder):
        yield url
