"""What a token allows on which route: roles that are none, and signed URLs used for what they were not made for."""

from __future__ import annotations

import pytest

from tests.storage.conftest import ALICE, Stack, refusal

V1 = "/storage/v1"


@pytest.mark.parametrize("role", [["authenticated"], ["anon"], {"a": 1}, 5, True, [], "no such role"], ids=str)
async def test_a_role_that_is_none_is_refused_and_not_taken_for_anon(owned: Stack, role: object) -> None:
    owned.sql('create policy "anybody" on storage.objects for all using (true) with check (true)')
    owned.sql('create policy "anybody" on storage.buckets for all using (true) with check (true)')
    await owned.bucket("empty")
    await owned.put("files/x", b"x", owned.admin)
    token = owned.platform.issuer.sign_with_secret({"role": role, "sub": ALICE})
    headers = {"authorization": f"Bearer {token}"}
    calls = [
        ("GET", "/object/files/x", None),
        ("GET", "/object/authenticated/files/x", None),
        ("GET", "/object/info/files/x", None),
        ("POST", "/object/files/y", None),
        ("PUT", "/object/files/x", None),
        ("DELETE", "/object/files/x", None),
        ("POST", "/object/list/files", {"prefix": ""}),
        ("POST", "/object/list-v2/files", {}),
        ("POST", "/object/sign/files/x", {"expiresIn": 10}),
        ("POST", "/object/sign/files", {"expiresIn": 10, "paths": ["x"]}),
        ("POST", "/object/upload/sign/files/y", None),
        ("POST", "/object/copy", {"bucketId": "files", "sourceKey": "x", "destinationKey": "y"}),
        ("POST", "/object/move", {"bucketId": "files", "sourceKey": "x", "destinationKey": "y"}),
        ("DELETE", "/object/files", {"prefixes": ["x"]}),
        ("GET", "/bucket", None),
        ("POST", "/bucket", {"name": "new"}),
        ("GET", "/bucket/files", None),
        ("PUT", "/bucket/files", {"public": True}),
        ("DELETE", "/bucket/empty", None),
    ]
    for method, path, body in calls:
        answer = await owned.http.request(method, V1 + path, json=body, headers=headers)
        assert refusal(answer)[:3] == (400, "403", "Unauthorized"), (method, path, answer.text)
    for method, path in (("POST", "/bucket/files/empty"), ("DELETE", "/cdn/files")):
        answer = await owned.http.request(method, V1 + path, headers=headers)
        assert refusal(answer) == (403, "403", "Unauthorized", "Access denied: Invalid role")
    for method, path in (("POST", "/storage/upload"), ("GET", f"/storage/{ALICE}"), ("DELETE", f"/storage/{ALICE}")):
        answer = await owned.http.request(method, path, headers=headers)
        assert 400 <= answer.status_code < 500, (method, path, answer.text)
    assert len(owned.blobs()) == 1
