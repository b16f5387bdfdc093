"""The parts of the cluster without a bus: what travels, who is known, whom others track."""

from __future__ import annotations

import itertools
import random

import pytest

from isobase_services.realtime.cluster.broadcasts import decode_broadcast, encode_broadcast
from isobase_services.realtime.cluster.envelope import Header, Seals, Unreadable, read_header
from isobase_services.realtime.cluster.peers import Arrival, Peers
from isobase_services.realtime.core.presence import Presence, PresenceDiff, PresenceEntry, PresenceRefs
from isobase_services.realtime.core.presence_elsewhere import PresenceElsewhere
from isobase_services.realtime.core.topics import TopicKey
from isobase_services.realtime.wire.messages import Outgoing, TextBroadcast, UserBroadcast

NODE = "0102030405060708090a0b0c"
ROOM = TopicKey("room", is_private=False)


@pytest.mark.parametrize(
    "message",
    [
        TextBroadcast('{"type":"broadcast","event":"ü","payload":{}}'),
        TextBroadcast("{}", identifier="id"),
        UserBroadcast("e\ud800", b'{"a":1}', is_json=True, meta='{"id":"x"}', identifier=""),
        UserBroadcast("", b"\x00\xff", is_json=False),
    ],
)
@pytest.mark.parametrize("is_private", [True, False])
def test_broadcast_is_on_the_other_side_what_it_was_here(message: Outgoing, is_private: bool) -> None:
    key = TopicKey("a:b\ud800/ö", is_private)
    assert decode_broadcast(encode_broadcast(key, message)) == (key, message)


def test_envelope_is_opened_by_nodes_of_the_project_alone_and_only_on_its_channel() -> None:
    seals = Seals("secret", "database 1")
    header = Header(NODE, 7)
    payloads = [b"", b"one", b"x" * 100_000]
    envelope = seals.seal(header, "channel", payloads)
    assert b"one" not in envelope
    assert read_header(envelope) == header
    assert Seals("secret", "database 1").open(header, "channel", envelope) == tuple(payloads)
    for other, channel in (
        (Seals("other", "database 1"), "channel"),
        (Seals("secret", "database 2"), "channel"),
        (seals, "another"),
    ):
        with pytest.raises(Unreadable):
            other.open(header, channel, envelope)
    for position in (5, 15, 30, len(envelope) - 1):
        changed = bytearray(envelope)
        changed[position] ^= 1
        with pytest.raises(Unreadable):
            seals.open(read_header(bytes(changed)), "channel", bytes(changed))
    for foreign in (b"", b"\x01" * 10, b"\x02" + envelope[1:]):
        with pytest.raises(Unreadable):
            read_header(foreign)
    assert "secret" not in repr(seals)


def test_numbers_tell_what_is_new_known_and_missing() -> None:
    peers = Peers()
    assert peers.heard("a", 1.0)
    assert not peers.heard("a", 2.0)
    arrivals = [peers.arrived("a", "x", number) for number in (5, 6, 6, 5, 8, 9)]
    assert arrivals == [
        Arrival.NEXT,
        Arrival.NEXT,
        Arrival.KNOWN,
        Arrival.KNOWN,
        Arrival.AFTER_GAP,
        Arrival.NEXT,
    ]
    assert peers.arrived("a", "y", 1) is Arrival.NEXT


def test_beat_tells_of_lost_messages_that_nothing_came_after_and_once() -> None:
    peers = Peers()
    peers.heard("a", 1.0)
    peers.arrived("a", "x", 5)
    assert peers.beat("a", {"x": 7, "new": 3}) == []
    assert peers.beat("a", {"x": 7, "new": 3}) == ["x"]
    assert peers.beat("a", {"x": 7, "new": 4}) == []
    assert peers.beat("a", {"x": 7, "new": 4}) == ["new"]
    assert peers.arrived("a", "x", 8) is Arrival.NEXT
    assert peers.arrived("a", "new", 5) is Arrival.NEXT


def test_node_that_said_goodbye_does_not_come_back_and_a_silent_one_may() -> None:
    peers = Peers()
    peers.heard("a", 1.0)
    peers.heard("b", 5.0)
    assert peers.silent_since(2.0) == ["a"]
    assert peers.forget("a", is_final=False)
    assert peers.heard("a", 6.0)
    assert peers.forget("b", is_final=True)
    assert not peers.heard("b", 7.0)
    assert peers.ids == {"a"}
    peers.grant_time(50.0)
    assert peers.silent_since(40.0) == []


def test_member_beyond_the_limit_of_the_copy_is_left_out_and_comes_with_the_next_answer() -> None:
    copy = PresenceElsewhere(1)
    first, second = PresenceEntry("k", "1", "{}"), PresenceEntry("k", "2", "{}")
    assert copy.changed("n", ROOM, PresenceDiff(joins=(first, second))) == PresenceDiff(joins=(first,))
    assert copy.changed("n", ROOM, PresenceDiff(leaves=(second,))) is None
    assert (len(copy), copy.left_out) == (1, 1)
    assert copy.changed("n", ROOM, PresenceDiff(leaves=(first,))) == PresenceDiff(leaves=(first,))
    copy.asked("n", 1)
    assert copy.answered("n", 1, ROOM, [second]) == PresenceDiff(joins=(second,))
    assert copy.answer_ended("n", 1, 1) == []
    assert list(copy.entries(ROOM)) == [second]


def test_answer_with_a_missing_part_is_asked_for_again() -> None:
    copy = PresenceElsewhere(10)
    stale, kept = PresenceEntry("k", "1", "{}"), PresenceEntry("k", "2", "{}")
    copy.changed("n", ROOM, PresenceDiff(joins=(stale, kept)))
    copy.asked("n", 1)
    copy.answered("n", 1, ROOM, [kept])
    assert copy.answer_ended("n", 1, 2) is None
    copy.asked("n", 2)
    assert copy.answered("n", 1, ROOM, [kept]) is None
    copy.answered("n", 2, ROOM, [kept])
    assert copy.answer_ended("n", 2, 1) == [(ROOM, PresenceDiff(leaves=(stale,)))]


def test_member_that_left_while_an_answer_was_on_its_way_is_not_brought_back_by_it() -> None:
    copy = PresenceElsewhere(10)
    gone, kept = PresenceEntry("k", "1", "{}"), PresenceEntry("k", "2", "{}")
    copy.changed("n", ROOM, PresenceDiff(joins=(gone, kept)))
    copy.asked("n", 1)
    copy.changed("n", ROOM, PresenceDiff(leaves=(gone,)))
    # Nor by the answer to a question that was asked again, which may have been written before too.
    copy.asked("n", 2)
    assert copy.answered("n", 2, ROOM, [gone, kept]) is None
    assert copy.answer_ended("n", 2, 1) == []
    assert list(copy.entries(ROOM)) == [kept]


@pytest.mark.parametrize("seed", range(40))
def test_copy_ends_up_equal_however_answers_and_differences_overtake_each_other(seed: int) -> None:
    """A model: the other process changes at random; differences may be lost, answers come late or early."""
    chance = random.Random(seed)
    keys = [TopicKey(name, is_private) for name in "ab" for is_private in (True, False)]
    refs, nobody = PresenceRefs(), PresenceElsewhere(0)
    source = {key: Presence(key, refs, nobody) for key in keys}
    copy = PresenceElsewhere(10_000)
    seen: dict[TopicKey, set[str]] = {key: set() for key in keys}

    def show(key: TopicKey, diff: PresenceDiff | None) -> None:
        """What a member here makes of the differences: none may join twice or leave unseen."""
        for entry in diff.joins if diff else ():
            assert entry.ref not in seen[key]
            seen[key].add(entry.ref)
        for entry in diff.leaves if diff else ():
            seen[key].remove(entry.ref)

    numbers = itertools.count(1)
    differences: list[tuple[TopicKey, PresenceDiff]] = []
    answers: list[tuple[int, TopicKey | None, tuple[PresenceEntry, ...], int]] = []
    is_lossy = True

    def change() -> None:
        key = chance.choice(keys)
        member = chance.randrange(6)
        fields = {"n": chance.randrange(3)}
        act = source[key].untrack(member) if chance.random() < 0.4 else source[key].track(member, "k", fields)
        if act is not None:
            differences.append((key, act))

    def ask() -> None:
        number = next(numbers)
        copy.asked("n", number)
        parts = [(number, key, source[key].entries, 0) for key in keys if source[key].entries]
        answers.extend([*parts, (number, None, (), len(parts))])

    def deliver_difference() -> None:
        if differences:
            key, diff = differences.pop(0)
            if is_lossy and chance.random() < 0.2:
                return
            show(key, copy.changed("n", key, diff))

    def deliver_answer() -> None:
        if answers:
            number, topic, entries, parts = answers.pop(0)
            if is_lossy and chance.random() < 0.1:
                return
            if topic is not None:
                show(topic, copy.answered("n", number, topic, entries))
                return
            for key, diff in copy.answer_ended("n", number, parts) or []:
                show(key, diff)

    for _ in range(400):
        chance.choice(
            [
                change,
                change,
                deliver_difference,
                deliver_answer,
                deliver_answer,
                ask if chance.random() < 0.1 else change,
            ]
        )()
    is_lossy = False
    ask()
    while differences or answers:
        chance.choice([deliver_difference, deliver_answer, change if chance.random() < 0.3 else deliver_answer])()
    for key in keys:
        here = {entry.ref for entry in copy.entries(key)}
        assert here == {entry.ref for entry in source[key].entries} == seen[key]
    for key, diff in copy.dropped("n"):
        show(key, diff)
    assert len(copy) == 0
    assert not any(seen.values())
