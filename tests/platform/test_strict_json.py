"""JSON as the standard has it."""

from __future__ import annotations

import json

import pytest

from isobase_platform.strict_json import load_finite


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null, true, "\\ud800"]}', {"a": [1, 2.5, None, True, "\ud800"]}),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        (' "grün" ', "grün"),
    ],
)
def test_values_are_read_from_text_and_from_bytes(text: str, value: object) -> None:
    assert load_finite(text) == value
    assert load_finite(text.encode()) == value
    assert load_finite(text.encode("utf-16")) == value


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "1e999", "-1e999", '{"a":1e400}'])
def test_what_is_no_number_of_json_is_refused(text: str) -> None:
    for given in (text, text.encode()):
        with pytest.raises(ValueError, match=r"is no JSON|out of range"):
            load_finite(given)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "01", "\ufeff1", '"\x01"', "1 2"])
def test_what_is_no_json_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        load_finite(text)


def test_bytes_that_are_no_text_are_refused_and_deep_nesting_is_told_apart() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        load_finite(b'"\xff"')
    with pytest.raises(RecursionError):
        load_finite("[" * 100_000)
