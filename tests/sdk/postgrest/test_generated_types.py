"""``isobase gen types``: what it writes is formatted, type-checks, and fits the rows that the data API sends."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import TypeAdapter

from isobase.postgrest import SyncPostgrestClient
from isobase.postgrest._bodies import encode_body
from isobase_deploy.cli import main
from tests.plugins.node import NODE_DIRECTORY, node_with
from tests.sdk.postgrest.conftest import DATABASE_NAME, DataApi
from tests.sdk.type_checks import strict_complaints

ROOT = Path(__file__).parents[3]
MORE = """
create schema if not exists typed;
create type typed."Mixed Case" as enum ('a', 'b c', 'd"e');
create type typed.pair as (left_one int, labels typed."Mixed Case"[]);
create domain typed.short as text check (length(value) < 9);
create table if not exists typed.kinds (
  id bigint generated always as identity primary key, "two words" text not null, "class" int, model_name text, json
  jsonb, short typed.short not null default 'x', pair typed.pair, many numeric[], kind typed."Mixed Case" not null, at
  time, day date, span tstzrange, twice bigint generated always as (2 * "class") stored, book_id int unique references
  public.books
);
create table typed.extras (kind_id bigint primary key references typed.kinds, word text);
create view typed.readable as select k.id, k.kind, b.title from typed.kinds k join public.books b on b.id = k.book_id;
create view typed.writable as select id, short, kind from typed.kinds;
create function typed.found(wanted typed."Mixed Case", up_to int default 3) returns setof typed.kinds stable language
sql
  as 'select * from typed.kinds limit up_to';
create function typed.summed() returns table (total numeric, note text) stable language sql as $$select 1.5, 'n'$$;
create function typed.label(typed.kinds) returns text immutable language sql as 'select $1.short';
create function typed.same(a int) returns int immutable language sql as 'select 1';
create function typed.same(a text) returns int immutable language sql as 'select 1';
"""
USE = """
import { createClient } from "@supabase/supabase-js"
import { Constants, type Database, type Enums, type Tables, type TablesInsert, type TablesUpdate } from "./types.ts"

const client = createClient<Database>("http://127.0.0.1:1", "key")
export async function main() {
  const { data } = await client.from("books").select("title, price, shelf, authors(name), reviews(stars)").single()
  const name: string | undefined = data?.authors?.name
  const stars: number[] = (data?.reviews ?? []).map((review) => review.stars)
  const shelf: "floor" | "stack" | undefined = data?.shelf
  await client.from("books").insert({ title: "t", tags: ["a"] })
  const { data: sum } = await client.rpc("add", { a: 1 })
  const total: number | null = sum
  const row: Tables<"books"> | null = null
  const given: TablesInsert<{ schema: "typed" }, "kinds"> = { "two words": "x", kind: "b c" }
  const change: TablesUpdate<"authors"> = { name: "n" }
  const kind: Enums<{ schema: "typed" }, "Mixed Case"> = Constants.typed.Enums["Mixed Case"][0]
  // @ts-expect-error  the column is none of the table's
  await client.from("books").update({ nothing: 1 })
  // @ts-expect-error  a generated identity is not given
  await client.schema("typed").from("kinds").insert({ id: 1, "two words": "x", kind: "a" })
  return [name, stars, shelf, total, row, given, change, kind]
}
"""


PROGRAM = """
from decimal import Decimal

from isobase.postgrest import SyncPostgrestClient
from MODULE import PublicAddArgs, PublicAddReturns, PublicBooks, PublicBooksInsert, PublicCheapReturns


def titles(client: SyncPostgrestClient) -> list[str]:
    new: PublicBooksInsert = {"title": "t", "price": Decimal("1"), "shelf": "stack"}
    client.table("books", model=PublicBooks).insert(new).execute()
    arguments: PublicAddArgs = {"a": 1}
    total: int = client.rpc("add", arguments, model=PublicAddReturns).execute().data
    cheap = client.rpc("cheap", {"up_to": total}, model=PublicCheapReturns).execute().data
    books = client.table("books", model=PublicBooks).select().execute().data
    return [TITLE for book in books + cheap]
"""


@pytest.fixture(scope="module")
def typed_url(sdk_data_server: DataApi) -> str:
    """The database of the data API, with a schema of everything that types have to tell."""
    sdk_data_server.rows("select set_config('check_function_bodies', 'on', false)")
    database = sdk_data_server.database
    database.execute("drop schema if exists typed cascade", database=DATABASE_NAME)
    database.execute(MORE, database=DATABASE_NAME)
    return database.dsn(DATABASE_NAME)


def generated(url: str, folder: Path, *flags: str, name: str = "db_types.py") -> Path:
    """Run the command; gives the file that it wrote."""
    path = folder / name
    assert main(["gen", "types", "--db-url", url, "--output", str(path), *flags]) == 0
    return path


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_a_python_module_is_formatted_and_passes_mypy_as_a_users_program(typed_url: str, tmp_path: Path) -> None:
    for rows, title in (("pydantic", "book.title"), ("typeddict", "book['title']"), ("dataclass", "book.title")):
        flags = ("--schema", "public,typed", "--rows", rows)
        path = generated(typed_url, tmp_path, "--lang", "python", *flags, name=f"{rows}_types.py")
        again = generated(typed_url, tmp_path, "python", "-s", "typed", *flags[2:], "-s", "public", name="again.py")
        assert path.read_text() == again.read_text()
        again.unlink()
        ruff = [str(Path(sys.executable).with_name("ruff")), "format", "--isolated", "--line-length", "100", "--check"]
        assert subprocess.run([*ruff, str(path)], capture_output=True, check=False).returncode == 0
        (tmp_path / f"{rows}_program.py").write_text(PROGRAM.replace("MODULE", path.stem).replace("TITLE", title))
    assert strict_complaints(sorted(tmp_path.glob("*_program.py"))) == ""


@pytest.mark.parametrize("rows", ["pydantic", "dataclass"])
def test_the_rows_of_the_data_api_fit_the_generated_models(
    typed_url: str, tmp_path: Path, data_api: DataApi, rows: str
) -> None:
    types = imported(generated(typed_url, tmp_path, "--lang", "python", "--rows", rows, name=f"{rows}_rows.py"))
    with SyncPostgrestClient(data_api.url, headers=data_api.headers) as client:
        books = client.table("books", model=types.PublicBooks).select().order("id").execute().data
        assert (books[0].cover, books[0].price) == (b"\xde\xad", Decimal("9.50"))
        added = client.table("books", model=types.PublicBooks).insert({"title": "new"}).execute().data
        assert added[0].title == "new"
        cheap = client.rpc("cheap", {"up_to": 10}, model=types.PublicCheapReturns).execute().data
        assert {type(book) for book in cheap} == {types.PublicBooks}
    assert types.Relationship(
        "reviews_book_id_fkey", "public.reviews", ("book_id",), "public.books", ("id",), False
    ) in (types.RELATIONSHIPS)


def test_names_that_are_none_of_pythons_are_read_by_their_columns(typed_url: str, tmp_path: Path) -> None:
    types = imported(
        generated(typed_url, tmp_path, "--lang", "python", "--schema", "typed,public", name="odd_types.py")
    )
    row = {
        "id": 1,
        "two words": "w",
        "class": 2,
        "model_name": "m",
        "json": {"a": 1},
        "short": "s",
        "many": [1.25, 2],
        "pair": {"left_one": 1, "labels": ["b c"]},
        "kind": 'd"e',
        "at": "01:02:03",
        "day": "2026-01-02",
        "span": None,
        "twice": 4,
        "book_id": None,
    }
    kind = TypeAdapter(types.TypedKinds).validate_python(row)
    assert (kind.two_words, kind.class_, kind.model_name, kind.json_) == ("w", 2, "m", {"a": 1})
    assert (kind.pair.labels, kind.kind, kind.many) == (["b c"], 'd"e', [Decimal("1.25"), Decimal(2)])
    types_of_dataclasses = ("--lang", "python", "-s", "typed,public", "--rows", "dataclass")
    plain = imported(generated(typed_url, tmp_path, *types_of_dataclasses, name="odd_dataclasses.py"))
    same = TypeAdapter(plain.TypedKinds).validate_python(row)
    assert (same.two_words, same.class_, same.model_name, same.json) == ("w", 2, "m", {"a": 1})
    assert encode_body(same).startswith(b'{"id":1,"two words":"w","class":2,')
    assert (same.pair.labels, same.kind, same.many) == (["b c"], 'd"e', [Decimal("1.25"), Decimal(2)])
    assert kind.model_dump(by_alias=True, mode="json")["two words"] == "w"
    insert = types.TypedKindsInsert.__annotations__
    assert "id" not in insert
    assert "twice" not in insert
    assert set(types.TypedWritableUpdate.__annotations__) == {"id", "short", "kind"}
    assert not hasattr(types, "TypedReadableInsert")
    assert types.TypedSameArgs2.__annotations__


@pytest.mark.node
def test_a_typescript_module_passes_tsc_with_supabase_js(typed_url: str, tmp_path: Path) -> None:
    node, tsc = node_with("typescript"), NODE_DIRECTORY / "node_modules" / "typescript" / "bin" / "tsc"
    generated(typed_url, tmp_path, "--schema", "public,typed", name="types.ts")
    (tmp_path / "node_modules").symlink_to(NODE_DIRECTORY / "node_modules")
    (tmp_path / "use.ts").write_text(USE)
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"]
    options += ["--target", "es2022", "--allowImportingTsExtensions"]
    checked = subprocess.run(
        [node, str(tsc), *options, "use.ts"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
    )
    assert checked.stdout == ""
    assert checked.returncode == 0


def test_the_shape_of_the_typescript_module_is_upstreams(typed_url: str, tmp_path: Path) -> None:
    text = generated(typed_url, tmp_path, "typescript", "--schema", "typed,public").read_text()
    for line in (
        '      "Mixed Case": "a" | "b c" | "d\\"e"',
        "          id?: never",
        '          kind: Database["typed"]["Enums"]["Mixed Case"]',
        '        labels: Database["typed"]["Enums"]["Mixed Case"][] | null',
        "          label: string | null",
        "            isOneToOne: true",
        "      summed: { Args: never; Returns: { total: number; note: string }[] }",
    ):
        assert f"{line}\n" in text
    assert "Could not choose the best candidate function between: typed.same(a => int4), typed.same(a => text)" in text
    assert text.count("SetofOptions: {") == 2
    assert '"two words"?: string' in text


def test_what_cannot_be_asked_for_is_told(
    typed_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["gen", "types", "--db-url", typed_url, "--schema", "nowhere"]) == 5
    assert "no schema nowhere" in capsys.readouterr().err
    assert main(["gen", "types", "python", "--lang", "typescript", "--db-url", typed_url]) == 5
    assert main(["gen", "types", "--db-url", "postgresql://nobody@127.0.0.1:1/none"]) == 7
    monkeypatch.chdir(tmp_path)
    assert main(["gen", "types"]) == 8
