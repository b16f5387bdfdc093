"""``client.uploads`` against a running Isobase: announced, sent and completed; by form; found and deleted."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from isobase._async.client import AsyncClient
from isobase.uploads import AsyncUploads, IsobaseAPIError
from tests.plugins.stack import Stack
from tests.sdk.own.conftest import Person, fetched

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4000  # a megabyte in four pieces


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(stack.url, stack.anon_key) as client:
        yield client


@pytest.fixture
def alice(person: Callable[[], Person]) -> Person:
    return person()


@pytest.fixture
def uploads(client: AsyncClient, alice: Person) -> AsyncUploads:
    return client.as_user(alice.token).uploads


async def test_a_picture_is_sent_to_the_store_and_shown_to_everybody(
    uploads: AsyncUploads, alice: Person, tmp_path: Path
) -> None:
    picture = tmp_path / "me.png"
    picture.write_bytes(PNG)
    told: list[tuple[int, int]] = []
    stored = await uploads.send("profile-picture", picture, on_progress=lambda sent, size: told.append((sent, size)))
    assert stored.key.startswith(f"profile-pictures/{alice.user_id}/avatar-")
    assert (stored.size, stored.content_type, stored.expires_in) == (len(PNG), "image/png", None)
    assert told[-1] == (len(PNG), len(PNG))
    assert len(told) == 4
    assert fetched(stored.url).content == PNG


@pytest.mark.parametrize("is_open", [True, False], ids=["an open file", "bytes"])
async def test_a_story_is_its_owners(
    client: AsyncClient, uploads: AsyncUploads, person: Callable[[], Person], is_open: bool
) -> None:
    file = io.BytesIO(b"skipped" + PNG) if is_open else PNG
    if isinstance(file, io.BytesIO):
        file.seek(len(b"skipped"))
    stored = await uploads.send("story-media", file, content_type="image/png")
    assert fetched(stored.url).content == PNG
    again = await uploads.get(stored.file_id, expires_in=60, download="story.png")
    assert again.expires_in == 60
    assert "story.png" in fetched(again.url).headers["content-disposition"]
    with pytest.raises(IsobaseAPIError) as caught:
        await client.as_user(person().token).uploads.get(stored.file_id)
    assert caught.value.status == 404
    await uploads.delete(stored.file_id)
    with pytest.raises(IsobaseAPIError):
        await uploads.get(stored.file_id)


async def test_a_kind_asks_for_its_variables(uploads: AsyncUploads) -> None:
    stored = await uploads.send("activity-image", PNG, content_type="image/png", variables={"activity_id": "a-17"})
    assert stored.key.startswith("activity-images/a-17/")
    with pytest.raises(IsobaseAPIError) as caught:
        await uploads.send("activity-image", PNG, content_type="image/png")
    assert (caught.value.code, caught.value.status) == ("missing_variable", 400)


async def test_the_steps_can_be_taken_one_by_one_and_completing_again_changes_nothing(uploads: AsyncUploads) -> None:
    begun = await uploads.begin("profile-picture", content_type="image/png", size=len(PNG))
    assert begun.upload_url not in repr(begun)
    with pytest.raises(IsobaseAPIError) as caught:
        await uploads.complete(begun.upload_id)
    assert caught.value.code == "not_uploaded"
    await uploads.put(begun, PNG)
    first = await uploads.complete(begun.upload_id)
    assert await uploads.complete(begun.upload_id) == first


async def test_a_file_that_cannot_be_is_refused_before_it_is_sent(uploads: AsyncUploads) -> None:
    with pytest.raises(IsobaseAPIError) as caught:
        await uploads.send("profile-picture", b"text", content_type="text/plain")
    assert (caught.value.code, caught.value.status) == ("invalid_mime_type", 415)
    with pytest.raises(TypeError):
        await uploads.send("profile-picture", io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        await uploads.send("profile-picture", "/nowhere.png")


async def test_a_form_stores_a_small_file_below_the_users_folder(uploads: AsyncUploads, alice: Person) -> None:
    stored = await uploads.form(b"north edge", name="pond.txt", folder="albums/2026")
    assert stored.key.startswith(f"{alice.user_id}/albums/2026/")
    assert (stored.size, stored.content_type) == (10, "text/plain")
    public = await uploads.form(b"south", name="pond.txt", public=True)
    assert public.expires_in is None
    assert fetched(public.url).content == b"south"
    picture = await uploads.form(PNG, name="me.png", kind="profile-picture")
    assert picture.key.startswith("profile-pictures/")


async def test_a_token_that_is_no_users_uploads_nothing(client: AsyncClient) -> None:
    with pytest.raises(IsobaseAPIError) as caught:
        await client.uploads.form(b"x")
    assert caught.value.status in (401, 403)
