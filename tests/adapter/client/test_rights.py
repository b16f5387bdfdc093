"""Row security through a migration client: nobody may see or change more, or less, than with the official client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from isobase_adapter import create_async_migration_client
from isobase_adapter.answers import FALLBACK_HEADER
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import set_stage, settings_of
from tests.adapter.pair import Pair, User, real_supabase

TABLE = "table:public.letters"
MADE = """
create table public.letters (id bigserial primary key, owner_id uuid default auth.uid(), body text, secret_part text);
alter table public.letters enable row level security;
create policy "Owners read" on public.letters for select to authenticated using (owner_id = auth.uid());
create policy "All who are signed in write" on public.letters for insert to authenticated with check (true);
create policy "All who are signed in change" on public.letters for update to authenticated using (true) with check (true);
create policy "All who are signed in remove" on public.letters for delete to authenticated using (true);
revoke all on public.letters from anon, authenticated;
grant select (body, owner_id), insert, update, delete on public.letters to authenticated;
grant all on public.letters to service_role;
grant usage on sequence public.letters_id_seq to authenticated;
"""


@pytest.fixture
def letters(clean_pair: Pair) -> Iterator[Pair]:
    """A table that everybody may write, whose owners alone may read, and whose key and one column nobody may."""
    sides = (clean_pair.supabase, clean_pair.isobase)
    for side in sides:
        side.query(MADE)
        side.query("notify pgrst, 'reload schema'")
    yield clean_pair
    for side in sides:
        side.query("drop table public.letters")


@pytest.fixture(params=[Side.SUPABASE, Side.ISOBASE])
async def client(letters: Pair, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    set_stage(letters, TABLE, Stage.DUAL_WRITE if request.param is Side.SUPABASE else Stage.LIVE)
    made = await create_async_migration_client(
        letters.supabase.url, letters.supabase.anon_key, migration=settings_of(letters)
    )
    yield made
    await made.migration.aclose()


async def sent(client: Any, user: User, method: str, query: str = "", prefer: str = "", **more: Any) -> httpx.Response:
    """A call of the data API in a user's name."""
    headers = {
        **client.postgrest.headers,
        "authorization": f"Bearer {user.access_token}",
        "prefer": prefer,
        FALLBACK_HEADER: "true",
        "x-isobase-side": "isobase",
    }
    headers = {name: value for name, value in headers.items() if value}
    answer: httpx.Response = await client.postgrest.session.request(
        method, f"{client.rest_url}/letters{query}", headers=headers, **more
    )
    return answer


def letters_of(pair: Pair) -> list[tuple[Any, ...]]:
    """The rows, which must be equal on both sides."""
    query = "select owner_id::text, body, secret_part from public.letters order by id"
    rows = pair.supabase.query(query)
    assert pair.isobase.query(query) == rows
    return rows


async def test_who_may_write_and_not_read_writes_and_is_told_nothing(client: Any, letters: Pair) -> None:
    ann, bob = letters.sign_up(), letters.sign_up()
    for user, body in ((ann, "of ann"), (bob, "of bob")):
        answer = await sent(client, user, "POST", json={"body": body, "secret_part": "x"})
        assert (answer.status_code, answer.content) == (201, b""), answer.text
    # Over another's row, which she may not see.
    answer = await sent(client, ann, "POST", json={"body": "for bob", "owner_id": bob.id})
    assert (answer.status_code, answer.content) == (201, b""), answer.text
    # What is shown is read with the key, by the data API itself.
    for side in (letters.supabase, letters.isobase):
        side.query("grant select (id) on public.letters to authenticated")
    answer = await sent(client, ann, "POST", "?select=body", "return=representation", json={"body": "shown"})
    assert (answer.status_code, answer.json()) == (201, [{"body": "shown"}])
    answer = await sent(client, ann, "GET", "?select=body&order=body")
    assert answer.json() == [{"body": "of ann"}, {"body": "shown"}]
    await client.migration.drain(60)
    assert [body for _, body, _ in letters_of(letters)] == ["of ann", "of bob", "for bob", "shown"]


async def test_a_change_without_a_filter_reaches_the_rows_that_the_caller_may_change(
    client: Any, letters: Pair, request: pytest.FixtureRequest
) -> None:
    """PostgreSQL asks the policies of reading only where a statement reads: asking for keys must not make it read."""
    ann, bob = letters.sign_up(), letters.sign_up()
    if real_supabase() is not None and request.node.callspec.params["client"] is Side.SUPABASE:
        pytest.skip("a real Supabase refuses changes without a filter")
    for side in (letters.supabase, letters.isobase):
        side.query("grant select on public.letters to authenticated")
    for user in (ann, bob):
        await sent(client, user, "POST", json={"body": "old"})
    answer = await sent(client, ann, "PATCH", json={"secret_part": "changed by ann"})
    assert (answer.status_code, answer.content) == (204, b""), answer.text
    await client.migration.drain(60)
    assert {part for *_, part in letters_of(letters)} == {"changed by ann"}
    # With a filter the statement reads, and others' rows are not there for her.
    await sent(client, ann, "PATCH", "?body=eq.old", json={"secret_part": "hers"})
    await client.migration.drain(60)
    assert [(owner, part) for owner, _, part in letters_of(letters)] == [
        (ann.id, "hers"),
        (bob.id, "changed by ann"),
    ]
    assert (await sent(client, ann, "DELETE")).status_code == 204
    await client.migration.drain(60)
    assert letters_of(letters) == []


MADE_KEYS = """
create table public.slips (id uuid primary key default gen_random_uuid(), owner_id uuid default auth.uid(), body text);
alter table public.slips enable row level security;
create policy "All who are signed in write" on public.slips for insert to authenticated with check (true);
create table public.folders (name text primary key, body text);
create table public.sheets (id int primary key, folder text references public.folders on delete cascade);
grant all on public.slips, public.folders, public.sheets to authenticated, service_role;
insert into public.folders values ('a', 'old'); insert into public.sheets values (1, 'a');
notify pgrst, 'reload schema';
"""


@pytest.fixture
def slips(clean_pair: Pair) -> Iterator[Pair]:
    """A table that everybody may write and nobody read, and two of which one refers to the other."""
    sides = (clean_pair.supabase, clean_pair.isobase)
    for side in sides:
        side.query(MADE_KEYS)
    yield clean_pair
    for side in sides:
        side.query("drop table public.slips, public.sheets, public.folders")


@pytest.mark.parametrize("writer", list(Side))
async def test_rows_that_their_writer_may_not_read_and_rows_that_are_there_again_reach_the_other_side_at_once(
    slips: Pair, writer: Side
) -> None:
    for table in ("slips", "folders", "sheets"):
        set_stage(slips, f"table:public.{table}", Stage.DUAL_WRITE if writer is Side.SUPABASE else Stage.LIVE)
    first, second = (slips.supabase, slips.isobase) if writer is Side.SUPABASE else (slips.isobase, slips.supabase)
    ann = slips.sign_up()
    client = await create_async_migration_client(
        slips.supabase.url, slips.supabase.anon_key, migration=settings_of(slips)
    )
    headers = {**client.postgrest.headers, "authorization": f"Bearer {ann.access_token}"}

    async def post(table: str, body: Any) -> httpx.Response:
        answer = await client.postgrest.session.request(
            "POST", f"{client.rest_url}/{table}", headers=headers, json=body
        )
        assert (answer.status_code, answer.content) == (201, b""), answer.text
        return answer

    try:
        await post("slips", {"body": "one"})
        await post("slips", [{"body": "two"}, {"body": "three"}])
        rows = first.query("select id::text, owner_id::text, body from public.slips order by body")
        assert [(owner, body) for _, owner, body in rows] == [(ann.id, "one"), (ann.id, "three"), (ann.id, "two")]
        assert second.query("select id::text, owner_id::text, body from public.slips order by body") == rows
        # Somebody else deletes the folder, and nobody hears of what that did to its sheets.
        first.query("delete from public.folders")
        await post("folders", {"name": "a", "body": "new"})
        for side in (slips.supabase, slips.isobase):
            assert side.query("select * from public.folders") == [("a", "new")]
            assert side.query("select * from public.sheets") == []
    finally:
        await client.migration.aclose()
