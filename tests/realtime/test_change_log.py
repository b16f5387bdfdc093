"""The ring of raw changes: what it keeps, how it notices gaps, and how slices are cut from a stream."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from isobase_services.realtime.changes.assembly import MAX_SLICE_ENTRIES, Assembler
from isobase_services.realtime.changes.changelog import ChangeLog, GapFound, PositionTooOld, Slice
from isobase_services.realtime.changes.pgoutput import MessageCorrupt, decode
from isobase_services.realtime.changes.position import Point, Position, PositionInvalid, parse_position

TABLE = 77


def begin(lsn: int) -> bytes:
    return b"B" + struct.pack(">QqI", lsn, 1_000, lsn)


def commit(lsn: int) -> bytes:
    return b"C" + struct.pack(">BQQq", 0, lsn, lsn + 10, 1_000)


def relation(oid: int = TABLE, name: bytes = b"board") -> bytes:
    return b"R" + struct.pack(">I", oid) + b"public\0" + name + b"\0d" + struct.pack(">H", 1) + b"\1id\0" + bytes(8)


def insert(text: bytes = b"1", oid: int = TABLE) -> bytes:
    return b"I" + struct.pack(">I", oid) + b"N" + struct.pack(">H", 1) + b"t" + struct.pack(">I", len(text)) + text


def says(content: bytes, prefix: bytes = b"isobase.carried", flags: int = 1) -> bytes:
    return b"M" + struct.pack(">BQ", flags, 1) + prefix + b"\0" + struct.pack(">I", len(content)) + content


def slices(start: Point, *messages: bytes) -> Iterator[Slice]:
    assembler = Assembler(start)
    for message in messages:
        item = assembler.take(message)
        if item is not None:
            yield item


def transactions(*lsns: int, start: int = 10, rows: int = 1, size_bytes: int = 1) -> list[Slice]:
    messages = [relation()]
    for lsn in lsns:
        messages += [begin(lsn), *([insert(b"x" * size_bytes)] * rows), commit(lsn)]
    return list(slices(Point(start, 0), *messages))


def filled(*items: Slice, max_age_s: float = 60.0, max_bytes: int = 10_000_000) -> ChangeLog:
    log = ChangeLog(max_age_s=max_age_s, max_bytes=max_bytes)
    log.reset("e", Point(10, 0))
    for item in items:
        log.append(item, 0.0)
    return log


def test_position_survives_its_text() -> None:
    position = Position("0a1bt1", Point(2**63, 12))
    assert parse_position(str(position)) == position


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.1.g", "A.1.1", "a.1.1 ", "a." + "1" * 17 + ".1", "a" * 100, 5, None, {}]
)
def test_what_is_no_position_is_refused(text: object) -> None:
    with pytest.raises(PositionInvalid):
        parse_position(text)


def test_slices_follow_each_other_and_a_large_transaction_becomes_several() -> None:
    small, *large = transactions(100, 200, rows=MAX_SLICE_ENTRIES + 1)[1:]
    assert (small.last, small.is_last, small.end_lsn) == (Point(100, MAX_SLICE_ENTRIES + 1), True, 110)
    assert [(item.first_index, item.is_last) for item in large] == [(1, False), (MAX_SLICE_ENTRIES + 1, True)]
    assert [item.after for item in large] == [small.last, large[0].last]


def test_transaction_of_exactly_one_slice_ends_with_it() -> None:
    (item,) = transactions(100, rows=MAX_SLICE_ENTRIES)
    assert item.is_last


def test_table_is_announced_once_and_its_description_stays_with_every_slice() -> None:
    first, second, third = slices(
        Point(10, 0),
        *(relation(), begin(20), insert(), commit(20)),
        *(begin(30), insert(), commit(30)),
        *(begin(40), insert(), relation(name=b"renamed"), insert(), commit(40)),
    )
    assert [set(item.announced) for item in (first, second, third)] == [{TABLE}, set(), {TABLE}]
    assert second.entries[0].table.relation.table == "board"
    assert [entry.table.relation.table for entry in third.entries] == ["board", "renamed"]


def test_change_of_an_unknown_table_ends_the_stream() -> None:
    with pytest.raises(MessageCorrupt):
        list(slices(Point(10, 0), begin(20), insert()))


@pytest.mark.parametrize(
    "whole",
    [begin(20), relation(), insert(), commit(20), says(b"copied")],
    ids=["begin", "relation", "insert", "commit", "message"],
)
def test_a_message_that_ends_too_early_is_corrupt(whole: bytes) -> None:
    for length in range(1, len(whole)):
        with pytest.raises(MessageCorrupt):
            decode(whole[:length])


def test_what_comes_again_is_passed_over_and_what_is_missing_is_noticed() -> None:
    one, two, three = transactions(100, 200, 300)
    log = filled(one)
    assert log.append(one, 0.0) is None
    with pytest.raises(GapFound):
        log.append(three, 0.0)
    assert log.append(two, 0.0) is two
    assert log.append(three, 0.0) is three
    assert log.head == Point(300, 1)


def test_rows_that_their_transaction_says_are_copied_are_passed_over_and_no_others() -> None:
    found = list(
        slices(
            Point(10, 0),
            *(relation(), begin(20), says(b"copied"), insert(), insert(), commit(20)),
            *(begin(30), says(b""), insert(), commit(30)),
            *(says(b"copied", flags=0), begin(40), says(b"copied", b"another"), insert(), commit(40)),
        )
    )
    assert [item.last for item in found] == [Point(30, 1), Point(40, 1)]
    assert set(found[0].announced) == {TABLE}
    assert filled(*found).head == Point(40, 1)


def test_what_follows_a_transaction_without_changes_fits_to_the_ring() -> None:
    truncate = b"T" + struct.pack(">IBI", 1, 0, TABLE)
    messages = [
        relation(),
        begin(20),
        insert(),
        commit(20),
        begin(40),
        truncate,
        commit(40),
        begin(60),
        insert(),
        commit(60),
    ]
    log = filled(*slices(Point(10, 0), *messages))
    assert log.head == Point(60, 1)


def test_slice_that_was_cut_elsewhere_is_taken_from_where_the_ring_ends() -> None:
    whole = transactions(100, rows=5)[0]
    log = filled()
    part = whole.beyond(Point(100, 2))
    assert part.first_index == 3
    log.head = Point(100, 2)
    fresh = log.append(whole, 0.0)
    assert fresh is not None
    assert (fresh.first_index, len(fresh.entries), fresh.after) == (3, 3, Point(100, 2))


def test_ring_forgets_by_age_and_by_bytes_and_says_what_is_too_old() -> None:
    one, two, three = transactions(100, 200, 300, size_bytes=1_000)
    log = ChangeLog(max_age_s=60.0, max_bytes=one.size_bytes + two.size_bytes)
    log.reset("e", Point(10, 0))
    log.append(one, 0.0)
    log.append(two, 50.0)
    log.append(three, 55.0)
    assert (len(log), log.floor, log.released_lsn) == (2, Point(100, 1), 110)
    log.check(Position("e", Point(100, 1)))
    with pytest.raises(PositionTooOld):
        log.check(Position("e", Point(100, 0)))
    log.evict(111.0)
    assert (len(log), log.released_lsn) == (1, 210)
    log.evict(200.0)
    assert (len(log), log.size_bytes, log.released_lsn) == (0, 0, 310)
    log.check(Position("e", Point(300, 1)))


@pytest.mark.parametrize("position", [Position("other", Point(100, 1)), Position("e", Point(101, 1))])
def test_positions_of_another_history_or_of_the_future_are_too_old(position: Position) -> None:
    with pytest.raises(PositionTooOld):
        filled(*transactions(100)).check(position)


def test_transaction_that_is_not_whole_is_not_released() -> None:
    first, last = transactions(100, rows=MAX_SLICE_ENTRIES + 1)
    log = filled(first)
    log.evict(1_000.0)
    assert (len(log), log.released_lsn) == (0, 10)
    log.advance(Point(500, 0))
    assert log.head == first.last
    log.append(last, 1_000.0)
    log.evict(2_000.0)
    assert log.released_lsn == 110


def test_idle_log_is_released_as_far_as_the_server_has_read_it() -> None:
    log = filled()
    log.advance(Point(5_000, 0))
    assert log.released_lsn == 5_000
    log.check(Position("e", Point(10, 0)))


def test_slices_between_two_points_are_cut_at_the_start() -> None:
    log = filled(*transactions(100, 200, 300, rows=3))
    found = list(log.between(Point(100, 2), Point(200, 3)))
    assert [(item.commit_lsn, item.first_index) for item in found] == [(100, 3), (200, 1)]
    assert list(log.between(Point(300, 3), Point(400, 0))) == []


def test_page_holds_at_least_one_slice_and_about_the_bytes_asked_for() -> None:
    items = transactions(100, 200, 300)
    log = filled(*items)
    assert log.page(Point(10, 0), 1) == items[:1]
    assert log.page(Point(100, 1), 10_000) == items[1:]


def test_server_is_not_held_back_by_more_than_it_may_though_the_ring_keeps_more() -> None:
    log = filled(*transactions(100, 200, 5_000))
    assert log.released_lsn_within(10_000) == log.released_lsn == 10
    assert log.released_lsn_within(4_850) == 110
    assert log.released_lsn_within(1_000) == 210
    assert len(log) == 3
