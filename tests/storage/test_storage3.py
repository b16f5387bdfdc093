"""The official Python client, unmodified, over the whole of what this service serves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from storage3.exceptions import StorageApiError

from tests.storage.conftest import ALICE, BOB, Stack


async def test_buckets(storage: Stack) -> None:
    client = storage.client(storage.service_token)
    await client.create_bucket("b", options={"public": True, "file_size_limit": 5000, "allowed_mime_types": ["text/*"]})
    bucket = await client.get_bucket("b")
    assert (bucket.id, bucket.public, bucket.file_size_limit, bucket.allowed_mime_types) == (
        "b",
        True,
        5000,
        ["text/*"],
    )
    await client.update_bucket("b", {"public": False})
    assert {found.id: found.public for found in await client.list_buckets()}["b"] is False
    await client.from_("b").upload("x.txt", b"x")
    with pytest.raises(StorageApiError) as refused:
        await client.delete_bucket("b")
    assert (refused.value.status, refused.value.code) == ("409", "ResourceNotEmpty")
    await client.empty_bucket("b")
    await client.delete_bucket("b")
    with pytest.raises(StorageApiError) as missing:
        await client.get_bucket("b")
    assert (missing.value.status, missing.value.code) == ("404", "Bucket not found")


async def test_objects(owned: Stack, tmp_path: Path) -> None:
    client = owned.client(owned.token("authenticated", ALICE)).from_("files")
    path = f"{ALICE}/folder/a file.txt"
    local = tmp_path / "local.txt"
    local.write_bytes(b"from disk" * 50_000)

    uploaded = await client.upload(path, local, {"content-type": "text/plain", "metadata": {"kind": "test"}})
    assert uploaded.full_path == f"files/{path}"
    assert await client.download(path) == local.read_bytes()
    info = await client.info(path)
    assert (info["size"], info["content_type"], info["metadata"]) == (450_000, "text/plain", {"kind": "test"})
    assert info["cache_control"] == "max-age=3600"
    assert await client.exists(path) is True
    assert await client.exists("nothing") is False

    with pytest.raises(StorageApiError) as taken:
        await client.upload(path, b"x")
    assert (taken.value.status, taken.value.code) == ("409", "Duplicate")
    await client.upload(path, b"upserted", {"upsert": "true"})
    assert await client.download(path) == b"upserted"
    await client.update(path, b"updated")
    assert await client.download(path) == b"updated"

    assert [row["name"] for row in await client.list(f"{ALICE}/folder")] == ["a file.txt"]
    tree = await client.list_v2({"prefix": ALICE, "with_delimiter": False})
    assert [row.name for row in tree.objects] == [path]

    await client.copy(path, f"{ALICE}/copy.txt")
    assert (await client.move(f"{ALICE}/copy.txt", f"{ALICE}/moved.txt")) == {"message": "Successfully moved"}
    removed = await client.remove([f"{ALICE}/moved.txt", "nothing"])
    assert [row["name"] for row in removed] == [f"{ALICE}/moved.txt"]


async def test_signed_urls(owned: Stack) -> None:
    client = owned.client(owned.token("authenticated", ALICE)).from_("files")
    path = f"{ALICE}/a file.txt"
    await client.upload(path, b"signed")
    signed = await client.create_signed_url(path, 60, {"download": "other.txt"})
    assert signed["signedURL"] is not None
    got = await owned.http.get(signed["signedURL"])
    assert (got.content, got.headers["content-disposition"].split(";")[1]) == (b"signed", " filename=other.txt")
    first, second = await client.create_signed_urls([path, "nothing"], 60)
    assert first["signedURL"] is not None
    assert (await owned.http.get(first["signedURL"])).content == b"signed"
    assert second["error"] == "Either the object does not exist or you do not have access to it"
    upload = await client.create_signed_upload_url(f"{ALICE}/new.txt")
    await client.upload_to_signed_url(upload["path"], upload["token"], b"through a url")
    assert await client.download(f"{ALICE}/new.txt") == b"through a url"


async def test_a_stranger_and_anon_see_nothing(owned: Stack) -> None:
    await owned.client(owned.token("authenticated", ALICE)).from_("files").upload(f"{ALICE}/a.txt", b"secret")
    for token in (owned.token("authenticated", BOB), owned.anon_token):
        client = owned.client(token).from_("files")
        for call in (client.download, client.info):
            with pytest.raises(StorageApiError) as refused:
                await call(f"{ALICE}/a.txt")
            assert (refused.value.status, refused.value.code) == ("404", "not_found")
        assert await client.list(ALICE) == []
        assert await client.remove([f"{ALICE}/a.txt"]) == []
        with pytest.raises(StorageApiError) as denied:
            await client.upload(f"{ALICE}/b.txt", b"x")
        assert (denied.value.status, denied.value.message) == ("403", "new row violates row-level security policy")


async def test_public_urls(storage: Stack) -> None:
    client = storage.client(storage.service_token)
    await client.create_bucket("open", options={"public": True})
    await client.from_("open").upload(
        "a file.json", json.dumps({"a": 1}).encode(), {"content-type": "application/json"}
    )
    url = await client.from_("open").get_public_url("a file.json")
    got = await storage.http.get(url)
    assert (got.json(), got.headers["content-type"]) == ({"a": 1}, "application/json")
