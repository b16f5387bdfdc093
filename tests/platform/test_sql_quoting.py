"""Names and literals become SQL in one place; PostgreSQL itself judges the result."""

from __future__ import annotations

import pytest

from isobase_platform.errors import BadRequest
from isobase_platform.sql import qualified, quote_identifier, quote_literal


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("a", '"a"'), ('a"b', '"a""b"'), ("Ärger", '"Ärger"'), ("a.b", '"a.b"'), ("x; drop table y", '"x; drop table y"')],
)
def test_an_identifier_is_quoted_whole(name: str, quoted: str) -> None:
    assert quote_identifier(name) == quoted


@pytest.mark.parametrize("name", ["", "a\x00b", "x" * 64, "ä" * 32])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        quote_identifier(name)


def test_a_qualified_name_quotes_both_parts() -> None:
    assert qualified('s"', "t") == '"s"""."t"'


def test_a_literal_reads_the_same_with_and_without_standard_conforming_strings() -> None:
    assert quote_literal("it's \\ here") == "E'it''s \\\\ here'"


@pytest.mark.parametrize("text", ["a\x00", "half \ud800"])
def test_a_literal_that_postgresql_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        quote_literal(text)
