"""``client.rooms`` against a running Isobase: over HTTP, and over a socket that survives what networks do."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest

from isobase._acompat import asleep
from isobase._async.client import AsyncClient
from isobase._http import DeadlineExceeded, call_options
from isobase.rooms import (
    AsyncLiveRoom,
    AsyncRooms,
    AsyncRoomSocket,
    IsobaseAPIError,
    Left,
    Member,
    MemberChange,
    Message,
    Presence,
    ReadMark,
    RoomChange,
    RoomEvent,
    Typing,
)
from tests.plugins.stack import Stack
from tests.plugins.wire_proxy import WireProxy, wire_proxy
from tests.sdk.own.conftest import Person

WAIT_S = 60.0


@pytest.fixture
def alice(person: Callable[[], Person]) -> Person:
    return person()


@pytest.fixture
def bob(person: Callable[[], Person]) -> Person:
    return person()


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(stack.url, stack.anon_key) as client:
        yield client


@pytest.fixture
def rooms(client: AsyncClient, alice: Person) -> AsyncRooms:
    return client.as_user(alice.token).rooms


@pytest.fixture
def rooms_of_bob(client: AsyncClient, bob: Person) -> AsyncRooms:
    return client.as_user(bob.token).rooms


@pytest.fixture
async def plans(rooms: AsyncRooms, bob: Person) -> str:
    room = await rooms.create(f"~plans-{uuid4()}", name="Plans", members=[bob.user_id])
    return room.room_id


@pytest.fixture
def network(stack: Stack) -> Iterator[WireProxy]:
    with wire_proxy(stack.url) as proxy:
        yield proxy


@pytest.fixture
def rooms_over_network(network: WireProxy, stack: Stack, bob: Person) -> AsyncRooms:
    return AsyncRooms(network.url, {"Authorization": f"Bearer {bob.token}", "apikey": stack.anon_key})


async def event_of_kind(room: AsyncLiveRoom, kind: type[RoomEvent]) -> RoomEvent:
    """The next event of a kind; others are passed over."""
    while not isinstance(event := await room.next_event(WAIT_S), kind):
        assert event is not None
    return event


async def messages(room: AsyncLiveRoom, count: int) -> list[object]:
    """What the next messages say."""
    said: list[object] = []
    while len(said) < count:
        event = await event_of_kind(room, Message)
        assert isinstance(event, Message)
        said.append(event.message)
    return said


async def test_a_room_is_made_listed_changed_and_deleted(rooms: AsyncRooms, alice: Person) -> None:
    made = await rooms.create(name="Plans", metadata={"colourCode": "green"})
    assert (made.name, made.role, made.created_by, made.public) == ("Plans", "owner", alice.user_id, False)
    assert made.created_at <= datetime.now(UTC)
    assert await rooms.get(made.room_id) == made
    page = await rooms.list(limit=1)
    assert page.rooms[0].room_id == made.room_id
    changed = await rooms.update(made.room_id, metadata={"colourCode": "red"})
    assert (changed.name, changed.metadata) == ("Plans", {"colourCode": "red"})
    await rooms.delete(made.room_id)
    with pytest.raises(IsobaseAPIError) as caught:
        await rooms.get(made.room_id)
    assert (caught.value.code, caught.value.status) == ("room_not_found", 404)


async def test_what_is_said_stands_in_the_history_once(rooms: AsyncRooms, plans: str, alice: Person) -> None:
    first = await rooms.send(plans, {"text": "hello"}, client_id="m-1")
    assert (first.seq, first.sender, first.message) == (1, alice.user_id, {"text": "hello"})
    assert await rooms.send(plans, {"text": "hello"}, client_id="m-1") == first
    second = await rooms.send(plans, "again")
    assert (await rooms.history(plans)).messages == [first, second]
    assert (await rooms.history(plans, after=1)).messages == [second]
    page = await rooms.history(plans, before=3, limit=1)
    assert (page.messages, page.more) == ([second], True)
    assert (await rooms.history(plans, since=second.created_at)).messages[-1] == second


async def test_members_come_and_go_and_read(
    rooms: AsyncRooms, rooms_of_bob: AsyncRooms, plans: str, alice: Person, bob: Person
) -> None:
    await rooms.send(plans, "one")
    assert (await rooms_of_bob.get(plans)).unread == 1
    assert await rooms_of_bob.read(plans) == 1
    assert (await rooms_of_bob.get(plans)).unread == 0
    page = await rooms.members(plans)
    assert {(member.user, member.role) for member in page.members} == {
        (alice.user_id, "owner"),
        (bob.user_id, "member"),
    }
    assert isinstance(page.members[0], Member)
    await rooms.add_member(plans, bob.user_id, role="owner")
    await rooms.remove_member(plans, bob.user_id)
    with pytest.raises(IsobaseAPIError) as caught:
        await rooms_of_bob.history(plans)
    assert caught.value.code == "room_not_found"
    with pytest.raises(IsobaseAPIError) as caught:
        await rooms.remove_member(plans, alice.user_id)
    assert (caught.value.code, caught.value.status) == ("room_keeps_an_owner", 409)


async def test_a_socket_hears_what_happens_in_its_room(
    rooms: AsyncRooms, rooms_of_bob: AsyncRooms, plans: str, alice: Person, bob: Person
) -> None:
    await rooms.send(plans, "before")
    async with rooms.connect() as socket, rooms_of_bob.connect() as socket_of_bob:
        here = await socket.join(plans, limit=10, status={"mood": "fine"})
        assert [message.message for message in here.recent] == ["before"]
        there = await socket_of_bob.join(plans)
        came = await event_of_kind(here, Presence)
        # Among those who are there already, where the room was told of later than Bob came.
        while not (
            isinstance(came, Presence) and bob.user_id in [one.user for one in [*came.joined, *(came.present or ())]]
        ):
            came = await event_of_kind(here, Presence)
        assert {one.user for one in await there.presence()} == {alice.user_id, bob.user_id}
        await there.typing()
        typing = await event_of_kind(here, Typing)
        assert isinstance(typing, Typing)
        assert (typing.user, typing.typing) == (bob.user_id, True)
        sent = await there.send({"text": "hi"})
        heard = await event_of_kind(here, Message)
        assert heard == sent
        assert (await there.history()).messages[-1] == sent
        assert await here.read() == 2
        mark = await event_of_kind(there, ReadMark)
        while not (isinstance(mark, ReadMark) and mark.user == alice.user_id):
            mark = await event_of_kind(there, ReadMark)
        assert mark.seq == 2
        await rooms.update(plans, name="Other plans")
        changed = await event_of_kind(there, RoomChange)
        assert isinstance(changed, RoomChange)
        assert changed.change == "updated"
        await rooms.remove_member(plans, bob.user_id)
        gone = await event_of_kind(here, MemberChange)
        assert isinstance(gone, MemberChange)
        assert (gone.user, gone.change) == (bob.user_id, "removed")
        assert await event_of_kind(there, Left) == Left(plans)
        assert await there.next_event(WAIT_S) is None
        await here.leave()
        assert [event async for event in here.messages()] == []


async def test_who_comes_back_with_the_last_number_gets_what_was_said_since(rooms: AsyncRooms, plans: str) -> None:
    for number in range(5):
        await rooms.send(plans, number)
    async with rooms.connect() as socket:
        room = await socket.join(plans, after=2)
        assert await messages(room, 3) == [2, 3, 4]
        await rooms.send(plans, 5)
        assert await messages(room, 1) == [5]


async def test_messages_come_once_and_in_order_over_lost_connections(
    rooms: AsyncRooms, rooms_over_network: AsyncRooms, plans: str, network: WireProxy
) -> None:
    async with rooms_over_network.connect() as socket:
        room = await socket.join(plans)
        for number in range(30):
            if number % 6 == 3:
                network.refuses = number == 9
                network.cut_all()
            if number == 12:
                network.refuses = False
            await rooms.send(plans, number)
        assert await messages(room, 30) == list(range(30))
        assert network.accepted > 1
        sent = await room.send("still here")
        assert sent.seq == 31
    await rooms_over_network.aclose()


async def test_what_is_said_while_the_connection_is_lost_is_said_once(
    rooms: AsyncRooms, rooms_over_network: AsyncRooms, plans: str, network: WireProxy
) -> None:
    def cut_answer(_link: object, _piece: bytes) -> bool:
        network.on_answer = None
        network.cut_all()
        return True

    async with rooms_over_network.connect() as socket:
        room = await socket.join(plans)
        network.on_answer = cut_answer
        said = await room.send("only once")
        assert (await rooms.history(plans)).messages == [said]
    await rooms_over_network.aclose()


async def test_an_action_over_a_silent_network_ends_in_its_time(
    rooms_over_network: AsyncRooms, plans: str, network: WireProxy
) -> None:
    async with rooms_over_network.connect() as socket:
        room = await socket.join(plans)
        network.is_silent = True
        with call_options(timeout=0.3), pytest.raises(DeadlineExceeded) as caught:
            await room.send("nobody hears")
        assert isinstance(caught.value, httpx.TimeoutException)
        network.is_silent = False
        assert (await room.send("heard")).message == "heard"
    await rooms_over_network.aclose()


# [async]
async def test_an_action_that_the_network_does_not_take_ends_in_its_time(
    rooms_over_network: AsyncRooms, plans: str, network: WireProxy
) -> None:
    async with rooms_over_network.connect() as socket:
        room = await socket.join(plans)
        network.is_silent = True
        began = time.monotonic()
        with call_options(timeout=0.3), pytest.raises(DeadlineExceeded):
            await room.send("x" * 20_000_000)
        assert time.monotonic() - began < 10
        network.cut_all()
        network.is_silent = False
    await rooms_over_network.aclose()


# [/async]
async def test_a_room_that_is_not_open_cannot_be_joined_and_a_bad_token_not_connect(
    client: AsyncClient, rooms: AsyncRooms, stack: Stack
) -> None:
    async with rooms.connect() as socket:
        with pytest.raises(IsobaseAPIError) as caught:
            await socket.join(f"nowhere-{uuid4()}")
        assert caught.value.code == "room_not_found"
    with pytest.raises(IsobaseAPIError):
        async with client.as_user("no.token.atall").rooms.connect():
            pytest.fail("it connected")
    with pytest.raises(RuntimeError):
        await socket.ask("ping")


async def test_a_closed_socket_ends_its_rooms(rooms: AsyncRooms, plans: str) -> None:
    socket: AsyncRoomSocket = rooms.connect()
    async with socket:
        room = await socket.join(plans)
    heard = [event async for event in room.events() if isinstance(event, Message)]
    assert heard == []
    await asleep(0)
