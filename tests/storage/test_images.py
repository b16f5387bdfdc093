"""Images over HTTP: transformed, negotiated, signed, cached, as a running storage service serves them."""

from __future__ import annotations

import pytest

from tests.storage.conftest import ALICE, BOB, Stack, refusal
from tests.storage.images import opened, picture

V1 = "/storage/v1"
PUBLIC = f"{V1}/render/image/public"


async def put_image(stack: Stack, path: str, content: bytes, mime_type: str = "image/jpeg") -> None:
    answer = await stack.put(path, content, stack.admin, **{"content-type": mime_type})
    assert answer.status_code == 200, answer.text


@pytest.fixture
async def pictures(storage: Stack) -> Stack:
    await storage.bucket("pictures", public=True)
    await put_image(storage, "pictures/a.jpg", picture(400, 300))
    return storage


async def test_an_image_is_rendered_as_the_query_asks(pictures: Stack) -> None:
    answer = await pictures.http.get(f"{PUBLIC}/pictures/a.jpg?width=200&height=200&quality=60")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-transformations"] == "height:200,width:200,resizing_type:fill,quality:60"
    assert answer.headers["content-length"] == str(len(answer.content))
    image = opened(answer.content)
    assert (image.width, image.height) == (200, 200)


async def test_a_signed_url_keeps_its_transform(pictures: Stack) -> None:
    body = {"expiresIn": 60, "transform": {"width": 50, "height": 40, "resize": "contain", "format": "webp"}}
    answer = await pictures.http.post(f"{V1}/object/sign/pictures/a.jpg", json=body, headers=pictures.admin)
    url = answer.json()["signedURL"]
    assert url.startswith("/render/image/sign/pictures/a.jpg?token=")
    rendered = await pictures.http.get(f"{V1}{url}&width=300")
    assert rendered.status_code == 200, rendered.text
    assert rendered.headers["content-type"] == "image/webp"
    assert rendered.headers["x-transformations"] == "height:40,width:50,resizing_type:fit,format:webp"
    assert "expires" in rendered.headers
    assert "cache-control" not in rendered.headers
    image = opened(rendered.content)
    assert (image.width, image.height) == (50, 38)


async def test_what_a_caller_may_not_read_he_gets_no_image_of_even_from_the_cache(owned: Stack) -> None:
    path = f"files/{ALICE}/a.png"
    sent = await owned.put(path, picture(64, 64, ".png"), owned.user(ALICE), **{"content-type": "image/png"})
    assert sent.status_code == 200
    url = f"{V1}/render/image/authenticated/{path}?width=10"
    assert (await owned.http.get(url, headers=owned.user(ALICE))).status_code == 200
    stranger = await owned.http.get(url, headers=owned.user(BOB))
    assert refusal(stranger) == (400, "404", "not_found", "Object not found")
    public = await owned.http.get(f"{PUBLIC}/{path}?width=10")
    assert refusal(public) == (400, "404", "Bucket not found", "Bucket not found")
    owned.sql('drop policy "read own" on storage.objects')
    assert (await owned.http.get(url, headers=owned.user(ALICE))).status_code == 400
