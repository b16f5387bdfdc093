"""Tables that write down what was done to them, and a count of what clients asked for: together they tell what was lost or
done twice.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field

import httpx
import psycopg2
import psycopg2.extensions

from tests.plugins.stack import Stack

__all__ = ["Done", "Tally", "done_of", "make_tables", "write_row"]

TABLES = """
create table if not exists public.weather_rows (
    id bigint generated always as identity primary key, run text not null, tag text not null, value int not null default 0
);
create table if not exists public.weather_log (
    id bigint generated always as identity primary key, run text not null, kind text not null, tag text not null, value int
);
create or replace function public.weather_note() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    insert into public.weather_log (run, kind, tag, value) values (new.run, tg_op, new.tag, new.value);
    return new;
end $$;
create or replace trigger weather_note after insert or update on public.weather_rows
    for each row execute function public.weather_note();
create or replace function public.weather_add(run text, tag text) returns bigint language sql as $$
    insert into public.weather_rows (run, tag) values (run, tag) returning id
$$;
grant all on public.weather_rows to anon, authenticated, service_role;
do $$ begin
    alter publication supabase_realtime add table public.weather_rows;
exception when duplicate_object then null; end $$;
notify pgrst, 'reload schema'
"""
Done = Counter[tuple[str, str, int]]
"""How often each (INSERT or UPDATE, tag, value) was done."""


def _connect(stack: Stack) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(stack.db_url)
    connection.autocommit = True
    return connection


def make_tables(stack: Stack) -> None:
    """Make the tables, unless they are there, and wait until the server knows them."""
    with closing(_connect(stack)) as connection, connection.cursor() as cursor:
        cursor.execute(TABLES)
    headers = {"apikey": stack.service_role_key, "Authorization": f"Bearer {stack.service_role_key}"}
    add = {"run": "none", "tag": "none"}
    while httpx.post(f"{stack.url}/rest/v1/rpc/weather_add", json=add, headers=headers).status_code != 200:
        time.sleep(0.02)


def write_row(stack: Stack, run: str, tag: str) -> None:
    """Add a row past the network."""
    with closing(_connect(stack)) as connection, connection.cursor() as cursor:
        cursor.execute("insert into public.weather_rows (run, tag) values (%s, %s)", (run, tag))


def done_of(stack: Stack, run: str) -> Done:
    """Give what was done under this run's name."""
    with closing(_connect(stack)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select kind, tag, value, count(*) from public.weather_log where run = %s group by 1, 2, 3", (run,)
        )
        return Counter({(kind, tag, value): count for kind, tag, value, count in cursor.fetchall()})


@dataclass(slots=True)
class Tally:
    """What clients asked to be done, and how long their calls took."""

    asked: set[tuple[str, str, int]] = field(default_factory=set)
    acknowledged: set[tuple[str, str, int]] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    late_s: float = -1000.0
    latest: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ended(self, kind: str, began: float, limit_s: float, error: BaseException | None) -> None:
        """Take in that a call ended that had ``limit_s`` seconds."""
        late_s = time.monotonic() - began - limit_s
        with self.lock:
            self.calls[kind] += 1
            if error is not None:
                self.lost[kind] += 1
            if late_s > self.late_s:
                self.late_s, self.latest = late_s, f"{kind}: {error!r}"
