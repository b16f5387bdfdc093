"""Objects go up, are found, read, signed, moved, copied and removed."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import pytest

from isobase.storage import AsyncStorageClient, StorageApiError
from isobase.storage._async.file_api import AsyncBucketProxy
from isobase.storage.types import CreateSignedUploadUrlOptions


@pytest.mark.capability(
    "storage.file_buckets.upload", "storage.file_buckets.download", "storage.file_buckets.update_file"
)
async def test_what_went_up_comes_down(bucket: AsyncBucketProxy) -> None:
    answer = await bucket.upload("a/b c+d.txt", b"one")
    assert (answer.path, answer.full_path) == ("a/b c+d.txt", f"{bucket.id}/a/b c+d.txt")
    assert answer.id == (await bucket.info("a/b c+d.txt"))["id"]
    assert await bucket.download("/a/b c+d.txt") == b"one"
    await bucket.update("a/b c+d.txt", b"two")
    assert await bucket.download("a/b c+d.txt") == b"two"
    with pytest.raises(StorageApiError) as caught:
        await bucket.upload("a/b c+d.txt", b"three")
    assert (caught.value.code, str(caught.value.status)) == ("Duplicate", "409")
    await bucket.upload("a/b c+d.txt", b"three", {"upsert": "true"})
    await bucket.upload("a/b c+d.txt", b"four", {"x-upsert": "true"})
    assert await bucket.download("a/b c+d.txt") == b"four"


async def test_every_kind_of_file_goes_up(bucket: AsyncBucketProxy, tmp_path: Path) -> None:
    content = bytes(range(256)) * 2000
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    await bucket.upload("path", path)
    await bucket.upload("text-path", str(path))
    with path.open("rb") as file:
        file.read(1000)
        await bucket.upload("open", file)
        assert not file.closed
    with path.open("rb", buffering=0) as raw:
        await bucket.upload("raw", raw)
    await bucket.upload("memory", io.BytesIO(content))
    await bucket.upload("array", bytearray(content))
    await bucket.upload("iterator", (content[at : at + 7777] for at in range(0, len(content), 7777)))
    await bucket.upload("list", [content[:5], content[5:]], size=len(content))
    for key in ("path", "text-path", "open", "raw", "memory", "array", "iterator", "list"):
        assert await bucket.download(key) == content, key
    await bucket.upload("empty", b"")
    assert await bucket.download("empty") == b""
    with path.open() as text, pytest.raises(TypeError, match="rb"):
        await bucket.upload("text", text)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        await bucket.upload("absent", tmp_path / "absent")
    with pytest.raises(TypeError):
        await bucket.upload("number", 5)  # type: ignore[arg-type]


@pytest.mark.capability("storage.file_buckets.upload_with_metadata", "storage.file_buckets.file_info")
async def test_a_file_keeps_its_type_its_cache_time_and_what_is_noted_of_it(bucket: AsyncBucketProxy) -> None:
    noted = {"title": "Grüße", "pages": 3}
    await bucket.upload("a.pdf", b"%PDF", {"content-type": "application/pdf", "cache-control": "60", "metadata": noted})
    info = await bucket.info("a.pdf")
    assert (info["content_type"], info["cache_control"], info["size"]) == ("application/pdf", "max-age=60", 4)
    assert info["metadata"] == noted
    await bucket.upload("plain", b"x")
    plain = await bucket.info("plain")
    assert (plain["content_type"], plain["cache_control"]) == ("text/plain", "max-age=3600")
    await bucket.upload("headers", b"x", {"headers": {"X-Robots-Tag": "noindex", "Cache-Control": "no-store"}})
    assert (await bucket.info("headers"))["cache_control"] == "no-store"


@pytest.mark.capability("storage.file_buckets.file_exists", "storage.file_buckets.remove")
async def test_what_is_removed_does_not_exist(bucket: AsyncBucketProxy, storage: AsyncStorageClient) -> None:
    await bucket.upload("a", b"1")
    await bucket.upload("b", b"1")
    assert await bucket.exists("a")
    removed = await bucket.remove(["a", "b", "never"])
    assert {row["name"] for row in removed} == {"a", "b"}
    assert not await bucket.exists("a")
    with pytest.raises(StorageApiError):
        await storage.from_("nowhere").exists("a")


@pytest.mark.capability("storage.file_buckets.list_files")
async def test_folders_are_listed_level_by_level_and_all_keys_by_pages(bucket: AsyncBucketProxy) -> None:
    for key in ("a.txt", "f/1.txt", "f/2.txt", "f/g/3.txt"):
        await bucket.upload(key, b"1")
    top = await bucket.list()
    assert [(row["name"], row["id"] is None) for row in top] == [("a.txt", False), ("f", True)]
    folder = await bucket.list("f", {"sortBy": {"order": "desc"}, "limit": 2})
    assert [row["name"] for row in folder] == ["g", "2.txt"]
    assert [row["name"] for row in await bucket.list("f", {"search": "1"})] == ["1.txt"]
    page = await bucket.list_v2({"limit": 3, "prefix": "f/"})
    assert ([found.name for found in page.objects], page.hasNext) == (["f/1.txt", "f/2.txt", "f/g/3.txt"], False)
    first = await bucket.list_v2({"limit": 1, "with_delimiter": True})
    assert first.nextCursor is not None
    second = await bucket.list_v2({"limit": 1, "with_delimiter": True, "cursor": first.nextCursor})
    assert [folder.name for folder in second.folders] == ["f/"]


@pytest.mark.capability(
    "storage.file_buckets.move",
    "storage.file_buckets.copy",
    "storage.file_buckets.move_cross_bucket",
    "storage.file_buckets.copy_cross_bucket",
)
async def test_objects_move_and_are_copied_also_to_another_bucket(
    bucket: AsyncBucketProxy, public_bucket: AsyncBucketProxy
) -> None:
    await bucket.upload("a", b"1")
    assert await bucket.move("a", "b") == {"message": "Successfully moved"}
    assert (await bucket.copy("b", "c"))["Key"] == f"{bucket.id}/c"
    assert not await bucket.exists("a")
    await bucket.move("b", "x", options={"destination_bucket": public_bucket.id})
    answer = await bucket.copy("c", "y", options={"destination_bucket": public_bucket.id})
    assert answer["Key"] == f"{public_bucket.id}/y"
    assert await public_bucket.download("x") == await public_bucket.download("y") == b"1"
    with pytest.raises(StorageApiError) as caught:
        await bucket.copy("c", "y", options={"destination_bucket": public_bucket.id})
    assert caught.value.code == "Duplicate"
    await bucket.copy("c", "y", options={"destination_bucket": public_bucket.id, "upsert": True})


@pytest.mark.capability("storage.file_buckets.create_signed_url", "storage.file_buckets.create_signed_urls")
@pytest.mark.usefixtures("renderer_and_network")
async def test_signed_urls_open_objects_for_anybody(bucket: AsyncBucketProxy, picture: bytes) -> None:
    await bucket.upload("a b.txt", b"1")
    await bucket.upload("p.png", picture, {"content-type": "image/png"})
    one = await bucket.create_signed_url("a b.txt", 60, {"download": "ä.txt"})
    many = await bucket.create_signed_urls(["a b.txt", "never"], 60, {"download": True})
    small = await bucket.create_signed_url("p.png", 60, {"transform": {"width": 10, "height": 10}})
    async with httpx.AsyncClient() as anybody:
        answer = await anybody.get(str(one["signedURL"]))
        assert (answer.content, one["signedUrl"]) == (b"1", one["signedURL"])
        assert "%C3%A4.txt" in answer.headers["content-disposition"]
        assert (await anybody.get(str(many[0]["signedURL"]))).headers["content-disposition"] == "attachment;"
        assert (await anybody.get(str(small["signedURL"]))).headers["content-type"].startswith("image/")
    assert (many[1]["signedURL"], many[1]["path"], bool(many[1]["error"])) == (None, "never", True)


@pytest.mark.capability("storage.file_buckets.create_signed_upload_url", "storage.file_buckets.upload_with_signed_url")
async def test_a_signed_url_takes_one_upload(bucket: AsyncBucketProxy, storage: AsyncStorageClient) -> None:
    signed = await bucket.create_signed_upload_url("/in/a.txt")
    assert signed["path"] == "/in/a.txt"
    assert signed["signed_url"] == signed["signedUrl"]
    assert signed["token"] in signed["signed_url"]
    answer = await bucket.upload_to_signed_url("in/a.txt", signed["token"], b"1", {"content-type": "text/css"})
    assert answer.full_path == f"{bucket.id}/in/a.txt"
    assert (await bucket.info("in/a.txt"))["content_type"] == "text/css"
    with pytest.raises(StorageApiError):
        await bucket.upload_to_signed_url("in/a.txt", signed["token"], b"2")
    again = await bucket.create_signed_upload_url("in/a.txt", CreateSignedUploadUrlOptions(upsert="true"))
    await bucket.upload_to_signed_url("in/a.txt", again["token"], b"2")
    assert await bucket.download("in/a.txt") == b"2"


@pytest.mark.capability("storage.file_buckets.get_public_url", "storage.file_buckets.url_cache_nonce")
@pytest.mark.usefixtures("renderer_and_network")
async def test_public_and_signed_urls_carry_their_options(public_bucket: AsyncBucketProxy, picture: bytes) -> None:
    await public_bucket.upload("a b/p.png", picture, {"content-type": "image/png"})
    plain = await public_bucket.get_public_url("a b/p.png")
    assert plain.endswith(f"/object/public/{public_bucket.id}/a%20b/p.png")
    nonce = await public_bucket.get_public_url("a b/p.png", {"download": True, "cache_nonce": "v 2"})
    assert nonce == f"{plain}?download=&cacheNonce=v+2"
    small = await public_bucket.get_public_url("a b/p.png", {"transform": {"width": 8}, "cache_nonce": "3"})
    assert small == plain.replace("/object/", "/render/image/") + "?width=8&cacheNonce=3"
    signed = await public_bucket.create_signed_url("a b/p.png", 60, {"cache_nonce": "4"})
    assert str(signed["signedURL"]).endswith("&cacheNonce=4")
    (many,) = await public_bucket.create_signed_urls(["a b/p.png"], 60, {"cache_nonce": "5"})
    assert str(many["signedURL"]).endswith("&cacheNonce=5")
    assert await public_bucket.download("a b/p.png", {"cache_nonce": "6"}) == picture
    async with httpx.AsyncClient() as anybody:
        for url in (plain, nonce, small, signed["signedURL"], many["signedURL"]):
            assert (await anybody.get(str(url))).status_code == 200, url


@pytest.mark.capability("storage.file_buckets.download_with_transform")
@pytest.mark.usefixtures("renderer_and_network")
async def test_a_picture_comes_down_rendered(bucket: AsyncBucketProxy, picture: bytes) -> None:
    await bucket.upload("p.png", picture, {"content-type": "image/png"})
    small = await bucket.download("p.png", {"transform": {"width": 10, "height": 10, "resize": "fill"}})
    assert int.from_bytes(small[16:20], "big") == 10
    assert await bucket.download("p.png", {"transform": {}}, {"my-param": "1"}) == picture


async def test_dot_segments_never_name_another_object(bucket: AsyncBucketProxy) -> None:
    for path in ("../other/a", "a/%2e%2e/b", "./a"):
        with pytest.raises(ValueError, match="dot segments"):
            await bucket.download(path)
