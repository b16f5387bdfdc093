"""Files that are announced by kind, sent by the URL of the answer, and completed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import signal
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import psycopg2
import pytest

from isobase_platform.config import Settings
from isobase_platform.http.edge import Edge
from isobase_services.storage.upkeep.check import Checker
from isobase_services.storage.upkeep.rows import UpkeepRows
from tests.storage.conftest import ALICE, BOB, BOTH_BACKENDS, Stack, listening, refusal, running, with_storage
from tests.storage.test_crash import server
from tests.storage.test_simple_face import problem, read

ON_DISK = pytest.mark.parametrize("backend", ["file"], indirect=True)
ON_S3 = pytest.mark.parametrize("backend", ["s3"], indirect=True)
PNG = b"\x89PNG\r\n\x1a\n not really"


async def announce(stack: Stack, user: str = ALICE, **body: Any) -> httpx.Response:
    given = {"kind": "story-media", "content_type": "image/png", "size": len(PNG), **body}
    return await stack.http.post("/storage/uploads", json=given, headers=stack.user(user))


async def send(stack: Stack, begun: dict[str, Any], content: bytes = PNG, **headers: str) -> httpx.Response:
    url = begun["upload_url"]
    if url.startswith(stack.platform.settings.base_url):
        url = stack.url + url.removeprefix(stack.platform.settings.base_url)
    return await stack.http.request(begun["method"], url, content=content, headers={**begun["headers"], **headers})


async def complete(stack: Stack, begun: dict[str, Any], user: str = ALICE) -> httpx.Response:
    return await stack.http.post(f"/storage/uploads/{begun['upload_id']}/complete", headers=stack.user(user))


async def upload(stack: Stack, user: str = ALICE, **body: Any) -> dict[str, Any]:
    begun = (await announce(stack, user, **body)).json()
    assert (await send(stack, begun)).status_code == 200
    done = await complete(stack, begun, user)
    assert done.status_code == 200, done.text
    answer: dict[str, Any] = done.json()
    return answer


def rows(stack: Stack) -> list[str]:
    return [name for (name,) in stack.sql("select name from storage.objects order by created_at, name")]


@BOTH_BACKENDS
async def test_a_file_is_announced_sent_completed_and_read(storage: Stack) -> None:
    answer = await announce(storage)
    assert answer.status_code == 201
    begun = answer.json()
    assert set(begun) == {"upload_id", "upload_url", "method", "headers", "key", "expires_in"}
    assert re.fullmatch(rf"story-media/{ALICE}/\d{{13}}-[0-9a-f]{{16}}\.png", begun["key"])
    assert (begun["method"], begun["headers"]["content-type"], begun["expires_in"]) == ("PUT", "image/png", 900)
    sent = await send(storage, begun)
    assert sent.status_code == 200
    if storage.s3 is None:
        assert sent.json() == {"Key": f"user-files/{begun['key']}"}
    else:
        assert begun["upload_url"].startswith(storage.s3.endpoint)
    assert rows(storage) == []

    first = await complete(storage, begun)
    assert first.status_code == 200, first.text
    file = first.json()
    assert {name: file[name] for name in ("key", "size", "content_type", "expires_in")} == {
        "key": begun["key"],
        "size": len(PNG),
        "content_type": "image/png",
        "expires_in": 3600,
    }
    got = await read(storage, file["url"])
    assert (got.content, got.headers["content-type"]) == (PNG, "image/png")
    ((owner, metadata),) = storage.sql("select owner_id, metadata from storage.objects")
    assert owner == ALICE
    assert metadata["cacheControl"] == "private, max-age=31536000, immutable"
    assert metadata["eTag"] == got.headers["etag"]
    assert len(storage.blobs()) == 1
    again = (await complete(storage, begun)).json()
    assert {**again, "url": ""} == {**file, "url": ""}
    assert (await storage.http.get(f"/storage/{file['file_id']}", headers=storage.user(ALICE))).status_code == 200


@BOTH_BACKENDS
async def test_a_profile_picture_is_public_and_the_one_before_it_stays(storage: Stack) -> None:
    keys = []
    for _ in range(4):
        file = await upload(storage, kind="profile-picture")
        assert re.fullmatch(rf"profile-pictures/{ALICE}/avatar-\d{{13}}\.jpg", file["key"])
        assert file["expires_in"] is None
        assert (await read(storage, file["url"])).content == PNG
        keys.append(file["key"])
    await upload(storage, BOB, kind="profile-picture")
    assert rows(storage)[:2] == keys[2:]
    assert len(storage.blobs()) == 3


async def test_an_activity_image_has_its_activity_in_its_key(storage: Stack) -> None:
    file = await upload(storage, kind="activity-image", variables={"activity_id": "a-1"})
    assert file["key"].startswith("activity-images/a-1/")
    strangers = await storage.http.get(f"/storage/{file['file_id']}", headers=storage.user(BOB))
    assert problem(strangers) == (404, "no_such_key")
    direct = await storage.put(f"user-files/{file['key']}", b"x", storage.user(BOB), **{"x-upsert": "true"})
    assert direct.json()["statusCode"] == "403"


REFUSED: list[tuple[dict[str, Any], tuple[int, str]]] = [
    ({"kind": "nothing"}, (400, "unknown_kind")),
    ({"content_type": "text/html"}, (415, "invalid_mime_type")),
    ({"content_type": "image/svg+xml"}, (415, "invalid_mime_type")),
    ({"content_type": "image/../x"}, (415, "invalid_mime_type")),
    ({"content_type": "nonsense"}, (415, "invalid_mime_type")),
    ({"size": 51 * 1024 * 1024}, (413, "entity_too_large")),
    ({"size": -1}, (400, "invalid_body")),
    ({"size": "5"}, (400, "invalid_body")),
    ({"size": 10**30}, (400, "invalid_body")),
    ({"variables": {"user_id": BOB}}, (400, "unknown_variable")),
    ({"variables": {"x": "1"}}, (400, "unknown_variable")),
    ({"variables": [1]}, (400, "invalid_body")),
    ({"kind": "activity-image"}, (400, "missing_variable")),
    *(
        ({"kind": "activity-image", "variables": {"activity_id": value}}, (400, "invalid_variable"))
        for value in ("", "..", "a/b", "a b", "é", "x" * 101, "a\n", "{user_id}")
    ),
]


async def test_what_cannot_be_announced_is_refused(storage: Stack) -> None:
    for body, expected in REFUSED:
        assert problem(await announce(storage, **body)) == expected, body
    assert storage.sql("select from isobase.direct_uploads") == []


async def test_bodies_that_are_no_json_and_callers_who_are_no_users_are_refused(storage: Stack) -> None:
    for content in (b"", b"[", b"[]", b'{"kind": NaN}', b"\xff", b"[" * 5000):
        answer = await storage.http.post("/storage/uploads", content=content, headers=storage.user(ALICE))
        assert answer.status_code == 400, content
    big = await storage.http.post("/storage/uploads", content=b" " * 70_000, headers=storage.user(ALICE))
    assert problem(big)[0] == 413
    url = f"/storage/uploads/{ALICE}/complete"
    for path in ("/storage/uploads", url):
        assert problem(await storage.http.post(path, json={}, headers=storage.anon))[0] == 401
        assert problem(await storage.http.post(path, json={}))[0] == 401
        assert problem(await storage.http.post(path, json={}, headers=storage.admin)) == (403, "user_required")
    assert problem(await storage.http.post(url, headers=storage.user(ALICE))) == (404, "upload_not_found")
    wrong = await storage.http.post("/storage/uploads/nonsense/complete", headers=storage.user(ALICE))
    assert problem(wrong) == (404, "upload_not_found")


@ON_DISK
async def test_what_arrives_must_be_what_was_announced(storage: Stack) -> None:
    begun = (await announce(storage)).json()
    assert problem(await complete(storage, begun)) == (409, "not_uploaded")
    assert refusal(await send(storage, begun, PNG + b"x"))[1] == "413"
    assert refusal(await send(storage, begun, PNG[1:]))[1] == "400"
    assert refusal(await send(storage, begun, PNG, **{"content-type": "text/html"}))[1] == "415"
    other = begun["upload_url"].replace(begun["key"], begun["key"] + "x")
    assert refusal(await send(storage, {**begun, "upload_url": other}))[3] == "Invalid signature"
    assert (storage.blobs(), storage.temporary_files(), rows(storage)) == ([], [], [])
    assert (await send(storage, begun, b"x" * len(PNG))).status_code == 200
    assert (await send(storage, begun)).status_code == 200
    assert len(storage.blobs()) == 1
    assert (await read(storage, (await complete(storage, begun)).json()["url"])).content == PNG
    late = await send(storage, begun, b"y" * len(PNG))
    assert refusal(late)[3] == "The upload is complete or was given up"
    assert len(storage.blobs()) == 1


@ON_DISK
async def test_nobody_completes_or_reads_anothers_upload(storage: Stack) -> None:
    begun = (await announce(storage)).json()
    assert (await send(storage, begun)).status_code == 200
    assert problem(await complete(storage, begun, BOB)) == (404, "upload_not_found")
    for headers in (storage.user(ALICE), storage.user(BOB), storage.admin):
        answer = await storage.http.get(f"/storage/v1/object/user-files/{begun['key']}", headers=headers)
        assert answer.json()["statusCode"] == "404"
    token = begun["upload_url"].partition("token=")[2]
    got = await storage.http.get(f"/storage/v1/object/sign/user-files/{begun['key']}", params={"token": token})
    assert refusal(got)[3] == "Token is not scoped for download"


@BOTH_BACKENDS
async def test_policies_are_asked_when_it_is_announced_and_when_it_is_complete(storage: Stack) -> None:
    begun = (await announce(storage)).json()
    assert (await send(storage, begun)).status_code == 200
    storage.sql('drop policy "kind story-media: owner may do everything" on storage.objects')
    assert problem(await complete(storage, begun)) == (403, "access_denied")
    assert problem(await announce(storage)) == (403, "access_denied")
    assert (len(storage.blobs()), rows(storage)) == (1, [])
    seen = "metadata->>'mimetype' = 'image/png' and (metadata->>'contentLength')::int = %s and owner_id = %s"
    storage.sql(
        f"create policy checked on storage.objects for insert to authenticated with check ({seen})",
        len(PNG),
        ALICE,
    )
    assert (await complete(storage, begun)).status_code == 200


async def test_the_buckets_own_rules_hold_too(storage: Stack) -> None:
    begun = (await announce(storage)).json()
    assert (await send(storage, begun)).status_code == 200
    storage.sql("update storage.buckets set file_size_limit = 3 where id = 'user-files'")
    assert problem(await complete(storage, begun)) == (413, "entity_too_large")
    assert problem(await announce(storage)) == (413, "entity_too_large")
    storage.sql(
        "update storage.buckets set file_size_limit = null, allowed_mime_types = '{text/*}' where id = 'user-files'"
    )
    assert problem(await complete(storage, begun)) == (415, "invalid_mime_type")
    storage.sql("delete from storage.buckets where id = 'user-files'")
    assert problem(await complete(storage, begun)) == (404, "no_such_bucket")


@BOTH_BACKENDS
async def test_completing_at_the_same_time_makes_one_object_and_one_answer(storage: Stack) -> None:
    begun = (await announce(storage)).json()
    assert (await send(storage, begun)).status_code == 200
    answers = await asyncio.gather(*(complete(storage, begun) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert len({answer.json()["file_id"] for answer in answers}) == 1
    assert (len(rows(storage)), len(storage.blobs())) == (1, 1)


async def test_a_key_that_was_taken_meanwhile_is_409(storage: Stack) -> None:
    begun = (await announce(storage)).json()
    assert (await send(storage, begun)).status_code == 200
    await storage.put(f"user-files/{begun['key']}", b"first", storage.admin)
    assert problem(await complete(storage, begun)) == (409, "key_already_exists")
    assert storage.sql("select metadata->>'size' from storage.objects") == [("5",)]


@ON_DISK
async def test_an_upload_that_is_never_completed_ends_and_is_removed(database: Settings) -> None:
    async with running(with_storage(database, direct_upload_ttl_s=60)) as stack:
        done = (await announce(stack)).json()
        await send(stack, done)
        assert (await complete(stack, done)).status_code == 200
        begun, never_sent = (await announce(stack)).json(), (await announce(stack)).json()
        assert begun["expires_in"] == 60
        assert (await send(stack, begun)).status_code == 200
        assert await stack.service._core.direct.remove_expired(datetime.now(UTC)) == 0
        stack.sql("update isobase.direct_uploads set expires_at = now() - interval '2 hours'")
        assert problem(await complete(stack, begun)) == (410, "upload_expired")
        assert (await complete(stack, done)).status_code == 200
        stack.sql("update isobase.direct_uploads set expires_at = now() - interval '25 hours'")
        assert len(stack.blobs()) == 2
        assert await stack.service._core.direct.remove_expired(datetime.now(UTC)) == 3
        assert (len(stack.blobs()), len(rows(stack))) == (1, 1)
        assert problem(await complete(stack, never_sent)) == (404, "upload_not_found")
        url, _, token = never_sent["upload_url"].partition("?token=")
        claims = jwt.decode(token, options={"verify_signature": False})
        late = stack.platform.issuer.sign_with_secret({**claims, "exp": claims["iat"]})
        assert refusal(await send(stack, {**never_sent, "upload_url": f"{url}?token={late}"}))[2] == "InvalidJWT"


async def test_a_check_of_the_store_leaves_alone_what_waits_for_its_completion(storage: Stack) -> None:
    begun = (await announce(storage)).json()
    assert (await send(storage, begun)).status_code == 200
    checker = Checker(UpkeepRows(storage.platform.pools), storage.service._blobs, grace_s=0.0)
    assert (await checker.run(removes=False)).orphan_blobs == 0
    assert (await complete(storage, begun)).status_code == 200


@ON_DISK
async def test_an_official_client_can_send_the_file(storage: Stack) -> None:
    begun = (await announce(storage)).json()
    token = begun["upload_url"].partition("token=")[2]
    client = storage.client(storage.anon_token).from_("user-files")
    await client.upload_to_signed_url(begun["key"], token, PNG, {"content-type": "image/png"})
    assert (await read(storage, (await complete(storage, begun)).json()["url"])).content == PNG


@ON_S3
async def test_what_changes_between_the_look_and_the_copy_is_no_file(
    storage: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = (await announce(storage)).json()
    assert (await send(storage, begun)).status_code == 200
    assert storage.s3 is not None
    if not storage.s3.is_moto:
        pytest.skip("a server that looks at signatures takes no other length")
    blobs = storage.service._blobs
    copy = blobs.copy

    async def copy_late(*args: Any, **kwargs: Any) -> None:
        await send(storage, begun, PNG + b"more")
        await copy(*args, **kwargs)

    monkeypatch.setattr(blobs, "copy", copy_late)
    assert problem(await complete(storage, begun)) == (409, "size_mismatch")
    assert (rows(storage), len(storage.blobs())) == ([], 1)
    monkeypatch.undo()
    assert (await send(storage, begun)).status_code == 200
    assert (await complete(storage, begun)).status_code == 200


@ON_S3
async def test_what_is_sent_to_the_object_store_is_looked_at_and_can_be_sent_again_without_harm(storage: Stack) -> None:
    begun, other = (await announce(storage)).json(), (await announce(storage)).json()
    (signed_headers,) = parse_qs(urlsplit(begun["upload_url"]).query)["X-Amz-SignedHeaders"]
    assert {"content-length", "content-type", "cache-control"} <= set(signed_headers.split(";"))
    assert problem(await complete(storage, begun)) == (409, "not_uploaded")
    assert storage.s3 is not None
    if storage.s3.is_moto:  # it looks at no signature
        assert (await send(storage, begun, PNG + b"more")).status_code == 200
        assert problem(await complete(storage, begun)) == (409, "size_mismatch")
    else:
        assert (await send(storage, begun, PNG + b"more")).status_code == 403
        assert problem(await complete(storage, begun)) == (409, "not_uploaded")
    assert rows(storage) == []
    assert (await send(storage, begun)).status_code == 200
    assert problem(await complete(storage, begun, BOB)) == (404, "upload_not_found")
    for headers in (storage.user(ALICE), storage.admin):
        answer = await storage.http.get(f"/storage/v1/object/user-files/{begun['key']}", headers=headers)
        assert answer.json()["statusCode"] == "404"
    file = (await complete(storage, begun)).json()
    again = PNG[::-1]
    assert (await send(storage, begun, again)).status_code == 200
    got = await read(storage, file["url"])
    assert got.content == PNG
    assert got.headers["etag"] == f'"{hashlib.md5(PNG, usedforsecurity=False).hexdigest()}"'
    assert (await send(storage, other)).status_code == 200
    assert len(storage.blobs()) == 3
    storage.sql("update isobase.direct_uploads set expires_at = now() - interval '25 hours'")
    assert await storage.service._core.direct.remove_expired(datetime.now(UTC)) == 2
    assert (await read(storage, file["url"])).content == PNG
    assert len(storage.blobs()) == 1


@BOTH_BACKENDS
async def test_urls_lead_to_the_object_store_where_the_settings_say_so(database: Settings) -> None:
    async with running(with_storage(database, direct_downloads=True)) as stack:
        file = await upload(stack)
        url = f"/storage/{file['file_id']}"
        got = (await stack.http.get(f"{url}?expires_in=60&download=a.png", headers=stack.user(ALICE))).json()
        assert problem(await stack.http.get(url, headers=stack.user(BOB))) == (404, "no_such_key")
        avatar = await upload(stack, kind="profile-picture")
        public = (await stack.http.get(f"/storage/{avatar['file_id']}", headers=stack.user(ALICE))).json()
        assert public["url"].startswith(f"{stack.platform.settings.base_url}/storage/v1/object/public/")
        if stack.s3 is None:
            assert (await read(stack, got["url"])).content == PNG
            return
        assert got["url"].startswith(stack.s3.endpoint)
        answer = await stack.http.get(got["url"])
        assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")
        assert answer.headers["content-disposition"].startswith("attachment; filename=a.png;")
        assert (await stack.http.delete(url, headers=stack.user(ALICE))).status_code == 200
        assert (await stack.http.get(got["url"])).status_code in {403, 404}


async def test_a_kind_whose_key_stays_the_same_replaces_the_file(database: Settings) -> None:
    kinds = {"banner": {"key": "banners/{user_id}/banner", "public": True, "max_size_bytes": 1000}}
    async with running(with_storage(database, kinds=kinds)) as stack:
        first = await upload(stack, kind="banner")
        assert first == await upload(stack, kind="banner")
        assert (rows(stack), len(stack.blobs())) == ([f"banners/{ALICE}/banner"], 1)
        assert stack.sql("select metadata->>'cacheControl' from storage.objects") == [("max-age=3600",)]


async def test_a_kind_in_a_bucket_of_the_projects_own_follows_its_policies(database: Settings) -> None:
    kinds = {"receipt": {"key": "{user_id}/{timestamp}-{random}", "bucket": "receipts"}}
    async with running(with_storage(database, kinds=kinds)) as stack:
        assert problem(await announce(stack, kind="receipt")) == (404, "no_such_bucket")
        await stack.bucket("receipts", public=True)
        assert problem(await announce(stack, kind="receipt")) == (403, "access_denied")
        stack.sql("create policy p on storage.objects for insert to authenticated with check (bucket_id = 'receipts')")
        file = await upload(stack, kind="receipt")
        assert "/object/public/receipts/" in file["url"]


async def test_a_form_may_name_a_kind(storage: Stack) -> None:
    async def post(content: bytes = PNG, mime_type: str = "image/png", **fields: str) -> httpx.Response:
        files = {"file": ("a.png", content, mime_type)}
        return await storage.http.post("/storage/upload", files=files, data=fields, headers=storage.user(ALICE))

    stored = await post(type="activity-image", activity_id="a-1")
    assert stored.status_code == 201, stored.text
    assert re.fullmatch(r"activity-images/a-1/\d{13}-[0-9a-f]{16}\.png", stored.json()["key"])
    avatar = (await post(type="profile-picture")).json()
    assert (avatar["expires_in"], avatar["key"].startswith(f"profile-pictures/{ALICE}/avatar-")) == (None, True)
    assert problem(await post(type="nothing")) == (400, "unknown_kind")
    assert problem(await post(type="story-media", folder="x")) == (400, "invalid_form")
    assert problem(await post(type="activity-image")) == (400, "missing_variable")
    assert problem(await post(mime_type="text/html", type="story-media")) == (415, "invalid_mime_type")
    assert problem(await post(b"x" * (5 * 1024 * 1024 + 1), type="profile-picture")) == (413, "entity_too_large")
    assert (len(rows(storage)), len(storage.blobs()), storage.temporary_files()) == (2, 2, [])


async def test_a_files_url_can_live_longer_and_name_a_download(storage: Stack) -> None:
    file = await upload(storage)
    url = f"/storage/{file['file_id']}"
    got = (await storage.http.get(f"{url}?expires_in=60&download=my cat.png", headers=storage.user(ALICE))).json()
    assert got["expires_in"] == 60
    answer = await read(storage, got["url"])
    assert answer.headers["content-disposition"] == "attachment; filename=my%20cat.png; filename*=UTF-8''my%20cat.png"
    for value in ("0", "-1", "x", "604801", "9" * 30, "", "1.5", "٣"):
        wrong = await storage.http.get(url, params={"expires_in": value}, headers=storage.user(ALICE))
        assert problem(wrong) == (400, "invalid_parameter"), value
    avatar = await upload(storage, kind="profile-picture")
    public = await storage.http.get(f"/storage/{avatar['file_id']}?download=", headers=storage.user(ALICE))
    assert (await read(storage, public.json()["url"])).headers["content-disposition"] == "attachment;"


@ON_DISK
@pytest.mark.fault
async def test_a_server_killed_while_it_completes_an_upload_leaves_it_to_be_completed_again(database: Settings) -> None:
    assert database.database.url is not None
    dsn = database.database.url.get_secret_value()
    async with running(database) as stack:
        alice = stack.user(ALICE)
        begun = (await announce(stack)).json()
        assert (await send(stack, begun)).status_code == 200
    objects = database.storage_root / "objects"
    path = f"/storage/uploads/{begun['upload_id']}/complete"
    async with server(database) as (process, url), httpx.AsyncClient(base_url=url, timeout=60) as http:
        with contextlib.closing(psycopg2.connect(dsn)) as lock, lock.cursor() as cursor:
            cursor.execute("lock table storage.objects in share row exclusive mode")
            completing = asyncio.create_task(http.post(path, headers=alice))
            while len([file for file in objects.rglob("*") if file.is_file()]) < 2:
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            with pytest.raises(httpx.TransportError):
                await completing
            lock.rollback()
    async with running(database) as stack:
        assert rows(stack) == []
        done = await complete(stack, begun)
        assert (await read(stack, done.json()["url"])).content == PNG
        checker = Checker(UpkeepRows(stack.platform.pools), stack.service._blobs, grace_s=0.0)
        assert (await checker.run(removes=False)).orphan_blobs == 1


async def test_urls_that_are_given_out_need_no_api_key_where_keys_are_required(storage: Stack) -> None:
    edge = Edge(
        storage.service.mounts, keys=storage.platform.api_keys, metrics=storage.platform.metrics, require_api_key=True
    )
    async with listening(edge) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        storage.url, storage.http = f"http://127.0.0.1:{port}", http
        for kind in ("profile-picture", "story-media"):
            file = await upload(storage, kind=kind)
            assert (await read(storage, file["url"])).content == PNG
        await storage.bucket("b", public=True)
        lone_key = {"apikey": storage.platform.settings.service_role_token}
        assert (await http.post("/storage/v1/object/b/x", content=b"x", headers=lone_key)).status_code == 200
        for path in ("/object/public/b/x", "/object/b/x", "/object/info/public/b/x", "/status", "/version"):
            assert (await http.get(f"/storage/v1{path}")).status_code == 200, path
        hidden = await http.get("/storage/v1/object/authenticated/b/x")
        assert refusal(hidden)[:3] == (400, "403", "Unauthorized")
        assert problem(await http.get(f"/storage/{ALICE}")) == (401, "invalid_token")
