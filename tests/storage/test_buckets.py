"""Buckets over HTTP: shapes, rules, policies."""

from __future__ import annotations

import re

import pytest

from tests.storage.conftest import ALICE, BOB, Stack, refusal

BUCKET = "/storage/v1/bucket"
ISO_MILLISECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_a_bucket_is_made_read_changed_and_deleted(storage: Stack) -> None:
    made = await storage.http.post(
        BUCKET,
        json={"name": "avatars", "public": True, "file_size_limit": "1mb", "allowed_mime_types": ["image/*", ""]},
        headers=storage.admin,
    )
    assert (made.status_code, made.json()) == (200, {"name": "avatars"})
    got = await storage.http.get(f"{BUCKET}/avatars", headers=storage.admin)
    row = got.json()
    assert ISO_MILLISECONDS.fullmatch(row.pop("created_at"))
    assert ISO_MILLISECONDS.fullmatch(row.pop("updated_at"))
    assert row == {
        "id": "avatars",
        "name": "avatars",
        "owner": "",
        "public": True,
        "file_size_limit": 1_000_000,
        "allowed_mime_types": ["image/*"],
    }
    changed = await storage.http.put(
        f"{BUCKET}/avatars", json={"public": False, "file_size_limit": None}, headers=storage.admin
    )
    assert (changed.status_code, changed.json()) == (200, {"message": "Successfully updated"})
    row = (await storage.http.get(f"{BUCKET}/avatars", headers=storage.admin)).json()
    assert (row["public"], row["file_size_limit"], row["allowed_mime_types"]) == (False, None, ["image/*"])
    deleted = await storage.http.delete(
        f"{BUCKET}/avatars", headers={**storage.admin, "content-type": "application/json"}
    )
    assert (deleted.status_code, deleted.json()) == (200, {"message": "Successfully deleted"})
    gone = await storage.http.get(f"{BUCKET}/avatars", headers=storage.admin)
    assert refusal(gone) == (400, "404", "Bucket not found", "Bucket not found")


async def test_the_list_pages_sorts_searches_and_tells_the_type(storage: Stack) -> None:
    for name in ("b_1", "bx1", "a"):
        await storage.bucket(name)

    async def names(query: str, **headers: str) -> list[str]:
        answer = await storage.http.get(f"{BUCKET}?{query}", headers={**storage.admin, **headers})
        assert answer.status_code == 200, answer.text
        return [row["name"] for row in answer.json()]

    assert await names("search=B_") == ["b_1"]
    assert await names("sortColumn=name&sortOrder=desc&limit=2&search=1") == ["bx1", "b_1"]
    assert await names("sortColumn=created_at&limit=1&offset=1&search=1") == ["bx1"]
    rows = (await storage.http.get(BUCKET, headers=storage.admin)).json()
    assert {row["type"] for row in rows} == {"STANDARD"}
    for header, value in (("x-client-info", "supabase-py/2.17.9"), ("user-agent", "supabase-py/storage3 v0.12.0")):
        rows = (await storage.http.get(BUCKET, headers={**storage.admin, header: value})).json()
        assert rows
        assert "type" not in rows[0]


@pytest.mark.parametrize(
    "body, expected",
    [
        ({}, ("400", "Error", "body must have required property 'name'")),
        ({"name": "a/b"}, ("400", "Invalid Input", "Bucket name invalid")),
        ({"name": " a"}, ("400", "Invalid Input", "Bucket name invalid")),
        ({"name": None}, ("400", "Invalid Input", "Bucket name invalid")),
        ({"name": "a", "id": "a/b"}, ("400", "Invalid Input", "Bucket name invalid")),
        (
            {"name": "a", "type": "ANALYTICS"},
            (
                "409",
                "FeatureNotEnabled",
                "The feature Iceberg buckets are not enabled for this tenant is not enabled for this resource",
            ),
        ),
        ({"name": "taken"}, ("409", "Duplicate", "The resource already exists")),
        ({"name": "a", "public": "perhaps"}, ("400", "Error", "body/public must be boolean")),
        (
            {"name": "a", "allowed_mime_types": ["image"]},
            ("415", "invalid_mime_type", "mime type image is not supported"),
        ),
        (
            {"name": "a", "file_size_limit": "200gb"},
            ("413", "Payload too large", "The object exceeded the maximum allowed size"),
        ),
        (
            {"name": "a", "type": "OTHER"},
            ("400", "Error", "body/type must be equal to one of the allowed values"),
        ),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_bucket_that_cannot_be_made_is_refused_and_not_made(
    storage: Stack, body: dict[str, object], expected: tuple[str, str, str]
) -> None:
    await storage.bucket("taken")
    before = storage.sql("select * from storage.buckets order by id")
    answer = await storage.http.post(BUCKET, json=body, headers=storage.admin)
    assert refusal(answer) == (400, *expected)
    assert storage.sql("select * from storage.buckets order by id") == before


async def test_an_update_of_nothing_is_refused(storage: Stack) -> None:
    await storage.bucket("b")
    answer = await storage.http.put(f"{BUCKET}/b", json={"name": "b"}, headers=storage.admin)
    assert refusal(answer)[3] == (
        "body must have required property 'public', body must have required property 'file_size_limit', "
        "body must have required property 'allowed_mime_types', body must match a schema in anyOf"
    )


async def test_a_bucket_with_objects_is_not_deleted_and_can_be_emptied(storage: Stack) -> None:
    await storage.bucket("b")
    for number in range(3):
        assert (await storage.put(f"b/{number}", b"x", storage.admin)).status_code == 200
    answer = await storage.http.delete(f"{BUCKET}/b", headers=storage.admin)
    assert refusal(answer) == (400, "409", "ResourceNotEmpty", "The bucket you tried to delete is not empty")
    emptied = await storage.http.post(f"{BUCKET}/b/empty", headers=storage.admin)
    assert emptied.json() == {"message": "Empty bucket has been queued. Completion may take up to an hour."}
    assert storage.blobs() == []
    assert (await storage.http.delete(f"{BUCKET}/b", headers=storage.admin)).status_code == 200


async def test_only_the_service_empties_a_bucket(storage: Stack) -> None:
    await storage.bucket("b")
    await storage.put("b/1", b"x", storage.admin)
    answer = await storage.http.post(f"{BUCKET}/b/empty", headers=storage.user(ALICE))
    assert refusal(answer) == (403, "403", "Unauthorized", "Access denied: Invalid role")
    missing = await storage.http.post(f"{BUCKET}/nothing/empty", headers=storage.admin)
    assert refusal(missing)[1:3] == ("404", "Bucket not found")
    assert len(storage.blobs()) == 1


async def test_without_policies_a_user_sees_makes_and_changes_no_bucket(storage: Stack) -> None:
    await storage.bucket("b")
    for headers in (storage.user(ALICE), storage.anon):
        assert (await storage.http.get(BUCKET, headers=headers)).json() == []
        assert refusal(await storage.http.get(f"{BUCKET}/b", headers=headers))[1] == "404"
        made = await storage.http.post(BUCKET, json={"name": "mine"}, headers=headers)
        assert refusal(made) == (400, "403", "Unauthorized", "new row violates row-level security policy")
        assert refusal(await storage.http.put(f"{BUCKET}/b", json={"public": True}, headers=headers))[1] == "404"
        assert refusal(await storage.http.delete(f"{BUCKET}/b", headers=headers))[1] == "404"
    assert storage.sql("select public from storage.buckets where id = 'b'") == [(False,)]


async def test_policies_on_buckets_decide_for_their_owner(storage: Stack) -> None:
    storage.sql("""
        create policy "all own" on storage.buckets for all to authenticated
            using (owner_id = auth.uid()::text) with check (owner_id = auth.uid()::text)
    """)
    alice, bob = storage.user(ALICE), storage.user(BOB)
    assert (await storage.http.post(BUCKET, json={"name": "mine"}, headers=alice)).status_code == 200
    assert (await storage.http.get(f"{BUCKET}/mine", headers=alice)).json()["owner"] == ALICE
    assert (await storage.http.get(BUCKET, headers=bob)).json() == []
    assert refusal(await storage.http.put(f"{BUCKET}/mine", json={"public": True}, headers=bob))[1] == "404"
    assert refusal(await storage.http.delete(f"{BUCKET}/mine", headers=bob))[1] == "404"
    assert (await storage.http.put(f"{BUCKET}/mine", json={"public": True}, headers=alice)).status_code == 200
    assert (await storage.http.delete(f"{BUCKET}/mine", headers=alice)).status_code == 200
