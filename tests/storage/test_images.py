"""Images over HTTP: transformed, negotiated, signed, cached, as a running storage service serves them."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pyvips

from isobase_platform.config import Settings
from tests.storage.conftest import ALICE, BOB, Stack, refusal, running, with_storage
from tests.storage.images import SVG, animation, encoded, gradient, opened, picture, pixel

V1 = "/storage/v1"
RENDER = f"{V1}/render/image"
IMAGES = f"{RENDER}/public/pictures"


async def put(stack: Stack, path: str, content: bytes, mime_type: str = "image/jpeg", **headers: str) -> None:
    extra = {"content-type": mime_type, "x-upsert": "true", **headers}
    answer = await stack.put(path, content, stack.admin, **extra)
    assert answer.status_code == 200, answer.text


async def render(stack: Stack, content: bytes, query: str = "", **headers: str) -> tuple[str, Any]:
    """The media type and the image of a rendering of ``content``."""
    await put(stack, "pictures/x", content)
    answer = await stack.http.get(f"{IMAGES}/x?{query}", headers={"accept": "*/*", **headers})
    assert answer.status_code == 200, answer.text
    return answer.headers["content-type"], opened(answer.content)


def cached(stack: Stack) -> list[Path]:
    root = stack.platform.settings.image_cache_root
    return [path for path in (root / "images").rglob("*") if path.is_file()]


@pytest.fixture
async def pictures(database: Settings) -> AsyncIterator[Stack]:
    async with running(with_storage(database, images={"workers": 1})) as stack:
        await stack.bucket("pictures", public=True)
        await put(stack, "pictures/a.jpg", picture(400, 300))
        yield stack


async def test_an_image_is_rendered_as_the_query_asks(pictures: Stack) -> None:
    answer = await pictures.http.get(f"{IMAGES}/a.jpg?width=200&height=200&quality=60")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-transformations"] == "height:200,width:200,resizing_type:fill,quality:60"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-robots-tag"] == "none"
    assert answer.headers["vary"].lower().startswith("accept")
    image = opened(answer.content)
    assert (image.width, image.height) == (200, 200)
    smaller = await pictures.http.get(f"{IMAGES}/a.jpg?width=200&height=200&quality=20")
    assert len(smaller.content) < len(answer.content)


async def test_without_a_wish_the_image_still_goes_through_the_renderer(pictures: Stack) -> None:
    answer = await pictures.http.get(f"{IMAGES}/a.jpg")
    assert answer.status_code == 200
    assert "x-transformations" not in answer.headers
    assert (opened(answer.content).width, opened(answer.content).height) == (400, 300)
    assert answer.headers["etag"] != (await pictures.http.get(f"{V1}/object/public/pictures/a.jpg")).headers["etag"]


async def test_the_part_that_gravity_names_is_kept(pictures: Stack) -> None:
    _, left = await render(pictures, picture(400, 100, ".png"), "width=100&height=100&gravity=we")
    _, right = await render(
        pictures, picture(400, 100, ".png"), "width=100&height=100&gravity=fp&x_offset=1&y_offset=0"
    )
    assert pixel(left, 0, 50)[0] < 5
    assert pixel(right, 99, 50)[0] > 250
    _, smart = await render(pictures, picture(400, 100), "width=100&height=100&gravity=sm")
    assert (smart.width, smart.height) == (100, 100)


async def test_the_client_chooses_among_what_it_accepts_unless_a_format_is_named(pictures: Stack) -> None:
    source = picture(64, 64, ".png")
    for accept, query, expected in (
        ("image/avif,image/webp,*/*", "", "image/webp"),
        ("image/avif,*/*", "", "image/png"),
        ("image/webp", "format=origin", "image/png"),
        ("*/*", "format=webp", "image/webp"),
        ("*/*", "format=avif", "image/avif"),
    ):
        found, image = await render(pictures, source, query, accept=accept)
        assert found == expected, (accept, query)
        assert (image.width, image.height) == (64, 64)


async def test_formats_of_sources_are_read_and_answered_in_formats_of_the_web(pictures: Stack) -> None:
    for suffix, bands, expected in (
        (".jpg", 3, "image/jpeg"),
        (".png", 4, "image/png"),
        (".gif", 3, "image/gif"),
        (".webp", 3, "image/jpeg"),
        (".webp", 4, "image/png"),
        (".avif", 3, "image/jpeg"),
        (".tif", 3, "image/jpeg"),
    ):
        found, image = await render(pictures, picture(120, 80, suffix, bands=bands), "width=60&resize=contain")
        assert found == expected, suffix
        assert (image.width, image.height) == (60, 40)


async def test_animations_stay_animations_where_the_format_can(pictures: Stack) -> None:
    for suffix, query, expected, frames in (
        (".gif", "width=40&height=40", "image/gif", 5),
        (".gif", "width=40&height=40&format=webp", "image/webp", 5),
        (".webp", "width=40&height=40&format=webp", "image/webp", 5),
        (".webp", "width=40&height=40", "image/gif", 5),
        (".gif", "width=40&height=40&format=avif", "image/avif", 1),
    ):
        found, image = await render(pictures, animation(120, 80, 5, suffix), query)
        assert found == expected
        assert (image.width, image.height) == (40, 40)
        assert (image.get("n-pages") if frames > 1 else 1) == frames
        assert frames == 1 or image.get("delay") == [100] * 5


async def test_a_photo_is_turned_upright_and_tells_nothing_more(pictures: Stack) -> None:
    for orientation in range(1, 9):
        image = gradient(90, 60).copy()
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
        image.set_type(pyvips.GValue.gstr_type, "exif-ifd3-GPSLatitude", "52/1 31/1 0/1")
        _, rendered = await render(pictures, encoded(image, ".jpg", Q=95), "quality=95")
        upright = image.autorot()
        assert (rendered.width, rendered.height) == (upright.width, upright.height)
        assert (rendered - upright).abs().avg() < 4
        assert not [field for field in rendered.get_fields() if "exif" in field or field == "orientation"]
        _, avif = await render(pictures, encoded(image, ".jpg", Q=95), "quality=95&format=avif")
        assert (avif.autorot() - upright).abs().avg() < 6


async def test_colours_of_other_spaces_become_srgb(pictures: Stack) -> None:
    base = gradient(80, 60)
    sources = {
        "16 bit": encoded(base.colourspace("rgb16"), ".png"),
        "CMYK": encoded(base.icc_export(output_profile="cmyk"), ".jpg", Q=95),
        "wide": encoded(base.icc_export(output_profile="p3"), ".png"),
        "palette": encoded(base, ".png", palette=True),
        "one bit": encoded((base[0] > 127).ifthenelse(255, 0).cast("uchar"), ".png", bitdepth=1),
        "grey": picture(80, 60, bands=1),
    }
    for name, source in sources.items():
        _, image = await render(pictures, source, "format=webp&quality=95")
        assert image.interpretation == "srgb", name
        assert image.bands == 3
        assert not image.get_typeof("icc-profile-data")
        if name in {"16 bit", "wide", "palette"}:
            assert (image - base).abs().avg() < 12, name


async def test_transparency_is_kept_where_it_can_be_and_white_elsewhere(pictures: Stack) -> None:
    source = picture(100, 50, ".png", bands=4)
    found, image = await render(pictures, source, "width=50&resize=contain")
    assert (found, image.bands) == ("image/png", 4)
    assert pixel(image, 45, 10)[3] == 0
    assert pixel(image, 5, 10)[3] == 255
    found, image = await render(pictures, encoded(gradient(12, 12, 4), ".png"), "format=avif&width=6&height=6")
    assert found == "image/png"  # too small for AVIF
    flat = encoded(gradient(100, 50, 4), ".tif")
    _, image = await render(pictures, flat, "format=webp")
    assert image.bands == 4


async def test_one_pixel_is_an_image(pictures: Stack) -> None:
    for query in ("", "width=2000&height=2000", "width=1&height=1&resize=fill", "format=webp", "gravity=sm&width=1"):
        _, image = await render(pictures, picture(1, 1, ".png"), query)
        assert (image.width, image.height) == (1, 1)


async def test_a_signed_url_keeps_its_transform_and_takes_none_of_the_query(pictures: Stack) -> None:
    body = {"expiresIn": 600, "transform": {"width": 50, "height": 40, "resize": "contain", "format": "webp"}}
    answer = await pictures.http.post(f"{V1}/object/sign/pictures/a.jpg", json=body, headers=pictures.admin)
    url = answer.json()["signedURL"]
    assert url.startswith("/render/image/sign/pictures/a.jpg?token=")
    rendered = await pictures.http.get(f"{V1}{url}&width=300&download=b.webp")
    assert rendered.status_code == 200, rendered.text
    assert rendered.headers["content-type"] == "image/webp"
    assert rendered.headers["x-transformations"] == "height:40,width:50,resizing_type:fit,format:webp"
    assert rendered.headers["content-disposition"] == "attachment; filename=b.webp; filename*=UTF-8''b.webp"
    assert "expires" in rendered.headers
    assert "cache-control" not in rendered.headers
    assert (opened(rendered.content).width, opened(rendered.content).height) == (50, 38)
    other = await pictures.http.get(f"{V1}{url.replace('a.jpg', 'b.jpg')}")
    assert refusal(other) == (400, "400", "InvalidSignature", "Invalid signature")
    missing = await pictures.http.get(f"{RENDER}/sign/pictures/a.jpg")
    assert refusal(missing)[3] == "querystring must have required property 'token'"


async def test_a_signed_url_of_nothing_to_transform_is_the_objects(pictures: Stack) -> None:
    for wish in ({}, {"format": "origin"}, {"width": 0}, {"resize": "fill"}):
        body = {"expiresIn": 600, "transform": wish}
        answer = await pictures.http.post(f"{V1}/object/sign/pictures/a.jpg", json=body, headers=pictures.admin)
        assert answer.json()["signedURL"].startswith("/object/sign/"), wish


async def test_a_signed_origin_is_the_origin_whatever_the_client_accepts(pictures: Stack) -> None:
    body = {"expiresIn": 600, "transform": {"width": 50, "format": "origin"}}
    answer = await pictures.http.post(f"{V1}/object/sign/pictures/a.jpg", json=body, headers=pictures.admin)
    rendered = await pictures.http.get(V1 + answer.json()["signedURL"], headers={"accept": "image/webp"})
    assert rendered.headers["content-type"] == "image/jpeg"


async def test_the_official_client_signs_and_downloads_transforms(pictures: Stack) -> None:
    bucket = pictures.client(pictures.service_token).from_("pictures")
    await bucket.upload("b.svg", SVG, {"content-type": "image/svg+xml"})
    transform: Any = {"transform": {"width": 200, "height": 200, "resize": "cover"}}
    signed = await bucket.create_signed_url("b.svg", 60, transform)
    answer = await pictures.http.get(str(signed["signedURL"]))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/svg+xml"
    content = await bucket.download("a.jpg", transform)
    assert opened(content).width == 200
    assert (await pictures.http.get(await bucket.get_public_url("a.jpg", transform))).status_code == 200


BAD_WISHES = (
    ("width=-1", "querystring/width must be >= 0"),
    ("width=a", "querystring/width must be integer"),
    ("width=1.5", "querystring/width must be integer"),
    ("quality=19", "querystring/quality must be >= 20"),
    ("quality=101", "querystring/quality must be <= 100"),
    ("resize=stretch", "querystring/resize must be equal to one of the allowed values"),
    ("format=png", "querystring/format must be equal to one of the allowed values"),
    ("gravity=up", "querystring/gravity must be equal to one of the allowed values"),
    ("x_offset=Infinity", "querystring/x_offset must be number"),
    ("gravity=fp", "querystring must have required property 'x_offset', querystring must match \"then\" schema"),
    ("gravity=fp&x_offset=2&y_offset=0", 'querystring/x_offset must be <= 1, querystring must match "then" schema'),
)


async def test_a_wish_that_is_none_is_refused(pictures: Stack) -> None:
    for query, message in BAD_WISHES:
        answer = await pictures.http.get(f"{IMAGES}/a.jpg?{query}")
        assert refusal(answer) == (400, "400", "Error", message)


async def test_what_a_caller_may_not_read_he_gets_no_image_of_even_from_the_cache(owned: Stack) -> None:
    path = f"files/{ALICE}/a.png"
    sent = await owned.put(path, picture(64, 64, ".png"), owned.user(ALICE), **{"content-type": "image/png"})
    assert sent.status_code == 200
    url = f"{RENDER}/authenticated/{path}?width=10"
    first = await owned.http.get(url, headers=owned.user(ALICE))
    assert first.status_code == 200
    stranger = await owned.http.get(url, headers={**owned.user(BOB), "if-none-match": first.headers["etag"]})
    assert refusal(stranger) == (400, "404", "not_found", "Object not found")
    public = await owned.http.get(f"{RENDER}/public/{path}?width=10")
    assert refusal(public) == (400, "404", "Bucket not found", "Bucket not found")
    nobody = await owned.http.get(url)
    assert refusal(nobody)[1:3] == ("403", "Unauthorized")
    owned.sql('drop policy "read own" on storage.objects')
    assert (await owned.http.get(url, headers=owned.user(ALICE))).status_code == 400


async def test_policies_know_that_an_image_is_rendered(storage: Stack) -> None:
    await storage.bucket("private")
    await put(storage, "private/a.jpg", picture(30, 30))
    storage.sql(
        "create policy images on storage.objects for select to authenticated "
        "using (storage.operation() = 'storage.render.image_authenticated')"
    )
    url = f"{RENDER}/authenticated/private/a.jpg?width=10"
    assert (await storage.http.get(url, headers=storage.user(ALICE))).status_code == 200
    plain = await storage.http.get(f"{V1}/object/authenticated/private/a.jpg", headers=storage.user(ALICE))
    assert plain.status_code == 400


async def test_a_missing_object_and_a_row_without_bytes_are_not_found(pictures: Stack) -> None:
    missing = await pictures.http.get(f"{IMAGES}/none.jpg")
    assert refusal(missing) == (400, "404", "not_found", "Object not found")
    pictures.sql("insert into storage.objects (bucket_id, name) values ('pictures', 'seeded.jpg')")
    seeded = await pictures.http.get(f"{IMAGES}/seeded.jpg?width=5")
    assert refusal(seeded) == (400, "404", "Not found", "The resource was not found")


async def test_the_etag_tells_versions_wishes_and_formats_apart(pictures: Stack) -> None:
    async def etag(query: str, accept: str = "*/*") -> str:
        answer = await pictures.http.get(f"{IMAGES}/a.jpg?{query}", headers={"accept": accept})
        return answer.headers["etag"]

    first = await etag("width=20")
    tags = {first, await etag("width=21"), await etag("width=20", "image/webp"), await etag("width=20&quality=50")}
    assert len(tags) == 4
    assert await etag("width=20") == first
    for given in (first, f"W/{first}", f'"other", {first}'):
        answer = await pictures.http.get(f"{IMAGES}/a.jpg?width=20", headers={"if-none-match": given})
        assert answer.status_code == 304
        assert answer.content == b""
        assert answer.headers["etag"] == first
        assert answer.headers["cache-control"] == "no-cache"
    stale = await pictures.http.get(f"{IMAGES}/a.jpg?width=22", headers={"if-none-match": first})
    assert stale.status_code == 200
    assert stale.headers["cache-control"] == "no-cache, stale-while-revalidate=30"
    await put(pictures, "pictures/a.jpg", picture(400, 300))
    assert await etag("width=20") != first


async def test_head_is_get_without_a_body(pictures: Stack) -> None:
    url = f"{IMAGES}/a.jpg?width=20&download="
    got, head = await pictures.http.get(url), await pictures.http.head(url)
    assert head.status_code == 200
    assert head.content == b""
    for name in ("content-length", "content-type", "etag", "x-transformations", "content-disposition", "last-modified"):
        assert head.headers[name] == got.headers[name], name
    assert (await pictures.http.head(f"{IMAGES}/none")).status_code == 400


async def test_a_new_version_never_shows_an_old_image(pictures: Stack) -> None:
    url = f"{IMAGES}/b.png?width=10&height=10"
    for shade in (0, 120, 255, 120):
        await put(pictures, "pictures/b.png", encoded((pyvips.Image.black(20, 20) + shade).cast("uchar"), ".png"))
        for _ in range(2):
            answer = await pictures.http.get(url)
            assert pixel(opened(answer.content), 5, 5)[0] == shade


async def test_what_was_made_once_is_kept_and_found_by_another_server_of_the_machine(database: Settings) -> None:
    settings = with_storage(database, images={"workers": 1})
    async with running(settings) as stack:
        await stack.bucket("pictures", public=True)
        await put(stack, "pictures/a.jpg", picture(400, 300))
        first = await stack.http.get(f"{IMAGES}/a.jpg?width=77")
        assert len(cached(stack)) == 1
        assert list((settings.image_cache_root / "tmp").iterdir()) == []
        assert oct((settings.image_cache_root / "images").stat().st_mode & 0o777) == "0o700"
    async with running(settings) as stack:
        second = await stack.http.get(f"{IMAGES}/a.jpg?width=77")
        assert second.content == first.content
        assert stack.service._core.images._pool._idle == []


async def test_a_kept_image_that_a_crash_cut_short_is_made_again(pictures: Stack) -> None:
    url = f"{IMAGES}/a.jpg?width=77"
    first = await pictures.http.get(url)
    (path,) = cached(pictures)
    for damage in (
        b"",
        path.read_bytes()[:100],
        bytes(path.stat().st_size),
        b"isobase-image-1 image/jpeg x".ljust(200),
    ):
        path.write_bytes(damage)
        again = await pictures.http.get(url)
        assert again.content == first.content


async def test_kept_images_stay_within_their_room_and_the_longest_unused_goes_first(database: Settings) -> None:
    async with running(with_storage(database, images={"workers": 1, "cache_bytes": 60_000})) as stack:
        await stack.bucket("pictures", public=True)
        await put(stack, "pictures/a.jpg", picture(400, 300))
        await stack.http.get(f"{IMAGES}/a.jpg?width=300&height=299")
        (first,) = cached(stack)
        for number in range(12):
            long_ago_s = time.time() - 1000
            os.utime(first, (long_ago_s, long_ago_s))
            await stack.http.get(f"{IMAGES}/a.jpg?width=300&height=299")  # used again, and so not the first to go
            await stack.http.get(f"{IMAGES}/a.jpg?width=300&height={200 + number}")
            assert sum(path.stat().st_size for path in cached(stack)) <= 60_000
        assert 2 < len(cached(stack)) < 12
        assert first in cached(stack)


async def test_nothing_is_kept_where_there_is_no_room_for_it(database: Settings) -> None:
    async with running(with_storage(database, images={"workers": 1, "cache_bytes": 0})) as stack:
        await stack.bucket("pictures", public=True)
        await put(stack, "pictures/a.jpg", picture(400, 300))
        for _ in range(2):
            answer = await stack.http.get(f"{IMAGES}/a.jpg?width=77")
            assert opened(answer.content).width == 77
        assert cached(stack) == []
        assert list((stack.platform.settings.image_cache_root / "tmp").iterdir()) == []


async def test_a_purge_drops_an_objects_a_buckets_or_all_images(pictures: Stack) -> None:
    await pictures.bucket("more", public=True)
    for name in ("pictures/a.jpg", "pictures/b.jpg", "more/a.jpg"):
        await put(pictures, name, picture(60, 60))
        for width in (10, 20):
            assert (await pictures.http.get(f"{RENDER}/public/{name}?width={width}")).status_code == 200
    assert len(cached(pictures)) == 6
    for path, left in (("/pictures/b.jpg?transformations=true", 4), ("/pictures", 2), ("", 0)):
        answer = await pictures.http.delete(f"{V1}/cdn{path}", headers=pictures.admin)
        assert answer.status_code == 200, answer.text
        assert len(cached(pictures)) == left
    assert (await pictures.http.get(f"{IMAGES}/a.jpg?width=10")).status_code == 200


async def test_switched_off_there_is_no_such_route_and_transforms_mean_nothing(database: Settings) -> None:
    async with running(with_storage(database, images={"enabled": False})) as stack:
        await stack.bucket("pictures", public=True)
        await put(stack, "pictures/a.jpg", picture(30, 30))
        answer = await stack.http.get(f"{IMAGES}/a.jpg")
        assert refusal(answer) == (404, "404", "Not Found", "Route GET:/render/image/public/pictures/a.jpg not found")
        body = {"expiresIn": 600, "transform": {"width": 5}}
        signed = await stack.http.post(f"{V1}/object/sign/pictures/a.jpg", json=body, headers=stack.admin)
        assert signed.json()["signedURL"].startswith("/object/sign/")


async def test_where_libvips_is_missing_the_log_says_so(
    pictures: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "pyvips.py").write_text("raise ImportError('no libvips here')")
    monkeypatch.syspath_prepend(tmp_path)
    answer = await pictures.http.get(f"{IMAGES}/a.jpg?width=9")
    assert refusal(answer) == (500, "500", "InternalError", "Internal error")
    assert "libvips cannot be loaded: no libvips here" in caplog.text
    monkeypatch.undo()
    assert (await pictures.http.get(f"{IMAGES}/a.jpg?width=9")).status_code == 200
