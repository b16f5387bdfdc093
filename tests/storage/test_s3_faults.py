"""Storage on an S3 server that fails: clear errors, nothing half done, and never a part taken for the whole."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from isobase_platform.config import Settings
from isobase_platform.config_storage.s3 import MIN_PART_SIZE_BYTES
from tests.plugins.fault_proxy import Break, FaultProxy, fault_proxy
from tests.plugins.s3 import S3Server
from tests.storage.conftest import PATIENCE_S, Stack, running, with_storage

O = "/storage/v1/object"  # noqa: E741
LARGE_BYTES = MIN_PART_SIZE_BYTES * 2 + 100_000


@dataclass(slots=True)
class Broken:
    """Storage behind the proxy, with an object ``b/kept`` and a large one ``b/large``."""

    stack: Stack
    proxy: FaultProxy
    s3: S3Server
    large: bytes

    async def get(self, key: str) -> httpx.Response:
        """Read an object."""
        return await self.stack.http.get(f"{O}/public/b/{key}")

    async def rows_have_their_bytes(self) -> None:
        """Every row can be read whole, whatever happened."""
        self.proxy.heals()
        for name, size in self.stack.sql("select name, (metadata->>'size')::int from storage.objects"):
            got = await self.get(name)
            assert (got.status_code, len(got.content)) == (200, size), name


@pytest.fixture
async def broken(database: Settings, s3: S3Server, request: pytest.FixtureRequest) -> AsyncIterator[Broken]:
    fault = getattr(request.node, "callspec", None) and request.node.callspec.params.get("fault")
    # Where no answer comes that is to be noticed soon, but not where one comes late.
    read_timeout_s = 4.0 if fault in {Break.HANG, Break.HANG_ANSWER} else PATIENCE_S
    async with fault_proxy(s3.endpoint) as proxy:
        settings = s3.settings(
            endpoint_url=proxy.url,
            max_attempts=1,
            read_timeout_s=read_timeout_s,
            part_size_bytes=MIN_PART_SIZE_BYTES,
        )
        async with running(with_storage(database, backend="s3", s3=settings)) as stack:
            await stack.bucket("b", public=True)
            large = os.urandom(1_000_000)
            for key, content in (("kept", b"kept"), ("large", large)):
                assert (await stack.put(f"b/{key}", content, stack.admin)).status_code == 200
            yield Broken(stack, proxy, s3, large)
            proxy.heals()


def is_write(method: str, target: str) -> bool:
    """Bytes on their way in: objects, parts, copies, and what ends a multipart upload."""
    return method in {"PUT", "POST"} and not target.endswith("?delete")


def is_read(method: str, target: str) -> bool:
    return method == "GET" and "list-type" not in target


def is_removal(method: str, target: str) -> bool:
    return method == "DELETE" or target.endswith("?delete")


def failure(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error of the server, whose body says the same as its status."""
    body = answer.json()
    assert body["statusCode"] == str(answer.status_code)
    return answer.status_code, body["code"]


STATUS = {
    Break.ERROR_500: 500,
    Break.ERROR_503: 503,
    Break.HANG: 503,
    Break.REFUSE: 503,
    Break.CUT_REQUEST: 503,
    Break.LOSE_ANSWER: 503,
}


@pytest.mark.parametrize("fault", list(STATUS), ids=lambda fault: fault.value)
async def test_writes_that_fail_change_nothing(broken: Broken, fault: Break) -> None:
    stack, upsert = broken.stack, {**broken.stack.admin, "x-upsert": "true"}
    rows = stack.sql("select * from storage.objects order by name")
    broken.proxy.breaks(fault, is_write)
    transfer = {"bucketId": "b", "sourceKey": "kept", "destinationKey": "there"}
    answers = await asyncio.gather(
        stack.put("b/new", b"new", stack.admin),
        stack.put("b/kept", b"other", upsert),
        stack.put("b/large", b"x" * LARGE_BYTES, upsert),
        *(stack.http.post(f"{O}/{path}", json=transfer, headers=stack.admin) for path in ("copy", "move")),
    )
    assert [failure(answer) for answer in answers] == [(STATUS[fault], "S3Error")] * len(answers)
    assert stack.sql("select * from storage.objects order by name") == rows
    await broken.rows_have_their_bytes()
    assert (await broken.get("kept")).content == b"kept"
    # What was begun is cleaned up behind the answers, now that the server is well again.
    async with asyncio.timeout(60):
        await asyncio.gather(*stack.service._blobs._left)  # type: ignore[attr-defined]
    answer = await stack.put("b/new", b"at last", stack.admin)
    assert answer.status_code == 200


@pytest.mark.parametrize("step", ["partNumber=2", "?uploads", "POST uploadId="])
@pytest.mark.parametrize("fault", [Break.ERROR_500, Break.LOSE_ANSWER], ids=lambda fault: fault.value)
async def test_a_multipart_upload_that_fails_at_any_step_leaves_nothing(
    broken: Broken, step: str, fault: Break
) -> None:
    broken.proxy.breaks(
        fault, lambda method, target: step.removeprefix("POST ") in target and method in {"PUT", "POST"}
    )
    keys = sorted(broken.s3.keys())
    answer = await broken.stack.put("b/new", b"x" * LARGE_BYTES, broken.stack.admin)
    assert failure(answer) == (STATUS[fault], "S3Error")
    await asyncio.gather(*broken.stack.service._blobs._left)  # type: ignore[attr-defined]
    assert sorted(broken.s3.keys()) == keys
    if step != "?uploads" or fault is not Break.LOSE_ANSWER:  # else nobody knows its id: a rule of the bucket ends it
        assert broken.s3.uploads() == []
    assert broken.stack.sql("select 1 from storage.objects where name = 'new'") == []


async def test_a_removal_whose_bytes_stay_is_a_removal(broken: Broken) -> None:
    stack = broken.stack
    broken.proxy.breaks(Break.ERROR_500, is_removal)
    assert (await stack.http.delete(f"{O}/b/kept", headers=stack.admin)).status_code == 200
    answer = await stack.http.request("DELETE", f"{O}/b", json={"prefixes": ["large"]}, headers=stack.admin)
    assert answer.status_code == 200
    assert stack.sql("select name from storage.objects") == []
    assert len(broken.s3.keys()) == 2  # for the worker
    assert (await broken.get("kept")).json()["code"] == "NoSuchKey"


@pytest.mark.parametrize("fault", [Break.ERROR_500, Break.ERROR_503, Break.HANG, Break.REFUSE, Break.CUT_ANSWER])
async def test_a_read_that_cannot_begin_is_an_error(broken: Broken, fault: Break) -> None:
    broken.proxy.breaks(fault, is_read)
    for headers in ({}, {"range": "bytes=1-2"}):
        answer = await broken.stack.http.get(f"{O}/public/b/kept", headers=headers)
        assert failure(answer) == (STATUS.get(fault, 503), "S3Error")
        assert "etag" not in answer.headers
    await broken.rows_have_their_bytes()


@pytest.mark.parametrize("fault", [Break.CUT_ANSWER, Break.HANG_ANSWER], ids=lambda fault: fault.value)
async def test_a_read_that_breaks_in_the_middle_breaks_the_clients_connection(broken: Broken, fault: Break) -> None:
    broken.proxy.breaks(fault, is_read)
    received = 0
    with pytest.raises(httpx.RemoteProtocolError):
        async with broken.stack.http.stream("GET", f"{O}/public/b/large") as answer:
            assert answer.headers["content-length"] == str(len(broken.large))
            async for chunk in answer.aiter_raw():
                received += len(chunk)
    assert received < len(broken.large)
    await broken.rows_have_their_bytes()


async def test_a_client_that_goes_away_ends_the_request_to_s3(broken: Broken) -> None:
    stack = broken.stack
    content = os.urandom(16_000_000)
    assert (await stack.put("b/huge", content, stack.admin)).status_code == 200
    async with stack.http.stream("GET", f"{O}/public/b/huge") as answer:
        async for _chunk in answer.aiter_raw():
            break
        assert broken.proxy.open_answers == 1
    async with asyncio.timeout(60):
        while broken.proxy.open_answers:
            await asyncio.sleep(0.02)


async def test_what_s3_refuses_once_is_sent_again(database: Settings, s3: S3Server) -> None:
    async with fault_proxy(s3.endpoint) as proxy:
        settings = s3.settings(endpoint_url=proxy.url, max_attempts=3)
        async with running(with_storage(database, backend="s3", s3=settings)) as stack:
            await stack.bucket("b", public=True)
            for fault in (Break.ERROR_500, Break.REFUSE):
                proxy.breaks(fault, is_write, times=1)
                proxy.breaks(fault, is_read, times=1)
                key = uuid.uuid4().hex
                assert (await stack.put(f"b/{key}", b"in the end", stack.admin)).status_code == 200
                assert (await stack.http.get(f"{O}/public/b/{key}")).content == b"in the end"


async def test_a_read_is_one_request(broken: Broken) -> None:
    broken.proxy.seen.clear()
    assert (await broken.get("kept")).content == b"kept"
    answer = await broken.stack.http.get(f"{O}/public/b/large", headers={"range": "bytes=5-99"})
    assert (answer.status_code, answer.content) == (206, broken.large[5:100])
    assert len(broken.proxy.seen) == 2


async def test_an_upload_that_somebody_else_ends_is_an_error_and_no_object(broken: Broken) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x" * (MIN_PART_SIZE_BYTES + 1)
        async with asyncio.timeout(60):
            while broken.proxy.open_answers or not any("partNumber=1" in seen for seen in broken.proxy.seen):
                await asyncio.sleep(0.02)
        target = next(seen for seen in broken.proxy.seen if "partNumber=1" in seen).partition(" ")[2]
        place = urlsplit(target)
        upload = parse_qs(place.query)["uploadId"][0]
        key = unquote(place.path).removeprefix(f"/{broken.s3.bucket}/")
        broken.s3.client.abort_multipart_upload(Bucket=broken.s3.bucket, Key=key, UploadId=upload)
        yield b"y" * MIN_PART_SIZE_BYTES

    answer = await broken.stack.http.post(f"{O}/b/new", content=body(), headers=broken.stack.admin)
    assert failure(answer)[1] == "S3Error"
    assert broken.stack.sql("select 1 from storage.objects where name = 'new'") == []


@pytest.mark.parametrize("size", [1000, LARGE_BYTES])
async def test_bytes_that_are_damaged_on_the_way_are_refused(broken: Broken, size: int) -> None:
    if broken.s3.is_moto:
        pytest.skip("moto does not compare the MD5 that a request carries")
    broken.proxy.breaks(Break.DAMAGE, lambda method, target: method == "PUT", times=1)
    answer = await broken.stack.put("b/new", b"x" * size, broken.stack.admin)
    assert failure(answer) == (500, "S3Error")
    assert broken.stack.sql("select 1 from storage.objects where name = 'new'") == []
