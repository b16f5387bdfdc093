"""What a token allows on which route: roles that are none, and signed URLs used for what they were not made for."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.storage.conftest import ALICE, BOB, Stack, refusal
from tests.storage.s3_clients import in_thread, session_client
from tests.storage.test_resumable import VERSION, R, metadata

V1 = "/storage/v1"
PATH = f"{ALICE}/a b.png"


@pytest.mark.parametrize("role", [["authenticated"], ["anon"], {"a": 1}, 5, True, [], "no such role"], ids=str)
async def test_a_role_that_is_none_is_refused_and_not_taken_for_anon(owned: Stack, role: object) -> None:
    owned.sql('create policy "anybody" on storage.objects for all using (true) with check (true)')
    owned.sql('create policy "anybody" on storage.buckets for all using (true) with check (true)')
    await owned.bucket("empty")
    await owned.bucket("open", public=True)
    await owned.put("open/x", b"x", owned.admin)
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
    for path in ("/object/open/x", "/object/public/open/x", "/health"):
        assert (await owned.http.get(V1 + path, headers=headers)).status_code == 200, path
    for method, path in (("POST", "/bucket/files/empty"), ("DELETE", "/cdn/files")):
        answer = await owned.http.request(method, V1 + path, headers=headers)
        assert refusal(answer) == (403, "403", "Unauthorized", "Access denied: Invalid role")
    for method, path in (("POST", "/storage/upload"), ("GET", f"/storage/{ALICE}"), ("DELETE", f"/storage/{ALICE}")):
        answer = await owned.http.request(method, path, headers=headers)
        assert 400 <= answer.status_code < 500, (method, path, answer.text)
    for work in (
        lambda client: client.get_object(Bucket="files", Key="x"),
        lambda client: client.put_object(Bucket="files", Key="y", Body=b"y"),
        lambda client: client.list_objects_v2(Bucket="files"),
    ):
        with pytest.raises(ClientError) as refused:
            await in_thread(work, session_client(owned, token))
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert len(owned.blobs()) == 2


async def allowed(stack: Stack, token: str, path: str = PATH) -> set[str]:
    """What a token does on the routes that take one, and as a bearer token: nothing that anon may not do."""
    http = stack.http
    query = {"token": token}
    done = set()
    for method in ("GET", "HEAD"):
        answer = await http.request(method, f"{V1}/object/sign/files/{path}", params=query)
        if answer.status_code == 200:
            done.add("read")
        else:
            assert answer.status_code == 400
    answer = await http.get(f"{V1}/render/image/sign/files/{path}", params=query)
    if "source image" in answer.text:
        done.add("render")  # the token was good; the content is no image
    else:
        assert refusal(answer)[2] in {"InvalidJWT", "InvalidSignature"}, answer.text
    answer = await http.put(f"{V1}/object/upload/sign/files/{path}", params=query, content=b"new")
    if answer.status_code == 200:
        done.add("write")
    else:
        assert refusal(answer)[2] in {"InvalidJWT", "InvalidSignature"}, answer.text
    given = {**VERSION, "upload-length": "3", "upload-metadata": metadata(bucketName="files", objectName=path)}
    answer = await http.post(f"{V1}/upload/resumable/sign", headers={**given, "x-signature": token})
    if answer.status_code == 201:
        done.add("tus")
    else:
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (400, "text/plain")
    bearer = {"authorization": f"Bearer {token}"}
    for method, route in (
        ("GET", f"/object/authenticated/files/{path}"),
        ("POST", f"/object/files/{path}"),
        ("PUT", f"/object/files/{path}"),
        ("DELETE", f"/object/files/{path}"),
        ("POST", f"/object/sign/files/{path}"),
        ("GET", f"/object/info/files/{path}"),
    ):
        answer = await http.request(method, V1 + route, headers=bearer, json={"expiresIn": 10})
        assert answer.status_code == 400, (method, route, answer.text)
    for route in ("/storage/upload", "/storage/uploads"):
        assert (await http.post(route, headers=bearer)).status_code == 401
    return done


def signed(stack: Stack, **claims: Any) -> str:
    now_s = int(time.time())
    payload = {"url": f"files/{PATH}", "iat": now_s, "exp": now_s + 60, **claims}
    return stack.platform.issuer.sign_with_secret({name: value for name, value in payload.items() if value != "-"})


DOWNLOAD, UPLOAD = {"scope": "download"}, {"scope": "upload", "owner": ALICE, "upsert": True}
CLAIMS: list[tuple[dict[str, Any], set[str]]] = [
    (DOWNLOAD, {"read", "render"}),
    (UPLOAD, {"write", "tus"}),
    ({}, {"read", "render"}),
    ({"transformations": "width:10"}, {"read", "render"}),
    ({"owner": ALICE, "upsert": True}, {"write", "tus"}),
    ({"upsert": True, "scope": "download"}, {"read", "render"}),
    ({"scope": "stage", "upload_id": str(uuid.uuid4())}, set()),
    ({"scope": "stage"}, set()),
    ({"scope": "render"}, set()),
    ({"scope": None}, set()),
    ({"scope": ["download"]}, set()),
    ({"scope": ""}, set()),
    ({"scope": "DOWNLOAD"}, set()),
    *(
        ({**base, **change}, set[str]())
        for base in (DOWNLOAD, UPLOAD)
        for change in (
            {"url": f"files/{BOB}/a b.png"},
            {"url": f"other/{PATH}"},
            {"url": f"files/{PATH}/"},
            {"url": f"/files/{PATH}"},
            {"url": "-"},
            {"url": ["files", PATH]},
            {"exp": 1},
            {"exp": "-"},
            {"exp": "9999999999"},
            {"nbf": 9_999_999_999},
        )
    ),
]


async def test_a_signed_token_does_what_it_was_made_for_and_nothing_else(owned: Stack) -> None:
    await owned.put(f"files/{PATH}", b"content", owned.user(ALICE))
    for claims, expected in CLAIMS:
        assert await allowed(owned, signed(owned, **claims)) == expected, claims
    foreign = signed(owned, **DOWNLOAD)[:-4] + "AAAA"
    assert await allowed(owned, foreign) == set()


async def test_a_token_of_a_user_or_a_key_of_the_project_is_no_signed_token(owned: Stack) -> None:
    await owned.put(f"files/{PATH}", b"content", owned.user(ALICE))
    for token in ("x", owned.service_token, owned.anon_token, owned.token("authenticated", ALICE)):
        query = {"token": token}
        for method, route in (("GET", "sign"), ("PUT", "upload/sign")):
            answer = await owned.http.request(method, f"{V1}/object/{route}/files/{PATH}", params=query, content=b"x")
            assert refusal(answer)[2] in {"InvalidJWT", "InvalidSignature"}
        given = {**VERSION, "upload-length": "3", "upload-metadata": metadata(bucketName="files", objectName=PATH)}
        tus = await owned.http.post(f"{R}/sign", headers={**given, "x-signature": token})
        assert tus.status_code == 400
    assert len(owned.blobs()) == 1
