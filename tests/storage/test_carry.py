"""The header ``x-isobase-carry``: an object stored as another server has it, only by the service, only over what was seen."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.storage.conftest import ALICE, Stack

CONTENT = b"carried bytes"
ROW: dict[str, Any] = {
    "id": "5e8fc0f0-6c2b-4b43-8c2f-0a5a86c6c1a0",
    "version": "0b6c3b2e-7f0d-4f0e-93f4-6f4f0d1e2a3b",
    "owner": ALICE,
    "owner_id": ALICE,
    "created_at": "2024-01-02T03:04:05.678901+00:00",
    "updated_at": "2024-02-03T04:05:06.789012+00:00",
    "last_accessed_at": "2024-02-03T04:05:06.789012+00:00",
    "metadata": {
        "eTag": f'"{hashlib.md5(CONTENT).hexdigest()}"',
        "size": len(CONTENT),
        "mimetype": "text/plain",
        "cacheControl": "max-age=60",
    },
    "user_metadata": {"kind": "test"},
}


async def carry(
    storage: Stack, row: dict[str, Any], content: bytes = CONTENT, headers: dict[str, str] | None = None
) -> httpx.Response:
    text = base64.b64encode(json.dumps(row).encode()).decode()
    return await storage.put("b/a.txt", content, headers or storage.admin, **{"x-isobase-carry": text})


@pytest.fixture
async def audited(storage: Stack) -> AsyncIterator[Stack]:
    """A bucket ``b``, and a trigger that counts what is inserted or updated."""
    await storage.bucket("b", file_size_limit=5, allowed_mime_types=["image/png"])
    storage.sql("create table public.seen (name text)")
    storage.sql(
        "create function public.see() returns trigger language plpgsql security definer as "
        "$$ begin insert into public.seen values (new.name); return new; end $$"
    )
    storage.sql(
        "create trigger see before insert or update on storage.objects for each row execute function public.see()"
    )
    yield storage
    storage.sql("drop trigger see on storage.objects")
    storage.sql("drop function public.see")
    storage.sql("drop table public.seen")


async def test_a_carried_object_has_every_column_of_its_source_and_runs_no_trigger(audited: Stack) -> None:
    answer = await carry(audited, ROW)
    assert answer.status_code == 200, answer.text
    (found,) = audited.sql(
        "select id::text, version, owner::text, owner_id, created_at, updated_at, metadata, user_metadata"
        "  from storage.objects"
    )
    assert found[:4] == (ROW["id"], ROW["version"], ALICE, ALICE)
    assert [time.isoformat() for time in found[4:6]] == [ROW["created_at"], ROW["updated_at"]]
    assert found[6:] == (ROW["metadata"], ROW["user_metadata"])
    assert audited.sql("select * from public.seen") == []
    read = await audited.http.get("/storage/v1/object/b/a.txt", headers=audited.admin)
    assert (read.content, read.headers["cache-control"]) == (CONTENT, "max-age=60")


async def test_a_carried_object_replaces_only_the_version_that_was_seen(audited: Stack) -> None:
    first = await carry(audited, ROW)
    assert first.status_code == 200, first.text
    newer = {**ROW, "version": str(uuid.uuid4()), "updated_at": "2025-01-01T00:00:00+00:00"}
    for expected in ({}, {"expected": str(uuid.uuid4())}, {"expected": None}):
        refused = await carry(audited, {**newer, **expected})
        assert (refused.status_code, refused.json()["error"]) == (412, "PreconditionFailed")
    assert (await carry(audited, {**newer, "expected": ROW["version"]})).status_code == 200
    assert audited.sql("select version from storage.objects") == [(newer["version"],)]
    # A late copy of the older one changes nothing.
    assert (await carry(audited, ROW)).status_code == 412
    read = await audited.http.get("/storage/v1/object/b/a.txt", headers=audited.admin)
    assert read.content == CONTENT


async def test_other_bytes_than_the_rows_are_refused_and_leave_the_stored_ones(audited: Stack) -> None:
    assert (await carry(audited, ROW)).status_code == 200
    for content in (b"short", b"x" * len(CONTENT)):
        refused = await carry(audited, {**ROW, "expected": ROW["version"]}, content)
        assert refused.status_code == 400
        assert refused.json()["message"] == "The bytes are not those of the object"
    read = await audited.http.get("/storage/v1/object/b/a.txt", headers=audited.admin)
    assert read.content == CONTENT


async def test_a_row_of_the_same_id_at_another_key_makes_way(audited: Stack) -> None:
    assert (await carry(audited, ROW)).status_code == 200
    text = base64.b64encode(json.dumps({**ROW, "version": str(uuid.uuid4())}).encode()).decode()
    moved = await audited.put("b/moved.txt", CONTENT, audited.admin, **{"x-isobase-carry": text})
    assert moved.status_code == 200, moved.text
    assert dict(audited.sql("select id::text = %s, name from storage.objects", ROW["id"])) == {
        True: "moved.txt",
        False: "a.txt",
    }


async def test_only_the_service_may_carry(audited: Stack) -> None:
    for headers in (audited.user(ALICE), audited.anon):
        refused = await carry(audited, ROW, headers=headers)
        assert (refused.status_code, refused.json()["error"]) == (400, "Unauthorized")
    assert audited.sql("select count(*) from storage.objects") == [(0,)]


@pytest.mark.parametrize(
    "text",
    [
        "no base64!",
        "e30=",
        base64.b64encode(b'{"id": 1, "version": "v", "metadata": {}}').decode(),
        base64.b64encode(b"[1]").decode(),
    ],
)
async def test_what_is_no_row_is_refused(audited: Stack, text: str) -> None:
    refused = await audited.put("b/a.txt", CONTENT, audited.admin, **{"x-isobase-carry": text})
    assert (refused.status_code, refused.json()["message"]) == (400, "Invalid Parameter x-isobase-carry")
