"""The schema changes while requests come in: each is answered for one of its states, and none with a plan gone stale."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from isobase_platform.config import Settings
from tests.database.proof.conftest import DataApi, run_sql, serving

LOAD_S = 4.0
LOAD_TIMEOUT_S = 60.0
LEAST_ANSWERS = 100
CLIENTS = 4
SEEN_TIMEOUT_S = 60.0
STALE = {"0A000", "26000", "42P05", "XX000", "25P02"}

CHANGES = (
    ("alter table public.things add column extra text default 'e'", "alter table public.things drop column extra"),
    ("alter table public.things rename column name to title", "alter table public.things rename column title to name"),
    (
        "alter table public.things alter column size type text using size::text",
        "alter table public.things alter column size type numeric using size::numeric",
    ),
    (
        "drop function public.pick(integer)",
        "create function public.pick(wanted integer) returns setof public.things"
        " language sql stable as 'select * from public.things where id = wanted'",
    ),
    (
        "create or replace function public.plus(a integer, b integer default 1) returns integer language sql immutable"
        " as 'select a + b + 100'",
        "create or replace function public.plus(a integer, b integer default 1) returns integer language sql immutable"
        " as 'select a + b'",
    ),
    (
        "drop table public.passing",
        "create table public.passing (id integer primary key); grant all on public.passing to service_role",
    ),
    (
        "alter table public.parents enable row level security; create policy first on public.parents for select"
        " using (id = 1)",
        "drop policy first on public.parents; alter table public.parents disable row level security",
    ),
)

ASKED: tuple[Callable[[httpx.Client], httpx.Response], ...] = (
    lambda client: client.get("/things?order=id"),
    lambda client: client.get("/things?select=id,name&id=eq.3"),
    lambda client: client.get("/things?select=*,parents(label)&limit=2"),
    lambda client: client.get("/parents?select=*,things(*)"),
    lambda client: client.get("/rpc/pick?wanted=2"),
    lambda client: client.post("/rpc/plus", json={"a": 1}),
    lambda client: client.patch("/things?id=eq.5", json={"size": 5}, headers={"prefer": "return=representation"}),
    lambda client: client.post(
        "/things", json={"id": 5, "size": 5}, headers={"prefer": "resolution=ignore-duplicates,return=representation"}
    ),
    lambda client: client.get("/passing"),
)


def _load(api: DataApi, is_over: threading.Event, seen: Counter[str], wrong: list[str]) -> None:
    with api.client() as client:
        while not is_over.is_set():
            for ask in ASKED:
                answer = ask(client)
                body = answer.json() if answer.content else None
                code = body["code"] if isinstance(body, dict) and "code" in body else ""
                seen[f"{answer.status_code} {code}"] += 1
                if answer.status_code >= 500 or code in STALE:
                    wrong.append(f"{answer.request.method} {answer.request.url} {answer.status_code} {answer.text}")


def test_no_stale_plan_reaches_the_wire(things: Settings) -> None:
    run_sql(things, "create table public.passing (id integer primary key); grant all on public.passing to service_role")
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    with serving(things) as api:
        begun_s, is_over = time.monotonic(), threading.Event()
        threads = [threading.Thread(target=_load, args=(api, is_over, seen, wrong)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        while (lasted_s := time.monotonic() - begun_s) < LOAD_S or (
            seen["200 "] <= LEAST_ANSWERS and lasted_s < LOAD_TIMEOUT_S
        ):
            for forth, back in CHANGES:
                run_sql(things, forth)
                time.sleep(0.03)
                run_sql(things, back)
        is_over.set()
        for thread in threads:
            thread.join()
        assert not wrong, wrong[:5]
        assert seen["200 "] > LEAST_ANSWERS, seen
        with api.client() as client:
            assert _within(
                lambda: client.get("/things?select=id,name,size&id=eq.3").json() == [{"id": 3, "name": "t3", "size": 3}]
            )


@pytest.mark.parametrize(
    ("change", "path", "status", "body"),
    [
        (
            "alter table public.things add column extra text default 'e'",
            "/things?select=extra&id=eq.1",
            200,
            [{"extra": "e"}],
        ),
        (
            "alter table public.things rename column name to title",
            "/things?select=title&id=eq.1",
            200,
            [{"title": "t1"}],
        ),
        ("alter table public.things alter column size type text", "/things?select=size&id=eq.1", 200, [{"size": "1"}]),
        ("alter table public.things rename to stuff", "/stuff?select=id&id=eq.1", 200, [{"id": 1}]),
        ("create function public.born() returns integer language sql immutable as 'select 7'", "/rpc/born", 200, 7),
    ],
)
def test_a_change_is_seen_without_a_restart(
    things: Settings, change: str, path: str, status: int, body: object
) -> None:
    with serving(things) as api, api.client() as client:
        assert client.get("/things?select=id,name,size&id=eq.1").status_code == 200
        client.get(path)
        run_sql(things, change)
        assert _within(lambda: _is(client.get(path), status, body)), client.get(path).text


def test_a_policy_holds_from_the_moment_that_it_is_there(things: Settings) -> None:
    with serving(things) as api, api.client(api.headers("anon")) as client:
        assert len(client.get("/parents").json()) == 4
        run_sql(things, "alter table public.parents enable row level security")
        assert client.get("/parents").json() == []
        run_sql(things, "create policy one on public.parents for select to anon using (id = 2)")
        assert client.get("/parents?select=id").json() == [{"id": 2}]


def _is(answer: httpx.Response, status: int, body: object) -> bool:
    return answer.status_code == status and answer.json() == body


def _within(holds: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + SEEN_TIMEOUT_S
    while time.monotonic() < end_s:
        if holds():
            return True
        time.sleep(0.05)
    return False
