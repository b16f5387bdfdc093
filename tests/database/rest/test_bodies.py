"""Bodies of writes: what a JSON or CSV body is made of, small and large, and what is refused in upstream's words."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.parameters import Operand, Parameters
from isobase_services.database.rest.csv_rows import MAX_CELLS, SLICE_ROWS, csv_rows
from isobase_services.database.rest.json_shape import LARGE_BODY_BYTES, SLICE_CHARS, JsonShape, shape_of, walk_shape
from isobase_services.database.rest.payload import MAX_FORM_FIELDS, parse_call_body, parse_write_body
from tests.database.rest.conftest import Api, refusal

LONGEST_BLOCK_S = 0.25
ROWS = JsonShape(keys=("a", "b"), has_rows=True)
RAGGED = JsonShape(is_ragged=True, has_rows=True)


def walked(body: bytes) -> JsonShape:
    """The shape of a body that is read as a large one."""
    walk = walk_shape(body.decode())
    while True:
        try:
            next(walk)
        except StopIteration as end:
            shape: JsonShape = end.value
            return shape


@pytest.mark.parametrize("read", [shape_of, walked], ids=["small", "large"])
@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (b'{"a": 1, "b": {"c": [1, {}]}}', JsonShape(is_object=True, keys=("a", "b"))),
        (b'{"a": 1, "b": [[], [1], "x"], "a": 2}', JsonShape(is_object=True, keys=("a", "b"))),
        (b" {}\n", JsonShape(is_object=True)),
        (b'{"a": {}, "b": []}', JsonShape(is_object=True, keys=("a", "b"))),
        (b'[{"a": 1, "b": 2}, {"b": 3, "a": 4}]', ROWS),
        (b' [ {"a":1,"b":2} , {"b":3,"a":4}\r\n]\t', ROWS),
        (b"[{}, {}]", JsonShape(has_rows=True)),
        (b'[{"a": 1, "b": 12345678901234567890123456789012345, "b": 1e999}]', ROWS),
        (b'[{"a": "\\ud83d\\ude00", "b": -0}]', ROWS),
        (b"[]", JsonShape()),
        (b"null", JsonShape()),
        (b'"text"', JsonShape()),
        (b"12", JsonShape()),
        (b'[{"a": 1}, {"b": 1}]', RAGGED),
        (b'[{"a": 1}, {"a": 1, "b": 1}, {"a": 1}]', RAGGED),
        (b"[{}, 1]", RAGGED),
        (b"[1, 2]", RAGGED),
    ],
)
def test_the_shape_of_a_body(read: Callable[[bytes], JsonShape], body: bytes, shape: JsonShape) -> None:
    found = read(body)
    assert (found.is_object, found.is_ragged, found.has_rows) == (shape.is_object, shape.is_ragged, shape.has_rows)
    assert found.is_ragged or found.keys == shape.keys


@pytest.mark.parametrize("read", [shape_of, walked], ids=["small", "large"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{",
        b"[",
        b"[{}",
        b"[{},]",
        b"[{} {}]",
        b'{"a"}',
        b'{"a" 1}',
        b'{"a": }',
        b'{"a": 1,}',
        b'{"a": 1 "b": 2}',
        b'{"a": [1,]}',
        b"{a: 1}",
        b"{'a': 1}",
        b'{"a": 01}',
        b'{"a": NaN}',
        b'[{"a": -Infinity}]',
        b'{"a": 1} x',
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
        b'{"a": "\x01"}',
        b'{"a": "\\ud800"}',
        b'[{"a": "\\ude00"}]',
        b'[{"a": "' + b"x" * 10,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_no_json_is_refused(read: Callable[[bytes], JsonShape], body: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read(body)


def test_a_walk_pauses_after_every_slice() -> None:
    body = json.dumps([{"id": number, "name": "x" * 100} for number in range(20_000)])
    assert len(list(walk_shape(body))) >= len(body) // SLICE_CHARS - 1
    assert len(list(walk_shape(f'{{"rows": {body}, "more": {body}}}'))) >= 2 * len(body) // SLICE_CHARS - 2
    assert len(list(csv_rows("id\n" + "1\n" * (SLICE_ROWS * 3)))) == 3


@pytest.mark.parametrize("kind", ["application/json", "text/csv"])
async def test_a_large_body_keeps_no_other_request_waiting(kind: str) -> None:
    names = [f"number {number} of them" for number in range(150_000)]
    if kind == "text/csv":
        body = "id,name\n" + "".join(f"{number},{name}\n" for number, name in enumerate(names))
    else:
        body = json.dumps([{"id": number, "name": name} for number, name in enumerate(names)])
    assert len(body) > LARGE_BODY_BYTES
    longest_s = 0.0

    async def others() -> None:
        nonlocal longest_s
        while True:
            # What the loop's own thread computed: a machine that gives it no time meanwhile proves nothing.
            before_s = time.thread_time()
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.thread_time() - before_s)

    waiting = asyncio.create_task(others())
    read = await parse_write_body(body.encode(), kind, None)
    waiting.cancel()
    assert read.keys == ("id", "name")
    assert json.loads(read.json)[-1]["name"] == names[-1]
    assert longest_s < LONGEST_BLOCK_S


def read_csv(text: str) -> tuple[object, tuple[str, ...]]:
    rows = csv_rows(text)
    while True:
        try:
            next(rows)
        except StopIteration as end:
            found, keys = end.value
            return json.loads(found), keys


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ("a,b\r\n1,2\r3,4", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
        ('"a","b"\n"1","x""y,\nz"\n', [{"a": "1", "b": 'x"y,\nz'}]),
        ("a,b\n\n1,NULL\n\n", [{"a": "1", "b": None}]),
        ('a,b\n1,""\n""\n2,\n', [{"a": "1", "b": ""}, {"a": "2", "b": ""}]),
        ("a,b\n1\n2\n", [{"a": "1"}, {"a": "2"}]),
        ("a,b\n1,2,3\n", [{"a": "1", "b": "2"}]),
        ("a,a\n1,2\n", [{"a": "2"}]),
        ('a,b\n1,"x\n', [{"a": "1", "b": "x"}]),
        ("a,b\n", []),
        ("\n", []),
    ],
)
def test_csv_is_read_as_upstream_reads_it(text: str, rows: list[dict[str, str | None]]) -> None:
    found, keys = read_csv(text)
    assert found == rows
    assert set(keys) == (set(rows[0]) if rows else set())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'parse error (not enough input) at ""'),
        ("a,b", 'parse error (not enough input) at ""'),
        ('"a\n', 'parse error (not enough input) at ""'),
        ("a,b\n1,2\n3\n", "All lines must have same number of fields"),
        ('a,b\n1,x"y\n', 'parse error (Failed reading: satisfy) at "\\"y\\n"'),
        ('a,b\n"1" ,2', 'parse error (Failed reading: satisfy) at " ,2"'),
        ('a\n"1"é\\\t', 'parse error (Failed reading: satisfy) at "\\195\\169\\\\\\t"'),
        ('a\n"1"' + "x" * 200, f"parse error (Failed reading: satisfy) at {'x' * 100} (truncated)"),
    ],
)
def test_csv_that_cannot_be_read_is_refused_in_upstreams_words(text: str, message: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_csv(text)
    assert (refused.value.code, refused.value.message) == ("PGRST102", message)


def test_numbers_reach_the_database_as_they_were_written(api: Api) -> None:
    body = '{"meta": {"big": 123456789012345678901234567890, "exact": 0.10000000000000000001}, "title": "n"}'
    answer = api.call(
        "POST",
        "/notes?select=meta",
        content=body,
        headers={"content-type": "application/json"},
        prefer="return=representation",
    )
    assert '"big": 123456789012345678901234567890' in answer.text
    assert '"exact": 0.10000000000000000001' in answer.text


def test_a_nul_in_csv_is_postgresqls_to_refuse(api: Api) -> None:
    answer = api.call("POST", "/people", content=b"id,name\n9,a\x00b\n", headers={"content-type": "text/csv"})
    assert refusal(answer) == (400, "22P05")


def test_a_kept_plan_holds_no_body() -> None:
    body = b'[{"id": 1}]'
    parameters = Parameters(body)
    parameters.add(body)
    parameters.add(Operand.at(0, "seven"))
    parameters.add("always")
    parameters.add([Operand.at(1, "a"), Operand.at(2, "b")])
    bound = parameters.bound()
    assert bound.constants == (body, "seven", "always", '{"a","b"}')
    assert bound.emptied().constants == (None, None, "always", None)
    assert bound.emptied().bind(["eight", "c", "d"], b"[]") == [b"[]", "eight", "always", '{"c","d"}']


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner), max_leaves=20
)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    value=_VALUES | st.lists(st.fixed_dictionaries({"a": _VALUES, "b": _VALUES})),
    indent=st.sampled_from([None, 1]),
    is_ascii=st.booleans(),
)
def test_large_and_small_bodies_are_read_alike(value: object, indent: int | None, is_ascii: bool) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=is_ascii).encode("utf-8", "replace")
    small, large = shape_of(body), walked(body)
    assert (small.is_object, small.is_ragged, small.has_rows) == (large.is_object, large.is_ragged, large.has_rows)
    assert small.is_ragged or small.keys == large.keys
    with pytest.raises(ValueError):
        walked(body[:-1] + b"}]")


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=2)),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_csv_that_python_writes_is_read_as_it_was_meant(rows: list[list[str]], end: str) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    found, _ = read_csv(written.getvalue())
    assert found == [
        {"a": None if first == "NULL" else first, "b": None if second == "NULL" else second} for first, second in rows
    ]


def test_blank_lines_of_csv_make_pauses_too() -> None:
    assert sum(1 for _ in csv_rows("a\n" + "\n" * 100_000)) >= 20


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_line_of_csv_has_a_limit(quote: str) -> None:
    with pytest.raises(RequestError, match="fields"):
        list(csv_rows(f"{quote}a{quote}" + ",a" * MAX_CELLS + "\n1\n"))


async def test_a_form_has_a_limit() -> None:
    kind = "application/x-www-form-urlencoded"
    with pytest.raises(RequestError, match="form"):
        await parse_call_body(b"a&" * (MAX_FORM_FIELDS + 1), kind, None)
    large = await parse_call_body(b"a=" + b"%41" * LARGE_BODY_BYTES, kind, None)
    assert large.form == (("a", "A" * LARGE_BODY_BYTES),)
