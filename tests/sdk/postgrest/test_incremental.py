"""Rows are read from a JSON array in pieces of any size."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isobase.postgrest._incremental import RowReader

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(VALUES, max_size=6),
    step=st.integers(1, 40),
    is_ascii=st.booleans(),
    between=st.sampled_from([", ", ",\n ", ","]),
)
def test_pieces_of_any_size_give_the_rows(rows: list[object], step: int, is_ascii: bool, between: str) -> None:
    text = "[" + between.join(json.dumps(row, ensure_ascii=is_ascii) for row in rows) + "]"
    body = text.encode("utf-8", "surrogatepass")
    reader, found = RowReader(), []
    for at in range(0, len(body), step):
        found += reader.feed(body[at : at + step])
    assert [value for value, _ in found] == rows
    assert [json.loads(shown) for _, shown in found] == rows
    assert reader.is_done


def test_a_long_row_in_small_pieces_costs_no_square() -> None:
    body = json.dumps([{"text": "x" * 3_000_000}]).encode()
    reader, found = RowReader(), []
    for at in range(0, len(body), 4096):
        found += reader.feed(body[at : at + 4096])
    assert len(found) == 1


def test_what_is_no_array_is_refused_and_what_is_cut_is_not_done() -> None:
    with pytest.raises(ValueError, match="no array"):
        RowReader().feed(b'{"a": 1}')
    reader = RowReader()
    assert reader.feed(b'[{"a": 1},') == [({"a": 1}, '{"a": 1}')]
    assert not reader.is_done
