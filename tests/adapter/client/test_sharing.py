"""Clients of one process that are made alike have one set of connections, and end one by one."""

from __future__ import annotations

from contextlib import ExitStack

from isobase_adapter import create_migration_client
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import set_stage, settings_of
from tests.adapter.pair import Pair

CLIENTS = 30
CONNECTIONS = "select count(*) from pg_stat_activity where datname is not null"


def test_many_clients_are_one_to_operators_and_to_the_databases(clean_pair: Pair) -> None:
    set_stage(clean_pair, "table:public.*", Stage.DUAL_WRITE)
    settings = settings_of(clean_pair, name="many")
    before = [int(side.query(CONNECTIONS)[0][0]) for side in (clean_pair.supabase, clean_pair.isobase)]
    with ExitStack() as stack:
        clients = []
        for _ in range(CLIENTS):
            client = create_migration_client(
                clean_pair.supabase.url, clean_pair.supabase.service_role_key, migration=settings
            )
            stack.callback(client.migration.close)
            clients.append(client)
        for number, client in enumerate(clients):
            client.table("kinds").insert({"id": number}).execute()
        assert clean_pair.isobase.query("select count(*) from isobase.migration_clients where name = 'many'") == [(1,)]
        after = [int(side.query(CONNECTIONS)[0][0]) for side in (clean_pair.supabase, clean_pair.isobase)]
        # A server under test has connections of its own, which come and go.
        assert all(now - then < CLIENTS for now, then in zip(after, before, strict=True)), (before, after)
        clients[0].migration.close()
        clients[1].table("kinds").insert({"id": CLIENTS}).execute()
    assert clean_pair.isobase.query("select count(*) from isobase.migration_clients where name = 'many'") == [(0,)]
    assert len(clean_pair.isobase.rows("public.kinds")) == CLIENTS + 1


def test_a_client_that_wants_to_be_alone_is(clean_pair: Pair) -> None:
    settings = settings_of(clean_pair, name="alone", is_shared=False)
    with ExitStack() as stack:
        for _ in range(2):
            client = create_migration_client(clean_pair.supabase.url, clean_pair.supabase.anon_key, migration=settings)
            stack.callback(client.migration.close)
        assert clean_pair.isobase.query("select count(*) from isobase.migration_clients where name = 'alone'") == [(2,)]
