"""Which policies an operation needs, in pairs: with just these it works for their owner alone, with one less for nobody.

Source of the table: contracts/storage.md 1.7.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest

from isobase_platform.config import Settings
from tests.storage.conftest import ALICE, BOB, Stack, refusal, running, with_storage

DENIED = ("403", "new row violates row-level security policy")
HIDDEN = ("404", "Object not found")
KEPT = ("403", "Access denied")
O = "/storage/v1/object"  # noqa: E741

Act = Callable[[Stack, dict[str, str]], Awaitable[httpx.Response]]


def allow(storage: Stack, *commands: str) -> None:
    """Policies for signed-in users on their own folder, for the commands named."""
    check = f"(storage.foldername(name))[1] = auth.uid()::text and bucket_id in ('b', 'c')"  # noqa: F541
    for command in commands:
        clause = f"with check ({check})" if command == "insert" else f"using ({check})"
        storage.sql(f'create policy "{command}" on storage.objects for {command} to authenticated {clause}')


async def upload(storage: Stack, headers: dict[str, str]) -> httpx.Response:
    return await storage.put(f"b/{ALICE}/new.txt", b"new", headers)


async def upsert_new(storage: Stack, headers: dict[str, str]) -> httpx.Response:
    return await storage.put(f"b/{ALICE}/new.txt", b"new", headers, **{"x-upsert": "true"})


async def upsert_old(storage: Stack, headers: dict[str, str]) -> httpx.Response:
    return await storage.put(f"b/{ALICE}/old.txt", b"new", headers, **{"x-upsert": "true"})


async def put_old(storage: Stack, headers: dict[str, str]) -> httpx.Response:
    return await storage.http.put(f"{O}/b/{ALICE}/old.txt", content=b"new", headers=headers)


async def download(storage: Stack, headers: dict[str, str]) -> httpx.Response:
    return await storage.http.get(f"{O}/authenticated/b/{ALICE}/old.txt", headers=headers)


async def info(storage: Stack, headers: dict[str, str]) -> httpx.Response:
    return await storage.http.get(f"{O}/info/authenticated/b/{ALICE}/old.txt", headers=headers)


async def sign(storage: Stack, headers: dict[str, str]) -> httpx.Response:
    return await storage.http.post(f"{O}/sign/b/{ALICE}/old.txt", json={"expiresIn": 60}, headers=headers)


async def sign_upload(storage: Stack, headers: dict[str, str]) -> httpx.Response:
    return await storage.http.post(f"{O}/upload/sign/b/{ALICE}/new.txt", headers=headers)


async def delete(storage: Stack, headers: dict[str, str]) -> httpx.Response:
    return await storage.http.delete(f"{O}/b/{ALICE}/old.txt", headers=headers)


async def move(storage: Stack, headers: dict[str, str]) -> httpx.Response:
    body = {"bucketId": "b", "sourceKey": f"{ALICE}/old.txt", "destinationKey": f"{ALICE}/new.txt"}
    return await storage.http.post(f"{O}/move", json=body, headers=headers)


async def copy(storage: Stack, headers: dict[str, str]) -> httpx.Response:
    body = {"bucketId": "b", "sourceKey": f"{ALICE}/old.txt", "destinationKey": f"{ALICE}/new.txt"}
    return await storage.http.post(f"{O}/copy", json=body, headers=headers)


async def copy_over(storage: Stack, headers: dict[str, str]) -> httpx.Response:
    body = {"bucketId": "b", "sourceKey": f"{ALICE}/old.txt", "destinationKey": f"{ALICE}/other.txt"}
    return await storage.http.post(f"{O}/copy", json=body, headers={**headers, "x-upsert": "true"})


TABLE: list[tuple[Act, tuple[str, ...], dict[str, tuple[str, str]]]] = [
    (upload, ("insert",), {"insert": DENIED}),
    (upsert_new, ("insert", "select"), {"insert": DENIED, "select": DENIED}),
    (upsert_old, ("insert", "select", "update"), {"insert": DENIED, "select": DENIED, "update": DENIED}),
    (put_old, ("insert", "select", "update"), {"insert": DENIED, "select": DENIED, "update": DENIED}),
    (download, ("select",), {"select": HIDDEN}),
    (info, ("select",), {"select": HIDDEN}),
    (sign, ("select",), {"select": HIDDEN}),
    (sign_upload, ("insert",), {"insert": DENIED}),
    (delete, ("select", "delete"), {"select": KEPT, "delete": KEPT}),
    (move, ("select", "update"), {"select": HIDDEN, "update": HIDDEN}),
    (copy, ("select", "insert"), {"select": HIDDEN, "insert": DENIED}),
    (copy_over, ("select", "insert", "update"), {"select": HIDDEN, "insert": DENIED, "update": DENIED}),
]


async def prepared(storage: Stack) -> Stack:
    await storage.bucket("b")
    for name in ("old", "other"):
        assert (await storage.put(f"b/{ALICE}/{name}.txt", name.encode(), storage.admin)).status_code == 200
    return storage


def state(storage: Stack) -> tuple[object, object]:
    rows = storage.sql(
        "select id, name, version, owner_id, metadata::text, updated_at from storage.objects order by name"
    )
    return rows, sorted(storage.blobs())


@pytest.mark.parametrize("act, commands, denials", TABLE, ids=[row[0].__name__ for row in TABLE])
async def test_an_owner_may_with_all_of_the_policies_and_nobody_may_with_one_less(
    storage: Stack, act: Act, commands: tuple[str, ...], denials: dict[str, tuple[str, str]]
) -> None:
    await prepared(storage)
    before = state(storage)
    for missing, expected in denials.items():
        allow(storage, *(command for command in commands if command != missing))
        status, code, _, message = refusal(await act(storage, storage.user(ALICE)))
        assert (status, code, message) == (400, *expected), missing
        assert state(storage) == before
        for command in commands:
            storage.sql(f'drop policy if exists "{command}" on storage.objects')
    allow(storage, *commands)
    for headers in (storage.user(BOB), storage.anon):
        assert refusal(await act(storage, headers))[1] in {"403", "404"}
        assert state(storage) == before
    answer = await act(storage, storage.user(ALICE))
    assert answer.status_code == 200, answer.text
    assert storage.temporary_files() == []


async def test_lists_and_batches_leave_out_what_policies_hide(storage: Stack) -> None:
    await prepared(storage)
    allow(storage, "select", "delete")
    keys = [f"{ALICE}/old.txt", f"{ALICE}/other.txt", "missing"]
    for headers, count in ((storage.anon, 0), (storage.user(BOB), 0), (storage.user(ALICE), 2)):
        listed = await storage.http.post(f"{O}/list/b", json={"prefix": ALICE}, headers=headers)
        assert len(listed.json()) == count
        tree = await storage.http.post(f"{O}/list-v2/b", json={"prefix": ""}, headers=headers)
        assert len(tree.json()["objects"]) == count
        signed = await storage.http.post(f"{O}/sign/b", json={"expiresIn": 9, "paths": keys}, headers=headers)
        assert [row["path"] for row in signed.json()] == keys
        assert sum(row["signedURL"] is not None for row in signed.json()) == count
        removed = await storage.http.request("DELETE", f"{O}/b", json={"prefixes": keys}, headers=headers)
        assert removed.status_code == 200
        assert len(removed.json()) == count
    assert storage.blobs() == []


async def test_a_taken_key_is_409_only_to_who_may_insert(storage: Stack) -> None:
    await prepared(storage)
    path = f"b/{ALICE}/old.txt"
    assert refusal(await storage.put(path, b"x", storage.user(ALICE)))[1:] == ("403", "Unauthorized", DENIED[1])
    allow(storage, "insert")
    answer = await storage.put(path, b"x", storage.user(ALICE))
    assert refusal(answer)[1:] == ("409", "Duplicate", "The resource already exists")
    assert answer.json()["code"] == "KeyAlreadyExists"


async def test_policies_see_type_size_metadata_and_operation_before_a_byte_is_stored(storage: Stack) -> None:
    await storage.bucket("b")
    storage.sql("""
        create policy "images only" on storage.objects for insert to authenticated with check (
            metadata->>'mimetype' like 'image/%' and (metadata->>'contentLength')::int < 10
            and user_metadata->>'kind' = 'avatar' and storage.allow_only_operation('object.upload')
            and owner = auth.uid() and current_setting('request.method') = 'POST')
    """)
    good = {"content-type": "image/png", "x-metadata": "eyJraW5kIjoiYXZhdGFyIn0="}
    for change, content in (
        ({"content-type": "text/plain"}, b"x"),
        ({"x-metadata": "e30="}, b"x"),
        ({}, b"more than ten bytes"),
    ):
        answer = await storage.http.post(f"{O}/b/a", content=content, headers={**storage.user(ALICE), **good, **change})
        assert refusal(answer)[1] == "403", change
    assert storage.blobs() == []
    answer = await storage.http.post(f"{O}/b/a", content=b"x", headers={**storage.user(ALICE), **good})
    assert answer.status_code == 200


async def test_a_policy_also_judges_fields_that_come_after_the_file(storage: Stack) -> None:
    await storage.bucket("b")
    storage.sql("""
        create policy "no evil" on storage.objects for insert to authenticated
            with check (coalesce(user_metadata->>'evil', '') = '')
    """)

    async def send(metadata: str) -> httpx.Response:
        files: list[tuple[str, tuple[str | None, bytes]]] = [
            ("", ("a.txt", b"x" * 200_000)),
            ("metadata", (None, metadata.encode())),
        ]
        return await storage.http.post(f"{O}/b/a", files=files, headers=storage.user(ALICE))

    assert refusal(await send('{"evil":"yes"}'))[1] == "403"
    assert storage.blobs() == []
    answer = await send('{"good":"yes"}')
    assert answer.status_code == 200
    assert storage.sql("select user_metadata->>'good' from storage.objects") == [("yes",)]


async def test_an_objects_owner_is_who_stored_it_and_moving_makes_it_the_movers(storage: Stack) -> None:
    await storage.bucket("b")
    storage.sql('create policy "all" on storage.objects for all to authenticated using (true) with check (true)')
    await storage.put("b/a", b"x", storage.user(ALICE))
    assert storage.sql("select owner::text, owner_id from storage.objects") == [(ALICE, ALICE)]
    body = {"bucketId": "b", "sourceKey": "a", "destinationKey": "c"}
    assert (await storage.http.post(f"{O}/move", json=body, headers=storage.user(BOB))).status_code == 200
    assert storage.sql("select owner::text, owner_id from storage.objects") == [(BOB, BOB)]
    await storage.put("b/d", b"x", {"authorization": f"Bearer {storage.token('authenticated', 'no-uuid')}"})
    assert storage.sql("select owner, owner_id from storage.objects where name = 'd'") == [(None, "no-uuid")]


async def test_a_user_cannot_read_anothers_bytes_through_a_row_that_names_their_version(storage: Stack) -> None:
    await prepared(storage)
    allow(storage, "select", "insert")
    ((version,),) = storage.sql("select version from storage.objects where name like '%%old.txt'")
    storage.sql("insert into storage.objects (bucket_id, name, version) values ('b', %s, %s)", f"{BOB}/x", version)
    answer = await storage.http.get(f"{O}/authenticated/b/{BOB}/x", headers=storage.user(BOB))
    assert refusal(answer) == (400, "404", "Not found", "The resource was not found")


async def test_an_object_that_appears_during_an_upload_is_replaced_only_with_the_right_to_update(
    storage: Stack,
) -> None:
    """The dry run saw a free key; when the bytes are there, somebody else's object has it."""
    await storage.bucket("b")
    allow(storage, "select", "insert")
    path = f"{O}/b/{ALICE}/slow.txt"

    async def body() -> object:
        yield b"first"
        answer = await storage.put(f"b/{ALICE}/slow.txt", b"others", storage.admin)
        assert answer.status_code == 200
        yield b"second"

    for headers, message in (({"x-upsert": "true"}, DENIED), ({}, ("409", "The resource already exists"))):
        storage.sql("delete from storage.objects")
        answer = await storage.http.post(path, content=body(), headers={**storage.user(ALICE), **headers})  # type: ignore[arg-type]
        assert refusal(answer)[1::2] == message
        got = await storage.http.get(path, headers=storage.admin)
        assert got.content == b"others"
    allow(storage, "update")
    storage.sql("delete from storage.objects")
    answer = await storage.http.post(path, content=body(), headers={**storage.user(ALICE), "x-upsert": "true"})  # type: ignore[arg-type]
    assert answer.status_code == 200
    assert (await storage.http.get(path, headers=storage.admin)).content == b"firstsecond"


async def test_a_projects_trigger_does_not_run_with_the_owners_rights_at_start(
    storage: Stack, database: Settings
) -> None:
    storage.sql(
        """
        create table public.seen (login text, is_superuser text);
        grant insert on public.seen to public;
        create function public.note() returns trigger language plpgsql as $$
        begin insert into public.seen values (session_user, current_setting('is_superuser')); return new; end $$;
        create trigger note before insert on storage.buckets for each row execute function public.note();
        """
    )
    try:
        async with running(with_storage(database, buckets={"wanted": {}})):
            assert storage.sql("select distinct login, is_superuser from public.seen") == [
                ("supabase_storage_admin", "off")
            ]
        assert storage.sql("select id from storage.buckets where id = 'wanted'") == [("wanted",)]
    finally:
        storage.sql("drop trigger note on storage.buckets; drop function public.note(); drop table public.seen")
