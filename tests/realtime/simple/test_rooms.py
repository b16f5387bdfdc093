"""Rooms beyond messages: typing, presence, read marks, history, members and their rights."""

from __future__ import annotations

from tests.realtime.conftest import ALICE, BOB, Stack, StackFactory
from tests.realtime.simple.client import Simple
from tests.realtime.simple.conftest import Connect

CAROL = "33333333-3333-4333-8333-333333333333"


async def test_typing_is_told_to_the_others_and_ends_by_itself(start_stack: StackFactory) -> None:
    stack = await start_stack(rooms={"typing_ttl_s": 0.4})
    alice, bob = [await Simple.open(stack.port, query=f"?token={stack.token(user)}") for user in (ALICE, BOB)]
    for socket in (alice, bob):
        await socket.do("joinRoom", roomId="general")
    await alice.do("typing", roomId="general")
    begun = await bob.event("typing")
    assert begun == {"action": "typing", "roomId": "general", "user": ALICE, "typing": True, "expiresInMs": 400}
    assert (await bob.event("typing"))["typing"] is False
    for socket in (alice, bob):
        await socket.close()


async def test_typing_is_told_once_until_a_message_or_the_end_of_the_socket(start_stack: StackFactory) -> None:
    stack = await start_stack(rooms={"typing_ttl_s": 600})
    alice, bob = [await Simple.open(stack.port, query=f"?token={stack.token(user)}") for user in (ALICE, BOB)]
    for socket in (alice, bob):
        await socket.do("joinRoom", roomId="general")
    for _ in range(5):
        await alice.do("typing", roomId="general")
    assert (await bob.event("typing"))["typing"] is True
    await alice.do("sendMessage", roomId="general", message="done")
    assert (await bob.event("typing"))["typing"] is False
    await alice.do("typing", roomId="general")
    assert (await bob.event("typing"))["typing"] is True
    await alice.close()
    assert (await bob.event("typing"))["typing"] is False
    assert alice.events("typing") == []
    assert await stack.sql("select from realtime.messages where event = 'typing'") == []
    await bob.close()


async def test_presence_says_who_is_in_the_room_and_what_they_say_of_themselves(connect: Connect) -> None:
    alice, bob = await connect(ALICE), await connect(BOB)
    await alice.do("joinRoom", roomId="general", status={"name": "Alice"})
    await bob.do("joinRoom", roomId="general")
    joined = (await alice.wait_for(lambda frame: [p["user"] for p in frame.get("joined", ())] == [BOB]))["joined"]
    assert joined[0]["status"] == {}
    present = (await bob.do("presence", roomId="general"))["present"]
    assert {person["user"]: person["status"] for person in present} == {ALICE: {"name": "Alice"}, BOB: {}}
    await bob.do("presence", roomId="general", status={"away": True})
    update = await alice.wait_for(lambda frame: any(p.get("replaces") for p in frame.get("joined", ())))
    assert update["joined"][0]["replaces"] == joined[0]["ref"] == update["left"][0]["ref"]
    assert update["joined"][0]["status"] == {"away": True}
    await bob.close()
    left = await alice.wait_for(lambda frame: frame["action"] == "presence" and frame.get("joined") == [])
    assert left["left"][0]["ref"] == update["joined"][0]["ref"]


async def test_a_status_that_changes_too_often_is_refused_and_the_room_stays(connect: Connect) -> None:
    alice = await connect(ALICE)
    await alice.do("joinRoom", roomId="general")
    codes = [(await alice.ask("presence", roomId="general", status={"n": n})).get("error") for n in range(6)]
    assert codes[0] is None
    assert (codes[-1] or {}).get("code") == "rate_limited"
    await alice.do("sendMessage", roomId="general", message="still in")


async def test_read_marks_are_told_and_never_go_back(connect: Connect) -> None:
    alice, bob = await connect(ALICE), await connect(BOB)
    room = (await alice.do("createRoom", members=[BOB]))["roomId"]
    await alice.do("joinRoom", roomId=room)
    for number in range(3):
        await alice.do("sendMessage", roomId=room, message=number)
    mine, his = (await alice.do("listRooms"))["rooms"][0], (await bob.do("listRooms"))["rooms"][0]
    assert (mine["unread"], mine["readSeq"], mine["lastSeq"]) == (0, 3, 3)
    assert (his["unread"], his["readSeq"]) == (3, 0)
    assert (await bob.do("read", roomId=room, seq=2))["seq"] == 2
    assert await alice.event("read") == {"action": "read", "roomId": room, "user": BOB, "seq": 2}
    assert (await bob.do("read", roomId=room, seq=1))["seq"] == 2
    assert (await bob.do("read", roomId=room, seq=99))["seq"] == 3
    assert (await alice.event("read"))["seq"] == 3
    members = (await alice.do("members", roomId=room))["members"]
    assert {member["user"]: (member["role"], member["readSeq"]) for member in members} == {
        ALICE: ("owner", 3),
        BOB: ("member", 3),
    }


async def test_history_gives_pages_in_both_directions(connect: Connect) -> None:
    alice = await connect(ALICE)
    room = (await alice.do("createRoom"))["roomId"]
    sent = [await alice.do("sendMessage", roomId=room, message=number) for number in range(7)]

    async def page(**marks: object) -> tuple[list[int], bool]:
        answer = await alice.do("history", roomId=room, **marks)
        return [message["message"] for message in answer["messages"]], answer["more"]

    assert await page() == ([0, 1, 2, 3, 4, 5, 6], False)
    assert await page(limit=3) == ([4, 5, 6], True)
    assert await page(limit=3, before=5) == ([1, 2, 3], True)
    assert await page(limit=3, before=2) == ([0], False)
    assert await page(limit=3, after=0) == ([0, 1, 2], True)
    assert await page(limit=3, after=4) == ([4, 5, 6], False)
    assert await page(after=7) == ([], False)
    # Two messages may have been stored in the same millisecond.
    later = [number for number, answer in enumerate(sent) if answer["createdAt"] >= sent[5]["createdAt"]]
    assert await page(since=sent[5]["createdAt"], limit=2) == (later[:2], len(later) > 2)
    joined = await alice.do("joinRoom", roomId=room, after=5)
    assert [message["message"] for message in joined["messages"]] == [5, 6]


async def test_rooms_are_listed_latest_first_in_pages(connect: Connect) -> None:
    alice = await connect(ALICE)
    rooms = [(await alice.do("createRoom", name=str(number)))["roomId"] for number in range(3)]
    await alice.do("sendMessage", roomId=rooms[0], message="up")
    first = await alice.do("listRooms", limit=2)
    assert [room["name"] for room in first["rooms"]] == ["0", "2"]
    second = await alice.do("listRooms", limit=2, before=first["next"])
    assert ([room["name"] for room in second["rooms"]], second["next"]) == (["1"], None)


async def test_owners_manage_a_room_and_members_do_not(connect: Connect) -> None:
    alice, bob, carol = await connect(ALICE), await connect(BOB), await connect(CAROL)
    room = (await alice.do("createRoom", name="old", metadata={"color": "red"}))["roomId"]
    await alice.do("joinRoom", roomId=room)
    await alice.do("addMember", roomId=room, user=BOB)
    assert (await alice.event("member"))["change"] == "added"
    for action, members in (
        ("updateRoom", {"name": "mine"}),
        ("deleteRoom", {}),
        ("addMember", {"user": CAROL}),
        ("addMember", {"user": BOB, "role": "owner"}),
        ("removeMember", {"user": ALICE}),
    ):
        assert await bob.refused(action, roomId=room, **members) == "not_owner", action
    updated = await alice.do("updateRoom", roomId=room, name="new")
    assert (updated["name"], updated["metadata"], updated["public"]) == ("new", {"color": "red"}, False)
    assert (await alice.event("room"))["name"] == "new"
    assert await alice.refused("removeMember", roomId=room) == "room_keeps_an_owner"
    assert await alice.refused("removeMember", roomId=room, user=CAROL) == "member_not_found"
    await alice.do("addMember", roomId=room, user=BOB, role="owner")
    await alice.do("removeMember", roomId=room)
    assert await alice.refused("history", roomId=room) == "room_not_found"
    await bob.do("joinRoom", roomId=room)
    await bob.do("deleteRoom", roomId=room)
    assert (await bob.event("room"))["change"] == "deleted"
    await bob.event("left", roomId=room)
    assert await carol.refused("joinRoom", roomId=room) == "room_not_found"
    assert await alice.refused("createRoom", roomId="general-2", name="x" * 201) == "invalid_action"


async def test_a_public_room_is_open_until_it_is_closed(connect: Connect) -> None:
    alice, bob, carol = await connect(ALICE), await connect(BOB), await connect(CAROL)
    await alice.do("createRoom", roomId="plaza", public=True)
    assert await bob.refused("createRoom", roomId="plaza") == "room_exists"
    for socket in (bob, carol):
        assert (await socket.do("joinRoom", roomId="plaza"))["room"]["role"] == "guest"
    await carol.do("addMember", roomId="plaza")
    await carol.do("addMember", roomId="plaza")
    assert (await carol.do("listRooms"))["rooms"][0]["role"] == "member"
    await alice.do("updateRoom", roomId="plaza", public=False)
    await bob.event("left", roomId="plaza")
    await carol.event("room", change="updated")
    # Who may stay is asked anew; what is said meanwhile is in the history.
    await carol.do("sendMessage", roomId="plaza", message="only us")
    assert await bob.refused("history", roomId="plaza") == "room_not_found"
    assert bob.events("message") == []


async def test_numbers_have_no_gaps_however_many_write_at_once(connect: Connect, stack: Stack) -> None:
    sockets = [await connect(user) for user in (ALICE, BOB, CAROL)]
    await sockets[0].do("joinRoom", roomId="general")
    for number in range(20):
        for socket in sockets:
            await socket.send_raw(f'{{"action":"sendMessage","roomId":"general","message":{number}}}')
    await sockets[0].wait_for(lambda frame: frame["action"] == "message" and frame["seq"] == 60)
    heard = [frame["seq"] for frame in sockets[0].events("message")]
    assert heard == list(range(1, 61))
    rows = await stack.sql(
        "select sender, array_agg(body::int order by seq) as said from isobase.room_messages group by 1"
    )
    assert {row["sender"]: row["said"] for row in rows} == {user: list(range(20)) for user in (ALICE, BOB, CAROL)}
