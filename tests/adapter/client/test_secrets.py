"""Marked secrets go through every stage and every kind of failure, and are then looked for wherever something is kept."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from supabase_auth.errors import AuthApiError

from isobase_adapter import create_async_migration_client
from isobase_adapter.settings import BreakerSettings
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import WAIT_S, set_stage, settings_of, wait_for_stage
from tests.adapter.pair import Pair, Proxies
from tests.plugins.stack import ISOBASE, clean_environment

SECRET = f"secret-{uuid.uuid4().hex}"
"""In passwords, and in values that are named like secrets: it is kept nowhere."""
VALUE = f"value-{uuid.uuid4().hex}"
"""In bodies: it is kept in what holds both sides' rows, on purpose, and nowhere else."""
HOLDS_ROWS = {("outbox", "versions"), ("mismatches", "samples")}
ORDERS, NOTES = "table:public.orders", "table:public.notes"


@pytest.fixture
def refusing(clean_pair: Pair) -> Iterator[Pair]:
    """The Isobase side refuses some rows; PostgreSQL's details then quote them."""
    clean_pair.isobase.query(
        "alter table public.orders add constraint refuses_marks check (not detail ? 'password') not valid"
    )
    clean_pair.isobase.query(
        "alter table auth.users add constraint refuses_marks check (not raw_user_meta_data ? 'refused') not valid"
    )
    yield clean_pair
    for table in ("public.orders", "auth.users"):
        clean_pair.isobase.query(f"alter table {table} drop constraint refuses_marks")


async def write_and_fail(client: Any, pair: Pair) -> list[str]:
    """Sign up, in and out, write rows and objects; give the tokens that were told."""
    refused = {"refused": VALUE, "token": SECRET}
    await client.auth.sign_up(
        {"email": f"{VALUE}@example.com", "password": f"{SECRET}-1", "options": {"data": refused}}
    )
    password, address = f"{SECRET}-password", f"{uuid.uuid4().hex}@example.com"
    about = {"data": {"token": SECRET, "about": VALUE}}
    told = [await client.auth.sign_up({"email": address, "password": password, "options": about})]
    with pytest.raises(AuthApiError):
        await client.auth.sign_in_with_password({"email": address, "password": f"{SECRET}-wrong"})
    told += [await client.auth.sign_in_with_password({"email": address, "password": password})]
    told += [await client.auth.refresh_session()]
    await client.auth.update_user({"password": f"{SECRET}-other"})
    order = {"net": 1, "detail": {"password": SECRET, "about": VALUE}}
    made = (await client.table("orders").insert(order).execute()).data[0]
    await client.table("orders").update({"net": 2}).eq("detail->>password", SECRET).execute()
    assert pair.isobase.query("select 1 from public.orders where id = %s", made["id"]) == []
    await client.table("notes").insert({"title": VALUE, "body": VALUE}).execute()
    await client.storage.from_("avatars").upload(
        f"{told[0].user.id}/a.txt", VALUE.encode(), {"metadata": {"token": SECRET}}
    )
    return [token for each in told for token in (each.session.access_token, each.session.refresh_token)]


async def read_what_differs(client: Any, pair: Pair) -> None:
    """Have a shadow read find a difference."""
    set_stage(pair, NOTES, Stage.SHADOW_READ)
    set_stage(pair, ORDERS, Stage.SHADOW_READ)
    wait_for_stage(client, NOTES, Stage.SHADOW_READ)
    pair.isobase.query("update public.notes set stars = 5 where body = %s", VALUE)
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not pair.isobase.query("select 1 from isobase.mismatches"):
        assert asyncio.get_running_loop().time() < deadline, "no mismatch was kept"
        await client.table("notes").select("*").eq("body", VALUE).execute()
        await client.table("orders").select("id, detail").eq("detail->>password", SECRET).execute()
        await asyncio.sleep(0.2)


async def fall_back(client: Any, proxies: Proxies, pair: Pair) -> None:
    """Read and write while Isobase is away, first its API and then all of it."""
    set_stage(pair, NOTES, Stage.LIVE)
    wait_for_stage(client, NOTES, Stage.LIVE)
    proxies.isobase.is_gone = True
    proxies.isobase.cut_all()
    await client.table("notes").select("*").eq("body", VALUE).execute()
    await client.table("notes").insert({"title": VALUE, "body": VALUE}).execute()
    proxies.isobase_database.refuses = True
    proxies.isobase_database.cut_all()
    await client.table("notes").insert({"title": VALUE, "body": VALUE}).execute()


async def test_no_secret_is_in_logs_tables_files_reports_or_reprs(
    refusing: Pair, proxied_pair: Proxies, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pair, spool = refusing, tmp_path / "spool"
    for pattern in ("auth", "table:public.*", NOTES, ORDERS, "bucket:*"):
        set_stage(pair, pattern, Stage.DUAL_WRITE)
    settings = settings_of(
        proxied_pair.pair, spool_dir=spool, breaker=BreakerSettings(least_calls=1, open_s=300, slow_call_s=WAIT_S)
    )
    behind = proxied_pair.pair.supabase
    client = await create_async_migration_client(behind.url, behind.anon_key, migration=settings)
    secrets = [SECRET, pair.supabase.jwt_secret, "postgres:postgres@"]
    secrets += [key for side in (pair.supabase, pair.isobase) for key in (side.anon_key, side.service_role_key)]
    try:
        secrets += await write_and_fail(client, pair)
        await read_what_differs(client, pair)
        await fall_back(client, proxied_pair, pair)
        reprs = [repr(each) for each in (client.migration, settings, client._core.addresses, client._core.parts)]
        kept = {path: path.read_bytes() for path in spool.rglob("*") if path.is_file()}
        assert {path.stat().st_mode & 0o077 for path in (spool, *kept)} == {0}
        assert any(b"public.notes" in content for content in kept.values())
        proxied_pair.heal()
        pair.isobase.query("update isobase.outbox set attempts = 11, next_at = now() where state = 'pending'")
        await client.migration.drain(60)
    finally:
        await client.migration.aclose()
    assert pair.isobase.query("select 1 from isobase.outbox where state = 'dead'")
    logged = [record.getMessage() + str(record.exc_text) for record in caplog.records if record.name[:7] == "isobase"]
    printed = operators_see(pair, tmp_path)
    for name, texts in {"log": logged, "repr": reprs, "printed": printed, "file": map(repr, kept.values())}.items():
        for text in texts:
            assert [one for one in secrets if one in text] == [], name
            assert name == "printed" or VALUE not in text, f"{name}: {text}"
    for table, column, text in everything_kept(pair):
        assert [one for one in secrets[1:] if one in text] == [], (table, column)
        assert (table, column) in HOLDS_ROWS or (VALUE not in text and SECRET not in text), (table, column, text)
        assert table == "outbox" or SECRET not in text, (table, column, text)


def operators_see(pair: Pair, folder: Path) -> list[str]:
    """What the commands print, and the reports that they write."""
    number = pair.isobase.query("select id from isobase.outbox where state = 'dead'")[0][0]
    page, values = folder / "report.html", folder / "report.json"
    environment = clean_environment() | pair.environment()
    commands = (
        ["outbox", "list", "-o", "json"],
        ["outbox", "show", str(number)],
        ["status", "-o", "json"],
        ["verify", "--table", "public.orders", "--report", str(page)],
        ["verify", "--table", "public.notes", "-o", "json", "--report", str(values)],
    )
    running = [
        subprocess.Popen(
            [str(ISOBASE), "migrate", *command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    said = []
    for one in running:
        printed, _ = one.communicate(timeout=120)
        assert one.returncode in (0, 10), printed
        said.append(printed)
    return [*said, page.read_text(), json.dumps(json.loads(values.read_text()))]


def everything_kept(pair: Pair) -> Iterator[tuple[str, str, str]]:
    """Every value of every table of the move: table, column, text."""
    tables = pair.isobase.query(
        "select tablename from pg_tables where schemaname = 'isobase' and (tablename like 'migration%%' or tablename"
        " in ('flags', 'flag_history', 'writers', 'mismatches', 'outbox'))"
    )
    for (table,) in tables:
        for row in pair.isobase.rows(f"isobase.{table}"):
            yield from ((table, column, json.dumps(value)) for column, value in row.items())
