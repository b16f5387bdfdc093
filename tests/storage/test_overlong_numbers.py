"""Numbers and dates of requests that no machine type holds: refused or passed over, never an error of the server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.storage.conftest import ALICE, Stack
from tests.storage.s3_clients import in_thread, s3_client, signed

V1 = "/storage/v1"
LONG = "9" * 5000
DATES = [
    f"Mon, 01 Jan 2028 00:00:00 +{'9' * 17}",
    f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT",
    f"Mon, 01 Jan 2028 {'9' * 11}:00:00 GMT",
    f"Mon, 01 Jan 2028 00:00:00 +{LONG}",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
]


async def test_conditions_with_such_dates_are_passed_over(owned: Stack) -> None:
    await owned.put(f"files/{ALICE}/a", b"hello", owned.user(ALICE))
    for date in DATES:
        for name in ("if-modified-since", "if-unmodified-since"):
            headers = {**owned.user(ALICE), name: date}
            answer = await owned.http.get(f"{V1}/object/files/{ALICE}/a", headers=headers)
            assert answer.status_code in {200, 304}, (name, date[:40], answer.text)
            answer = await owned.http.send(signed(owned, f"/files/{ALICE}/a", headers={name: date}))
            assert answer.status_code in {200, 304, 412}, (name, date[:40], answer.text)


@pytest.mark.parametrize(
    "rule", [*(f"unavailable_after: {date}" for date in DATES[:4]), f"max-snippet:{LONG}", f"max-video-preview:-{LONG}"]
)
async def test_rules_for_robots_with_them_are_refused_or_taken(owned: Stack, rule: str) -> None:
    answer = await owned.put(f"files/{ALICE}/a", b"hello", owned.user(ALICE), **{"x-robots-tag": rule})
    assert answer.status_code in {200, 400}, answer.text


@pytest.mark.parametrize("limit", [f"{LONG}gb", f"{'9' * 400}b", f"1.{LONG}mb", LONG])
async def test_a_buckets_limit_with_them_is_refused_or_taken(storage: Stack, limit: str) -> None:
    answer = await storage.http.post(
        f"{V1}/bucket", json={"name": "b", "file_size_limit": limit}, headers=storage.admin
    )
    assert answer.status_code in {200, 400}, answer.text


async def test_other_numbers_with_them_are_refused(owned: Stack) -> None:
    user = owned.user(ALICE)
    await owned.put(f"files/{ALICE}/a", b"hello", user)
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", f"/object/sign/files/{ALICE}/a", {"json": {"expiresIn": LONG}}),
        ("POST", f"/object/sign/files/{ALICE}/a", {"json": {"expiresIn": "1e400"}}),
        ("POST", "/object/list/files", {"json": {"prefix": "", "limit": LONG, "offset": LONG}}),
        ("POST", "/object/list-v2/files", {"json": {"prefix": "", "limit": LONG}}),
        ("GET", f"/bucket?limit={LONG}&offset={LONG}", {}),
        ("GET", f"/render/image/authenticated/files/{ALICE}/a?width={LONG}", {}),
        ("GET", f"/render/image/authenticated/files/{ALICE}/a?width=1e400&quality=1e400", {}),
        ("GET", f"/object/files/{ALICE}/a", {"headers": {**user, "range": f"bytes={LONG}-{LONG}"}}),
    ]
    for method, path, options in asked:
        answer = await owned.http.request(method, V1 + path, **{"headers": user, **options})
        assert answer.status_code < 500, (path[:60], answer.text[:300])


async def test_numbers_of_the_s3_protocol_with_them_are_refused(owned: Stack) -> None:
    client = s3_client(owned)
    upload = (await in_thread(client.create_multipart_upload, Bucket="files", Key="mp"))["UploadId"]
    await in_thread(client.upload_part, Bucket="files", Key="mp", UploadId=upload, PartNumber=1, Body=b"x")
    asked = [
        ("POST", f"/files/mp?uploadId={upload}", {"x-amz-mp-object-size": LONG}),
        ("PUT", f"/files/mp?uploadId={upload}&partNumber={LONG}", {}),
        ("GET", f"/files/mp?uploadId={upload}&part-number-marker={LONG}", {}),
        ("GET", f"/files?max-keys={LONG}", {}),
        ("PUT", "/files/k", {"x-amz-decoded-content-length": LONG}),
        ("GET", "/files/mp?X-Amz-Expires=1", {}),
    ]
    for method, path, headers in asked:
        answer = await owned.http.send(signed(owned, path, method=method, headers=headers))
        assert answer.status_code < 500, (path[:60], answer.text[:300])
