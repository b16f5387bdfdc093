"""Behind a real PgBouncer in transaction mode: callers share sessions and never one another's claims."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from isobase_platform.config import Settings
from tests.database.proof.conftest import ALICE, BOB, DataApi, run_sql, serving
from tests.plugins.pgbouncer import pgbouncer

ROUNDS = 40

OWNED = """
create table public.owned (
  id integer generated always as identity primary key, owner uuid not null default auth.uid(), note text
);
alter table public.owned enable row level security;
create policy own on public.owned to authenticated using (owner = auth.uid()) with check (owner = auth.uid());
grant all on public.owned to anon, authenticated;
create function public.me() returns json language sql stable as $$
  select json_build_object('role', current_user, 'sub', auth.uid(), 'pid', pg_backend_pid()) $$;
"""


@pytest.fixture
def pooled(things: Settings, tmp_path: Path) -> Iterator[Settings]:
    """Settings that reach the database through a PgBouncer with two sessions for everybody."""
    run_sql(things, OWNED)
    assert things.database.url is not None
    url = things.database.url.get_secret_value()
    place = urlsplit(url)
    with pgbouncer(tmp_path, str(place.hostname), place.port or 5432, ignored="extra_float_digits") as port:
        pooled_url = SecretStr(url.replace(f":{place.port}/", f":{port}/"))
        database = things.database.model_copy(update={"url": pooled_url, "mode": "transaction_pooler"})
        yield things.model_copy(update={"database": database})


def test_callers_share_sessions_and_never_their_claims(pooled: Settings) -> None:
    wrong: list[str] = []
    pids: set[int] = set()

    def act(api: DataApi, sub: str) -> None:
        with api.client(api.headers("authenticated", sub)) as client:
            for number in range(ROUNDS):
                written = client.post(
                    "/owned", json={"note": f"{number} of {sub}"}, headers={"prefer": "return=representation"}
                )
                if written.status_code != 201 or written.json()[0]["owner"] != sub:
                    wrong.append(written.text)
                me = client.get("/rpc/me").json()
                pids.add(me.pop("pid", 0))
                if me != {"role": "authenticated", "sub": sub}:
                    wrong.append(str(me))
                rows = client.get(f"/owned?select=owner&id=gt.{number % 5}&order=id").json()
                if {row["owner"] for row in rows} - {sub}:
                    wrong.append(str(rows))

    def look(api: DataApi) -> None:
        with api.client(api.headers("anon")) as client:
            for number in range(ROUNDS):
                rows = client.get(f"/owned?id=gt.{number}")
                if rows.status_code != 200 or rows.json() != []:
                    wrong.append(rows.text)

    with serving(pooled) as api:
        threads = [threading.Thread(target=act, args=(api, sub)) for sub in (ALICE, BOB, ALICE, BOB)]
        threads.append(threading.Thread(target=look, args=(api,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[:5]
    assert len(pids) <= 2
    assert run_sql(pooled, "select owner::text, count(*) from public.owned group by owner order by owner") == [
        (ALICE, 2 * ROUNDS),
        (BOB, 2 * ROUNDS),
    ]
