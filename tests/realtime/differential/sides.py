"""The two servers: a running supabase/realtime, named by the environment, and ``isobase serve realtime``; both bare."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import jwt

from tests.plugins.ports import free_ports
from tests.plugins.stack import ISOBASE, PASSWORD, clean_environment

__all__ = ["ALICE", "BOB", "SECRET", "Side", "running_isobase", "token", "upstream_side"]

SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"
ALICE = "a1111111-1111-4111-8111-111111111111"
BOB = "b2222222-2222-4222-8222-222222222222"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
OURS: Mapping[str, str] = {
    "ISOBASE_REALTIME__ERROR_BACKOFF_S": "0.05",
    "ISOBASE_REALTIME__MAX_EVENTS_PER_S": "10000",
    "ISOBASE_REALTIME__MAX_JOINS_PER_S": "10000",
    "ISOBASE_REALTIME__MAX_SOCKETS": "10000",
}
"""The limits that upstream's tenant has for the comparison (docs/testing.md)."""


@dataclass(slots=True, frozen=True)
class Side:
    """A running server: where its sockets, its HTTP and its database are."""

    name: str
    socket_url: str
    http_url: str
    dsn: str


def token(sub: str | None = None, *, role: str | None = "authenticated", life_s: float = 3600, **claims: object) -> str:
    """A token that both servers take."""
    now_s = int(time.time())
    payload: dict[str, object] = {"iat": now_s - 60, "exp": now_s + int(life_s), **claims}
    if role is not None:
        payload["role"] = role
    if sub is not None:
        payload["sub"] = sub
    return jwt.encode({name: value for name, value in payload.items() if value is not None}, SECRET, algorithm="HS256")


def upstream_side() -> Side | None:
    """Upstream's server, which somebody else has started; None where the environment names none."""
    url, dsn = os.environ.get("REALTIME_UPSTREAM_URL"), os.environ.get("REALTIME_UPSTREAM_DATABASE_URL")
    if not url or not dsn:
        return None
    base = url.rstrip("/")
    return Side("upstream", f"{base.replace('http', 'ws', 1)}/socket/websocket", f"{base}/api", dsn)


@contextmanager
def running_isobase(dsn: str, folder: Path) -> Iterator[Side]:
    """``isobase serve realtime`` on a database of its own."""
    (port,) = free_ports(1)
    log_path = folder / "ours.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [str(ISOBASE), "serve", "realtime", "--port", str(port)],
            env={**clean_environment(), **OURS, "DATABASE_URL": dsn, "ISOBASE_DATABASE__ROLE_PASSWORD": PASSWORD},
            cwd=folder,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    base = f"127.0.0.1:{port}/realtime/v1"
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, log_path)
        yield Side("ours", f"ws://{base}/websocket", f"http://{base}/api", dsn)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        assert process.poll() is None, log_path.read_text()
        assert time.monotonic() < deadline_s, log_path.read_text()
        time.sleep(0.05)
