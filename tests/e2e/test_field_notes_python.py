"""The sample project driven by the official supabase client for Python, unmodified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from postgrest.exceptions import APIError
from storage3.utils import StorageException
from supabase import AsyncClient, acreate_client
from supabase_auth.errors import AuthApiError

from realtime import RealtimePostgresChangesListenEvent
from tests.plugins.stack import Stack

pytestmark = pytest.mark.e2e

PASSWORD = "password123"
WAIT_S = 60.0


async def until(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"waited {WAIT_S} s for {what}")


@asynccontextmanager
async def client_for(stack: Stack, key: str) -> AsyncIterator[AsyncClient]:
    """A client with the key; its HTTP sessions and socket are closed at the end, which it leaves to its user."""
    client = await acreate_client(stack.url, key)
    try:
        yield client
    finally:
        await client.realtime.close()
        await client.auth.close()
        await client.postgrest.aclose()
        await client.storage.__aexit__(None, None, None)


async def sign_up(client: AsyncClient, name: str) -> str:
    answer = await client.auth.sign_up({"email": f"{name}-{uuid4().hex[:8]}@example.com", "password": PASSWORD})
    assert answer.user is not None
    assert answer.session is not None
    return answer.user.id


@pytest.fixture
async def alice(stack: Stack) -> AsyncIterator[tuple[AsyncClient, str]]:
    async with client_for(stack, stack.anon_key) as client:
        yield client, await sign_up(client, "alice")


@pytest.fixture
async def bob(stack: Stack) -> AsyncIterator[tuple[AsyncClient, str]]:
    async with client_for(stack, stack.anon_key) as client:
        yield client, await sign_up(client, "bob")


@pytest.fixture
async def anon(stack: Stack) -> AsyncIterator[AsyncClient]:
    async with client_for(stack, stack.anon_key) as client:
        yield client


async def a_project(client: AsyncClient) -> dict[str, Any]:
    answer = await client.table("projects").insert({"name": "Heath"}).execute()
    project: dict[str, Any] = answer.data[0]  # type: ignore[assignment]
    return project


async def test_a_user_signs_in_refreshes_and_signs_out(stack: Stack, anon: AsyncClient) -> None:
    session = (await anon.auth.sign_in_with_password({"email": "bob@example.com", "password": PASSWORD})).session
    assert session is not None
    fresh = (await anon.auth.refresh_session()).session
    assert fresh is not None
    assert fresh.refresh_token != session.refresh_token
    user = await anon.auth.get_user()
    assert user is not None
    assert user.user.email == "bob@example.com"
    await anon.auth.sign_out()
    with pytest.raises(AuthApiError) as caught:
        await anon.auth.sign_in_with_password({"email": "bob@example.com", "password": "wrong-password"})
    assert caught.value.code == "invalid_credentials"


async def test_the_admin_api_makes_users_and_their_profiles(stack: Stack) -> None:
    async with client_for(stack, stack.service_role_key) as admin:
        email = f"made-{uuid4().hex[:8]}@example.com"
        made = await admin.auth.admin.create_user({"email": email, "password": PASSWORD, "email_confirm": True})
        profile = await admin.table("profiles").select("username").eq("id", made.user.id).single().execute()
        assert str(profile.data["username"]).startswith("user_")  # type: ignore[call-overload,index]
        await admin.auth.admin.delete_user(made.user.id)
        assert (await admin.table("profiles").select("id").eq("id", made.user.id).execute()).data == []


async def test_rows_belong_to_those_who_may_see_them(
    alice: tuple[AsyncClient, str], bob: tuple[AsyncClient, str], anon: AsyncClient
) -> None:
    owner, owner_id = alice
    project = await a_project(owner)
    rows = [{"project_id": project["id"], "title": title} for title in ("Adder", "Lizard")]
    inserted = (await owner.table("notes").insert(rows).execute()).data
    assert [row["author_id"] for row in inserted] == [owner_id, owner_id]  # type: ignore[index,call-overload]
    read = await (
        owner.table("notes")
        .select("title, projects(name)")
        .eq("project_id", project["id"])
        .in_("title", ["Adder", "Lizard"])
        .order("title", desc=True)
        .execute()
    )
    assert read.data == [
        {"title": "Lizard", "projects": {"name": "Heath"}},
        {"title": "Adder", "projects": {"name": "Heath"}},
    ]
    await (
        owner.table("notes").update({"body": "basking"}).eq("title", "Adder").eq("project_id", project["id"]).execute()
    )
    for stranger in (bob[0], anon):
        assert (await stranger.table("notes").select("*").eq("project_id", project["id"]).execute()).data == []
        assert (await stranger.table("notes").delete().eq("project_id", project["id"]).execute()).data == []
    with pytest.raises(APIError) as refused:
        await bob[0].table("notes").insert({"project_id": project["id"], "title": "x"}).execute()
    assert refused.value.code == "42501"
    stats = await owner.rpc("project_stats", {"project": project["id"]}).execute()
    assert stats.data["notes"] == 2  # type: ignore[index,call-overload]
    left = await owner.table("notes").delete().eq("project_id", project["id"]).eq("title", "Adder").execute()
    assert [row["title"] for row in left.data] == ["Adder"]  # type: ignore[index,call-overload]


async def test_a_file_belongs_to_the_owner_of_its_folder(
    alice: tuple[AsyncClient, str], bob: tuple[AsyncClient, str], anon: AsyncClient
) -> None:
    owner, owner_id = alice
    path = f"{owner_id}/adder.txt"
    content = b"zigzag " * 10_000
    await owner.storage.from_("photos").upload(path, content, {"content-type": "text/plain"})
    assert await owner.storage.from_("photos").download(path) == content
    assert [file["name"] for file in await owner.storage.from_("photos").list(owner_id)] == ["adder.txt"]
    link = await owner.storage.from_("photos").create_signed_url(path, 60)
    async with httpx.AsyncClient() as http:
        assert (await http.get(str(link["signedURL"]))).content == content
    for stranger in (bob[0], anon):
        with pytest.raises(StorageException):
            await stranger.storage.from_("photos").download(path)
        with pytest.raises(StorageException):
            await stranger.storage.from_("photos").upload(f"{owner_id}/x.txt", b"x", {"content-type": "text/plain"})
        assert await stranger.storage.from_("photos").remove([path]) == []
    removed = await owner.storage.from_("photos").remove([path])
    assert [file["name"] for file in removed] == [path]


async def test_row_changes_and_broadcasts_are_received(
    alice: tuple[AsyncClient, str], bob: tuple[AsyncClient, str]
) -> None:
    owner, stranger = alice[0], bob[0]
    project = await a_project(owner)
    changes: dict[str, list[dict[str, Any]]] = {"owner": [], "stranger": []}
    live: set[str] = set()
    messages: list[dict[str, Any]] = []
    for name, client in (("owner", owner), ("stranger", stranger)):
        channel = client.channel(f"notes-of-{name}")
        heard: Any = changes[name].append
        channel.on_postgres_changes(
            RealtimePostgresChangesListenEvent.All, schema="public", table="notes", callback=heard
        )

        def system(message: Any, name: str = name) -> None:
            if message.extension == "postgres_changes" and message.status == "ok":
                live.add(name)

        channel.on_system(system)
        await channel.subscribe()
    listener = stranger.channel("hall")
    receive: Any = messages.append
    listener.on_broadcast("hello", receive)
    await listener.subscribe()
    speaker = owner.channel("hall")
    await speaker.subscribe()
    await until(lambda: live == {"owner", "stranger"}, "both subscriptions to be live")
    await owner.table("notes").insert({"project_id": project["id"], "title": "Slow worm"}).execute()
    await until(lambda: len(changes["owner"]) == 1, "the owner's row change")
    assert changes["owner"][0]["data"]["record"]["title"] == "Slow worm"
    assert changes["stranger"] == []
    await asyncio.sleep(0.1)
    await speaker.send_broadcast("hello", {"from": "alice"})
    await until(lambda: len(messages) == 1, "the broadcast")
    assert messages[0]["payload"] == {"from": "alice"}
    assert changes["stranger"] == []
