"""``isobase migrate verify`` as an operator runs it."""

from __future__ import annotations

import gc
import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from isobase_adapter.contracts import Carried
from isobase_adapter.rows.kept_sums import KeptSums
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing
from isobase_adapter.verify.journal import Journal
from isobase_adapter.verify.tables import TableVerifier
from isobase_deploy.cli import main
from tests.adapter.rows.conftest import Sides

TABLE = "create table notes (id int primary key, body text); alter table notes owner to postgres"


def verify(sides: Sides, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    urls = {side: sides.server.dsn(sides.names[side], role="postgres") for side in Side}
    flags = [text for side, url in urls.items() for text in (f"--{side}-db-url", url)]
    code = main(["migrate", "verify", *flags, *arguments])
    return code, capsys.readouterr().out


def test_what_differs_is_named_and_repaired_and_ends_with_its_exit_code(
    sides: Sides, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sides.both(TABLE)
    sides.sql(Side.SUPABASE, "insert into notes values (1, 'a secret text')")
    code, out = verify(
        sides, capsys, "-o", "json", "--part", "rows", "--part", "schema", "--report", str(tmp_path / "v.html")
    )
    found = json.loads(out)
    assert (code, found["is_equal"]) == (10, False)
    assert found["tables"][0]["named"] == [{"kind": "missing", "key": [1], "columns": []}]
    page = (tmp_path / "v.html").read_text()
    assert "public.notes" in page
    assert "a secret text" not in out + page
    code, out = verify(sides, capsys, "--table", "notes", "--repair")
    assert (code, "Both sides are equal" in out) == (0, True)
    assert sides.sql(Side.ISOBASE, "select body from notes") == [("a secret text",)]
    code, out = verify(sides, capsys)
    assert (code, "objects were not compared" in out) == (0, True)


def test_the_writer_is_the_side_that_is_right(sides: Sides, capsys: pytest.CaptureFixture[str]) -> None:
    sides.both(TABLE)
    sides.both("insert into notes values (1, 'old')")
    sides.sql(Side.ISOBASE, "update notes set body = 'new'")
    sides.sql(
        Side.ISOBASE, "insert into isobase.writers (pattern, side, epoch) values ('table:public.notes', 'isobase', 3)"
    )
    try:
        code, _ = verify(sides, capsys, "--table", "public.notes", "--repair")
    finally:
        sides.sql(Side.ISOBASE, "delete from isobase.writers")
    assert code == 0
    assert sides.sql(Side.SUPABASE, "select body from notes") == [("new",)]


@pytest.mark.parametrize("state", ["pending", "dead"])
def test_what_the_other_side_took_and_has_not_arrived_yet_is_not_repaired_away(
    sides: Sides, capsys: pytest.CaptureFixture[str], state: str
) -> None:
    """After a failover: Supabase is written first, and lacks what Isobase was told."""
    sides.both(TABLE)
    sides.both("insert into notes values (1, 'both')")
    sides.sql(Side.ISOBASE, "insert into notes values (2, 'Isobase alone')")
    item = '\'table:public.notes\', \'supabase\', \'{"kind": "table", "resource": "public.notes", "key": []}\', 1'
    sides.sql(
        Side.ISOBASE,
        f"insert into isobase.outbox (state, capability, target, thing, lock_number) values ('{state}', {item})",
    )
    try:
        code, out = verify(sides, capsys, "--table", "public.notes", "--repair")
    finally:
        sides.sql(Side.ISOBASE, "delete from isobase.outbox")
    assert (code, "table:public.notes is not repaired" in out) == (10, True)
    assert sides.sql(Side.ISOBASE, "select body from notes order by id") == [("both",), ("Isobase alone",)]
    assert verify(sides, capsys, "--table", "public.notes", "--repair")[0] == 0
    assert sides.sql(Side.ISOBASE, "select body from notes") == [("both",)]


def test_a_verification_that_was_ended_goes_on_with_the_tables_that_are_left(tmp_path: Path) -> None:
    path, at = tmp_path / "verify.jsonl", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    journal = Journal(path)
    journal.end("public.a", "1/1", {"supabase": 5, "isobase": 5}, at)
    journal.end("public.c", "1/1", None, at)
    with path.open("a") as file:
        file.write('{"table": "public.b", "ver')
    again = Journal(path)
    done = again.done("public.a", "1/1")
    assert done is not None
    assert (done.rows, done.as_of) == ({"supabase": 5, "isobase": 5}, at)
    assert again.done("public.a", "2/1") is None
    assert again.done("public.b", "1/1") is None
    assert again.done("public.c", "1/1") is None
    assert Journal(path, again=True).done("public.a", "1/1") is None
    again.finish()
    assert not path.exists()


MANY = "insert into many select n, 'text ' || n, gen_random_uuid() from generate_series(1, 20000) n"


class Ended(BaseException):
    pass


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isobase_adapter.rows.checksums.PAGES_PER_PIECE", 10)
    monkeypatch.setattr("isobase_adapter.verify.journal.KEEP_EVERY_S", 0.0)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C is heard, also where the tests were started in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


async def begun(sides: Sides, journal: Journal, *, pieces: int) -> None:
    """Verify ``public.many``, and end it after so many pieces."""
    kept = journal.begin("public.many", "1/1")
    assert kept is not None
    write, left = kept.on_kept, [pieces]

    def count() -> None:
        write()
        left[0] -= 1
        if not left[0]:
            raise Ended

    kept.on_kept = count
    with pytest.raises(Ended):
        await TableVerifier(sides.carrier).verify("public.many", Side.SUPABASE, kept=kept)


def many(sides: Sides, key: str = "id") -> None:
    sides.both(f"create table many (id int, t text, u uuid, primary key ({key})); alter table many owner to postgres")
    sides.sql(Side.SUPABASE, MANY)
    rows = sides.sql(Side.SUPABASE, "select json_agg(m)::text from many m")[0][0]
    sides.sql(Side.ISOBASE, "insert into many select * from json_populate_recordset(null::many, %s::json)", rows)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("key", ["id", "u"])
async def test_a_table_in_whose_middle_it_was_ended_is_gone_on_with_and_told_of_which_time_it_is(
    sides: Sides, tmp_path: Path, key: str
) -> None:
    many(sides, key)
    sides.sql(Side.ISOBASE, "update many set t = 'other' where id in (3, 19999)")
    path = tmp_path / "verify.jsonl"
    await begun(sides, Journal(path), pieces=8)
    kept = Journal(path).begin("public.many", "1/1")
    assert kept is not None
    before = {side: set(kept.sides[side].done) for side in Side}
    assert sum(map(len, before.values())) >= 8
    result = await TableVerifier(sides.carrier).verify("public.many", Side.SUPABASE, kept=kept)
    assert (result.rows, result.different) == ({"supabase": 20000, "isobase": 20000}, 2)
    assert result.as_of is not None
    assert any("public.many pages 0.." in line for line in result.older)
    # What differs is looked at as it is now, also where an earlier run read it.
    assert sorted(row.columns for row in result.named) == [("t",), ("t",)]
    assert all(kept.sides[side].done[piece] == kept.older[side][piece] for side in Side for piece in before[side])


@pytest.mark.usefixtures("small_pieces")
async def test_rows_that_were_written_since_make_no_difference_that_is_none(sides: Sides, tmp_path: Path) -> None:
    many(sides)
    path = tmp_path / "verify.jsonl"
    await begun(sides, Journal(path), pieces=10)
    # They move to the tables' ends, some into pages that were read and some out of them; both sides stay equal.
    for side in Side:
        sides.sql(side, "update many set t = t || '!' where id % 7 = 0")
        sides.sql(side, "delete from many where id % 11 = 0")
    kept = Journal(path).begin("public.many", "1/1")
    result = await TableVerifier(sides.carrier).verify("public.many", Side.SUPABASE, kept=kept)
    assert (result.is_equal, result.missing, result.extra, result.different) == (True, 0, 0, 0)
    assert result.in_flight == 0


@pytest.mark.usefixtures("small_pieces")
async def test_what_is_kept_of_a_table_that_was_written_anew_is_worth_nothing(sides: Sides, tmp_path: Path) -> None:
    many(sides)
    path = tmp_path / "verify.jsonl"
    await begun(sides, Journal(path), pieces=4)
    sides.sql(Side.ISOBASE, "vacuum full many")
    kept = Journal(path).begin("public.many", "1/1")
    result = await TableVerifier(sides.carrier).verify("public.many", Side.SUPABASE, kept=kept)
    assert (result.is_equal, result.as_of, result.older) == (True, None, [])
    # Another definition.
    kept = Journal(path).begin("public.many", "2/1")
    assert kept is not None
    assert [len(kept.sides[side].done) for side in Side] == [0, 0]


@pytest.mark.usefixtures("small_pieces", "interruptible")
def test_a_report_says_what_is_older_than_the_run_and_again_begins_anew(
    sides: Sides, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(sides)
    sides.both("create table few (id int primary key); alter table few owner to postgres; insert into few values (1)")
    path, page = tmp_path / "verify.jsonl", tmp_path / "report.html"
    ordinary, pieces = KeptSums.keep, [6]

    def keep(self: KeptSums, side: Side, piece: str, sums: Mapping[int, tuple[int, int]]) -> None:
        ordinary(self, side, piece, sums)
        pieces[0] -= 1
        if not pieces[0]:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(KeptSums, "keep", keep)
    assert verify(sides, capsys, "--part", "rows", "--resume", str(path))[0] == 130
    assert path.is_file()
    code, out = verify(sides, capsys, "--part", "rows", "--resume", str(path), "--report", str(page), "-o", "json")
    found = json.loads(out)
    assert (code, found["is_equal"]) == (0, True)
    assert found["as_of"] is not None
    older = {table["table"]: table["older"] for table in found["tables"]}
    assert older["public.few"][0].startswith("all of it, as of")
    assert any(line.startswith("supabase: public.many pages 0..") for line in older["public.many"])
    assert "Compared by an earlier run" in page.read_text()
    assert not path.exists()
    state = "select state ->> 'as_of' from isobase.migration_jobs where job = 'verify' and part = 'table:public.many'"
    assert found["as_of"] <= sides.sql(Side.ISOBASE, state)[0][0]  # the oldest of all that was compared
    assert found["as_of"].replace("T", " ").replace("+00:00", " UTC") in older["public.few"][0]
    pieces[0] = 6
    assert verify(sides, capsys, "--part", "rows", "--resume", str(path))[0] == 130
    code, out = verify(sides, capsys, "--part", "rows", "--resume", str(path), "--again", "-o", "json")
    assert (code, json.loads(out)["as_of"]) == (0, None)


@pytest.mark.usefixtures("interruptible")
def test_a_repair_that_is_ended_ends_without_a_word_and_is_gone_on_with(
    sides: Sides,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many(sides)
    sides.sql(Side.ISOBASE, "update many set t = 'other' where id % 2 = 0")
    ordinary, looks = RowCarrier.carry, [3]

    async def carry(self: RowCarrier, things: Sequence[Thing], target: Side, **given: Any) -> Carried:
        looks[0] -= 1
        if not looks[0]:
            signal.raise_signal(signal.SIGINT)
        return await ordinary(self, things, target, **given)

    monkeypatch.setattr(RowCarrier, "carry", carry)
    assert verify(sides, capsys, "--table", "many", "--repair")[0] == 130
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    code, out = verify(sides, capsys, "--table", "many", "--repair", "-o", "json")
    (table,) = json.loads(out)["tables"]
    assert code == 0
    assert 0 < table["repaired"] < 10_000
