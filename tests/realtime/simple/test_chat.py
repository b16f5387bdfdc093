"""Chatting over the simple face: rooms, messages, what joins and leaves."""

from __future__ import annotations

import asyncio

from isobase_services.realtime.simple.connection import SimpleConnection
from isobase_services.realtime.wire.frames import text_frame
from tests.realtime.conftest import ALICE, BOB, Stack
from tests.realtime.simple.conftest import Connect

CAROL = "33333333-3333-4333-8333-333333333333"


async def test_a_client_that_only_connects_and_sends_talks_in_a_public_room(connect: Connect) -> None:
    alice, bob = await connect(ALICE), await connect(BOB)
    await bob.do("joinRoom", roomId="general")
    await alice.send_raw('{"action":"sendMessage","message":"hello","roomId":"general"}')
    heard = await bob.event("message", roomId="general")
    assert (heard["message"], heard["sender"], heard["seq"]) == ("hello", ALICE, 1)
    own = await alice.event("message", roomId="general")
    assert own == heard


async def test_a_message_is_stored_answered_with_its_number_and_heard_by_everybody_in_the_room(
    connect: Connect,
) -> None:
    alice, bob = await connect(ALICE), await connect(BOB)
    room = (await alice.do("createRoom", name="Plans", members=[BOB]))["roomId"]
    joined = await bob.do("joinRoom", roomId=room, limit=10)
    assert (joined["live"], joined["messages"], joined["more"]) == (True, [], False)
    assert (joined["room"]["name"], joined["room"]["role"]) == ("Plans", "member")
    sent = await alice.do("sendMessage", roomId=room, message={"text": "Grüße", "n": [1, 2.5, None]}, clientId="a")
    heard = await bob.event("message")
    assert {name: heard[name] for name in heard if name != "action"} == {
        name: sent[name] for name in sent if name not in ("action", "ok", "requestId")
    }
    assert heard["message"] == {"text": "Grüße", "n": [1, 2.5, None]}
    history = await bob.do("history", roomId=room)
    assert [message["id"] for message in history["messages"]] == [sent["id"]]


async def test_a_message_sent_again_with_its_client_id_is_the_same_message(connect: Connect) -> None:
    alice = await connect(ALICE)
    room = (await alice.do("createRoom"))["roomId"]
    first = await alice.do("sendMessage", roomId=room, message="once", clientId="k1")
    again = await alice.do("sendMessage", roomId=room, message="once", clientId="k1")
    other = await alice.do("sendMessage", roomId=room, message="twice", clientId="k2")
    assert (again["id"], again["seq"]) == (first["id"], first["seq"])
    assert (first["seq"], other["seq"]) == (1, 2)
    history = await alice.do("history", roomId=room)
    assert [message["message"] for message in history["messages"]] == ["once", "twice"]


async def test_a_stranger_can_neither_find_join_read_nor_write_a_private_room(connect: Connect, stack: Stack) -> None:
    alice, bob = await connect(ALICE), await connect(BOB)
    room = (await alice.do("createRoom", roomId="secret"))["roomId"]
    await alice.do("sendMessage", roomId=room, message="for us")
    for action, members in (
        ("joinRoom", {}),
        ("sendMessage", {"message": "let me in"}),
        ("history", {}),
        ("members", {}),
        ("read", {}),
        ("updateRoom", {"name": "mine"}),
        ("deleteRoom", {}),
        ("addMember", {"user": BOB}),
        ("addMember", {}),
        ("removeMember", {"user": ALICE}),
    ):
        assert await bob.refused(action, roomId=room, **members) == "room_not_found", action
        assert await bob.refused(action, roomId="nowhere", **members) == "room_not_found", action
    assert [item["roomId"] for item in (await bob.do("listRooms"))["rooms"]] == []
    assert [tuple(row) for row in await stack.sql("select user_id, role from isobase.room_members")] == [
        (ALICE, "owner")
    ]
    assert len(await stack.sql("select from isobase.room_messages")) == 1


async def test_who_is_removed_hears_nothing_that_is_said_afterwards(connect: Connect) -> None:
    alice, bob = await connect(ALICE), await connect(BOB)
    room = (await alice.do("createRoom", members=[BOB]))["roomId"]
    await alice.do("joinRoom", roomId=room)
    await bob.do("joinRoom", roomId=room)
    await alice.do("sendMessage", roomId=room, message="before")
    await bob.event("message", message="before")
    await alice.do("removeMember", roomId=room, user=BOB)
    await alice.do("sendMessage", roomId=room, message="after")
    await bob.event("left", roomId=room)
    await alice.event("message", message="after")
    assert [frame["message"] for frame in bob.events("message")] == ["before"]
    assert await bob.refused("sendMessage", roomId=room, message="still here") == "room_not_found"


async def test_a_message_that_sql_stores_is_heard_like_any_other(connect: Connect, stack: Stack) -> None:
    alice = await connect(ALICE)
    await alice.do("joinRoom", roomId="general")
    await stack.sql("insert into isobase.room_messages (room_id, body) values ('general', '\"from a trigger\"')")
    heard = await alice.event("message")
    assert (heard["message"], heard["sender"], heard["seq"]) == ("from a trigger", None, 1)
    # PostgreSQL has numbers beyond a float's.
    await stack.sql("insert into isobase.room_messages (room_id, body) values ('general', '1e999')")
    await stack.sql("insert into isobase.room_messages (room_id, body) values ('general', '\"next\"')")
    assert (await alice.event("message"))["message"] == 10**999
    assert (await alice.event("message"))["seq"] == 3


async def test_a_reader_that_is_behind_loses_typing_and_no_message(connect: Connect, stack: Stack) -> None:
    alice, bob = await connect(ALICE), await connect(BOB)
    for socket in (alice, bob):
        await socket.do("joinRoom", roomId="general")
    sockets = [item for item in stack.service.hub.connections if isinstance(item, SimpleConnection)]
    (slow,) = [item for item in sockets if item.caller.user_id == BOB]
    slow.outbox.hold()
    filler = " " * stack.settings.realtime.drop_presence_above_bytes
    slow.put(text_frame(f'{{"action":"ping"{filler}}}'))
    await alice.do("typing", roomId="general")
    await alice.do("sendMessage", roomId="general", message="last")
    await alice.event("message", message="last")
    slow.outbox.release()
    assert (await bob.wait_for(lambda frame: frame.get("message") == "last"))["seq"] == 1
    assert bob.events("typing") == []


async def test_rooms_go_on_at_once_where_the_server_has_no_log_for_them(stack: Stack, connect: Connect) -> None:
    await stack.sql("drop publication supabase_realtime, supabase_realtime_messages_publication")
    alice = await connect(ALICE)
    await alice.do("createRoom", roomId="plans")
    assert (await alice.do("joinRoom", roomId="plans"))["live"] is False
    assert (await alice.do("sendMessage", roomId="plans", message="kept"))["seq"] == 1
    # A lasting refusal is not waited for: this would take a minute.
    async with asyncio.timeout(60):
        assert not await stack.service.changes.wait_until_live(60)
