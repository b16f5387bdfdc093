"""The parsers alone: text in, values out, or where it went wrong."""

from __future__ import annotations

import pytest

from isobase_services.database.query.ast import (
    ColumnItem,
    Field,
    Filter,
    JoinKind,
    JsonStep,
    LogicTree,
    OrderTerm,
    RelationItem,
    SelectItem,
)
from isobase_services.database.query.errors import ParseError
from isobase_services.database.query.fuzzy import nearest
from isobase_services.database.query.parse_filter import (
    parse_argument_or_filter,
    parse_filter,
    parse_key,
    parse_logic,
)
from isobase_services.database.query.parse_select import parse_order, parse_select
from isobase_services.database.query.view_columns import origin_columns
from isobase_services.database.rest.preferences import parse_preferences

A = Field("a")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("*", (ColumnItem(Field("*")),)),
        ("a", (ColumnItem(A),)),
        (" a , b ", (ColumnItem(A), ColumnItem(Field("b")))),
        ("x:a::int", (ColumnItem(A, "x", "int"),)),
        ('"a,b":"c.d"', (ColumnItem(Field("c.d"), "a,b"),)),
        ("a->b->>0", (ColumnItem(Field("a", (JsonStep("b", False, False), JsonStep("0", True, True)))),)),
        ("a-b", (ColumnItem(Field("a-b")),)),
        ("count()", (ColumnItem(Field("*"), None, None, "count"),)),
        ("x:b!h!inner(a)", (RelationItem("b", (ColumnItem(A),), "x", "h", JoinKind.INNER),)),
        ("b!left()", (RelationItem("b", (), None, None, JoinKind.LEFT),)),
        ("...b(a)", (RelationItem("b", (ColumnItem(A),), is_spread=True),)),
    ],
)
def test_select_is_read(text: str, expected: tuple[SelectItem, ...]) -> None:
    assert parse_select(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eq.1", Filter(A, "eq", "1")),
        ("not.eq.1", Filter(A, "eq", "1", is_negated=True)),
        ("eq.", Filter(A, "eq", "")),
        ("eq.a.b(c),d", Filter(A, "eq", "a.b(c),d")),
        ("like(all).{a,b}", Filter(A, "like", "{a,b}", quantifier="all")),
        ("in.(a,b)", Filter(A, "in", "", values=("a", "b"))),
        ('in.("a,b","c\\"d",e f)', Filter(A, "in", "", values=("a,b", 'c"d', "e f"))),
        ('in.("a"b)', Filter(A, "in", "", values=('"a"b',))),
        ("in.()", Filter(A, "in", "")),
        ("is.NULL", Filter(A, "is", "null")),
        ("wfts(english).x y", Filter(A, "wfts", "x y", language="english")),
    ],
)
def test_filters_are_read(text: str, expected: Filter) -> None:
    assert parse_filter(A, text) == expected


@pytest.mark.parametrize(
    ("key", "text", "path", "tree"),
    [
        ("or", "(a.eq.1,a.is.null)", (), LogicTree("or", False, (Filter(A, "eq", "1"), Filter(A, "is", "null")))),
        ("not.and", '(a.eq."1,2")', (), LogicTree("and", True, (Filter(A, "eq", "1,2"),))),
        ("x.y.or", "(a.in.(1,2))", ("x", "y"), LogicTree("or", False, (Filter(A, "in", "", values=("1", "2")),))),
        ("x.not.or", "(a.cs.{1,2})", ("x",), LogicTree("or", True, (Filter(A, "cs", "{1,2}"),))),
        (
            "and",
            "( not.or ( a.eq.1 , a.eq.2 ) )",
            (),
            LogicTree("and", False, (LogicTree("or", True, (Filter(A, "eq", "1 "), Filter(A, "eq", "2 "))),)),
        ),
    ],
)
def test_logic_is_read(key: str, text: str, path: tuple[str, ...], tree: LogicTree) -> None:
    assert parse_logic(key, text) == (path, tree)


def test_keys_and_orders_are_read() -> None:
    assert parse_key("x.y.a->b") == (("x", "y"), Field("a", (JsonStep("b", False, False),)))
    assert parse_key('"a.b"') == ((), Field("a.b"))
    assert parse_order("a.desc.nullslast,b,r(c).asc") == (
        OrderTerm(A, None, "desc", "last"),
        OrderTerm(Field("b")),
        OrderTerm(Field("c"), "r", "asc"),
    )


@pytest.mark.parametrize(
    "text", ["a,", "a(b", "a(,b)", "a(b) c", "a->", "a::", "a:b:c", "a!x", "a;b", " ,a", '"a', "a.b"]
)
def test_a_broken_select_is_refused(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_select(text)
    assert caught.value.code == "PGRST100"
    assert "failed to parse select parameter" in caught.value.message


@pytest.mark.parametrize(
    ("text", "read"),
    [("(", ""), ("!x", ""), (",a", ""), ("a(b)c(d)", "a(b)"), ("a(b)))x", "a(b)"), ("a)b", "a"), ("a ,b", "a,b")],
)
def test_a_select_is_read_as_far_as_upstream_reads_it(text: str, read: str) -> None:
    assert parse_select(text) == parse_select(read)


@pytest.mark.parametrize("text", ["a(b)c(d)", "a(b)'", "a(b))", ",a", "*x", "...b"])
def test_a_select_read_strictly_is_read_whole(text: str) -> None:
    with pytest.raises(ParseError):
        parse_select(text, is_strict=True)


def test_what_follows_a_name_or_a_word_is_not_read_as_upstream() -> None:
    assert parse_key("a'b") == ((), Field("a"))
    assert parse_filter(A, "is.nullx") == Filter(A, "is", "null")
    with pytest.raises(ParseError):
        parse_logic("and", "(a.is.nullx)")


@pytest.mark.parametrize("text", ["5", "eq", "is.5", "in.5", "in.(1", "like(some).x", "not.5", "fts(.x"])
def test_a_broken_filter_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_filter(A, text)


@pytest.mark.parametrize("text", ["5", "equal", "a.b", "north.x", "2026-01-01", ""])
def test_what_begins_like_no_filter_is_an_argument(text: str) -> None:
    assert parse_argument_or_filter(A, text) is None


def test_preferences_are_read_the_first_of_a_kind_counts() -> None:
    found = parse_preferences(
        ["return=minimal, count=exact", "return=representation,odd, tx=rollback, max-affected=3,timezone=UTC"],
        allows_tx=False,
        knows_time_zone=lambda name: name == "UTC",
    )
    assert (found.returns, found.count, found.tx, found.max_affected, found.timezone) == (
        "minimal",
        "exact",
        None,
        3,
        "UTC",
    )
    assert found.invalid == ("odd",)
    assert found.applied() == "return=minimal, count=exact, timezone=UTC"


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("film", ["films", "actors"], "films"),
        ("peoples", ["people", "pupil"], "people"),
        ("peopel", ["people"], None),
        ("noclosealternative", ["films"], None),
        ("", ["films"], None),
    ],
)
def test_the_nearest_name_is_near(name: str, known: list[str], found: str | None) -> None:
    assert nearest(name, known) == found


def test_only_the_outermost_target_list_of_a_view_counts() -> None:
    inner = (
        "({TARGETENTRY :expr {VAR} :resno 1 :resname x :ressortgroupref 0 :resorigtbl 9 :resorigcol 9 :resjunk false})"
    )
    rule = (
        "({QUERY :rtable ({RTE :subquery {QUERY :targetList "
        + inner
        + " :x <>}}) :targetList ({TARGETENTRY :expr {SUBLINK "
        ":subselect {QUERY :targetList " + inner + "}} :resno 1 :resname a\\ \\(b :ressortgroupref 0 :resorigtbl 5 "
        ":resorigcol 2 :resjunk false} {TARGETENTRY :expr {CONST} :resno 2 :resname c :ressortgroupref 0 :resorigtbl 0 "
        ":resorigcol 0 :resjunk false}) :override 0 :returningList " + inner + "})"
    )
    assert list(origin_columns(rule)) == [(1, 5, 2)]
