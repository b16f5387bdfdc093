"""A session beyond one call: refreshed in the background, taken up from its storage, shared with other clients, and kept
where the storage fails.
"""

from __future__ import annotations

# [async]
import asyncio

# [/async]
# [sync] import threading
from pathlib import Path

import pytest

from isobase.auth import FileStorage
from isobase.auth._async.storage import AsyncMemoryStorage
from isobase.auth.errors import AuthApiError
from tests.sdk.auth._async.tools import Events, expire, opened, signed_up, together, until
from tests.sdk.auth.conftest import AuthService
from tests.sdk.auth.network import Network

# The background


@pytest.mark.capability("auth.session.auto_refresh")
async def test_a_session_is_refreshed_in_the_background_before_it_ends(
    auth_service: AuthService, network: Network
) -> None:
    async with opened(auth_service, url=network.url) as client:
        first = await signed_up(client)
        events = Events(client)
        await expire(client, seconds_left=30)
        assert not client._timer.is_armed()
        network.breaks(times=1)  # and the first try goes wrong
        await client.start_auto_refresh()
        await until(lambda: "TOKEN_REFRESHED" in events.names)
        assert client._timer.is_armed()  # for the next one
        found = await client.get_session()
        assert found is not None
        assert found.refresh_token != first.refresh_token
        await client.stop_auto_refresh()
        assert not client._timer.is_armed()
        await signed_up(client)
        assert not client._timer.is_armed()
        await client.start_auto_refresh()
        assert client._timer.is_armed()
        await client.sign_out({"scope": "local"})
        assert not client._timer.is_armed()


async def test_a_stored_session_is_taken_up_and_refreshed_when_it_is_due(
    auth_service: AuthService, tmp_path: Path
) -> None:
    storage = FileStorage(tmp_path / "session.json")
    async with opened(auth_service, storage=storage) as client:
        first = await signed_up(client)
    async with opened(auth_service, storage=storage, auto_refresh_token=True) as client:
        events = Events(client)
        await client.initialize()
        assert events.names == ["SIGNED_IN"]
        assert client._timer.is_armed()
        assert await client.get_session() == first
        await expire(client)
    async with opened(auth_service, storage=storage, auto_refresh_token=True) as client:
        events = Events(client)
        await client.initialize()
        assert events.names == ["TOKEN_REFRESHED"]


async def test_a_start_without_a_network_keeps_the_stored_session(
    auth_service: AuthService, network: Network, tmp_path: Path
) -> None:
    storage = FileStorage(tmp_path / "session.json")
    async with opened(auth_service, storage=storage) as client:
        await signed_up(client)
        await expire(client)
    network.breaks()
    async with opened(auth_service, url=network.url, storage=storage, auto_refresh_token=True) as client:
        events = Events(client)
        await client.initialize()
        assert events == []
        network.heals()
        await until(lambda: events.names == ["TOKEN_REFRESHED"])


async def test_what_runs_in_the_background_ends_with_the_client(auth_service: AuthService) -> None:
    before = background()
    async with opened(auth_service, auto_refresh_token=True) as client:
        await signed_up(client)
        assert client._timer.is_armed()
    assert not client._timer.is_armed()
    assert background() <= before


# [async]
def background() -> set[asyncio.Task[object]]:
    """What runs beside the test."""
    return asyncio.all_tasks()


# [/async]
# [sync] def background() -> set[threading.Thread]:
# [sync]     """What runs beside the test."""
# [sync]     return {thread for thread in threading.enumerate() if "isobase" in thread.name}


# One storage for several clients


async def test_clients_that_share_a_file_refresh_once(
    auth_service: AuthService, network: Network, tmp_path: Path
) -> None:
    path = tmp_path / "session.json"
    async with (
        opened(auth_service, url=network.url, storage=FileStorage(path)) as first,
        opened(auth_service, url=network.url, storage=FileStorage(path)) as second,
    ):
        await signed_up(first)
        assert await second.get_session() is not None
        events = Events(second)
        await expire(first)
        found = await together(first.get_session, second.get_session, first.get_session, second.get_session)
        assert len({session.refresh_token for session in found}) == 1
        assert network.refreshes == 1
        assert events.names == ["TOKEN_REFRESHED"]
        await first.sign_out({"scope": "local"})
        assert await second.get_session() is None
        assert events[-1] == ("SIGNED_OUT", "session_missing")


async def test_a_refusal_counts_only_if_nobody_else_has_a_newer_session(
    auth_service: AuthService, network: Network
) -> None:
    async with opened(auth_service) as owner, opened(auth_service, url=network.url) as client:
        session = await signed_up(owner)
        client._storage = owner._storage
        assert await client.get_session() == session
        with pytest.raises(AuthApiError):  # a token that is not the stored one ends nothing
            await client.refresh_session("abcdefghijkl")
        assert await client.get_session() == session


# A storage that fails


class FullStorage(AsyncMemoryStorage):
    """A storage that takes nothing while ``is_full``, and gives nothing while ``is_away``; its error shows what it was
    given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_full = self.is_away = False

    async def get_item(self, key: str) -> str | None:
        """Read, when that is possible."""
        if self.is_away:
            raise OSError("no disk")
        return await super().get_item(key)

    async def set_item(self, key: str, value: str) -> None:
        """Write, when that is possible."""
        if self.is_full:
            raise OSError(f"no space for {value}")
        await super().set_item(key, value)


async def test_a_refreshed_session_that_the_storage_does_not_take_is_kept_and_stored_later(
    auth_service: AuthService, caplog: pytest.LogCaptureFixture
) -> None:
    storage = FullStorage()
    async with opened(auth_service, storage=storage) as client:
        first = await signed_up(client)
        storage.is_full = True
        renewed = (await client.refresh_session(first.refresh_token)).session
        assert renewed is not None
        assert renewed.refresh_token != first.refresh_token
        storage.is_away = True
        client._held.hurry()
        found = await client.get_session()
        assert found is not None
        assert found.refresh_token == renewed.refresh_token
        again = (await client.refresh_session()).session  # two refreshes without a storage
        assert again is not None
        assert again.refresh_token != renewed.refresh_token
        assert [record.levelname for record in caplog.records if "did not take" in record.message] == ["ERROR"] * 2
        assert first.refresh_token not in caplog.text
        assert renewed.refresh_token not in caplog.text
        storage.is_full = storage.is_away = False
        client._held.hurry()
        found = await client.get_session()
        assert found is not None
        assert found.refresh_token == again.refresh_token
        assert again.refresh_token in (await storage.get_item(client._storage_key) or "")
        assert (await client.get_user()) is not None


async def test_a_session_that_was_not_stored_is_stored_in_the_background_and_at_the_latest_when_the_client_closes(
    auth_service: AuthService,
) -> None:
    storage = FullStorage()
    async with opened(auth_service, storage=storage, auto_refresh_token=True) as client:
        await signed_up(client)
        for _ in range(2):
            storage.is_full = True
            renewed = (await client.refresh_session()).session
            assert renewed is not None
            storage.is_full = False
            await until(lambda: not client._held.is_holding)
            assert renewed.refresh_token in (await storage.get_item(client._storage_key) or "")
        await client.stop_auto_refresh()
        storage.is_full = True
        renewed = (await client.refresh_session()).session
        storage.is_full = False
    assert renewed is not None
    assert renewed.refresh_token in (await storage.get_item(client._storage_key) or "")


async def test_a_session_that_another_process_stored_meanwhile_holds(auth_service: AuthService) -> None:
    storage = FullStorage()
    async with opened(auth_service, storage=storage) as client, opened(auth_service) as other:
        await signed_up(client)
        theirs = await signed_up(other)
        storage.is_full = True
        await client.refresh_session()
        storage.is_full = False
        await storage.set_item(client._storage_key, theirs.model_dump_json())
        client._held.hurry()
        found = await client.get_session()
        assert found is not None
        assert found.user.id == theirs.user.id
        storage.is_full = True
        await client.refresh_session()
        storage.is_full = False
        await storage.remove_item(client._storage_key)
        client._held.hurry()
        assert await client.get_session() is None


async def test_a_sign_in_whose_session_cannot_be_stored_raises_what_the_storage_raised(
    auth_service: AuthService,
) -> None:
    storage = FullStorage()
    storage.is_full = True
    async with opened(auth_service, storage=storage) as client:
        with pytest.raises(OSError, match="no space"):
            await signed_up(client)
