"""What a browser is told that opens a stored file by its URL: nothing that users stored runs under the API's origin."""

from __future__ import annotations

import pytest

from isobase_services.storage.sandbox import sandbox_headers
from tests.storage.conftest import ALICE, BOTH_BACKENDS, Stack
from tests.storage.s3_clients import in_thread, s3_client

SANDBOX = {"content-security-policy": "sandbox", "x-content-type-options": "nosniff"}
SCRIPT = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize(
    "content_type",
    [
        *("image/svg+xml", "IMAGE/SVG+XML; charset=utf-8", "text/xml", "application/xml", "application/xhtml+xml"),
        *("application/atom+xml", "text/html", "multipart/x-mixed-replace;boundary=x", "message/rfc822"),
        *("unknown/unknown", "application/unknown", "*/*", "html", "", "image/png/svg+xml", "text /html"),
        *("image/png, application/xhtml+xml", "image/png;a=b, image/svg+xml", "image/png\\"),
    ],
)
def test_types_that_run_or_are_guessed_are_sandboxed(content_type: str) -> None:
    assert sandbox_headers(content_type) == SANDBOX
    assert sandbox_headers(None) == SANDBOX


@pytest.mark.parametrize(
    "content_type",
    [
        *("image/png", "application/pdf", "text/plain;charset=UTF-8", "application/json", "text/css", "video/mp4"),
        *("text/javascript", "application/octet-stream", 'audio/ogg; codecs="vorbis"'),
    ],
)
def test_other_types_are_served_as_upstream_serves_them(content_type: str) -> None:
    assert sandbox_headers(content_type) == {}


@BOTH_BACKENDS
async def test_documents_are_sandboxed_by_whatever_url_they_are_opened(owned: Stack) -> None:
    await owned.bucket("shared", public=True)
    types = {"a.svg": "image/svg+xml", "b.html": "text/html", "c": "unknown/unknown", "d.png": "image/png"}
    for name, content_type in types.items():
        answer = await owned.put(f"shared/{ALICE}/{name}", SCRIPT, owned.user(ALICE), **{"content-type": content_type})
        assert answer.status_code == 200, answer.text
    path = f"/storage/v1/object/sign/shared/{ALICE}/a.svg"
    signed = await owned.http.post(path, json={"expiresIn": 600}, headers=owned.user(ALICE))
    urls = [f"/storage/v1/object/public/shared/{ALICE}/{name}" for name in ("a.svg", "c")]
    for url in (*urls, f"/storage/v1{signed.json()['signedURL']}"):
        for headers in ({}, {"range": "bytes=0-9"}):
            answer = await owned.http.get(url, headers=headers)
            assert SANDBOX.items() <= dict(answer.headers).items(), url
    html = await owned.http.get(f"/storage/v1/object/public/shared/{ALICE}/b.html")
    assert html.headers["content-type"] == "text/plain"
    image = await owned.http.get(f"/storage/v1/object/public/shared/{ALICE}/d.png")
    assert not SANDBOX.keys() & image.headers.keys()


async def test_presigned_urls_sandbox_what_their_holder_calls_a_document(owned: Stack) -> None:
    client = s3_client(owned)
    await in_thread(client.put_object, Bucket="files", Key="a.html", Body=SCRIPT, ContentType="text/html")
    await in_thread(client.put_object, Bucket="files", Key="b.png", Body=SCRIPT, ContentType="image/png")
    for parameters, is_document in (
        ({"Key": "a.html"}, True),
        ({"Key": "b.png"}, False),
        ({"Key": "b.png", "ResponseContentType": "text/html"}, True),
        ({"Key": "a.html", "ResponseContentType": "image/png"}, False),
    ):
        url = client.generate_presigned_url("get_object", Params={"Bucket": "files", **parameters})
        answer = await owned.http.get(url)
        assert answer.status_code == 200
        assert (SANDBOX.items() <= dict(answer.headers).items()) is is_document, parameters
    # Clients read back the type that was stored.
    assert (await in_thread(client.get_object, Bucket="files", Key="a.html"))["ContentType"] == "text/html"
