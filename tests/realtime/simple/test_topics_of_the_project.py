"""A project may have private channels called room:… of its own: nobody gets into them by making a room of that name."""

from __future__ import annotations

import pytest

from tests.realtime.conftest import ALICE, BOB, Stack
from tests.realtime.simple.conftest import Connect

ALICES_TOPIC = f"""
create policy "Alice's" on realtime.messages for all to authenticated
  using (realtime.topic() = 'room:TOPIC' and auth.uid() = '{ALICE}')
  with check (realtime.topic() = 'room:TOPIC' and auth.uid() = '{ALICE}');
"""


async def joined(stack: Stack, user: str, topic: str) -> bool:
    socket = await stack.connect()
    reply = await socket.join(topic, token=stack.token(user), private=True)
    return bool(reply.payload["status"] == "ok")


@pytest.mark.parametrize("topic", ["123", "5f3b3a53-0b52-4d0b-9d0c-111111111111"])
async def test_nobody_takes_a_private_channel_of_the_project_by_making_a_room(
    connect: Connect, stack: Stack, topic: str
) -> None:
    await stack.sql(ALICES_TOPIC.replace("TOPIC", topic))
    bob = await connect(BOB)
    assert await bob.refused("createRoom", roomId=topic, public=True) == "room_id_reserved"
    assert await stack.sql("select from isobase.rooms where id = $1", topic) == []
    assert not await joined(stack, BOB, f"room:{topic}")
    assert await joined(stack, ALICE, f"room:{topic}")


async def test_no_public_room_of_the_settings_takes_a_channel_of_the_project(connect: Connect, stack: Stack) -> None:
    await stack.sql(ALICES_TOPIC.replace("TOPIC", "general"))
    bob = await connect(BOB)
    assert await bob.refused("joinRoom", roomId="general") == "room_not_found"
    assert await bob.refused("sendMessage", roomId="general", message="hello") == "room_not_found"
    assert not await joined(stack, BOB, "room:general")
    assert await joined(stack, ALICE, "room:general")


async def test_rooms_without_a_chosen_id_and_those_of_the_service_are_made_beside_the_policies_of_a_project(
    connect: Connect, stack: Stack
) -> None:
    await stack.sql(ALICES_TOPIC.replace("TOPIC", "123"))
    bob, service = await connect(BOB), await connect(None, role="service_role")
    for room in (
        (await bob.do("createRoom"))["roomId"],
        (await bob.do("createRoom", roomId="~mine"))["roomId"],
        (await service.do("createRoom", roomId="plans", members=[BOB]))["roomId"],
    ):
        await bob.do("joinRoom", roomId=room)
        await bob.do("sendMessage", roomId=room, message="here")
        assert (await bob.event("message", roomId=room))["message"] == "here"
        assert not await joined(stack, ALICE, f"room:{room}")
