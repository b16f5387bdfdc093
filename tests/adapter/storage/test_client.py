"""Storage through the migration client, in every stage: who has the object, which side answers, where URLs lead."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from storage3.exceptions import StorageApiError

from isobase_adapter import create_async_migration_client, create_migration_client
from isobase_adapter.settings import BreakerSettings
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.client.moving import set_stage, settings_of, wait_for_stage
from tests.adapter.pair import Pair
from tests.adapter.storage.conftest import BUCKET, Both
from tests.plugins.ports import free_ports

SUPABASE, ISOBASE = Side.SUPABASE, Side.ISOBASE
CAPABILITY = f"bucket:{BUCKET}"
TWICE = [Stage.DUAL_WRITE, Stage.SHADOW_READ, Stage.LIVE, Stage.RAMP_DOWN]
ANSWERS = {
    Stage.OFF: SUPABASE,
    Stage.DUAL_WRITE: SUPABASE,
    Stage.SHADOW_READ: SUPABASE,
    Stage.LIVE: ISOBASE,
    Stage.RAMP_DOWN: ISOBASE,
    Stage.COMPLETE: ISOBASE,
}


@pytest.fixture
async def client(clean_pair: Pair) -> AsyncIterator[Any]:
    made = await create_async_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.service_role_key, migration=settings_of(clean_pair)
    )
    yield made
    await made.migration.aclose()


async def at(both: Both, client: Any, stage: Stage, capability: str = CAPABILITY) -> Any:
    """Take the bucket to a stage; gives its storage."""
    set_stage(both.pair, capability, stage)
    await asyncio.to_thread(wait_for_stage, client, capability, stage)
    return client.storage.from_(BUCKET)


async def until_equal(both: Both) -> None:
    async with asyncio.timeout(90):
        while both.rows(ISOBASE) != both.rows(SUPABASE):
            await asyncio.sleep(0.1)


async def test_every_call_works_in_every_stage_and_both_sides_get_what_they_must(both: Both, client: Any) -> None:
    for stage in Stage:
        bucket = await at(both, client, stage)
        name = f"{stage}.txt"
        metadata = {"metadata": {"stage": str(stage)}, "content-type": "text/plain", "cache-control": "60"}
        await bucket.upload(name, b"first", metadata)
        await bucket.upload(name, b"second", metadata | {"upsert": "true"})
        await bucket.update(name, io.BufferedReader(io.BytesIO(b"third")), metadata)
        await bucket.copy(name, f"copy of {name}")
        await bucket.move(f"copy of {name}", f"moved {name}")
        await bucket.upload(f"gone {name}", b"x")
        await bucket.remove([f"gone {name}", "never there"])
        assert await bucket.download(name) == b"third"
        assert (await bucket.info(name))["metadata"] == {"stage": str(stage)}
        assert await bucket.exists(f"moved {name}")
        assert not await bucket.exists(f"gone {name}")
        assert name in {entry["name"] for entry in await bucket.list("", {"limit": 100})}
        assert client.migration.answered.side is ANSWERS[stage]
        has = {SUPABASE: stage is not Stage.COMPLETE, ISOBASE: stage is not Stage.OFF}
        for side in Side:
            expected = b"third" if has[side] else None
            assert (await both.read(side, name), await both.read(side, f"moved {name}")) == (expected, expected)
            assert await both.read(side, f"gone {name}") is None
    shared = [str(stage) for stage in TWICE]
    rows = {side: [row for row in both.rows(side) if any(each in str(row[0]) for each in shared)] for side in Side}
    assert rows[SUPABASE] == rows[ISOBASE]
    assert len(rows[ISOBASE]) == 2 * len(TWICE)


async def test_urls_lead_to_the_side_that_answers(both: Both, client: Any) -> None:
    await both.put(SUPABASE, "a.txt", b"one", "avatars")
    await both.put(ISOBASE, "a.txt", b"one", "avatars")
    async with httpx.AsyncClient() as browser:
        for stage, side in ANSWERS.items():
            await at(both, client, stage, "bucket:avatars")
            bucket = client.storage.from_("avatars")
            base = both.side(side).url
            public = await bucket.get_public_url("a.txt", {"download": True})
            signed = (await bucket.create_signed_url("a.txt", 60))["signedURL"]
            several = [entry["signedURL"] for entry in await bucket.create_signed_urls(["a.txt"], 60)]
            for url in (public, signed, *several):
                assert url.startswith(f"{base}/storage/v1/object/"), (stage, url)
                answer = await browser.get(url)
                assert (answer.status_code, answer.content) == (200, b"one")
            upload = await bucket.create_signed_upload_url(f"{stage}.txt")
            assert upload["signed_url"].startswith(f"{base}/storage/v1/object/upload/sign/"), (stage, upload)
            await bucket.upload_to_signed_url(f"{stage}.txt", upload["token"], b"signed")
            assert await both.read(side, f"{stage}.txt", "avatars") == b"signed"
            has_other = stage not in (Stage.OFF, Stage.COMPLETE)
            assert (await both.read(side.other, f"{stage}.txt", "avatars") == b"signed") is has_other


async def test_a_sync_client_writes_to_both_too(both: Both) -> None:
    def work() -> None:
        client: Any = create_migration_client(
            both.pair.supabase.url, both.pair.supabase.service_role_key, migration=settings_of(both.pair)
        )
        try:
            set_stage(both.pair, CAPABILITY, Stage.LIVE)
            wait_for_stage(client, CAPABILITY, Stage.LIVE)
            bucket = client.storage.from_(BUCKET)
            bucket.upload("sync.txt", b"content")
            assert bucket.download("sync.txt") == b"content"
            assert bucket.get_public_url("sync.txt").startswith(both.pair.isobase.url)
            upload = bucket.create_signed_upload_url("later.txt")
            assert upload["signedUrl"].startswith(both.pair.isobase.url)
        finally:
            client.migration.close()

    await asyncio.to_thread(work)
    assert await both.read(SUPABASE, "sync.txt") == b"content"
    assert both.rows(SUPABASE) == both.rows(ISOBASE)


async def test_a_large_upload_is_carried_in_the_background(both: Both, client: Any) -> None:
    bucket = await at(both, client, Stage.DUAL_WRITE)
    content = bytes(range(256)) * 12_000
    await bucket.upload("large.bin", content)
    (waiting,) = both.pair.isobase.query("select count(*) from isobase.outbox")
    drained = await both.carrier.carry([], ISOBASE)
    assert drained.changed == 0
    assert waiting[0] == 1 or await both.read(ISOBASE, "large.bin") == content


async def test_buckets_are_made_changed_and_deleted_on_both_sides(both: Both, client: Any) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    await at(both, client, Stage.DUAL_WRITE, f"bucket:{name}")
    await client.storage.create_bucket(name, options={"public": True, "file_size_limit": 1000})
    assert await both.isobase.bucket(name) == await both.supabase.bucket(name)
    await client.storage.update_bucket(name, {"public": False, "allowed_mime_types": ["text/plain"]})
    made = await both.isobase.bucket(name)
    assert made is not None
    assert (made.is_public, made.allowed_mime_types) == (False, ("text/plain",))
    await client.storage.from_(name).upload("a.txt", b"one", {"content-type": "text/plain"})
    await both.supabase.remove(name, ["a.txt"])
    await client.storage.delete_bucket(name)
    assert await both.isobase.bucket(name) is None


async def test_a_refused_upload_changes_nothing_and_leaves_nothing_waiting(both: Both, client: Any) -> None:
    bucket = await at(both, client, Stage.DUAL_WRITE)
    await bucket.upload("a.txt", b"one")
    with pytest.raises(StorageApiError) as raised:
        await bucket.upload("a.txt", b"two")
    assert str(raised.value.status) == "409"
    assert both.pair.isobase.query("select count(*) from isobase.outbox") == [(0,)]
    assert await both.read(ISOBASE, "a.txt") == b"one"


async def test_a_move_to_a_bucket_at_another_stage_is_refused(both: Both, client: Any) -> None:
    bucket = await at(both, client, Stage.DUAL_WRITE)
    await at(both, client, Stage.OFF, "bucket:avatars")
    await bucket.upload("a.txt", b"one")
    body = {"bucketId": BUCKET, "sourceKey": "a.txt", "destinationBucket": "avatars", "destinationKey": "b.txt"}
    with pytest.raises(StorageApiError, match="different stages"):
        await bucket._request("POST", ["object", "move"], json=body)
    assert await both.read(SUPABASE, "a.txt") == b"one"


async def test_a_resumable_upload_reaches_both_sides(both: Both, client: Any) -> None:
    for stage, side in ((Stage.DUAL_WRITE, SUPABASE), (Stage.LIVE, ISOBASE)):
        await at(both, client, stage)
        name = f"{stage}.bin"
        told = {"bucketName": BUCKET, "objectName": name, "contentType": "text/plain"}
        pairs = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items())
        headers = {**client.options.headers, "tus-resumable": "1.0.0"}
        http = client.storage._client
        made = await http.post(
            f"{client.storage_url}upload/resumable",
            headers=headers | {"upload-length": "6", "upload-metadata": pairs},
        )
        assert made.status_code == 201, made.text
        assert made.headers["location"].startswith(both.pair.supabase.url)
        for offset, part in ((0, b"one"), (3, b"two")):
            sent = headers | {"upload-offset": str(offset), "content-type": "application/offset+octet-stream"}
            answer = await http.patch(made.headers["location"], headers=sent, content=part)
            assert answer.status_code == 204, answer.text
        assert await both.read(side, name) == b"onetwo"
        waiting = both.pair.isobase.query("select count(*) from isobase.outbox")[0][0]
        assert waiting >= 1 or await both.read(side.other, name) == b"onetwo"


async def test_reads_fall_back_while_isobase_is_away(both: Both, proxied_pair: Any) -> None:
    await both.put(SUPABASE, "a.txt", b"supabase")
    await both.put(ISOBASE, "a.txt", b"isobase")
    pair: Pair = proxied_pair.pair
    client: Any = await create_async_migration_client(
        pair.supabase.url, pair.supabase.service_role_key, migration=settings_of(pair)
    )
    try:
        bucket = await at(both, client, Stage.LIVE)
        assert await bucket.download("a.txt") == b"isobase"
        proxied_pair.isobase.is_gone = True
        proxied_pair.isobase.cut_all()
        assert await bucket.download("a.txt") == b"supabase"
        assert client.migration.answered.is_fallback
        signed = (await bucket.create_signed_url("a.txt", 60))["signedURL"]
        assert signed.startswith(pair.supabase.url)
        assert json.dumps((await bucket.info("a.txt"))["size"]) == "8"
    finally:
        proxied_pair.heal()
        await client.migration.aclose()


async def test_isobase_answers_for_no_bucket_of_which_it_lacks_what_supabase_was_told(both: Both, client: Any) -> None:
    await both.put(SUPABASE, "a.txt", b"new")
    await both.put(ISOBASE, "a.txt", b"old")
    set_stage(both.pair, CAPABILITY, Stage.LIVE, writer=SUPABASE)
    both.pair.isobase.query(
        "insert into isobase.outbox (state, capability, target, epoch, thing, call, next_at)"
        " values ('pending', %s, 'isobase', 0, %s, '{}', now() + interval '1 hour')",
        CAPABILITY,
        json.dumps(Thing(ThingKind.OBJECT, BUCKET, ("a.txt",)).as_json()),
    )
    await asyncio.to_thread(wait_for_stage, client, CAPABILITY, Stage.LIVE)
    bucket = client.storage.from_(BUCKET)
    assert await bucket.download("a.txt") == b"new"
    assert (client.migration.answered.side, client.migration.answered.is_fallback) == (SUPABASE, True)
    both.pair.isobase.query("delete from isobase.outbox")
    assert await bucket.download("a.txt") == b"old"
    assert (client.migration.answered.side, client.migration.answered.is_fallback) == (ISOBASE, False)


def counted(both: Both) -> dict[str, int]:
    rows = both.pair.isobase.query(
        "select name, sum(value)::int from isobase.migration_counters where capability = %s group by name", CAPABILITY
    )
    return {str(name): int(str(value)) for name, value in rows}


async def test_reads_are_compared_in_shadow_read_and_a_planted_difference_is_found(both: Both, client: Any) -> None:
    both.pair.isobase.query(
        "insert into isobase.migration_rules (pattern, name, value) values ('*', 'noise_percent', '0')"
        " on conflict do nothing"
    )
    bucket = await at(both, client, Stage.SHADOW_READ)
    await bucket.upload("folder/a b+c.txt", b"one", {"metadata": {"kind": "letter"}})
    assert await bucket.download("folder/a b+c.txt") == b"one"
    await bucket.info("folder/a b+c.txt")
    await bucket.list("folder")
    async with asyncio.timeout(90):
        while counted(both).get("compared", 0) < 3:
            await asyncio.sleep(0.05)
    assert "mismatched" not in counted(both)
    await both.put(ISOBASE, "folder/a b+c.txt", b"other")
    assert await bucket.download("folder/a b+c.txt") == b"one"
    async with asyncio.timeout(90):
        while not counted(both).get("mismatched"):
            await asyncio.sleep(0.05)
    found = both.pair.isobase.query("select fingerprint from isobase.mismatches where capability = %s", CAPABILITY)
    assert {str(fingerprint).rpartition(":")[2] for (fingerprint,) in found} >= {"size", "etag"}, found


async def test_uploads_move_the_writer_back_to_supabase_while_isobase_is_down(both: Both) -> None:
    pair = both.pair
    set_stage(pair, CAPABILITY, Stage.LIVE)
    settings = settings_of(
        pair, isobase_url=f"http://127.0.0.1:{free_ports(1)[0]}", breaker=BreakerSettings(least_calls=3)
    )
    cut_off = await create_async_migration_client(pair.supabase.url, pair.supabase.service_role_key, migration=settings)
    await cut_off.storage.from_(BUCKET).upload("a.txt", b"written")
    answer = cut_off.migration.answered
    assert answer is not None
    assert (answer.side, answer.is_fallback) == (SUPABASE, True)
    assert cut_off.migration.writer(CAPABILITY).side is SUPABASE
    assert cut_off.migration.metrics()["fallback_writes"] == {CAPABILITY: 1}
    await cut_off.migration.aclose()
    assert await both.read(SUPABASE, "a.txt") == b"written"
    waiting = pair.isobase.query("select target, thing ->> 'key' from isobase.outbox")
    assert waiting == [("isobase", '["a.txt"]')]
