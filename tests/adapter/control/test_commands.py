"""``isobase migrate flags`` and ``status`` as an operator calls them."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from isobase_adapter.contracts import Event
from isobase_adapter.control.postgres import PostgresStore
from isobase_adapter.control.records import Heartbeat, MinuteCount
from isobase_adapter.control.status import capability_from
from isobase_adapter.control.store import FoundMismatch
from isobase_adapter.sides import Side
from isobase_deploy.cli import main
from isobase_deploy.cli.exit_codes import ExitCode
from tests.plugins.stack import ISOBASE, clean_environment

NOTES = "table:public.notes"
Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(dsn: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls ``isobase migrate`` on the module's database; gives exit code and what it printed."""
    monkeypatch.setenv("ISOBASE_DB_URL", dsn)

    def calls(*arguments: str) -> tuple[int, str]:
        code = main(["migrate", *arguments])
        said = capsys.readouterr()
        assert "postgres:postgres@" not in said.out + said.err
        return code, said.out + said.err

    return calls


def do(dsn: str, *works: Callable[[PostgresStore], Any]) -> None:
    """Do something with the store itself."""

    async def doing() -> None:
        store = PostgresStore(dsn)
        try:
            for work in works:
                await work(store)
        finally:
            await store.close()

    asyncio.run(doing())


def test_flags_are_set_listed_and_have_a_history(call: Call) -> None:
    assert call("flags", "list") == (ExitCode.OK, "no flags: everything is off, Supabase alone\n")
    code, said = call(
        "flags", "set", NOTES, "dual_write", "--share", "5", "--user", "ann", "--reason", "a few", "--by", "eva"
    )
    assert code == ExitCode.OK
    assert "dual_write  5 % and 1 named  supabase" in said
    assert "0 clients act upon it" in said
    assert call("flags", "set", NOTES, "dual_write", "--reason", "all")[0] == ExitCode.OK
    (flag,) = json.loads(call("flags", "list", "-o", "json")[1])["flags"]
    assert (flag["pattern"], flag["stage"], flag["share_percent"], flag["acts_as"]) == (
        NOTES,
        "dual_write",
        100,
        "dual_write",
    )
    assert flag["writer"] == {"pattern": NOTES, "side": "supabase", "epoch": 0, "is_handing_over": False}
    newest, oldest = json.loads(call("flags", "history", NOTES, "-o", "json")[1])["history"]
    assert (oldest["changed_by"], oldest["reason"], newest["reason"]) == ("eva", "a few", "all")
    assert "off -> dual_write" in call("flags", "history")[1]


def test_a_short_name_means_the_table_and_the_function(call: Call) -> None:
    assert call("flags", "set", "notes", "dual_write")[0] == ExitCode.OK
    flags = json.loads(call("flags", "list", "-o", "json")[1])["flags"]
    assert {flag["pattern"] for flag in flags} == {NOTES, "rpc:public.notes"}
    assert call("flags", "set", "*", "dual_write")[0] == ExitCode.OK
    assert call("flags", "remove", "notes")[1] == f"removed {NOTES}, rpc:public.notes\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("flags", "set", NOTES, "live"), "next stage is dual_write"),
        (("flags", "set", "a*b", "dual_write"), "not a capability or pattern"),
        (("flags", "remove", NOTES), "there is no flag"),
        (("flags", "rule", NOTES, "nonsense", "1"), "there is no rule"),
        (("flags", "rule", NOTES, "sample_percent", "101"), "from 0 to 100"),
        (("flags", "rule", NOTES, "ignore_columns", "updated_at"), "Expecting value"),
        (("flags", "explain", "7", "why"), "no group of mismatches 7"),
        (("flags", "forget-client", "me"), "not the id of a client"),
        (("flags", "forget-client", str(uuid4())), "there is no client"),
    ],
)
def test_what_is_refused_is_said_and_has_an_exit_code(call: Call, arguments: tuple[str, ...], says: str) -> None:
    code, said = call(*arguments)
    assert (code, says in said) == (ExitCode.REFUSED, True), said


def test_a_client_that_does_not_hear_is_named(call: Call, dsn: str) -> None:
    client = uuid4()
    do(dsn, lambda store: store.beat(Heartbeat(client, "shop", "web-1", 7, version=0)))
    code, said = call("flags", "set", NOTES, "dual_write", "--wait", "0")
    assert code == ExitCode.NOT_IN_ORDER
    assert "not yet: shop, web-1:7" in said
    assert "acts upon change 0 of" in call("flags", "clients")[1]
    assert call("flags", "forget-client", str(client))[0] == ExitCode.REFUSED


def test_rules_are_shown_beside_the_flags_and_go_with_null(call: Call) -> None:
    assert call("flags", "rule", NOTES, "ignore_columns", '["updated_at"]')[0] == ExitCode.OK
    assert f'{NOTES}  ignore_columns = ["updated_at"]' in call("flags", "list")[1]
    call("flags", "rule", NOTES, "ignore_columns", "null")
    assert json.loads(call("flags", "list", "-o", "json")[1])["rules"] == {}


def test_status_is_one_screen_of_everything(call: Call, dsn: str) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    counts = {
        "reads": 1000,
        "compared": 200,
        "mismatched": 3,
        "noise_compared": 50,
        "noise_mismatched": 1,
        "dropped": 4,
    }
    state = {"breakers": {NOTES: {"isobase": {"reads": "open", "writes": "closed"}}}}
    found = FoundMismatch(NOTES, "column:title", {"kind": "column", "column": "title"}, {"supabase": 1, "isobase": 2})
    call("flags", "set", NOTES, "dual_write")
    do(
        dsn,
        lambda store: store.add_counts([MinuteCount(NOTES, now, name, value) for name, value in counts.items()]),
        lambda store: store.beat(Heartbeat(uuid4(), "shop", "web-1", 7, 10**9, 2, state)),
        lambda store: store.add_events([(now, Event("fallback_read", NOTES, {"why": "status 503"}))], None),
        lambda store: store.add_mismatches([found, found]),
    )
    code, said = call("status")
    assert code == ExitCode.OK
    for part in (
        "dual_write",
        "shop",
        "outbox: empty",
        "1.50 %",
        "2.00 %",
        "column:title (2)",
        "open",
        "fallback_read",
    ):
        assert part in said, said
    assert len(said.splitlines()) < 40
    value = json.loads(call("status", "-o", "json")[1])
    (reads,) = value["reads"]
    assert (reads["mismatch_percent"], reads["noise_percent"], len(reads["unexplained"])) == (1.5, 2.0, 1)
    assert value["breakers"] == [[NOTES, "isobase", "reads", "open", "shop"]]
    (group,) = json.loads(call("flags", "mismatches", NOTES, "-o", "json")[1])["mismatches"]
    assert group["samples"] == [{"supabase": 1, "isobase": 2}] * 2
    assert call("flags", "explain", str(group["id"]), "display only")[0] == ExitCode.OK
    assert "display only" in call("flags", "mismatches")[1]
    (reads,) = json.loads(call("status", "-o", "json")[1])["reads"]
    assert (reads["unexplained"], reads["explained"]) == ([], 1)


def test_functions_that_need_a_rule_are_named_before_a_stage_refuses_them(call: Call, dsn: str) -> None:
    def functions(*arguments: str) -> list[str]:
        code, said = call(*arguments, "-o", "json")
        assert code == ExitCode.OK, said
        found: list[str] = json.JSONDecoder().raw_decode(said)[0]["functions_without_rule"]
        return found

    def beat(rules: list[str]) -> None:
        client = Heartbeat(uuid4(), "shop", "web-1", 7, 10**9, state={"rpc": rules})
        do(dsn, lambda store: store.beat(client))

    async def make(store: PostgresStore) -> None:
        async with store._used() as connection:
            for name in ("pay", "ship"):
                await connection.execute(f"create function public.{name}() returns int language sql as 'select 1'")

    async def drop(store: PostgresStore) -> None:
        async with store._used() as connection:
            await connection.execute("drop function public.pay, public.ship")

    do(dsn, make)
    try:
        assert functions("status") == ["public.pay", "public.ship"]
        assert "public.pay, public.ship may write and have no rule" in call("status")[1]
        assert functions("flags", "set", NOTES, "dual_write") == []
        code, said = call("flags", "set", "*", "dual_write")
        assert (code, "note: public.pay, public.ship may write and have no rule" in said) == (ExitCode.OK, True)
        assert call("flags", "rule", "rpc:public.pay", "rpc", '"read"')[0] == ExitCode.OK
        # The other one has its rule in the settings of each client.
        beat(["public.ship"])
        beat(["public.*"])
        assert functions("status") == []
        beat([])
        assert functions("status") == ["public.ship"]
    finally:
        do(dsn, drop)


def test_status_says_whether_sync_runs_and_how_far_it_is(call: Call, dsn: str) -> None:
    assert "sync: never ran" in call("status")[1]

    async def fill(store: PostgresStore) -> None:
        async with store._used() as connection:
            await connection.execute(
                "insert into isobase.migration_jobs (job, part, state) values ('sync', 'state', $1::text::jsonb)",
                json.dumps({"is_running": True, "sides": {"supabase": {"carried": 7, "strays": 1, "lag_bytes": 4096}}}),
            )

    do(dsn, fill)
    said = call("status")[1]
    assert "sync: DOES NOT RUN" in said
    assert "from supabase: 7 carried, 1 written past the adapter, 4096 bytes behind" in said
    assert json.loads(call("status", "-o", "json")[1])["sync"]["is_running"] is False


def test_a_flag_of_nothing_is_noticed(call: Call) -> None:
    assert "note: Isobase has nothing of the name ordes" in call("flags", "set", "ordes", "dual_write")[1]
    assert "note:" not in call("flags", "set", "table:storage.objects", "dual_write")[1]
    assert "note:" not in call("flags", "set", "table:shop.*", "dual_write")[1]


def test_what_waits_in_the_outbox_is_counted_by_side(call: Call, dsn: str) -> None:
    async def fill(store: PostgresStore) -> None:
        async with store._used() as connection:
            await connection.execute(
                "insert into isobase.outbox (state, capability, target, thing, created_at) values"
                " ('pending', $1, 'isobase', '{}', now() - interval '90 s'), ('dead', $1, 'isobase', '{}', now())",
                NOTES,
            )

    do(dsn, fill)
    (backlog,) = json.loads(call("status", "-o", "json")[1])["backlogs"]
    assert (backlog["target"], backlog["pending"], backlog["dead"], backlog["intents"]) == ("isobase", 1, 1, 0)
    assert backlog["oldest_s"] > 80
    assert backlog["by_capability"] == {NOTES: 1}


@pytest.mark.parametrize(
    ("asked", "is_behind"),
    [
        ("table:public.notes", True),
        ("table:public.audit_log", True),
        ("table:public.orders", True),
        ("table:public.kinds", False),
        ("auth", False),
        ("rpc:public.total", True),
    ],
)
def test_what_waits_counts_for_every_table_that_it_changes(dsn: str, asked: str, is_behind: bool) -> None:
    found: list[bool] = []

    async def fill(store: PostgresStore) -> None:
        async with store._used() as connection:
            await connection.execute(
                """insert into isobase.outbox (state, capability, target, thing, things) values
                ('pending', $1, 'isobase', '{"kind": "row", "resource": "public.audit_log", "key": [1]}', null),
                ('intent', 'rpc:public.pay', 'isobase', null, '[{"kind": "table", "resource": "public.orders"}]'),
                ('dead', 'table:public.kinds', 'isobase', '{"kind": "row", "resource": "public.kinds"}', null)""",
                NOTES,
            )
        found.append(await store.has_backlog([capability_from(asked)]))

    do(dsn, fill)
    assert found == [is_behind]


@pytest.mark.parametrize(
    ("asked", "lacking", "is_behind"),
    [
        ("table:public.notes", Side.ISOBASE, True),
        ("table:public.orders", Side.ISOBASE, False),
        ("table:public.stock", Side.ISOBASE, True),
        ("table:public.kinds", Side.ISOBASE, True),
        ("table:public.kinds", Side.SUPABASE, False),
        ("auth", Side.ISOBASE, False),
    ],
)
def test_a_reader_waits_for_what_somebody_was_told_of_and_not_for_what_is_in_flight(
    dsn: str, asked: str, lacking: Side, is_behind: bool
) -> None:
    found: list[bool] = []

    async def fill(store: PostgresStore) -> None:
        async with store._used() as connection:
            await connection.execute(
                """insert into isobase.outbox (state, capability, target, thing, created_at) values
                ('pending', $1, 'isobase', '{"kind": "row", "resource": "public.notes", "key": [1]}', now()),
                ('intent', 'table:public.orders', 'isobase', '{"kind": "table", "resource": "public.orders"}', now()),
                ('intent', 'table:public.stock', 'isobase', '{"kind": "table", "resource": "public.stock"}',
                 now() - interval '10 s'),
                ('dead', 'table:public.kinds', 'isobase', '{"kind": "row", "resource": "public.kinds"}', now())""",
                NOTES,
            )
        found.append(await store.has_backlog([capability_from(asked)], lacking))

    do(dsn, fill)
    assert found == [is_behind]


def test_without_a_store_it_says_what_is_missing(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOBASE_DB_URL", "postgresql://postgres:x@127.0.0.1:1/postgres")
    code, said = call("status")
    assert (code, "does not answer" in said) == (ExitCode.DATABASE, True)
    monkeypatch.delenv("ISOBASE_DB_URL")
    code, said = call("flags", "list")
    assert (code, "ISOBASE_DB_URL" in said) == (ExitCode.CONFIGURATION, True)


def test_a_file_of_one_host_can_be_the_store(call: Call, tmp_path: Any) -> None:
    file = str(tmp_path / "control.sqlite")
    assert call("flags", "set", "auth", "dual_write", "--control-file", file)[0] == ExitCode.OK
    assert "auth" in call("flags", "list", "--control-file", file)[1]
    assert call("status", "--control-file", file)[0] == ExitCode.OK


def test_flags_of_a_file_are_set_and_shown_while_isobases_database_is_away(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "flags.sqlite")
    monkeypatch.setenv("ISOBASE_DB_URL", "postgresql://postgres:postgres@127.0.0.1:1/postgres")
    code, said = call("flags", "set", "auth", "dual_write", "--control-file", file)
    assert (code, "functions without a rule were not looked for" in said) == (ExitCode.OK, True)
    assert call("status", "--control-file", file)[0] == ExitCode.OK
    assert "dual_write" in call("flags", "list", "--control-file", file)[1]


def test_status_watches_until_it_is_ended(dsn: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [str(ISOBASE), "migrate", "status", "--watch", "--every", "1", "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=clean_environment() | {"ISOBASE_DB_URL": dsn},
    ) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert [look["flags"] for look in looks] == [[], []]


def test_a_control_file_that_was_not_there_is_told_of(call: Call, tmp_path: Path) -> None:
    file = str(tmp_path / "misspelt.sqlite")
    assert "misspelt.sqlite was not there and is made" in call("status", "--control-file", file)[1]
    assert "was not there" not in call("status", "--control-file", file)[1]
