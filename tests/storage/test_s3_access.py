"""Who gets in over the S3 protocol: tampered requests, presigned URLs, forms, proxies, and the switch."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from botocore.auth import S3SigV4QueryAuth, SigV4Auth

from isobase_platform.config import Settings
from isobase_platform.config_storage import DEFAULT_S3_ACCESS_KEY_ID, DEFAULT_S3_SECRET_ACCESS_KEY
from isobase_platform.http.edge import Edge
from isobase_services.storage.s3 import sigv4
from tests.storage.conftest import ALICE, BOB, OWNER_POLICIES, Stack, listening, running, with_storage
from tests.storage.s3_clients import in_thread, refused, s3_client, s3_endpoint, session_client, signed


@pytest.fixture
async def client(storage: Stack) -> Any:
    await storage.bucket("files")
    client = s3_client(storage)
    await in_thread(client.put_object, Bucket="files", Key="a/k.txt", Body=b"hello", ContentType="text/plain")
    return client


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/xml; charset=utf-8"
    assert answer.headers["x-amz-request-id"]
    assert "xmlns" not in answer.text
    return answer.status_code, answer.text.partition("<Code>")[2].partition("</Code>")[0]


async def test_a_signed_request_gets_in_and_any_change_of_it_does_not(client: Any, storage: Stack) -> None:
    good = signed(storage, "/files/a/k.txt?response-content-language=de", headers={"Range": "bytes=0-1"})
    assert (await storage.http.send(good)).status_code == 206

    async def outcome(**changes: Any) -> tuple[int, str]:
        headers = {**good.headers, **changes.pop("headers", {})}
        without = changes.pop("without", None)
        headers = {name: value for name, value in headers.items() if name != without}
        request = httpx.Request(changes.get("method", "GET"), changes.get("url", str(good.url)), headers=headers)
        return code_of(await storage.http.send(request))

    authorization = good.headers["authorization"]
    mismatch = (403, "SignatureDoesNotMatch")
    assert await outcome(url=str(good.url).replace("k.txt", "l.txt")) == mismatch
    assert await outcome(url=str(good.url).replace("=de", "=en")) == mismatch
    assert await outcome(url=f"{good.url}&tagging=") == mismatch
    assert await outcome(method="DELETE") == mismatch
    assert await outcome(headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}) == mismatch
    assert await outcome(headers={"host": "other.test"}) == mismatch
    assert await outcome(headers={"x-amz-acl": "public-read"}) == (403, "AccessDenied")
    last = authorization[-1]
    assert await outcome(headers={"authorization": authorization[:-1] + ("0" if last != "0" else "1")}) == mismatch
    assert await outcome(headers={"authorization": authorization.replace("us-east-1", "eu-west-1")}) == mismatch
    moved = good.headers["x-amz-date"].replace("T", "T")[:-3] + "59Z"
    if moved != good.headers["x-amz-date"]:
        assert await outcome(headers={"x-amz-date": moved}) == mismatch
    assert await outcome(headers={"x-amz-date": "20200101T000000Z"}) == (403, "RequestTimeTooSkewed")
    assert await outcome(headers={"x-amz-date": "no date"}) == (400, "InvalidSignature")
    assert await outcome(without="x-amz-date") == (400, "InvalidSignature")
    assert await outcome(headers={"authorization": "AWS4-HMAC-SHA256 nonsense"}) == (400, "InvalidSignature")
    assert await outcome(without="authorization") == (403, "AccessDenied")
    assert await outcome(headers={"authorization": f"Bearer {storage.service_token}"}) == (403, "AccessDenied")


async def test_unknown_keys_and_other_services_are_refused(client: Any, storage: Stack) -> None:
    def work() -> None:
        with refused("AccessDenied", 403):
            s3_client(storage, key="unknown").list_buckets()
        with refused("SignatureDoesNotMatch", 403):
            s3_client(storage, secret="wrong").list_buckets()

    await in_thread(work)
    answer = await storage.http.send(signed(storage, service="execute-api"))
    assert code_of(answer) == (403, "AccessDenied")


async def test_a_session_is_worth_what_its_token_is_worth(client: Any, storage: Stack) -> None:
    def outcomes() -> None:
        expired = storage.platform.issuer.sign_with_secret({"role": "authenticated", "sub": ALICE, "exp": 1})
        for token in (expired, "no token", storage.token("authenticated", ALICE)[:-2]):
            with refused("AccessDenied", 403):
                session_client(storage, token).list_buckets()
        with refused("SignatureDoesNotMatch", 403):
            session_client(storage, storage.token("authenticated", ALICE), secret="wrong").list_buckets()
        with refused("SignatureDoesNotMatch", 403):
            # The project's own secret does not make a user of a token.
            key, secret = DEFAULT_S3_ACCESS_KEY_ID, DEFAULT_S3_SECRET_ACCESS_KEY
            session_client(storage, storage.token("authenticated", ALICE), key=key, secret=secret).list_buckets()
        assert session_client(storage, storage.token("authenticated", ALICE)).list_buckets()["Buckets"] == []
        service = session_client(storage, storage.service_token)
        assert service.get_object(Bucket="files", Key="a/k.txt")["Body"].read() == b"hello"

    await in_thread(outcomes)


async def test_presigned_urls_read_and_write_until_they_end(client: Any, storage: Stack) -> None:
    place = {"Bucket": "files", "Key": "a/k.txt"}
    url = client.generate_presigned_url("get_object", Params={**place, "ResponseContentType": "text/x"}, ExpiresIn=60)
    answer = await storage.http.get(url)
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "hello", "text/x")
    # An Authorization header of another kind does not hide it, nor is it one without it.
    assert (await storage.http.get(url, headers={"authorization": "Bearer nothing"})).status_code == 200
    assert (await storage.http.get(url, headers={"apikey": "nothing"})).status_code == 200
    assert code_of(await storage.http.get(url.replace("text%2Fx", "text%2Fhtml"))) == (403, "SignatureDoesNotMatch")
    assert code_of(await storage.http.delete(url)) == (403, "SignatureDoesNotMatch")
    assert code_of(await storage.http.get(url.replace("Expires=60", "Expires=6000"))) == (403, "SignatureDoesNotMatch")
    assert code_of(await storage.http.get(url.replace("Expires=60", "Expires=x"))) == (400, "InvalidSignature")
    upload = client.generate_presigned_url("put_object", Params={"Bucket": "files", "Key": "new"}, ExpiresIn=60)
    answer = await storage.http.put(upload, content=b"written")
    assert answer.status_code == 200, answer.text
    copying = {"x-amz-copy-source": "files/a/k.txt"}
    assert code_of(await storage.http.put(upload, headers=copying)) == (403, "AccessDenied")
    read = await in_thread(client.get_object, Bucket="files", Key="new")
    assert await in_thread(read["Body"].read) == b"written"


async def test_a_presigned_url_that_is_over_is_refused(
    client: Any, storage: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = client.generate_presigned_url("get_object", Params={"Bucket": "files", "Key": "a/k.txt"}, ExpiresIn=60)
    now_s = time.time()
    monkeypatch.setattr("isobase_services.storage.s3.access.time.time", lambda: now_s + 61)
    assert code_of(await storage.http.get(url)) == (400, "ExpiredToken")
    monkeypatch.setattr("isobase_services.storage.s3.access.time.time", lambda: now_s - 1000)
    assert code_of(await storage.http.get(url)) == (403, "RequestTimeTooSkewed")


async def test_a_user_presigns_for_himself(storage: Stack) -> None:
    await storage.bucket("files")
    storage.sql(OWNER_POLICIES)
    alice = session_client(storage, storage.token("authenticated", ALICE))

    def url(operation: str, key: str) -> str:
        params = {"Bucket": "files", "Key": key}
        return str(alice.generate_presigned_url(operation, Params=params, ExpiresIn=60))

    assert (await storage.http.put(url("put_object", f"{ALICE}/k"), content=b"mine")).status_code == 200
    assert (await storage.http.get(url("get_object", f"{ALICE}/k"))).text == "mine"
    assert code_of(await storage.http.put(url("put_object", f"{BOB}/k"), content=b"x")) == (403, "AccessDenied")


def form_of(client: Any, key: str = "form/${filename}", **options: Any) -> tuple[str, dict[str, str]]:
    post = client.generate_presigned_post("files", key, **options)
    return post["url"], dict(post["fields"])


async def test_a_signed_form_uploads_what_its_policy_allows(client: Any, storage: Stack) -> None:
    meta = {"Content-Type": "image/png", "x-amz-meta-colour": "green"}
    conditions = [{"Content-Type": "image/png"}, {"x-amz-meta-colour": "green"}, ["content-length-range", 2, 10]]
    url, fields = form_of(client, Fields=meta, Conditions=conditions)

    async def post(content: bytes = b"hello", changed: dict[str, str] | None = None, to: str = url) -> httpx.Response:
        data = {**fields, **(changed or {})}
        return await storage.http.post(to, data=data, files={"file": ("x.png", content, "text/plain")})

    answer = await post()
    assert (answer.status_code, answer.content) == (200, b"")
    head = await in_thread(client.head_object, Bucket="files", Key="form/x.png")
    assert (head["ContentType"], head["Metadata"], head["ETag"]) == (
        "image/png",
        {"colour": "green"},
        answer.headers["etag"],
    )
    assert code_of(await post(b"x" * 11)) == (400, "EntityTooLarge")
    assert code_of(await post(b"x")) == (400, "EntityTooSmall")
    assert code_of(await post(changed={"key": "other/x"})) == (403, "AccessDenied")
    assert code_of(await post(changed={"Content-Type": "text/html"})) == (403, "AccessDenied")
    assert code_of(await post(changed={"x-amz-meta-more": "1"})) == (403, "AccessDenied")
    assert code_of(await post(changed={"acl": "public-read"})) == (403, "AccessDenied")
    assert (await post(changed={"x-ignore-me": "1"})).status_code == 200
    assert code_of(await post(to=url.replace("files", "user-files"))) == (403, "AccessDenied")
    assert code_of(await post(changed={"x-amz-signature": "0" * 64})) == (403, "SignatureDoesNotMatch")
    assert code_of(await post(changed={"policy": fields["policy"][:-8]})) == (403, "SignatureDoesNotMatch")
    assert code_of(await storage.http.post(url, files={"file": b"x"})) == (403, "AccessDenied")
    assert storage.sql("select name from storage.objects order by name") == [("a/k.txt",), ("form/x.png",)]


async def test_a_form_says_what_it_wants_to_hear(client: Any, storage: Stack) -> None:
    async def post(**wish: str) -> httpx.Response:
        url, fields = form_of(client, "k", Fields=wish, Conditions=[{name: value} for name, value in wish.items()])
        return await storage.http.post(url, data=fields, files={"file": b"x"})

    assert (await post(success_action_status="204")).status_code == 204
    told = await post(success_action_status="201")
    assert told.status_code == 201
    assert "<Key>k</Key>" in told.text
    sent = await post(success_action_redirect="https://app.test/done?x=1")
    assert sent.status_code == 303
    assert sent.headers["location"].startswith("https://app.test/done?x=1&bucket=files&key=k&etag=")


async def test_a_form_ends_with_its_policy(client: Any, storage: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    url, fields = form_of(client, "k", ExpiresIn=60)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(seconds=61)

    monkeypatch.setattr("isobase_services.storage.s3.policy.datetime", Later)
    assert code_of(await storage.http.post(url, data=fields, files={"file": b"x"})) == (400, "ExpiredToken")


async def test_signatures_hold_behind_proxies(client: Any, storage: Stack) -> None:
    outside = signed(storage, host="https://api.example.test")
    forwarded = {**outside.headers, "host": "10.0.0.1:5000", "x-forwarded-host": "api.example.test"}
    url = f"{s3_endpoint(storage)}/files/a/k.txt"
    assert (await storage.http.get(url, headers=forwarded)).text == "hello"
    with_port = signed(storage, host="https://api.example.test:8443")
    forwarded = {**with_port.headers, "host": "x", "x-forwarded-host": "api.example.test", "x-forwarded-port": "8443"}
    assert (await storage.http.get(url, headers=forwarded)).text == "hello"
    # A gateway that takes /storage/v1 off, before the service alone.
    edge = Edge(
        storage.service.mounts,
        keys=storage.platform.api_keys,
        metrics=storage.platform.metrics,
        bare=next(mount for mount in storage.service.mounts if mount.serves_bare),
    )
    async with listening(edge) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as bare:
            assert (await bare.get("/s3/files/a/k.txt", headers=dict(outside.headers))).text == "hello"
            assert code_of(await bare.get("/s3/files/a/k.txt")) == (403, "AccessDenied")


async def test_no_api_key_is_asked_for_beside_a_signature(client: Any, storage: Stack) -> None:
    edge = Edge(
        storage.service.mounts, keys=storage.platform.api_keys, metrics=storage.platform.metrics, require_api_key=True
    )
    async with listening(edge) as port:
        storage.url = f"http://127.0.0.1:{port}"
        client = s3_client(storage)
        assert (await in_thread(client.head_object, Bucket="files", Key="a/k.txt"))["ContentLength"] == 5
        url = client.generate_presigned_url("get_object", Params={"Bucket": "files", "Key": "a/k.txt"})
        assert (await storage.http.get(url)).text == "hello"


async def test_paths_are_signed_as_they_are_sent(client: Any, storage: Stack) -> None:
    def work() -> None:
        for key in ("a b", "a+b", "a=b&c", "(x)!*'", "//double//slash", "a@b:c,d;e$f", "dot.", "/lead"):
            if storage.s3 is not None and not storage.s3.can_keep(key):
                with refused("InvalidKey", 400):
                    client.put_object(Bucket="files", Key=key, Body=key.encode())
                continue
            client.put_object(Bucket="files", Key=key, Body=key.encode())
            assert client.get_object(Bucket="files", Key=key)["Body"].read() == key.encode()
            assert key in [entry["Key"] for entry in client.list_objects_v2(Bucket="files")["Contents"]]

    await in_thread(work)


async def test_other_signers_need_no_payload_header(client: Any, storage: Stack) -> None:
    request = signed(storage, "/files?list-type=2&prefix=a%2F", signer=SigV4Auth)
    headers = {name: value for name, value in request.headers.items() if name != "x-amz-content-sha256"}
    answer = await storage.http.get(str(request.url), headers=headers)
    assert answer.status_code == 200, answer.text
    query = signed(storage, signer=S3SigV4QueryAuth)
    assert (await storage.http.get(str(query.url))).text == "hello"


async def test_a_request_that_was_signed_without_a_body_is_none_with_one(client: Any, storage: Stack) -> None:
    request = signed(storage, "/files/new.txt", method="PUT", signer=SigV4Auth)
    headers = {name: value for name, value in request.headers.items() if name != "x-amz-content-sha256"}
    headers["content-length"] = "4"
    answer = await storage.http.put(str(request.url), headers=headers, content=b"evil")
    assert (answer.status_code, "XAmzContentSHA256Mismatch" in answer.text) == (400, True), answer.text
    with refused("404", 404):
        await in_thread(client.head_object, Bucket="files", Key="new.txt")


async def test_a_false_signature_costs_little_however_much_it_is_over(
    client: Any, storage: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    encoded = sigv4._encoded

    def counted(text: str) -> str:
        nonlocal calls
        calls += 1
        return encoded(text)

    monkeypatch.setattr(sigv4, "_encoded", counted)
    members = "&".join(f"n{number}=%FF" for number in range(190))
    request = signed(storage, f"/files?{members}", signer=SigV4Auth)
    forwarded = {"x-forwarded-host": "a.example", "x-forwarded-port": "1"}
    sent = {name.lower(): value for name, value in request.headers.items() if name.lower() != "x-amz-content-sha256"}
    headers = {**sent, **forwarded, "x-amz-security-token": "x"}
    headers["authorization"] = re.sub("Signature=.", "Signature=x", headers["authorization"])
    answer = await storage.http.get(str(request.url), headers=headers)
    assert answer.status_code == 403
    assert calls <= 2 * 2 * 190, "each member is encoded once for each secret, not for each reading"


async def test_fields_of_a_form_are_few_and_short_before_anybody_knows_who_sends_it(
    client: Any, storage: Stack
) -> None:
    form = client.generate_presigned_post("files", "a/form.txt")
    answer = await storage.http.post(
        form["url"], data={**form["fields"], "x-ignore-a": "x" * 70_000}, files={"file": ("n", b"x")}
    )
    assert (answer.status_code, "MaxPostPreDataLengthExceeded" in answer.text) == (400, True), answer.text


async def test_the_protocol_can_be_switched_off(database: Settings) -> None:
    async with running(with_storage(database, s3_protocol={"enabled": False})) as stack:
        answer = await stack.http.get("/storage/v1/s3/files")
        assert answer.status_code == 404
        assert answer.json()["error"] == "Not Found"


async def test_a_project_reference_can_be_demanded(database: Settings) -> None:
    async with running(with_storage(database, s3_protocol={"project_ref": "abc", "region": "eu-west-1"})) as stack:
        token = stack.token("authenticated", ALICE)

        def work() -> None:
            with refused("AccessDenied", 403):
                session_client(stack, token, key="other").list_buckets()
            assert session_client(stack, token, key="abc").list_buckets()["Buckets"] == []
            assert s3_client(stack).head_bucket(Bucket="user-files")["BucketRegion"] == "eu-west-1"

        await in_thread(work)


async def test_an_encoded_slash_is_part_of_a_name_and_leads_to_no_other_bucket_or_face(
    client: Any, storage: Stack
) -> None:
    for path in ("/files%2Fa/k.txt", "/files%2Fa%2Fk.txt?list-type=2"):
        refusal = code_of(await storage.http.send(signed(storage, path)))
        assert refusal in {(400, "InvalidBucketName"), (404, "NoSuchBucket")}
    assert (await storage.http.send(signed(storage, "/files/a%2Fk.txt"))).content == b"hello"
    for path in ("/s3%2Ffiles/a/k.txt", "/upload/resumable%2Fa"):
        answer = await storage.http.get(f"/storage/v1{path}", headers=storage.admin)
        assert answer.status_code in {400, 403, 404}
        assert b"hello" not in answer.content
