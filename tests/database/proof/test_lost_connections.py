"""PostgreSQL goes away under load and comes back: clear 503s meanwhile, the server recovers by itself, nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from isobase_deploy.embedded import EmbeddedPostgres
from isobase_platform.config import Settings
from isobase_platform.schema import apply_schema
from tests.database.proof.conftest import SCHEMA, DataApi, run_sql, serving
from tests.plugins.ports import free_ports
from tests.plugins.stack import PASSWORD, settings_for

CLIENTS = 6
LOAD_S = 3.0
RECOVERY_S = 60.0
# 57P01 is what PostgreSQL says to a session that it ends.
CLEAR_CODES = {"PGRST000", "PGRST001", "PGRST002", "PGRST003", "57P01", "57P02", "57P03"}


class _Load:
    """Clients that write and read until told to end; what was acknowledged, and every answer that was not clear."""

    def __init__(self, api: DataApi) -> None:
        self._api = api
        self._numbers = itertools.count(1000)
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        self.acknowledged: set[int] = set()
        self.seen: Counter[str] = Counter()
        self.unclear: list[str] = []

    def __enter__(self) -> _Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def waits_for_another(self) -> None:
        """Wait until one pair of requests more was answered as it should be, or ``RECOVERY_S`` are over."""
        before, end_s = self.seen["201 200"], time.monotonic() + RECOVERY_S
        while self.seen["201 200"] == before and time.monotonic() < end_s:
            time.sleep(0.05)

    def _run(self) -> None:
        with self._api.client() as client:
            while not self._is_over.is_set():
                number = next(self._numbers)
                written = client.post("/things", json={"id": number, "name": "n"})
                if written.status_code == 201:
                    self.acknowledged.add(number)
                else:
                    self._judge(written)
                read = client.get("/things?select=id&id=eq.1")
                if read.status_code == 200:
                    assert read.json() == [{"id": 1}]
                else:
                    self._judge(read)
                self.seen[f"{written.status_code} {read.status_code}"] += 1

    def _judge(self, answer: httpx.Response) -> None:
        body = answer.json()
        is_clear = answer.status_code in {503, 504} and set(body) == {"code", "details", "hint", "message"}
        if not is_clear or body["code"] not in CLEAR_CODES:
            self.unclear.append(f"{answer.status_code} {answer.text}")


def _recovers(api: DataApi) -> bool:
    with api.client() as client:
        end_s = time.monotonic() + RECOVERY_S
        while time.monotonic() < end_s:
            if client.get("/things?select=id&limit=1").status_code == 200:
                return True
            time.sleep(0.1)
    return False


def _kept(settings: Settings) -> set[int]:
    return {int(str(row[0])) for row in run_sql(settings, "select id from public.things where id >= 1000")}


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[tuple[EmbeddedPostgres, Settings]]:
    """A PostgreSQL of the test's own, to stop and start, with the schema and the table ``things``."""
    with tempfile.TemporaryDirectory(prefix="isobase-proof-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        (port,) = free_ports(1)
        server = EmbeddedPostgres(directory, port=port, password=PASSWORD)
        server.start()
        try:
            settings = settings_for(f"postgresql://supabase_admin:{PASSWORD}@127.0.0.1:{port}/postgres", tmp_path)
            asyncio.run(apply_schema(settings))
            run_sql(settings, SCHEMA)
            yield server, settings
        finally:
            server.stop()


def test_sessions_that_postgres_ends_cost_at_most_a_503_each(things: Settings) -> None:
    with serving(things) as api:
        with _Load(api) as load:
            end_s = time.monotonic() + LOAD_S
            while time.monotonic() < end_s:
                time.sleep(0.2)
                run_sql(
                    things,
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()",
                )
            assert _recovers(api)
            load.waits_for_another()
        assert not load.unclear, load.unclear[:5]
        assert load.acknowledged <= _kept(things)
        assert load.seen["201 200"] > 0, load.seen


def test_a_restart_of_postgres_under_load_loses_nothing(own_postgres: tuple[EmbeddedPostgres, Settings]) -> None:
    server, settings = own_postgres
    with serving(settings) as api:
        with _Load(api) as load:
            load.waits_for_another()
            before = len(load.acknowledged)
            server.stop()
            time.sleep(1.0)
            with api.client() as client:
                refused = client.get("/things?select=id&limit=1")
            assert refused.status_code == 503, refused.text
            server.start()
            assert _recovers(api)
            load.waits_for_another()
        assert not load.unclear, load.unclear[:5]
        assert load.acknowledged <= _kept(settings)
        assert 0 < before < len(load.acknowledged), load.seen
