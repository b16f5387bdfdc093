"""The Python client's socket of rooms on a service whose database's log cannot be read for a while."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import pytest

from isobase.rooms import AsyncLiveRoom, AsyncRoomSocket, Live, Message, RoomEvent
from isobase_services.realtime.changes import intake
from isobase_services.realtime.simple.connection import SimpleConnection
from isobase_services.realtime.simple.frames import PING
from tests.realtime.conftest import ALICE, Stack
from tests.realtime.simple.conftest import Connect

WAIT_S = 60.0
PUBLICATIONS = ("supabase_realtime", "supabase_realtime_messages_publication")

Kind = TypeVar("Kind", bound=RoomEvent)


async def following(room: AsyncLiveRoom, kind: type[Kind]) -> Kind:
    """The room's next event of a kind."""
    while not isinstance(event := await room.next_event(WAIT_S), kind):
        assert event is not None
    return event


async def test_a_room_tells_when_messages_do_not_come_at_once_and_when_they_do_again(
    stack: Stack, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "LASTING_REFUSAL_DELAY_S", 0.2)
    for name in PUBLICATIONS:
        await stack.sql(f"alter publication {name} rename to {name}_away")
    bob = await connect(ALICE)
    await bob.do("createRoom", roomId="plans")

    async def token() -> str:
        return stack.token(ALICE)

    def ping() -> None:
        for item in list(stack.service.hub.connections):
            if isinstance(item, SimpleConnection):
                item.say(PING)

    async with AsyncRoomSocket(f"ws://127.0.0.1:{stack.port}/realtime", token) as socket:
        room = await socket.join("plans")
        assert not room.is_live
        assert await following(room, Live) == Live("plans", live=False)
        await bob.do("sendMessage", roomId="plans", message="meanwhile")
        ping()
        said = await following(room, Message)
        assert said.message == "meanwhile"
        for name in PUBLICATIONS:
            await stack.sql(f"alter publication {name}_away rename to {name}")
        async with asyncio.timeout(WAIT_S):
            while not await stack.service.changes.wait_until_live(WAIT_S):  # False at once until it has tried again
                await asyncio.sleep(0.1)
        ping()
        assert await following(room, Live) == Live("plans", live=True)
        await bob.do("sendMessage", roomId="plans", message="at once")
        said = await following(room, Message)
        assert said.message == "at once"
