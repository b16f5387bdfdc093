"""Lists of keys through boto3: order, delimiters, pages, encodings, and what policies hide."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.storage.conftest import Stack
from tests.storage.s3_clients import in_thread, refused, s3_client, signed

KEYS = ("B", "a", "a/1", "a/2", "a/b/3", "a-1", "b/x y", "b/x+y", "b/x&y", "c//d", "z")


def seed(stack: Stack, *keys: str) -> None:
    rows = ", ".join('(\'files\', %s, \'authenticated-owner\', \'{"eTag": "\\"e\\"", "size": 3}\')' for _ in keys)
    stack.sql(f"insert into storage.objects (bucket_id, name, owner_id, metadata) values {rows}", *keys)


@pytest.fixture
async def client(storage: Stack) -> Any:
    await storage.bucket("files")
    seed(storage, *KEYS)
    return s3_client(storage)


def flat(page: dict[str, Any]) -> list[str]:
    """Keys and folders of a page in one order."""
    keys = [entry["Key"] for entry in page.get("Contents", [])]
    return sorted([*keys, *(entry["Prefix"] for entry in page.get("CommonPrefixes", []))])


def pages_of(client: Any, operation: str = "list_objects_v2", **options: Any) -> list[list[str]]:
    return [flat(page) for page in client.get_paginator(operation).paginate(Bucket="files", **options)]


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
async def test_keys_come_in_bytewise_order_in_pages_of_any_size(client: Any, operation: str) -> None:
    def work() -> None:
        whole = getattr(client, operation)(Bucket="files")
        assert [entry["Key"] for entry in whole["Contents"]] == sorted(KEYS)
        first = whole["Contents"][0]
        assert (first["Size"], first["ETag"], first["StorageClass"]) == (3, '"e"', "STANDARD")
        for size in (1, 2, 3, 4, 100):
            pages = pages_of(client, operation, PaginationConfig={"PageSize": size})
            assert [key for page in pages for key in page] == sorted(KEYS)
            assert max(map(len, pages)) <= size
            folded = pages_of(client, operation, Delimiter="/", PaginationConfig={"PageSize": size})
            assert [key for page in folded for key in page] == ["B", "a", "a-1", "a/", "b/", "c/", "z"]

    await in_thread(work)


async def test_prefixes_and_delimiters_are_plain_texts(client: Any, storage: Stack) -> None:
    seed(storage, "p%1", "p_1", "px1", "p--1--a", "p--1--b", "p--2")

    def work() -> None:
        assert pages_of(client, Prefix="p%") == [["p%1"]]
        assert pages_of(client, Prefix="p_") == [["p_1"]]
        assert pages_of(client, Prefix="p--", Delimiter="--") == [["p--1--", "p--2"]]
        assert pages_of(client, Prefix="a/", Delimiter="/") == [["a/1", "a/2", "a/b/"]]
        assert pages_of(client, Prefix="a", Delimiter="/") == [["a", "a-1", "a/"]]
        assert pages_of(client, Prefix="c/", Delimiter="/") == [["c//"]]
        assert pages_of(client, Prefix="nothing") == [[]]
        assert pages_of(client, Prefix="b/", Delimiter="y") == [["b/x y", "b/x&y", "b/x+y"]]

    await in_thread(work)


async def test_a_page_begins_behind_any_key(client: Any) -> None:
    def work() -> None:
        assert pages_of(client, StartAfter="a/1") == [["a/2", "a/b/3", *sorted(KEYS)[6:]]]
        assert pages_of(client, StartAfter="a", Delimiter="/") == [["a-1", "a/", "b/", "c/", "z"]]
        assert pages_of(client, StartAfter="a/1", Delimiter="/") == [["a/", "b/", "c/", "z"]]
        assert pages_of(client, StartAfter="a/", Delimiter="/") == [["b/", "c/", "z"]]
        assert pages_of(client, "list_objects", Marker="b/", Delimiter="/") == [["c/", "z"]]
        assert pages_of(client, StartAfter="zz") == [[]]
        with refused("InvalidParameter", 400):
            client.list_objects_v2(Bucket="files", ContinuationToken="no token")

    await in_thread(work)


async def test_the_answer_tells_how_it_was_asked(client: Any) -> None:
    def work() -> None:
        page = client.list_objects_v2(Bucket="files", Prefix="b/", MaxKeys=2, FetchOwner=True)
        assert (page["KeyCount"], page["MaxKeys"], page["IsTruncated"], page["Prefix"]) == (2, 2, True, "b/")
        assert page["Contents"][0]["Owner"]["ID"] == "authenticated-owner"
        following = client.list_objects_v2(Bucket="files", Prefix="b/", ContinuationToken=page["NextContinuationToken"])
        assert following["ContinuationToken"] == page["NextContinuationToken"]
        assert "Owner" not in following["Contents"][0]
        none = client.list_objects_v2(Bucket="files", MaxKeys=0)
        assert (none["KeyCount"], none["IsTruncated"]) == (0, False)
        first = client.list_objects(Bucket="files", MaxKeys=1)
        assert "NextMarker" not in first
        assert client.list_objects(Bucket="files", MaxKeys=4, Delimiter="/")["NextMarker"] == "a/"
        assert "NextMarker" not in client.list_objects(Bucket="files", Delimiter="/")
        with refused("InvalidArgument", 400):
            client.list_objects_v2(Bucket="files", EncodingType="base64")

    await in_thread(work)


async def test_names_are_percent_encoded_where_that_is_asked_for(client: Any, storage: Stack) -> None:
    url = client.generate_presigned_url(
        "list_objects_v2", Params={"Bucket": "files", "Prefix": "b/x", "EncodingType": "url"}
    )
    text = (await storage.http.get(url)).text
    for key in ("b/x y", "b/x+y", "b/x&y"):
        assert f"<Key>{quote(key)}</Key>" in text


async def test_only_what_xml_can_write_is_written(client: Any, storage: Stack) -> None:
    seed(storage, "x\x01<&>\"'")
    page = await in_thread(client.list_objects_v2, Bucket="files", Prefix="x")
    assert page["Contents"][0]["Key"] == "x\x01<&>\"'"  # boto3 asks for names percent-encoded
    answer = await storage.http.send(signed(storage, "/files?list-type=2&prefix=x"))
    assert "<Key>x\ufffd&lt;&amp;&gt;&quot;'</Key>" in answer.text


async def test_thousands_of_keys_in_one_folder_cost_one_entry(client: Any, storage: Stack) -> None:
    storage.sql(
        "insert into storage.objects (bucket_id, name) select 'files', 'deep/' || i from generate_series(1, 5000) as i"
    )

    def work() -> None:
        pages = pages_of(client, Delimiter="/", Prefix="d")
        assert pages == [["deep/"]]
        sizes = [len(page) for page in pages_of(client, Prefix="deep/")]
        assert sizes == [1000] * 5

    await in_thread(work)


async def test_every_object_is_the_one_version_of_its_key(client: Any) -> None:
    def work() -> None:
        pages = list(
            client.get_paginator("list_object_versions").paginate(Bucket="files", PaginationConfig={"PageSize": 4})
        )
        versions = [version for page in pages for version in page["Versions"]]
        assert [version["Key"] for version in versions] == sorted(KEYS)
        assert {(v["VersionId"], v["IsLatest"], v["ETag"], v["Size"]) for v in versions} == {("null", True, '"e"', 3)}
        folded = client.list_object_versions(Bucket="files", Prefix="a", Delimiter="/")
        assert [entry["Prefix"] for entry in folded["CommonPrefixes"]] == ["a/"]

    await in_thread(work)
