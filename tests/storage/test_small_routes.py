"""Health, CDN purges, what is not enabled, who may empty a bucket, and clients that stall."""

from __future__ import annotations

import json
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from isobase_platform.config import Settings
from tests.plugins.patience import until
from tests.storage.conftest import ALICE, Stack, listening, refusal, running, with_storage
from tests.storage.s3_clients import in_thread, s3_client

V1 = "/storage/v1"
ORIGIN = {"HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "https-only"}
INVALID_ROLE = (403, "403", "Unauthorized", "Access denied: Invalid role")
INVALID_TOKEN = (400, "403", "Unauthorized", "Invalid Compact JWS")


async def test_health_says_whether_the_database_answers_to_whoever_has_a_token(storage: Stack) -> None:
    for headers in (storage.anon, storage.user(ALICE), storage.admin):
        answer = await storage.http.get(f"{V1}/health", headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"healthy": True})
    assert refusal(await storage.http.get(f"{V1}/health")) == INVALID_TOKEN
    async with storage.bare() as bare:
        assert refusal(await bare.get("/health")) == INVALID_TOKEN
    storage.sql("alter table storage.buckets rename to buckets_away")
    try:
        answer = await storage.http.get(f"{V1}/health", headers=storage.anon)
        assert (answer.status_code, answer.json()) == (200, {"healthy": False})
    finally:
        storage.sql("alter table storage.buckets_away rename to buckets")


async def test_a_purge_is_the_services_alone_and_needs_no_object(storage: Stack) -> None:
    for path in ("/cdn", "/cdn/", "/cdn/nothing", "/cdn/nothing/a/b.png", "/cdn/b/x?transformations=true"):
        answer = await storage.http.delete(V1 + path, headers=storage.admin)
        assert (answer.status_code, answer.json()) == (200, {"message": "success"}), path
        for headers in (storage.anon, storage.user(ALICE)):
            assert refusal(await storage.http.delete(V1 + path, headers=headers)) == INVALID_ROLE
        assert refusal(await storage.http.delete(V1 + path)) == INVALID_TOKEN
    wrong = await storage.http.delete(f"{V1}/cdn?transformations=maybe", headers=storage.admin)
    assert refusal(wrong) == (400, "400", "Error", "querystring/transformations must be boolean")
    no_key = await storage.http.delete(f"{V1}/cdn/b/", headers=storage.admin)
    assert refusal(no_key) == (400, "400", "Error", "params/* must NOT have fewer than 1 characters")


async def test_a_purge_is_told_to_the_networks_endpoint(database: Settings) -> None:
    told: list[tuple[str, str, dict[str, Any]]] = []
    status = 200

    async def endpoint(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        headers = dict(scope["headers"])
        told.append((scope["path"], headers[b"authorization"].decode(), json.loads(body)))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with listening(endpoint) as port:
        cdn = {"purge_url": f"http://127.0.0.1:{port}/v1/", "purge_key": "the-key"}
        async with running(with_storage(database, cdn=cdn)) as stack:
            for path in ("", "/b?transformations=true", "/b/a/b.png"):
                assert (await stack.http.delete(f"{V1}/cdn{path}", headers=stack.admin)).status_code == 200
            project = {"ref": stack.platform.settings.project_id}
            assert told == [
                ("/v1/purge", "Bearer the-key", {"type": "tenant", "tenant": project}),
                ("/v1/purge", "Bearer the-key", {"type": "bucket-transforms", "tenant": project, "bucketId": "b"}),
                (
                    "/v1/purge",
                    "Bearer the-key",
                    {"type": "object", "tenant": project, "bucketId": "b", "objectName": "a/b.png"},
                ),
            ]
            status = 503
            answer = await stack.http.delete(f"{V1}/cdn/b", headers=stack.admin)
            assert refusal(answer) == (500, "500", "InternalError", "Error purging cache")
        async with running(with_storage(database, cdn={"purge_url": "http://127.0.0.1:1"})) as stack:
            answer = await stack.http.delete(f"{V1}/cdn/b", headers=stack.admin)
            assert refusal(answer) == (500, "500", "InternalError", "Error purging cache")


async def test_a_purge_asks_cloudfront_for_an_invalidation(database: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client("cloudfront", region_name="us-east-1", endpoint_url=endpoint)
        origins = {
            "Quantity": 1,
            "Items": [{"Id": "o", "DomainName": "example.com", "CustomOriginConfig": ORIGIN}],
        }
        behavior = {"TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all"}
        distribution = client.create_distribution(
            DistributionConfig={
                "CallerReference": "x",
                "Origins": origins,
                "DefaultCacheBehavior": behavior,
                "Comment": "",
                "Enabled": True,
            }
        )["Distribution"]["Id"]
        cdn = {"cloudfront_distribution_id": distribution, "cloudfront_endpoint_url": endpoint}
        async with running(with_storage(database, cdn=cdn)) as stack:
            for path in ("", "/b?transformations=true", "/b/a b.png"):
                assert (await stack.http.delete(f"{V1}/cdn{path}", headers=stack.admin)).status_code == 200
        made = client.list_invalidations(DistributionId=distribution)["InvalidationList"]["Items"]
        found = {
            tuple(
                client.get_invalidation(DistributionId=distribution, Id=one["Id"])["Invalidation"]["InvalidationBatch"][
                    "Paths"
                ]["Items"]
            )
            for one in made
        }
        assert found == {
            ("/storage/v1/object/public/*", "/storage/v1/render/image/public/*"),
            ("/storage/v1/render/image/public/b/*",),
            ("/storage/v1/object/public/b/a%20b.png*", "/storage/v1/render/image/public/b/a%20b.png*"),
        }
        unknown = {**cdn, "cloudfront_distribution_id": "none"}
        async with running(with_storage(database, cdn=unknown)) as stack:
            answer = await stack.http.delete(f"{V1}/cdn/b", headers=stack.admin)
            assert refusal(answer) == (500, "500", "InternalError", "Error purging cache")
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/iceberg/bucket"),
        ("POST", "/iceberg/bucket"),
        ("DELETE", "/iceberg/bucket/x"),
        ("GET", "/iceberg/v1/config?warehouse=x"),
        ("GET", "/iceberg/v1/x/namespaces"),
        ("POST", "/iceberg/v1/x/namespaces/n/tables"),
        ("HEAD", "/iceberg/v1/x/namespaces/n/tables/t"),
        ("POST", "/vector/CreateVectorBucket"),
        ("POST", "/vector/ListVectorBuckets"),
        ("POST", "/vector/QueryVectors"),
        ("GET", "/vector"),
    ],
)
async def test_iceberg_and_vectors_are_routes_that_do_not_exist(storage: Stack, method: str, path: str) -> None:
    async with storage.bare() as bare:
        for headers in ({}, storage.anon, storage.admin):
            answer = await bare.request(method, path, headers=headers)
            assert answer.status_code == 404
            if method == "HEAD":
                assert answer.content == b""
            elif path.startswith("/vector"):
                message = f"Route {method}:{path} not found"
                assert refusal(answer) == (404, "404", "Not Found", message)
            else:
                message = f"Route {method}:{path} not found"
                assert answer.json() == {"message": message, "error": "Not Found", "statusCode": 404}


async def test_other_roles_empty_a_bucket_only_where_the_settings_name_them_and_as_policies_say(
    database: Settings,
) -> None:
    async with running(database) as stack:
        await stack.bucket("b")
        for headers in (stack.anon, stack.user(ALICE)):
            assert refusal(await stack.http.post(f"{V1}/bucket/b/empty", headers=headers)) == INVALID_ROLE
    roles = ["service_role", "anon"]
    async with running(with_storage(database, empty_bucket_roles=roles)) as stack:
        for name in ("a/1", "b/1", "b/2", "c/1"):
            assert (await stack.put(f"b/{name}", b"x", stack.admin)).status_code == 200
        assert refusal(await stack.http.post(f"{V1}/bucket/b/empty", headers=stack.user(ALICE))) == INVALID_ROLE
        hidden = await stack.http.post(f"{V1}/bucket/b/empty", headers=stack.anon)
        assert refusal(hidden)[1:3] == ("404", "Bucket not found")
        stack.sql("create policy see on storage.buckets for select to anon using (true)")
        stack.sql("create policy look on storage.objects for select to anon using (true)")
        stack.sql("create policy go on storage.objects for delete to anon using (name like 'b/%%')")
        assert (await stack.http.post(f"{V1}/bucket/b/empty", headers=stack.anon)).status_code == 200
        assert stack.sql("select name from storage.objects order by 1") == [("a/1",), ("c/1",)]
        assert len(stack.blobs()) == 2
        assert (await stack.http.post(f"{V1}/bucket/b/empty", headers=stack.admin)).status_code == 200
        assert stack.blobs() == []


async def test_a_bucket_with_more_objects_than_one_call_may_empty_is_refused(database: Settings) -> None:
    async with running(with_storage(database, empty_bucket_max_objects=1)) as stack:
        await stack.bucket("b")
        for name in ("1", "2"):
            await stack.put(f"b/{name}", b"x", stack.admin)
        answer = await stack.http.post(f"{V1}/bucket/b/empty", headers=stack.admin)
        assert answer.json()["statusCode"] == "409"
        assert len(stack.blobs()) == 2


async def test_a_request_that_removes_more_objects_than_the_settings_allow_is_refused(database: Settings) -> None:
    async with running(with_storage(database, delete_many_max_objects=2)) as stack:
        await stack.bucket("b")
        await stack.put("b/1", b"x", stack.admin)
        url = f"{V1}/object/b"
        answer = await stack.http.request("DELETE", url, json={"prefixes": ["1", "2", "3"]}, headers=stack.admin)
        message = "Bulk object requests are limited to 2 objects per request."
        assert refusal(answer) == (400, "400", "InvalidRequest", message)
        with pytest.raises(ClientError, match="limited to 2 objects"):
            objects = {"Objects": [{"Key": key} for key in "123"]}
            await in_thread(s3_client(stack).delete_objects, Bucket="b", Delete=objects)
        assert len(stack.blobs()) == 1
        answer = await stack.http.request("DELETE", url, json={"prefixes": ["1", "2"]}, headers=stack.admin)
        assert (answer.status_code, len(answer.json())) == (200, 1)


async def test_a_client_that_stops_sending_is_refused_and_leaves_nothing(database: Settings) -> None:
    async with running(with_storage(database, upload_stall_timeout_s=0.1)) as stack:
        await stack.bucket("b")

        in_flight = stack.service._in_flight
        await in_flight.wait(60)

        async def stalling() -> Any:
            yield b"x"
            await until(lambda: in_flight._count)
            # Nothing more is sent until the server has given the request up.
            await until(lambda: not in_flight._count)

        answer = await stack.http.post(f"{V1}/object/b/x", content=stalling(), headers=stack.admin)
        assert refusal(answer) == (400, "400", "InvalidRequest", "The upload stalled")
        assert (stack.blobs(), stack.temporary_files()) == ([], [])


async def test_a_client_that_stops_taking_is_given_up_on(database: Settings) -> None:
    size = 32 * 1024 * 1024
    async with running(with_storage(database, download_stall_timeout_s=0.2)) as stack:
        await stack.bucket("b", public=True)
        await stack.put("b/x", b"x" * size, stack.admin)
        async with stack.http.stream("GET", f"{V1}/object/public/b/x") as answer:
            await stack.service._in_flight.wait(60)
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()


async def test_a_signed_upload_url_lives_as_long_as_the_settings_say(database: Settings) -> None:
    async with running(with_storage(database, signed_upload_url_ttl_s=5)) as stack:
        await stack.bucket("b")
        answer = await stack.http.post(f"{V1}/object/upload/sign/b/x", headers=stack.admin)
        claims = stack.platform.verifier.verify(answer.json()["token"])
        assert claims.raw["exp"] - claims.raw["iat"] == 5
