"""What the tests of sessions share: clients on a breakable network, sessions that end, callers side by side."""

from __future__ import annotations

# [async]
import asyncio

# [/async]
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

# [sync] from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from isobase._acompat import asleep
from isobase.auth import AsyncGoTrueClient, Session, sign_out_reason
from isobase.auth._async.storage import get_item, set_item
from tests.sdk.auth.conftest import AuthService

__all__ = ["PASSWORD", "Events", "expire", "new_address", "opened", "signed_up", "together", "until"]

PASSWORD = "correct horse battery"
PATIENCE_S = 60.0


class Events(list[tuple[str, str | None]]):
    """The events of a client, each with the reason of a sign-out."""

    def __init__(self, client: AsyncGoTrueClient) -> None:
        super().__init__()
        self.sessions: list[Session | None] = []
        client.on_auth_state_change(self.hear)

    def hear(self, event: str, session: Session | None) -> None:
        """Remember one."""
        self.append((str(event), sign_out_reason(event)))
        self.sessions.append(session)

    @property
    def names(self) -> list[str]:
        """The events without reasons."""
        return [name for name, _ in self]


def new_address() -> str:
    """An address that nobody has had."""
    return f"person-{uuid4()}@example.com"


@asynccontextmanager
async def opened(service: AuthService, *, url: str | None = None, **settings: Any) -> AsyncIterator[AsyncGoTrueClient]:
    """A client of the service, or of what stands before it; it refreshes nothing by itself unless it is told to."""
    given = {"auto_refresh_token": False, **settings}
    async with AsyncGoTrueClient(url=url or service.url, headers=service.anon_headers, **given) as client:
        yield client


async def signed_up(client: AsyncGoTrueClient) -> Session:
    """A new user, signed in."""
    found = (await client.sign_up({"email": new_address(), "password": PASSWORD})).session
    assert found is not None
    return found


async def expire(client: AsyncGoTrueClient, *, seconds_left: int = -5) -> None:
    """Let the stored session end, as if time had passed."""
    text = await get_item(client._storage, client._storage_key)
    assert text is not None
    stored = json.loads(text) | {"expires_at": int(time.time()) + seconds_left}
    await set_item(client._storage, client._storage_key, json.dumps(stored))


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asleep(0.02)


# [async]
async def together(*works: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Do all at the same time; gives results, or the errors in their place."""
    return await asyncio.gather(*(work() for work in works), return_exceptions=True)


# [/async]
# [sync] def together(*works: Callable[[], Any]) -> list[Any]:
# [sync]     """Do all at the same time; gives results, or the errors in their place."""
# [sync]     with ThreadPoolExecutor(len(works)) as pool:
# [sync]         futures = [pool.submit(work) for work in works]
# [sync]     return [future.exception() or future.result() for future in futures]
