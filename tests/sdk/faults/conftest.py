"""A running Isobase behind a network that goes wrong, and a table whose rows tell how often an insert was done."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import httpx
import psycopg2
import pytest

from tests.plugins.stack import Stack
from tests.plugins.wire_proxy import WireProxy, wire_proxy

_runs = itertools.count(1)
SEEDS = range(int(os.environ.get("ISOBASE_SDK_CHAOS_SEEDS", "1")))
FIRST_SEED = int(os.environ.get("ISOBASE_SDK_CHAOS_FIRST_SEED", "1"))
OPERATIONS = int(os.environ.get("ISOBASE_SDK_CHAOS_OPERATIONS", "8"))
"""Of each of five workers."""


@dataclass(slots=True, frozen=True)
class Ledger:
    """The table ``fault_rows``: what was inserted under this run's name."""

    stack: Stack
    run: str

    def tag(self, *parts: object) -> str:
        """Name a row of this run."""
        return "-".join([self.run, *map(str, parts)])

    def rows(self) -> Counter[str]:
        """How often each tag is there."""
        with closing(psycopg2.connect(self.stack.admin_dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "select tag, count(*) from public.fault_rows where tag like %s group by 1", (f"{self.run}-%",)
            )
            return Counter(dict(cursor.fetchall()))


@pytest.fixture(scope="session")
def fault_table(stack: Stack) -> str:
    """A table that numbers its rows itself, so that a repeated insert shows."""
    with closing(psycopg2.connect(stack.db_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "create table if not exists public.fault_rows"
            " (id bigint generated always as identity primary key, tag text not null);"
            "grant all on public.fault_rows to anon, authenticated, service_role;"
            "alter publication supabase_realtime add table public.fault_rows"
        )
        connection.commit()
    headers = {"apikey": stack.service_role_key, "Authorization": f"Bearer {stack.service_role_key}"}
    while httpx.get(f"{stack.url}/rest/v1/fault_rows?limit=1", headers=headers).status_code != 200:
        pass
    return "fault_rows"


@pytest.fixture
def ledger(stack: Stack, fault_table: str) -> Ledger:
    """The rows of this test."""
    assert fault_table
    return Ledger(stack, f"run{os.getpid()}x{next(_runs)}")


@pytest.fixture
def network(stack: Stack) -> Iterator[WireProxy]:
    """The network between a client and the server."""
    with wire_proxy(stack.url) as proxy:
        yield proxy
