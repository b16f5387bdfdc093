"""Both kinds of list over HTTP."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.storage.conftest import Stack, refusal

O = "/storage/v1/object"  # noqa: E741
KEYS = ["a.txt", "B.txt", "c_d.txt", "folder/one.txt", "folder/two.txt", "folder/sub/three.txt", "Zoo/x", "100%.no"]


@pytest.fixture
async def tree(storage: Stack) -> Stack:
    """The bucket ``b`` with a few folders."""
    await storage.bucket("b")
    for key in KEYS[:-1]:
        assert (await storage.put(f"b/{key}", b"x", storage.admin)).status_code == 200
    return storage


async def level(stack: Stack, **body: object) -> list[dict[str, Any]]:
    answer = await stack.http.post(f"{O}/list/b", json={"prefix": "", **body}, headers=stack.admin)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return rows


async def names(stack: Stack, **body: object) -> list[str]:
    return [row["name"] for row in await level(stack, **body)]


async def test_one_level_has_folders_and_objects_by_name_whatever_the_case(tree: Stack) -> None:
    assert await names(tree) == ["a.txt", "B.txt", "c_d.txt", "folder", "Zoo"]
    assert await names(tree, sortBy={"column": "name", "order": "desc"}) == [
        "Zoo",
        "folder",
        "c_d.txt",
        "B.txt",
        "a.txt",
    ]
    rows = await level(tree)
    assert rows[3] == {
        "name": "folder",
        "id": None,
        "updated_at": None,
        "created_at": None,
        "last_accessed_at": None,
        "metadata": None,
    }
    assert set(rows[0]) == set(rows[3])
    assert rows[0]["metadata"]["size"] == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", rows[0]["created_at"])


async def test_names_are_relative_to_the_prefix(tree: Stack) -> None:
    for prefix in ("folder", "folder/", "FOLDER"):
        assert await names(tree, prefix=prefix) == ["one.txt", "sub", "two.txt"]


async def test_by_another_column_folders_come_first(tree: Stack) -> None:
    # Upstream sorts folders as the database does, which is another order in each locale.
    folders = [name for (name,) in tree.sql("select f from unnest(array['folder', 'Zoo']) as f order by f")]
    assert await names(tree, sortBy={"column": "created_at"}) == [*folders, "a.txt", "B.txt", "c_d.txt"]
    assert await names(tree, sortBy={"column": "created_at", "order": "desc"}, limit=3, offset=2) == [
        "c_d.txt",
        "B.txt",
        "a.txt",
    ]


async def test_search_is_what_the_name_starts_with(tree: Stack) -> None:
    assert await names(tree, search="f") == ["folder"]
    assert await names(tree, search="b") == ["B.txt"]
    assert await names(tree, prefix="folder", search="T") == ["two.txt"]
    assert await names(tree, search="%") == []
    assert await names(tree, search="c_d", sortBy={"column": "updated_at"}) == ["c_d.txt"]
    assert await names(tree, search="cxd", sortBy={"column": "updated_at"}) == []


async def test_limit_and_offset_page(tree: Stack) -> None:
    assert await names(tree, limit="2", offset="1") == ["B.txt", "c_d.txt"]
    assert await names(tree, limit=10**12, offset=10**12) == []


async def test_a_missing_bucket_is_an_empty_list(tree: Stack) -> None:
    answer = await tree.http.post(f"{O}/list/nothing", json={"prefix": ""}, headers=tree.admin)
    assert (answer.status_code, answer.json()) == (200, [])


async def test_a_list_that_cannot_be_is_refused(tree: Stack) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({}, "body must have required property 'prefix'"),
        ({"prefix": "", "limit": 0}, "body/limit must be >= 1"),
        ({"prefix": "", "offset": -1}, "body/offset must be >= 0"),
        ({"prefix": "", "sortBy": {"column": "id"}}, "body/sortBy/column must be equal to one of the allowed values"),
        ({"prefix": "", "sortBy": {"order": "asc"}}, "body/sortBy must have required property 'column'"),
        ({"prefix": "", "sortBy": "name"}, "body/sortBy must be object"),
    ]
    for body, message in cases:
        answer = await tree.http.post(f"{O}/list/b", json=body, headers=tree.admin)
        assert refusal(answer) == (400, "400", "Error", message)


async def pages(stack: Stack, **body: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, object] = {}
    while True:
        answer = await stack.http.post(f"{O}/list-v2/b", json={**body, **cursor}, headers=stack.admin)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found.append(page)
        if not page["hasNext"]:
            assert "nextCursor" not in page
            return found
        cursor = {"cursor": page["nextCursor"]}
        assert len(found) < 20


async def test_pages_of_the_second_list_add_up_to_the_whole(tree: Stack) -> None:
    # Several rows of one millisecond: the order must be strict all the same.
    tree.sql("update storage.objects set created_at = '2026-01-01 00:00:00.123456' where name < 'c'")
    for column in ("name", "created_at", "updated_at"):
        for order in ("asc", "desc"):
            for with_delimiter in (False, True):
                await _compare_pages(tree, column, order, with_delimiter)


async def _compare_pages(tree: Stack, column: str, order: str, with_delimiter: bool) -> None:
    case = (column, order, with_delimiter)
    sort = {"column": column, "order": order}
    (whole,) = await pages(tree, sortBy=sort, with_delimiter=with_delimiter)
    small = await pages(tree, sortBy=sort, with_delimiter=with_delimiter, limit=2)
    assert len(small) == (3 if with_delimiter else 4), case
    for kind in ("folders", "objects"):
        assert [row["name"] for page in small for row in page[kind]] == [row["name"] for row in whole[kind]], case
    expected = KEYS[:3] if with_delimiter else KEYS[:-1]
    assert sorted(row["name"] for row in whole["objects"]) == sorted(expected), case
    assert sorted(row["name"] for row in whole["folders"]) == (["Zoo/", "folder/"] if with_delimiter else []), case
    if column == "name":
        found = [row["name"] for row in whole["objects"]]
        assert found == sorted(found, reverse=order == "desc"), case


async def test_the_second_list_tells_keys_only_with_folders(tree: Stack) -> None:
    (page,) = await pages(tree, prefix="folder/", with_delimiter=True)
    assert [(row["key"], row["name"]) for row in page["objects"]] == [
        ("one.txt", "folder/one.txt"),
        ("two.txt", "folder/two.txt"),
    ]
    assert page["folders"][0]["name"] == "folder/sub/"
    assert page["folders"][0]["id"] is None
    (page,) = await pages(tree, prefix="folder/")
    assert page["folders"] == []
    assert "key" not in page["objects"][0]


async def test_the_second_lists_prefix_is_plain_text_and_minds_case(tree: Stack) -> None:
    for prefix, expected in (("fold", 3), ("FOLD", 0), ("c_", 1), ("c%", 0), ("a", 1)):
        (page,) = await pages(tree, prefix=prefix)
        assert len(page["objects"]) == expected, prefix


async def test_a_cursor_that_the_list_did_not_make_is_refused(tree: Stack) -> None:
    for foreign in ("x", "!!!", "eDp5", "bzpzaWRld2F5cw==", "bDphCmM6aWQ="):
        answer = await tree.http.post(f"{O}/list-v2/b", json={"cursor": foreign}, headers=tree.admin)
        assert refusal(answer) == (400, "400", "InvalidParameter", "Invalid Parameter continuation token")
    cursor = "bDphCm86YXNjCmM6Y3JlYXRlZF9hdAphOm5ldmVy"  # l:a o:asc c:created_at a:never
    for with_delimiter in (False, True):
        body = {"cursor": cursor, "with_delimiter": with_delimiter}
        answer = await tree.http.post(f"{O}/list-v2/b", json=body, headers=tree.admin)
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")


async def test_by_a_time_folders_that_differ_in_case_are_two(storage: Stack) -> None:
    await storage.bucket("b")
    for key in ("Folder/a", "folder/b"):
        await storage.put(f"b/{key}", b"x", storage.admin)
    found = await storage.http.post(
        "/storage/v1/object/list/b", json={"prefix": "", "sortBy": {"column": "updated_at"}}, headers=storage.admin
    )
    assert sorted(row["name"] for row in found.json()) == ["Folder", "folder"]
