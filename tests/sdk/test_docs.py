"""Every example of docs/sdk runs as its reader would run it, and passes ``mypy --strict`` as a user's program.

See ``doc_pages`` for what a page may hold. All pages share one running Isobase, made for the purpose: a project with the
settings below and nothing in it. A page finds its address and keys in the environment: ``ISOBASE_URL``, ``ISOBASE_ANON_KEY``,
``ISOBASE_SERVICE_ROLE_KEY``, ``ISOBASE_MAILBOX_URL`` (the local mailbox) and ``ISOBASE_JWT_SECRET``. When a page is through,
its users and what it made in ``public`` are removed; buckets and rooms stay, so pages give theirs different names.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest

from isobase import call_options
from tests.plugins.patience import STALL_S
from tests.plugins.stack import Stack, StackProcess
from tests.sdk.doc_pages import Block, blocks_of, run_page, typed_program
from tests.sdk.type_checks import strict_complaints

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "sdk").glob("*.md"))
PAGE_TIMEOUT_S = 240.0
RELOAD_TIMEOUT_S = 60.0
CONFIG = """
project_id = "pages"

[auth]
site_url = "http://127.0.0.1:3000"
additional_redirect_urls = ["http://127.0.0.1:3000/**"]
enable_anonymous_sign_ins = true
enable_manual_linking = true

[auth.rate_limit]
email_sent = 10000
anonymous_users = 10000
sign_in_sign_ups = 10000
token_refresh = 10000
token_verifications = 10000

[auth.mfa.totp]
enroll_enabled = true
verify_enabled = true

[auth.passkey]
enabled = true

[auth.webauthn]
rp_id = "127.0.0.1"
rp_origins = ["http://127.0.0.1:3000"]

[auth.oauth_server]
enabled = true
"""
LEAVE_NOTHING = """
set session_replication_role = replica;
do $$
declare thing record;
begin
  for thing in select oid::regclass as name, relkind from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')
  loop
    if to_regclass(thing.name::text) is not null then
      execute format('drop %s %s cascade', case thing.relkind when 'v' then 'view' when 'm' then 'materialized view'
                                           when 'f' then 'foreign table' else 'table' end, thing.name);
    end if;
  end loop;
  for thing in select oid::regprocedure as name from pg_proc where pronamespace = 'public'::regnamespace loop
    execute format('drop routine %s cascade', thing.name);
  end loop;
  for thing in select oid::regtype as name from pg_type
    where typnamespace = 'public'::regnamespace and typtype in ('e', 'c', 'd') loop
    execute format('drop type %s cascade', thing.name);
  end loop;
end $$;
set session_replication_role = default;
delete from auth.users;
"""


@pytest.fixture(scope="module")
def project() -> Iterator[Stack]:
    """A running Isobase on an empty project."""
    with tempfile.TemporaryDirectory(prefix="isobase-pages-") as name:
        directory = Path(name) / "project"
        Path(name).chmod(0o755)
        (directory / "supabase").mkdir(parents=True)
        (directory / "supabase" / "config.toml").write_text(CONFIG)
        process = StackProcess(directory)
        try:
            yield process.start()
        finally:
            process.stop()


@pytest.fixture
def reader(
    project: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Stack]:
    """The project as the reader of a page has it: keys in the environment, an empty folder, nothing in the database."""
    for name in list(os.environ):
        if name.startswith(("ISOBASE_", "SUPABASE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ISOBASE_URL", project.url)
    monkeypatch.setenv("ISOBASE_ANON_KEY", project.anon_key)
    monkeypatch.setenv("ISOBASE_SERVICE_ROLE_KEY", project.service_role_key)
    monkeypatch.setenv("ISOBASE_MAILBOX_URL", project.mailbox_url)
    monkeypatch.setenv("ISOBASE_JWT_SECRET", project.jwt_secret)
    monkeypatch.chdir(tmp_path)
    begin = call_options.__init__

    # What a page gives a call that is to succeed is enough for its reader's machine, not for one that runs this suite.
    def begin_patiently(self: call_options, *, timeout: float | None = None, **options: Any) -> None:
        begin(self, timeout=max(timeout, STALL_S) if timeout and timeout >= 1 else timeout, **options)

    monkeypatch.setattr(call_options, "__init__", begin_patiently)
    yield project
    execute(project.admin_dsn, LEAVE_NOTHING)


def execute(dsn: str, sql: str) -> None:
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)


_marks = itertools.count(1)


class Owner:
    """Runs SQL as the project's owner; the API knows of it when a call comes back."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def __call__(self, sql: str) -> None:
        mark = f"page_mark_{next(_marks)}"
        execute(
            self._stack.db_url, f"{sql.rstrip().rstrip(';')};\ncreate function public.{mark}() returns int return 1;"
        )
        key = self._stack.service_role_key
        deadline_s = time.monotonic() + RELOAD_TIMEOUT_S
        with httpx.Client(base_url=self._stack.url, headers={"apikey": key}) as client:
            while client.get(f"/rest/v1/rpc/{mark}").status_code != httpx.codes.OK:
                assert time.monotonic() < deadline_s, "the API does not see what was made"
                time.sleep(0.02)
        execute(self._stack.db_url, f"drop function public.{mark}()")


def run(path: Path, blocks: list[Block], stack: Stack) -> None:
    asyncio.run(asyncio.wait_for(run_page(path, blocks, Owner(stack)), PAGE_TIMEOUT_S))


def mypy(programs: dict[str, str], folder: Path) -> list[str]:
    """What ``mypy --strict`` says of pages' programs, by the pages' names and lines."""
    files = []
    for name, program in programs.items():
        file = folder / (Path(name).stem.replace("-", "_") + ".py")
        file.write_text(program)
        files.append(file)
    said = strict_complaints(files)
    for name, file in zip(programs, files, strict=True):
        said = said.replace(f"{file.name}:", f"{name}:")
    return said.splitlines()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_example_of_a_page_runs(page: Path, reader: Stack) -> None:
    run(page, blocks_of(page.read_text(), page.name), reader)


def test_every_example_passes_strict_type_checks_as_a_users_program(tmp_path: Path) -> None:
    programs = {page.name: typed_program(blocks_of(page.read_text(), page.name)) for page in PAGES}
    assert mypy(programs, tmp_path) == []


PAGE = """# A page

```sql
create table planets (id int primary key, name text);
insert into planets values (1, 'Mars');
```

<!-- python
import os, httpx
-->

1. In a list

   ```python
   async with httpx.AsyncClient() as client:
       key = os.environ["ISOBASE_ANON_KEY"]
       answer = await client.get(os.environ["ISOBASE_URL"] + "/rest/v1/planets", headers={"apikey": key})
   ```

```sh
false
```

```python no-run because nobody is there
answer = httpx.get("http://localhost:1")
```

```python
{last}
```
"""
LAST_LINE = PAGE.splitlines().index("{last}") + 1


def test_blocks_share_a_namespace_may_await_and_see_what_sql_made(reader: Stack) -> None:
    text = PAGE.replace("{last}", "assert answer.json() == [{'id': 1, 'name': 'Mars'}], answer.text")
    run(Path("page.md"), blocks_of(text, "page.md"), reader)


def test_an_example_that_fails_names_page_and_line(reader: Stack) -> None:
    blocks = blocks_of(PAGE.replace("{last}", "assert answer.json() == []"), "page.md")
    with pytest.raises(AssertionError) as caught:
        run(Path("page.md"), blocks, reader)
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno + 1) == ("page.md", LAST_LINE)


def test_sql_that_is_refused_names_page_and_line(reader: Stack) -> None:
    with pytest.raises(psycopg2.Error) as caught:
        run(Path("page.md"), blocks_of("\n```sql\nselect nonsense\n```\n", "page.md"), reader)
    assert caught.value.__notes__ == ["page.md:3"]


def test_a_wrong_type_in_an_example_names_page_and_line(tmp_path: Path) -> None:
    text = PAGE.replace("{last}", "count: int = answer.text")
    said = mypy({"page.md": typed_program(blocks_of(text, "page.md"))}, tmp_path)
    wrong = 'Incompatible types in assignment (expression has type "str", variable has type "int")  [assignment]'
    assert said == [f"page.md:{LAST_LINE}: error: {wrong}"]


@pytest.mark.parametrize(
    "text, error",
    [
        ("```python no-run\nx\n```\n", "page.md:1: a block that is not run says why"),
        ("\n```python hidden\nx\n```\n", "page.md:2: nobody knows what `hidden` means here"),
        ("```python\nx\n", "page.md:1: the block has no end"),
    ],
    ids=["no reason", "unknown word", "no end"],
)
def test_a_block_that_is_no_good_is_named_by_its_line(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        blocks_of(text, "page.md")
