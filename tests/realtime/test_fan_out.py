"""Fan-out in turns: order, what else gets its turn, and what happens beyond each limit."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from isobase_services.realtime.core import fanout
from isobase_services.realtime.core.counters import Counters
from isobase_services.realtime.core.fanout import FanOut
from isobase_services.realtime.core.outbox import Outbox
from isobase_services.realtime.core.topics import TopicKey, Topics
from isobase_services.realtime.wire import codec_for
from isobase_services.realtime.wire.frames import Frame, binary_frame, text_frame
from isobase_services.realtime.wire.messages import Codec, TextBroadcast, UserBroadcast

KEY = TopicKey("a", is_private=False)
CODEC = codec_for("2.0.0")


class Member:
    """A member that keeps what it got."""

    def __init__(self) -> None:
        assert CODEC is not None
        self.codec: Codec = CODEC
        self.may_read_broadcasts = True
        self.may_read_presence = True
        self.replayed_ids: frozenset[str] = frozenset()
        self.got: list[Frame] = []

    def put(self, frame: Frame) -> None:
        self.got.append(frame)

    def offer(self, frame: Frame) -> None:
        self.got.append(frame)

    def put_presence(self, frame: Frame) -> None:
        self.got.append(frame)


async def turns(count: int = 1) -> None:
    """Let the event loop go around."""
    for _ in range(count):
        await asyncio.sleep(0)


def message(number: int) -> TextBroadcast:
    return TextBroadcast(f'{{"n":{number}}}')


def texts(member: Member) -> list[bytes]:
    return [frame.payload for frame in member.got]


@pytest.fixture
def small_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "WRITES_PER_TURN", 10)


@pytest.mark.usefixtures("small_turns")
async def test_each_member_gets_all_messages_in_order_over_many_turns() -> None:
    topics = Topics(FanOut(), counters := Counters())
    members = [Member() for _ in range(25)]
    for member in members:
        topics.join(KEY, member)
    for number in range(7):
        assert topics.publish(KEY, message(number), exclude=members[3]) == 24
    assert len(members[0].got) < 7
    await turns(40)
    expected = [f'[null,null,"realtime:a","broadcast",{{"n":{number}}}]'.encode() for number in range(7)]
    for member in members:
        assert texts(member) == ([] if member is members[3] else expected)
    assert counters.deliveries == 24 * 7
    assert counters.delivered_bytes == 24 * sum(len(text) + 2 for text in expected)
    assert len({id(frame) for member in members for frame in member.got}) == 7


@pytest.mark.usefixtures("small_turns")
async def test_others_get_their_turn_between_writes() -> None:
    topics = Topics(FanOut(), Counters())
    members = [Member() for _ in range(100)]
    for member in members:
        topics.join(KEY, member)
    seen: list[int] = []

    def beat() -> None:
        seen.append(sum(len(member.got) for member in members))
        if seen[-1] < 100:
            asyncio.get_running_loop().call_soon(beat)

    topics.publish(KEY, message(1))
    beat()
    await turns(30)
    assert seen[0] <= 10
    assert all(after - before <= 10 for before, after in itertools.pairwise(seen))
    assert seen[-1] == 100


@pytest.mark.usefixtures("small_turns")
async def test_who_lost_its_right_or_left_gets_nothing_that_was_under_way() -> None:
    topics = Topics(FanOut(), Counters())
    members = [Member() for _ in range(30)]
    for member in members:
        topics.join(KEY, member)
    topics.publish(KEY, message(1))
    late = Member()
    topics.join(KEY, late)
    members[-1].may_read_broadcasts = False
    await turns(10)
    assert len(members[-2].got) == 1
    assert members[-1].got == []
    assert late.got == []


async def test_readers_wait_above_the_limit_and_go_on_below_half_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "WRITES_PER_TURN", 10)
    monkeypatch.setattr(fanout, "MAX_WAITING_WRITES", 100)
    fan_out = FanOut()
    done = 0

    def send(start: int, until: int) -> None:
        nonlocal done
        done += until - start

    for _ in range(3):
        fan_out.submit(send, 60, 1)
    assert fan_out.is_full
    resumed: list[int] = []
    fan_out.wait_for_room(lambda: resumed.append(fan_out.waiting_writes))
    while not resumed:
        await turns()
    assert resumed == [50]
    await turns(10)
    assert done == 180
    assert fan_out.waiting_writes == 0


async def test_nothing_waits_beyond_the_limits_of_jobs_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "WRITES_PER_TURN", 1)
    monkeypatch.setattr(fanout, "MAX_WAITING_JOBS", 5)
    monkeypatch.setattr(fanout, "MAX_WAITING_BYTES", 1_000)
    fan_out = FanOut()
    sent: list[int] = []
    for number in range(7):
        fan_out.submit(lambda _start, _until, number=number: sent.append(number), 2, 1)  # type: ignore[misc]
    assert sent == [*range(6)]
    fan_out.submit(lambda _start, _until: sent.append(99), 2, 2_000)
    assert sent == [*range(7), 99]
    assert fan_out.waiting_writes == 0


def test_a_frame_is_the_bytes_of_rfc_6455() -> None:
    for size, head in (
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f" + (65_536).to_bytes(8, "big")),
    ):
        frame = text_frame("x" * size)
        assert frame.wire == head + b"x" * size
        assert frame.payload == b"x" * size
        assert len(frame) == len(head) + size
    assert binary_frame(b"ab", b"", b"c").wire == b"\x82\x03abc"
    assert text_frame("é").wire == b"\x81\x02\xc3\xa9"


class Socket:
    """An outbox on a transport that takes so many frames before it says to wait."""

    def __init__(self, room: int, **limits: int) -> None:
        self.room = room
        self.written: list[bytes] = []
        self.overflows = 0
        self.drained = 0
        self.outbox = Outbox(
            max_bytes=limits.get("max_bytes", 1_000),
            droppable_bytes=limits.get("droppable_bytes", 100),
            on_overflow=self._overflow,
            on_drained=self._drain,
        )
        self.outbox.attach(self._write)

    def _write(self, data: bytes) -> None:
        self.written.append(data)
        self.room -= 1
        if self.room <= 0:
            self.outbox.hold()

    def _overflow(self) -> None:
        self.overflows += 1
        self.outbox.close()

    def _drain(self) -> None:
        self.drained += 1

    def read(self, room: int) -> None:
        """The client reads: there is room for so many frames."""
        self.room = room
        self.outbox.release()


def numbered(number: int, size: int = 40) -> Frame:
    return text_frame(f"{number:0{size}}")


def test_a_socket_that_is_behind_gets_its_frames_in_order_when_it_reads() -> None:
    socket = Socket(2)
    frames = [numbered(number) for number in range(6)]
    for frame in frames:
        socket.outbox.put(frame)
    assert socket.written == [frame.wire for frame in frames[:2]]
    assert socket.outbox.size_bytes == sum(map(len, frames[2:]))
    socket.read(3)
    assert socket.written == [frame.wire for frame in frames[:5]]
    socket.outbox.put(frames[0])
    socket.read(9)
    assert socket.written == [frame.wire for frame in (*frames, frames[0])]
    assert (socket.outbox.size_bytes, socket.overflows, socket.drained) == (0, 0, 0)


def test_what_may_be_lost_is_lost_above_the_first_limit_and_told_when_drained() -> None:
    socket = Socket(1)
    accepted = [socket.outbox.offer(numbered(number)) for number in range(5)]
    assert accepted == [True, True, True, True, False]
    socket.outbox.put(numbered(9))
    socket.read(2)
    assert socket.drained == 0
    socket.read(9)
    assert socket.drained == 1
    assert socket.written == [numbered(number).wire for number in (0, 1, 2, 3, 9)]
    assert socket.outbox.offer(numbered(5))


def test_beyond_the_last_limit_the_queue_is_dropped_once_and_nothing_follows() -> None:
    socket = Socket(1)
    for number in range(100):
        socket.outbox.put(numbered(number))
    assert (socket.overflows, socket.outbox.size_bytes) == (1, 0)
    socket.read(9)
    assert socket.written == [numbered(0).wire]


def test_one_frame_beyond_the_limit_goes_to_a_socket_that_has_nothing_else_waiting() -> None:
    socket = Socket(1, max_bytes=10)
    socket.outbox.put(numbered(0))
    socket.outbox.put(numbered(1))
    socket.read(9)
    assert socket.written == [numbered(0).wire, numbered(1).wire]
    assert socket.overflows == 0


async def test_without_a_transport_a_task_takes_the_frames() -> None:
    closed: list[bool] = []
    outbox = Outbox(
        max_bytes=1_000, droppable_bytes=100, on_overflow=lambda: closed.append(True), on_drained=lambda: None
    )
    taking = asyncio.create_task(outbox.get())
    await turns()
    outbox.put(numbered(1))
    outbox.put(numbered(2))
    assert await taking is not None
    outbox.close()
    outbox.put(numbered(3))
    second = await outbox.get()
    assert second is not None
    assert second.wire == numbered(2).wire
    assert await outbox.get() is None
    assert closed == []


def test_raw_bytes_reach_members_of_the_newer_version_only() -> None:
    old, new = codec_for(None), codec_for("2.0.0")
    assert old is not None
    assert new is not None
    raw = UserBroadcast("e", b"\x00\xff", is_json=False)
    assert old.broadcast(topic="realtime:a", message=raw) is None
    frame = new.broadcast(topic="realtime:a", message=raw)
    assert frame is not None
    assert not frame.is_text
    assert frame.payload.endswith(b"\x00\xff")
