"""Signed URLs: what a token allows, and that it allows nothing else."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from tests.storage.conftest import ALICE, Stack, refusal

O = "/storage/v1/object"  # noqa: E741


@pytest.fixture
async def files(owned: Stack) -> Stack:
    """``files/ALICE/a b.txt``."""
    assert (await owned.put(f"files/{ALICE}/a b.txt", b"content", owned.user(ALICE))).status_code == 200
    return owned


def claims(stack: Stack, url: str) -> dict[str, Any]:
    token = parse_qs(urlsplit(url).query)["token"][0]
    secret = stack.platform.settings.jwt_secret.get_secret_value()
    decoded: dict[str, Any] = jwt.decode(token, secret, algorithms=["HS256"])
    return decoded


async def test_a_signed_url_reads_one_object_without_any_key(files: Stack) -> None:
    answer = await files.http.post(
        f"{O}/sign/files/{ALICE}/a%20b.txt", json={"expiresIn": "60", "transform": {}}, headers=files.user(ALICE)
    )
    url = answer.json()["signedURL"]
    assert url.startswith(f"/object/sign/files/{ALICE}/a b.txt?token=")
    payload = claims(files, url)
    assert payload["exp"] - payload["iat"] == 60
    assert {name: payload[name] for name in payload if name not in {"exp", "iat"}} == {
        "url": f"files/{ALICE}/a b.txt",
        "scope": "download",
    }
    got = await files.http.get(f"/storage/v1{url}&download=x.txt")
    assert (got.status_code, got.content) == (200, b"content")
    assert got.headers["content-disposition"] == "attachment; filename=x.txt; filename*=UTF-8''x.txt"
    assert got.headers["expires"] == time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(payload["exp"]))
    assert "cache-control" not in got.headers
    head = await files.http.head(f"/storage/v1{url}")
    assert (head.status_code, head.headers["content-length"]) == (200, "7")


async def test_a_token_for_something_else_is_refused(files: Stack) -> None:
    await files.put(f"files/{ALICE}/other.txt", b"x", files.user(ALICE))
    sign = files.platform.issuer.sign_with_secret
    path = f"files/{ALICE}/a b.txt"
    end = {"exp": int(time.time()) + 60}
    good = {"url": path, "scope": "download", **end}
    cases = [
        (sign(good), None),
        (sign({"url": path, **end}), None),
        (sign({**good, "exp": 1}), ("InvalidJWT", '"exp" claim timestamp check failed')),
        (sign({**good, "url": f"files/{ALICE}/other.txt"}), ("InvalidSignature", "Invalid signature")),
        (sign({**good, "scope": "upload"}), ("InvalidSignature", "Token is not scoped for download")),
        (sign({"url": path, "upsert": True, **end}), ("InvalidSignature", "Token is not scoped for download")),
        (sign({"url": path, "scope": "download"}), ("InvalidSignature", "Invalid signature")),
        (files.service_token, ("InvalidSignature", "Invalid signature")),
        (jwt.encode(good, "x" * 32), ("InvalidJWT", "signature verification failed")),
        (
            jwt.encode(good, "", algorithm="none"),
            ("InvalidJWT", '"alg" (Algorithm) Header Parameter value not allowed'),
        ),
        ("nonsense", ("InvalidJWT", "Invalid Compact JWS")),
        ("", ("InvalidJWT", "Invalid Compact JWS")),
    ]
    for token, expected in cases:
        answer = await files.http.get(f"{O}/sign/{path}", params={"token": token})
        outcome = None if answer.status_code == 200 else (answer.json()["code"], answer.json()["message"])
        assert outcome == expected, token
    missing = await files.http.get(f"{O}/sign/{path}")
    assert refusal(missing) == (400, "400", "Error", "querystring must have required property 'token'")


async def test_a_url_that_cannot_be_signed_is_refused(files: Stack) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({}, "body must have required property 'expiresIn'"),
        ({"expiresIn": 0}, "body/expiresIn must be >= 1"),
        ({"expiresIn": "soon"}, "body/expiresIn must be integer"),
        ({"expiresIn": 10**30}, "Invalid Parameter expiresIn"),
        ({"expiresIn": 1, "transform": {"quality": 1}}, "body/transform/quality must be >= 20"),
        (
            {"expiresIn": 1, "transform": {"resize": "x"}},
            "body/transform/resize must be equal to one of the allowed values",
        ),
    ]
    for body, message in cases:
        answer = await files.http.post(f"{O}/sign/files/{ALICE}/a b.txt", json=body, headers=files.user(ALICE))
        assert refusal(answer)[::3] == (400, message)


async def test_a_batch_answers_in_order_and_tells_what_cannot_be_read(files: Stack) -> None:
    paths = ["missing", f"{ALICE}/a b.txt", "missing"]
    answer = await files.http.post(f"{O}/sign/files", json={"expiresIn": 60, "paths": paths}, headers=files.user(ALICE))
    rows = answer.json()
    assert [row["path"] for row in rows] == paths
    assert rows[0] == {
        "error": "Either the object does not exist or you do not have access to it",
        "path": "missing",
        "signedURL": None,
    }
    assert rows[1]["error"] is None
    assert (await files.http.get(f"/storage/v1{rows[1]['signedURL']}")).content == b"content"
    for paths_given, message in (([], "fewer than 1"), (["x"] * 1001, "more than 1000")):
        body = {"expiresIn": 60, "paths": paths_given}
        answer = await files.http.post(f"{O}/sign/files", json=body, headers=files.user(ALICE))
        assert refusal(answer)[3] == f"body/paths must NOT have {message} items"


async def signed_upload(stack: Stack, **headers: str) -> dict[str, str]:
    answer = await stack.http.post(f"{O}/upload/sign/files/{ALICE}/new.txt", headers={**stack.user(ALICE), **headers})
    assert answer.status_code == 200, answer.text
    signed: dict[str, str] = answer.json()
    return signed


async def test_a_signed_upload_url_writes_once_in_its_signers_name(files: Stack) -> None:
    signed = await signed_upload(files)
    assert signed["url"] == f"/object/upload/sign/files/{ALICE}/new.txt?token={signed['token']}"
    payload = claims(files, signed["url"])
    assert {name: payload[name] for name in payload if name not in {"exp", "iat"}} == {
        "owner": ALICE,
        "url": f"files/{ALICE}/new.txt",
        "upsert": False,
        "scope": "upload",
    }
    url = f"/storage/v1{signed['url']}"
    first = await files.http.put(url, content=b"one", headers={"x-upsert": "true"})
    assert (first.status_code, first.json()) == (200, {"Key": f"files/{ALICE}/new.txt"})
    assert files.sql("select owner_id from storage.objects where name like '%%new.txt'") == [(ALICE,)]
    again = await files.http.put(url, content=b"two", headers={"x-upsert": "true"})
    assert refusal(again)[1:3] == ("409", "Duplicate")
    taken = await files.http.post(f"{O}/upload/sign/files/{ALICE}/new.txt", headers=files.user(ALICE))
    assert refusal(taken)[1:3] == ("409", "Duplicate")
    over = await signed_upload(files, **{"x-upsert": "true"})
    assert (await files.http.put(f"/storage/v1{over['url']}", content=b"three")).status_code == 200
    got = await files.http.get(f"{O}/files/{ALICE}/new.txt", headers=files.user(ALICE))
    assert got.content == b"three"


async def test_a_signed_upload_url_allows_nothing_else(files: Stack) -> None:
    signed = await signed_upload(files)
    token = signed["token"]
    for url in (f"{O}/upload/sign/files/{ALICE}/else.txt", f"{O}/upload/sign/other/{ALICE}/new.txt"):
        answer = await files.http.put(url, params={"token": token}, content=b"x")
        assert answer.json()["code"] == "InvalidSignature"
    for call in (
        files.http.put(f"{O}/files/{ALICE}/new.txt", content=b"x", headers={"authorization": f"Bearer {token}"}),
        files.http.get(f"{O}/authenticated/files/{ALICE}/a b.txt", headers={"authorization": f"Bearer {token}"}),
    ):
        assert (await call).status_code == 400
    limited = await files.http.put(f"{O}/upload/sign/files/{ALICE}/new.txt", content=b"x")
    assert refusal(limited)[3] == "querystring must have required property 'token'"
    assert len(files.blobs()) == 1
