"""Objects and buckets become at the target what they are at the source, whatever was there."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest

from isobase_adapter.contracts import Conflict, WriterMoved
from isobase_adapter.sides import Side
from isobase_adapter.storage.carrier import ObjectCarrier
from isobase_adapter.storage.store import NameRefused, Store, StoreError
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.storage.conftest import BUCKET, Both

SUPABASE, ISOBASE = Side.SUPABASE, Side.ISOBASE
ROLE = "isobase_test_mover"
METADATA = base64.b64encode(json.dumps({"kind": "letter", "pages": [1, 2]}).encode()).decode()
KEYS = ["a.txt", "deep/er/b+c(1).txt", "with space & sign=1.txt", "50.bin"]


def thing(key: str, bucket: str = BUCKET) -> Thing:
    return Thing(ThingKind.OBJECT, bucket, (key,))


@pytest.mark.parametrize("target", [ISOBASE, SUPABASE])
async def test_an_object_is_carried_with_bytes_type_metadata_owner_id_and_times(both: Both, target: Side) -> None:
    for key in KEYS:
        await both.put(target.other, key, key.encode() * 999, **{"x-metadata": METADATA, "cache-control": "max-age=77"})
    owner = str(uuid.uuid4())
    both.side(target.other).query("update storage.objects set owner_id = %s, owner = %s", owner, owner)
    both.side(target.other).query("update storage.objects set created_at = '2021-02-03 04:05:06.789012+00'")
    carried = await both.carrier.carry([thing(key) for key in KEYS], target)
    assert carried.changed == len(KEYS)
    assert both.rows(target) == both.rows(target.other)
    for key in KEYS:
        assert await both.read(target, key) == key.encode() * 999
    assert (await both.carrier.carry([thing(key) for key in KEYS], target)).changed == 0


async def test_isobase_keeps_the_version_of_supabase(both: Both) -> None:
    await both.put(SUPABASE, "a.txt", b"one")
    await both.carrier.carry([thing("a.txt")], ISOBASE)
    await both.put(SUPABASE, "a.txt", b"two")
    await both.carrier.carry([thing("a.txt")], ISOBASE)
    versions = [both.side(side).query("select version from storage.objects") for side in Side]
    assert versions[0] == versions[1]
    assert await both.read(ISOBASE, "a.txt") == b"two"


async def test_objects_of_a_bucket_that_was_not_copied_yet_bring_it_along(both: Both) -> None:
    await both.put(SUPABASE, "a.txt", b"one")
    await both.put(SUPABASE, "b.txt", b"two")
    isobase = both.pair.isobase
    isobase.query("set storage.allow_delete_query = 'true'; delete from storage.buckets where id = %s", BUCKET)
    assert (await both.carrier.carry([thing("a.txt"), thing("b.txt")], ISOBASE)).changed == 2
    assert [await both.read(ISOBASE, key) for key in ("a.txt", "b.txt")] == [b"one", b"two"]
    buckets = [both.side(side).query("select * from storage.buckets where id = %s", BUCKET) for side in Side]
    assert buckets[0] == buckets[1]


async def test_what_is_gone_at_the_source_is_removed_at_the_target(both: Both) -> None:
    await both.put(ISOBASE, "gone.txt", b"one")
    assert (await both.carrier.carry([thing("gone.txt")], ISOBASE)).changed == 1
    assert await both.read(ISOBASE, "gone.txt") is None
    assert (await both.carrier.carry([thing("gone.txt"), thing("never.txt")], ISOBASE)).changed == 0


@asynccontextmanager
async def lesser_at(both: Both, side: Side) -> AsyncIterator[ObjectCarrier]:
    """A carrier whose role at ``side`` may write storage's rows and may not keep triggers still."""
    stack = both.side(side)
    stack.query(
        f"create role {ROLE} login bypassrls password '{ROLE}'; grant usage on schema storage to {ROLE};"
        f" grant select, insert, update, delete on storage.objects, storage.buckets to {ROLE}"
    )
    place = stack.db_url.rpartition("@")[2]
    try:
        async with (
            httpx.AsyncClient(timeout=30) as http,
            asyncpg.create_pool(f"postgresql://{ROLE}:{ROLE}@{place}", min_size=0, max_size=8) as pool,
        ):
            stores = {one: both.carrier.store(one) for one in Side}
            stores[side] = Store(side, http, stack.url, stack.service_role_key, pool)
            yield ObjectCarrier(stores[SUPABASE], stores[ISOBASE])
    finally:
        stack.query(f"drop owned by {ROLE}; drop role {ROLE}")


async def test_a_row_is_put_right_as_far_as_triggers_let_it_where_they_cannot_be_kept_still(
    both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    await both.put(ISOBASE, "a.txt", b"one")
    both.side(ISOBASE).query("update storage.objects set owner_id = 'somebody'")
    async with lesser_at(both, SUPABASE) as carrier:
        with caplog.at_level(logging.WARNING, "isobase.migration.storage"):
            assert (await carrier.carry([thing("a.txt"), Thing(ThingKind.BUCKET, BUCKET)], SUPABASE)).changed == 1
    assert await both.read(SUPABASE, "a.txt") == b"one"
    told = "select id, owner_id, created_at from storage.objects"
    assert both.side(SUPABASE).query(told) == both.side(ISOBASE).query(told)
    (record,) = (record for record in caplog.records if "triggers of the target" in record.message)
    assert record.columns == ["updated_at"]  # type: ignore[attr-defined]


async def test_isobase_gets_the_row_whole_where_triggers_cannot_be_kept_still(both: Both) -> None:
    await both.put(SUPABASE, "a.txt", b"one")
    isobase, supabase = both.side(ISOBASE), both.side(SUPABASE)
    async with lesser_at(both, ISOBASE) as carrier:
        assert (await carrier.carry([thing("a.txt")], ISOBASE)).changed == 1
        supabase.query("""update storage.objects set user_metadata = '{"n": 1}', owner_id = 'somebody'""")
        assert (await carrier.carry([thing("a.txt")], ISOBASE)).changed == 1
        assert both.rows(ISOBASE) == both.rows(SUPABASE)
        supabase.query("update storage.buckets set public = not public where id = %s", BUCKET)
        try:
            assert (await carrier.carry([Thing(ThingKind.BUCKET, BUCKET)], ISOBASE)).changed == 1
            public = "select public from storage.buckets where id = %s"
            assert isobase.query(public, BUCKET) == supabase.query(public, BUCKET)
        finally:
            for side in (supabase, isobase):
                side.query("update storage.buckets set public = false where id = %s", BUCKET)


async def test_facts_that_differ_are_corrected_without_the_bytes(both: Both) -> None:
    await both.put(SUPABASE, "a.txt", b"one")
    await both.carrier.carry([thing("a.txt")], ISOBASE)
    both.side(SUPABASE).query("""update storage.objects set user_metadata = '{"n": 1}', owner_id = 'somebody'""")
    before = both.side(ISOBASE).query("select version from storage.objects")
    assert (await both.carrier.carry([thing("a.txt")], ISOBASE)).changed == 1
    assert both.rows(ISOBASE) == both.rows(SUPABASE)
    assert both.side(ISOBASE).query("select version from storage.objects") == before


async def test_a_moved_object_is_carried_under_both_names_in_any_order(both: Both) -> None:
    await both.put(SUPABASE, "old.txt", b"one")
    await both.carrier.carry([thing("old.txt")], ISOBASE)
    key = both.pair.supabase.service_role_key
    async with httpx.AsyncClient() as http:
        body = {"bucketId": BUCKET, "sourceKey": "old.txt", "destinationKey": "new.txt"}
        url = f"{both.pair.supabase.url}/storage/v1/object/move"
        (await http.post(url, json=body, headers={"authorization": f"Bearer {key}"})).raise_for_status()
    await both.carrier.carry([thing("new.txt")], ISOBASE)
    await both.carrier.carry([thing("old.txt")], ISOBASE)
    assert both.rows(ISOBASE) == both.rows(SUPABASE)
    assert await both.read(ISOBASE, "new.txt") == b"one"


async def test_triggers_of_objects_do_not_run_again(both: Both) -> None:
    isobase = both.pair.isobase
    isobase.query("create table public.seen_objects (name text)")
    isobase.query(
        "create function public.see_object() returns trigger language plpgsql security definer as"
        " $$ begin insert into public.seen_objects values (new.name); return new; end $$"
    )
    isobase.query(
        "create trigger see after insert or update on storage.objects for each row execute function public.see_object()"
    )
    try:
        await both.put(SUPABASE, "a.txt", b"one")
        await both.carrier.carry([thing("a.txt")], ISOBASE)
        assert isobase.query("select * from public.seen_objects") == []
    finally:
        isobase.query("drop trigger see on storage.objects")
        isobase.query("drop function public.see_object")
        isobase.query("drop table public.seen_objects")


async def test_a_large_object_goes_as_a_stream_and_arrives_whole(both: Both) -> None:
    content = os.urandom(9 * 1024 * 1024 + 13)
    await both.put(SUPABASE, "large.bin", content)
    await both.carrier.carry([thing("large.bin")], ISOBASE)
    found = await both.read(ISOBASE, "large.bin")
    assert found is not None
    assert hashlib.sha256(found).hexdigest() == hashlib.sha256(content).hexdigest()


async def test_an_empty_object_and_one_of_large_metadata_are_carried(both: Both) -> None:
    await both.put(SUPABASE, "empty.txt", b"")
    await both.put(ISOBASE, "told.txt", b"x")
    both.side(ISOBASE).query(
        "update storage.objects set user_metadata = jsonb_build_object('text', repeat('x', 20000)) where name = 'told.txt'"
    )
    await both.carrier.carry([thing("empty.txt")], ISOBASE)
    await both.carrier.carry([thing("told.txt")], SUPABASE)
    assert await both.read(ISOBASE, "empty.txt") == b""
    assert both.rows(SUPABASE)[-1] == both.rows(ISOBASE)[-1]


async def test_changes_during_carrying_are_carried_too(both: Both) -> None:
    async def write() -> None:
        for number in range(12):
            await both.put(SUPABASE, "busy.txt", str(number).encode() * 50_000)

    async def carry() -> None:
        while not writing.done():
            await both.carrier.carry([thing("busy.txt")], ISOBASE)
        await both.carrier.carry([thing("busy.txt")], ISOBASE)

    writing = asyncio.create_task(write())
    await asyncio.gather(writing, carry(), carry())
    assert await both.read(ISOBASE, "busy.txt") == b"11" * 50_000
    assert both.rows(ISOBASE) == both.rows(SUPABASE)


async def test_a_sweep_carries_whatever_differs_and_nothing_else(both: Both) -> None:
    for number in range(12):
        await both.put(SUPABASE, f"{number:02}.txt", str(number).encode())
    sweep = Thing(ThingKind.OBJECTS, BUCKET)
    assert (await both.carrier.carry([sweep], ISOBASE)).changed == 12
    await both.put(SUPABASE, "03.txt", b"new")
    await both.put(ISOBASE, "99.txt", b"extra")
    both.side(SUPABASE).query("update storage.objects set user_metadata = '{\"a\": 1}' where name = '04.txt'")
    assert (await both.carrier.carry([sweep], ISOBASE)).changed == 3
    assert both.rows(ISOBASE) == both.rows(SUPABASE)


async def test_a_bucket_is_carried_with_its_settings_and_removed_with_its_objects(both: Both) -> None:
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    bucket = Thing(ThingKind.BUCKET, name)
    async with httpx.AsyncClient() as http:
        key = both.pair.supabase.service_role_key
        body = {"id": name, "name": name, "public": True, "file_size_limit": 1234, "allowed_mime_types": ["text/*"]}
        url = f"{both.pair.supabase.url}/storage/v1/bucket"
        (await http.post(url, json=body, headers={"authorization": f"Bearer {key}"})).raise_for_status()
    assert (await both.carrier.carry([bucket], ISOBASE)).changed == 1
    assert await both.isobase.bucket(name) == await both.supabase.bucket(name)
    assert (await both.carrier.carry([bucket], ISOBASE)).changed == 0
    await both.put(ISOBASE, "left.txt", b"x", name)
    await both.supabase.remove_bucket(name)
    assert (await both.carrier.carry([bucket], ISOBASE)).changed == 1
    assert await both.isobase.bucket(name) is None


async def test_apis_alone_carry_bytes_type_and_metadata(both_by_api: Both) -> None:
    both = both_by_api
    for key in KEYS:
        await both.put(SUPABASE, key, key.encode(), **{"x-metadata": METADATA, "cache-control": "max-age=77"})
    await both.put(ISOBASE, "zz extra.txt", b"extra")
    assert (await both.carrier.carry([Thing(ThingKind.OBJECTS, BUCKET)], ISOBASE)).changed == len(KEYS) + 1
    assert (await both.carrier.carry([Thing(ThingKind.OBJECTS, BUCKET)], ISOBASE)).changed == 0
    wanted = [(row[0], row[1], *row[5:]) for row in both.rows(SUPABASE)]
    assert [(row[0], row[1], *row[5:]) for row in both.rows(ISOBASE)] == wanted


async def test_what_a_side_refuses_is_an_error_without_a_key(both: Both) -> None:
    await both.put(SUPABASE, "a.txt", b"one")
    wrong = Store(ISOBASE, both.isobase._http, both.pair.isobase.url, "wrong-key", both.isobase.pool)
    with pytest.raises(StoreError) as raised:
        await ObjectCarrier(both.supabase, wrong).carry([thing("a.txt")], ISOBASE)
    assert "wrong-key" not in str(raised.value)


async def test_an_object_that_changed_on_both_sides_is_a_conflict_and_stays(both: Both) -> None:
    await both.put(SUPABASE, "a.txt", b"one")
    await both.carrier.carry([thing("a.txt")], ISOBASE)
    images = await both.carrier.images([thing("a.txt")], ISOBASE)
    expected = {key: digest for key, (_, digest) in images.items()}
    await both.put(SUPABASE, "a.txt", b"two")
    assert (await both.carrier.carry([thing("a.txt")], ISOBASE, expected=expected)).changed == 1
    await both.put(SUPABASE, "a.txt", b"three")
    await both.put(ISOBASE, "a.txt", b"another")
    with pytest.raises(Conflict) as raised:
        await both.carrier.carry([thing("a.txt")], ISOBASE, expected=expected)
    assert (raised.value.source["size"], raised.value.target["size"]) == (5, 7)
    assert await both.read(ISOBASE, "a.txt") == b"another"


class Refusing:
    """A fence of a writer that has moved."""

    lock_number = 42

    async def check(self, connection: object | None) -> bool:
        raise WriterMoved


@pytest.mark.parametrize("has_databases", [True, False])
async def test_nothing_is_carried_past_a_fence_that_refuses(both: Both, both_by_api: Both, has_databases: bool) -> None:
    sides = both if has_databases else both_by_api
    await sides.put(SUPABASE, "a.txt", b"one")
    with pytest.raises(WriterMoved):
        await sides.carrier.carry([thing("a.txt")], ISOBASE, fence=Refusing())
    assert await sides.read(ISOBASE, "a.txt") is None


async def test_a_name_that_leads_to_another_bucket_is_never_followed(both: Both) -> None:
    """Some servers store such names; who may write to one bucket must not reach another by the carrier's key."""
    await both.put(SUPABASE, "victim.txt", b"of somebody else")
    both.side(SUPABASE).query(
        "insert into storage.objects (bucket_id, name, version, metadata)"
        " select 'avatars', '../papers/victim.txt', version, metadata from storage.objects where name = 'victim.txt'"
    )
    try:
        with pytest.raises(NameRefused):
            await both.carrier.carry([thing("../papers/victim.txt", "avatars")], ISOBASE)
    finally:
        # No server removes it by its name.
        both.side(SUPABASE).query(
            "set session_replication_role = replica; delete from storage.objects where bucket_id = 'avatars'"
        )
    assert both.side(ISOBASE).query("select bucket_id, name from storage.objects") == []
