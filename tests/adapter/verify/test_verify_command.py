"""``isobase migrate verify`` as an operator runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isobase_adapter.sides import Side
from isobase_adapter.verify.journal import Journal
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


def test_a_verification_that_was_ended_goes_on_with_the_tables_that_are_left(tmp_path: Path) -> None:
    path = tmp_path / "verify.jsonl"
    journal = Journal(path)
    journal.add("public.a", "1/1", {"supabase": 5, "isobase": 5})
    with path.open("a") as file:
        file.write('{"table": "public.b", "ver')
    again = Journal(path)
    assert again.rows("public.a", "1/1") == {"supabase": 5, "isobase": 5}
    assert again.rows("public.a", "2/1") is None
    assert again.rows("public.b", "1/1") is None
    again.finish()
    assert not path.exists()
