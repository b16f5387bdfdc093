"""A write with an ``Idempotency-Key`` happens once, whatever is lost around its commit, and behind a pooler."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr

from isobase_platform.config import Settings
from isobase_platform.runtime import Platform
from isobase_services.database import idempotency
from tests.database.proof.conftest import ALICE, BOB, DataApi, run_sql, serving
from tests.database.proof.test_pooler import pooled
from tests.plugins.stack import SESSION_END_TIMEOUT_MS

__all__ = ["pooled"]

ANSWER_TIMEOUT_S = 60.0


class CommitCutter:
    """Stands between the server and PostgreSQL, and cuts a connection that commits: ``before`` or after it did."""

    def __init__(self, host: str, port: int, *, before: bool) -> None:
        self._target = (host, port)
        self._before = before
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        self.is_armed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server, contextlib.suppress(OSError):
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    if ready is server:
                        client.sendall(data)
                    elif b"COMMIT" in data and self.is_armed:
                        self.is_armed = False
                        self.cuts += 1
                        if not self._before:
                            server.sendall(data)
                            select.select(
                                [server], [], [], ANSWER_TIMEOUT_S
                            )  # its answer is there, and goes no further
                        return
                    else:
                        server.sendall(data)


@pytest.fixture(params=[True, False], ids=["before", "after"])
def cut(request: pytest.FixtureRequest, things: Settings) -> Iterator[tuple[Settings, CommitCutter]]:
    """Settings that reach the database through a ``CommitCutter``."""
    assert things.database.url is not None
    url = things.database.url.get_secret_value()
    place = urlsplit(url)
    cutter = CommitCutter(place.hostname or "", place.port or 0, before=request.param)
    database = things.database.model_copy(update={"url": SecretStr(url.replace(f":{place.port}/", f":{cutter.port}/"))})
    yield things.model_copy(update={"database": database}), cutter
    cutter.close()


def test_a_connection_lost_at_the_commit_costs_a_503_and_no_second_row(
    cut: tuple[Settings, CommitCutter], things: Settings
) -> None:
    settings, cutter = cut
    key = {"idempotency-key": str(uuid4()), "prefer": "return=representation"}
    run_sql(things, "alter table public.things drop constraint things_pkey")
    with serving(settings) as api, api.client() as client:
        cutter.is_armed = True
        lost = client.post("/things", json={"id": 7, "name": "once"}, headers=key)
        assert (lost.status_code, lost.json()["code"], cutter.cuts) == (503, "PGRST001", 1)
        there = run_sql(things, "select 1 from public.things where name = 'once'")
        for _ in range(2):
            again = client.post("/things", json={"id": 7, "name": "once"}, headers=key)
            assert (again.status_code, [row["name"] for row in again.json()]) == (201, ["once"])
        assert again.headers["idempotency-replayed"] == "true"
    assert len(there) <= 1
    assert run_sql(things, "select count(*) from public.things where name = 'once'") == [(1,)]


def test_behind_a_pooler_each_key_writes_once_and_callers_stay_apart(pooled: Settings) -> None:
    keys = [str(uuid4()) for _ in range(8)]
    wrong: list[str] = []

    def act(api: DataApi, sub: str) -> None:
        with api.client(api.headers("authenticated", sub)) as client:
            for key in keys:
                head = {"idempotency-key": key, "prefer": "return=representation"}
                answer = client.post("/owned", json={"note": key}, headers=head)
                if answer.status_code != 201 or answer.json()[0]["owner"] != sub:
                    wrong.append(answer.text)
                refused = client.post("/owned", json={"id": 1}, headers={"idempotency-key": f"{key} refused"})
                if refused.status_code != 400 or refused.json()["code"] != "428C9":
                    wrong.append(refused.text)
                if client.get("/rpc/me").json()["sub"] != sub:
                    wrong.append("another's claims")

    with serving(pooled) as api, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda sub: act(api, sub), (ALICE, BOB, ALICE, BOB)))
    assert not wrong, wrong[:5]
    assert run_sql(pooled, "select owner::text, count(*) from public.owned group by owner order by owner") == [
        (ALICE, len(keys)),
        (BOB, len(keys)),
    ]


def test_a_connection_that_postgres_ended_while_idle_costs_nothing(things: Settings) -> None:
    with serving(things) as api, api.client() as client:
        for number in (100, 101):
            answer = client.post("/things", json={"id": number, "name": "n"}, headers={"idempotency-key": str(uuid4())})
            assert answer.status_code == 201, answer.text
            run_sql(
                things,
                f"select pg_terminate_backend(pid, {SESSION_END_TIMEOUT_MS}) from pg_stat_activity"
                " where datname = current_database() and application_name = 'isobase authenticator'",
            )


async def test_expired_answers_are_swept_in_parts_and_others_stay(
    things: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "SWEEP_ROWS", 10)
    run_sql(
        things,
        "insert into isobase.idempotency_keys select n::text::bytea, '', 200, '[]', null, now() + n * interval '1 s'"
        " from generate_series(-24, 5) as n where n <> 0",
    )
    async with Platform.open(things) as platform:
        once = idempotency.IdempotentWrites(platform.pools, life_s=60, max_answer_bytes=1)
        assert (await once.sweep(), await once.sweep()) == (24, 0)
    assert run_sql(things, "select count(*) from isobase.idempotency_keys") == [(5,)]
