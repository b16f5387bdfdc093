"""Copies and moves over HTTP."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from tests.storage.conftest import ALICE, BOTH_BACKENDS, Stack, refusal

O = "/storage/v1/object"  # noqa: E741


@pytest.fixture
async def files(storage: Stack) -> Stack:
    """``b/a.txt`` of Alice with user metadata, and a second bucket ``c``."""
    storage.sql('create policy "all" on storage.objects for all to authenticated using (true) with check (true)')
    await storage.bucket("b")
    await storage.bucket("c")
    extra = {"x-metadata": "eyJraW5kIjoidGVzdCJ9", "cache-control": "max-age=5"}
    assert (await storage.put("b/a.txt", b"content", storage.user(ALICE), **extra)).status_code == 200
    return storage


async def read(stack: Stack, path: str) -> bytes:
    answer = await stack.http.get(f"{O}/{path}", headers=stack.admin)
    assert answer.status_code == 200, answer.text
    return answer.content


@BOTH_BACKENDS
async def test_a_copy_has_its_own_bytes_and_the_sources_facts(files: Stack) -> None:
    body = {"bucketId": "b", "sourceKey": "a.txt", "destinationBucket": "c", "destinationKey": "x/copy.txt"}
    answer = await files.http.post(f"{O}/copy", json=body, headers=files.user(ALICE))
    assert answer.status_code == 200
    row = answer.json()
    assert row.pop("Id") == row["id"]
    assert re.fullmatch(r"[0-9a-f-]{36}", row.pop("id"))
    assert re.fullmatch(r"[0-9a-f-]{36}", row.pop("version"))
    for name in ("created_at", "updated_at", "last_accessed_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row.pop(name))
    metadata = row.pop("metadata")
    assert (metadata["mimetype"], metadata["cacheControl"], metadata["size"]) == ("text/plain", "max-age=5", 7)
    assert row == {
        "Key": "c/x/copy.txt",
        "name": "x/copy.txt",
        "bucket_id": "c",
        "owner": ALICE,
        "owner_id": ALICE,
        "user_metadata": {"kind": "test"},
    }
    await files.http.delete(f"{O}/b/a.txt", headers=files.admin)
    assert await read(files, "c/x/copy.txt") == b"content"
    assert len(files.blobs()) == 1


@BOTH_BACKENDS
async def test_a_copy_may_bring_metadata_of_its_own(files: Stack) -> None:
    body = {
        "bucketId": "b",
        "sourceKey": "a.txt",
        "destinationKey": "b.txt",
        "copyMetadata": False,
        "metadata": {"mimetype": "x/y"},
    }
    headers = {**files.user(ALICE), "x-metadata": "eyJuZXciOnRydWV9"}
    row = (await files.http.post(f"{O}/copy", json=body, headers=headers)).json()
    assert (row["metadata"]["mimetype"], row["metadata"]["cacheControl"]) == ("x/y", "max-age=5")
    assert row["user_metadata"] == {"new": True}


async def test_a_taken_target_is_replaced_by_a_copy_only_on_request(files: Stack) -> None:
    await files.put("b/taken", b"old", files.user(ALICE))
    body = {"bucketId": "b", "sourceKey": "a.txt", "destinationKey": "taken"}
    answer = await files.http.post(f"{O}/copy", json=body, headers=files.user(ALICE))
    assert refusal(answer)[1:3] == ("409", "Duplicate")
    assert await read(files, "b/taken") == b"old"
    answer = await files.http.post(f"{O}/copy", json=body, headers={**files.user(ALICE), "x-upsert": "true"})
    assert answer.status_code == 200
    assert await read(files, "b/taken") == b"content"
    assert len(files.blobs()) == 2


@BOTH_BACKENDS
async def test_a_move_keeps_id_birth_and_user_metadata(files: Stack) -> None:
    before = files.sql("select id, created_at, user_metadata, metadata - 'lastModified' from storage.objects")
    body = {"bucketId": "b", "sourceKey": "a.txt", "destinationBucket": "c", "destinationKey": "moved.txt"}
    answer = await files.http.post(f"{O}/move", json=body, headers=files.user(ALICE))
    assert (answer.status_code, answer.json()) == (200, {"message": "Successfully moved"})
    assert files.sql("select id, created_at, user_metadata, metadata - 'lastModified' from storage.objects") == before
    assert await read(files, "c/moved.txt") == b"content"
    assert len(files.blobs()) == 1
    gone = await files.http.get(f"{O}/b/a.txt", headers=files.admin)
    assert refusal(gone)[1] == "404"


async def test_a_move_onto_itself_changes_nothing(files: Stack) -> None:
    before = files.sql("select * from storage.objects")
    body = {"bucketId": "b", "sourceKey": "a.txt", "destinationKey": "a.txt"}
    answer = await files.http.post(f"{O}/move", json=body, headers=files.user(ALICE))
    assert answer.status_code == 200
    assert files.sql("select * from storage.objects") == before
    assert await read(files, "b/a.txt") == b"content"


@pytest.mark.parametrize("action", ["copy", "move"])
async def test_a_transfer_that_cannot_be_changes_nothing(files: Stack, action: str) -> None:
    await files.put("b/taken", b"old", files.user(ALICE))
    before = (files.sql("select * from storage.objects order by name"), sorted(files.blobs()))
    cases: list[tuple[dict[str, object], tuple[str, str]]] = [
        ({}, ("400", "body must have required property")),
        ({"bucketId": "b", "sourceKey": "nothing", "destinationKey": "x"}, ("404", "Object not found")),
        ({"bucketId": "nothing", "sourceKey": "a.txt", "destinationKey": "x"}, ("404", "Object not found")),
        (
            {"bucketId": "b", "sourceKey": "a.txt", "destinationBucket": "nothing", "destinationKey": "x"},
            ("404", "The related resource does not exist"),
        ),
        ({"bucketId": "b", "sourceKey": "a.txt", "destinationKey": "taken"}, ("409", "The resource already exists")),
        ({"bucketId": "b", "sourceKey": "a.txt", "destinationKey": "é"}, ("400", "Invalid key: é")),
        ({"bucketId": "b/c", "sourceKey": "a.txt", "destinationKey": "x"}, ("400", "Bucket name invalid")),
        ({"bucketId": "b", "sourceKey": "a\0b", "destinationKey": "x"}, ("400", "invalid byte sequence")),
        ({"bucketId": "b", "sourceKey": "\ud800", "destinationKey": "x"}, ("404", "Object not found")),
    ]
    for body, (status, message) in cases:
        answer = await files.http.post(
            f"{O}/{action}", content=json.dumps(body), headers={**files.user(ALICE), "content-type": "application/json"}
        )
        http_status, code, _, text = refusal(answer)
        assert (http_status, code) == (400, status), body
        assert text.startswith(message), body
    assert (files.sql("select * from storage.objects order by name"), sorted(files.blobs())) == before


@BOTH_BACKENDS
async def test_a_move_of_what_is_overwritten_meanwhile_loses_no_bytes(files: Stack) -> None:
    """Whoever comes first: the new content is at the source or at the target, and there is no blob without a row."""
    user = files.user(ALICE)
    body = {"bucketId": "b", "sourceKey": "a.txt", "destinationKey": "m.txt"}
    for number in range(6):
        await files.http.put(f"{O}/b/a.txt", content=b"start", headers=user)
        await files.http.delete(f"{O}/b/m.txt", headers=user)
        put, move = await asyncio.gather(
            files.http.put(f"{O}/b/a.txt", content=f"new {number}".encode(), headers=user),
            files.http.post(f"{O}/move", json=body, headers=user),
        )
        assert (put.status_code, move.status_code) == (200, 200), (put.text, move.text)
        names = [name for (name,) in files.sql("select name from storage.objects order by name")]
        assert names in (["m.txt"], ["a.txt", "m.txt"])
        contents = [await read(files, f"b/{name}") for name in names]
        assert f"new {number}".encode() in contents
        assert len(files.blobs()) == len(names)


async def test_two_moves_of_one_object_end_with_one(files: Stack) -> None:
    user = files.user(ALICE)
    answers = await asyncio.gather(
        *(
            files.http.post(
                f"{O}/move", json={"bucketId": "b", "sourceKey": "a.txt", "destinationKey": f"{number}"}, headers=user
            )
            for number in range(4)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    assert len(files.blobs()) == len(files.sql("select 1 from storage.objects")) == 1
