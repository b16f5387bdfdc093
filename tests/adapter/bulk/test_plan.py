"""A plan names what moves, what does not, and what to do; it changes nothing."""

from __future__ import annotations

import json

import pytest

from isobase_adapter.bulk import managed
from isobase_adapter.bulk.plan import Plan, make_plan
from isobase_adapter.bulk.plan.facts import Facts
from isobase_adapter.bulk.plan.judging import Item, Verdict, groups_of_tables, judge
from isobase_adapter.bulk.report import Page, Section, page_html, page_text
from isobase_adapter.outbox.statements import MAKE_RECORDS
from isobase_adapter.rows import catalog
from isobase_adapter.sides import Side
from tests.adapter.bulk.conftest import Two
from tests.plugins.stack import DatabaseServer

SERVER = {
    "version": "15.8",
    "version_number": 150_008,
    "size_bytes": 10,
    "wal_level": "logical",
    "max_slots": 10,
    "slots": 0,
    "encoding": "UTF8",
    "collation": "C",
    "role": "postgres",
    "may_replicate": True,
    "sees_all_rows": True,
}


def found(plan: Plan, kind: str, name: str) -> Item:
    (item,) = (item for item in plan.items if item.kind == kind and item.name == name)
    return item


async def test_a_plan_says_of_everything_whether_it_moves(two: Two) -> None:
    await two.source.execute(
        """
        insert into auth.users (id, email, encrypted_password, aud, role)
          values (gen_random_uuid(), 'a@example.com', '$2a$10$abcdefghijklmnopqrstuv', 'authenticated', 'authenticated');
        insert into storage.buckets (id, name) values ('pictures', 'pictures');
        create function public.change_all() returns void language sql as $$ update public.notes set body = '' $$;
        create function public.log_note() returns trigger language plpgsql as
          $$ begin insert into public.loose values ('note', 1); return new; end $$;
        create trigger log after insert on public.notes for each row execute function public.log_note();
        create trigger always after update on public.notes for each row execute function public.log_note();
        alter table public.notes enable always trigger always;
        create unlogged table public.quick (id int primary key);
        select lo_create(0);
        create table public.scans (id int primary key, picture oid);
        create function public.ask() returns text language sql as $$ select 'https://x.supabase.co/functions/v1/hello' $$;
        create function public.hook(event jsonb) returns jsonb language sql as $$ select event $$;
        grant execute on function public.hook(jsonb) to supabase_auth_admin;
        """
    )
    before = await two.target.fetchval("select count(*) from pg_class")
    plan = await make_plan(two.dsns)
    assert await two.target.fetchval("select count(*) from pg_class") == before
    assert any("primary key" in item.text for item in plan.items if item.name == "public.loose")
    quick = [item.text for item in plan.items if item.name == "public.quick"]
    assert any(text.startswith("unlogged") for text in quick)
    assert any(text.startswith("anybody") for text in quick)
    assert found(plan, "trigger", "public.notes log").verdict is Verdict.REMARK
    assert found(plan, "trigger", "public.notes always").verdict is Verdict.NO
    assert found(plan, "trigger", "public.authors touch").verdict is Verdict.WORKS
    assert found(plan, "trigger", "auth.users on_auth_user_created").verdict is Verdict.REMARK
    assert "rpc:public.change_all" in found(plan, "function", "public.change_all()").todo
    assert found(plan, "function", "shop.total()").verdict is Verdict.WORKS
    assert found(plan, "large objects", "1").verdict is Verdict.NO
    assert found(plan, "large objects", "1").text.endswith("public.scans.picture")
    assert found(plan, "edge functions", "all").text.endswith("it calls some: function public.ask")
    assert found(plan, "auth hook", "public.hook").verdict is Verdict.REMARK
    assert {item.verdict for item in plan.items if item.kind == "dashboard"} == {Verdict.REMARK}
    assert [item for item in plan.items if item.kind == "cron job"] == []
    assert [item for item in plan.items if item.name.startswith("private channels")] == []
    assert found(plan, "auth", "users").text.startswith("1 users, 1 with a password")
    assert found(plan, "auth", "hashes: 2a").verdict is Verdict.WORKS
    assert found(plan, "bucket", "pictures").verdict is Verdict.WORKS
    # Foreign keys tie authors and notes, and a trigger of notes writes loose.
    assert ["public.authors", "public.loose", "public.notes"] in plan.groups
    assert "table public.notes" in plan.missing
    assert plan.differing == []
    assert plan.rates.read > 0
    assert plan.rates.write > 0
    assert plan.estimate.total_s > 0


async def test_a_plan_is_a_page_a_text_and_json_without_secrets(two: Two) -> None:
    plan = await make_plan(two.dsns)
    page, text, value = page_html(plan.page()), page_text(plan.page()), json.dumps(plan.as_json(), default=str)
    for shown in (page, text, value):
        assert "public.loose" in shown
        assert two.dsns[Side.ISOBASE] not in shown
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert "http" not in page.replace("https://", "http")[:2000]


async def test_own_policies_on_private_channels_are_told_of_the_rooms_of_isobase(two: Two) -> None:
    await two.source.execute(
        """
        create policy "members" on realtime.messages for select to authenticated using (realtime.topic() = 'lobby');
        create policy "talk" on realtime.messages for insert to authenticated with check (realtime.topic() like 'room:%');
        """
    )
    item = found(await make_plan(two.dsns), "realtime", "private channels room:...")
    assert item.verdict is Verdict.REMARK
    assert item.text.endswith("the project's policies name such channels: talk")


async def test_an_event_trigger_is_named_with_what_it_waits_for(two: Two, postgres: DatabaseServer) -> None:
    await two.source.execute(
        "create function public.on_ddl() returns event_trigger language plpgsql as $$ begin null; end $$"
    )
    name = two.dsns[Side.SUPABASE].rpartition("/")[2]
    # Only a superuser may, and Supabase lets postgres.
    postgres.execute("create event trigger watch on ddl_command_end execute function public.on_ddl()", database=name)
    item = found(await make_plan(two.dsns), "event trigger", "watch")
    assert (item.verdict, item.todo) == (Verdict.REMARK, "make it by hand where the target allows it")
    assert "ddl_command_end" in item.text
    assert "public.on_ddl" in item.text


async def test_jobs_of_cron_are_named_without_what_they_send(two: Two) -> None:
    await two.source.execute(
        """
        create schema cron;
        create table cron.job (jobid bigint, jobname text, schedule text, active boolean, command text);
        insert into cron.job values (1, 'clean', '0 3 * * *', true, 'delete from public.loose'),
          (2, null, '* * * * *', false, 'select net.http_post(''https://x.supabase.co/functions/v1/tick'', ''a secret'')');
        """
    )
    plan = await make_plan(two.dsns)
    assert found(plan, "cron job", "clean").text == "schedule 0 3 * * *; it is not copied"
    assert found(plan, "cron job", "number 2").text == (
        "schedule * * * * *, switched off; it is not copied; it calls an edge function"
    )
    assert "cron job number 2" in found(plan, "edge functions", "all").text
    assert "a secret" not in json.dumps(plan.as_json(), default=str)


def test_settings_of_the_data_api_are_named_with_their_place_at_isobase() -> None:
    source = Facts({"api_settings": [{"name": "pgrst.db_schemas", "value": "public, shop"}]})
    (item,) = (item for item in judge(source, Facts()) if item.kind == "setting")
    assert (item.name, item.verdict, item.todo) == (
        "pgrst.db_schemas",
        Verdict.REMARK,
        "set [api] schemas at Isobase",
    )
    assert "public, shop" in item.text


def test_a_text_for_a_terminal_is_no_wider_than_it_and_shows_everything() -> None:
    words = "it may change rows that no call names"
    section = Section("Tables", ("Name", "Rows", "Finding", "Todo"), [("public." + "a" * 60, 1234567, words, words)])
    page = Page("Plan", "ok", "good", [("rows", 1234567)], [section])
    text = page_text(page, width=80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "1,234,567" in text
    assert "".join(text.split()).count("a" * 10) >= 1
    columns = "".join(line[:8].strip() for line in text.splitlines())
    assert "public.a" in columns
    assert {"change", "names"} <= set(text.split())
    wide = page_text(page)
    assert f"public.{'a' * 60}  1,234,567  {words}  {words}" in wide


def test_columns_of_numbers_stand_at_the_right_with_their_heads() -> None:
    page = page_html(Page("Plan", "ok", "good", (), [Section("Tables", ("Name", "Rows"), [("a", 1234567)])]))
    assert '<th scope="col" class="number">Rows</th>' in page
    assert '<td class="number">1,234,567</td>' in page
    assert '<th scope="col">Name</th>' in page


def test_what_a_project_is_named_cannot_write_the_page() -> None:
    facts = Facts({"views": [{"schema": "public", "name": "<script>alert(1)</script>", "is_materialized": False}]})
    (item,) = (one for one in judge(facts, Facts()) if one.kind == "view")
    page = page_html(Page("Plan", "ok", "good", (), [Section("Works", ("Name",), [(item.name,)])]))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    "change, target_change, name, verdict",
    [
        ({}, {}, "version", Verdict.WORKS),
        ({"version_number": 170_000}, {}, "version", Verdict.REMARK),
        ({"wal_level": "replica"}, {}, "supabase", Verdict.REMARK),
        ({"may_replicate": False}, {}, "supabase", Verdict.REMARK),
        ({}, {"slots": 10}, "isobase", Verdict.REMARK),
        ({"encoding": "LATIN1"}, {}, "encoding", Verdict.NO),
        ({"collation": "en_US.UTF-8"}, {}, "collation", Verdict.REMARK),
    ],
)
def test_servers_are_judged(
    change: dict[str, object], target_change: dict[str, object], name: str, verdict: Verdict
) -> None:
    items = judge(Facts({"server": [SERVER | change]}), Facts({"server": [SERVER | target_change]}))
    assert verdict in [item.verdict for item in items if item.name == name]


@pytest.mark.parametrize(
    "name, target, verdict",
    [
        ("postgis", {}, Verdict.NO),
        ("postgis", {"available_extensions": [{"name": "postgis", "comment": "geometry"}]}, Verdict.WORKS),
        ("vector", {"extensions": [{"name": "vector"}]}, Verdict.WORKS),
        (
            "pgcrypto",
            {"available_extensions": [{"name": "pgcrypto", "comment": "Isobase stand-in. Missing: x"}]},
            Verdict.REMARK,
        ),
        ("pg_graphql", {}, Verdict.REMARK),
    ],
)
def test_extensions_are_looked_for_at_the_target(
    name: str, target: dict[str, list[dict[str, str]]], verdict: Verdict
) -> None:
    source = Facts({"extensions": [{"name": name, "version": "1", "schema": "extensions"}]})
    answers: dict[str, list[dict[str, object]]] = {key: [dict(row) for row in rows] for key, rows in target.items()}
    items = judge(source, Facts(answers))
    assert [item.verdict for item in items if item.kind == "extension"] == [verdict]


def test_tables_that_foreign_keys_tie_are_one_group() -> None:
    tables: list[dict[str, object]] = [{"schema": "s", "name": name, "is_partition": False} for name in "abcdef"]
    ties: list[dict[str, object]] = [
        {"table": f"s.{one}", "referenced": f"s.{other}"} for one, other in ("ab", "bc", "de", "aa")
    ]
    assert groups_of_tables(Facts({"tables": tables, "references": ties})) == [["s.a", "s.b", "s.c"], ["s.d", "s.e"]]


def test_what_clients_record_at_supabase_is_no_part_of_the_project() -> None:
    assert "isobase_move" in MAKE_RECORDS
    assert "isobase_move" in managed.MANAGED_SCHEMAS
    assert "isobase_move" in catalog.MANAGED_SCHEMAS
