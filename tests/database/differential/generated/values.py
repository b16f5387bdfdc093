"""Values for filters, bodies and arguments: some that fit a column's kind, some that nothing fits."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.database.differential.generated.model import Kind

__all__ = ["HOSTILE", "chance", "json_value", "literal", "quoted", "some"]

_FITTING: dict[Kind, tuple[str, ...]] = {
    "int": ("1", "2", "3", "4", "0", "-1", "77", "2147483647"),
    "text": ("Acme", "Ann", "x", "a", "The fat cat", "c", "%", "*", "", 'D, "E" (F)', "e_f", "gold", "ü", "null"),
    "bool": ("true", "false", "t", "0"),
    "date": ("1999-12-31", "2024-02-29", "2024-02-02", "infinity"),
    "time": ("2024-01-01 12:00:00+02", "2024-03-01", "1970-01-01T00:00:00Z"),
    "uuid": ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "11111111-1111-4111-8111-111111111111"),
    "plan": ("free", "team", "big"),
    "json": ('{"a": 1}', "[5]", "null", '"text"'),
    "jsonb": ('{"a": 1}', "{}", "[1]", "5", '{"n": "5"}', "null"),
    "texts": ("{}", "{a}", "{a,b}", '{"x,y"}', "{b,zz}"),
    "ints": ("{}", "{1}", "{1,2,3}", "{4,NULL}"),
    "span": ("[1,5)", "[2,3]", "empty", "(,4)", "[10,20)"),
    "period": ("[2024-01-01,2024-01-10)", "empty", "(,)"),
    "words": ("cat", "fat:1", "'thin' 'dog'"),
    "number": ("4.5", "4.50", "0.01", "-10", "1e3", "NaN"),
    "float": ("1.5", "-2", "NaN", "Infinity"),
    "bytes": ("\\x00ff", "", "abc"),
    "row": ("(1,2)", "(,7)"),
    "interval": ("1 day", "-00:30", "PT1H"),
}
HOSTILE = (
    "",
    "'",
    '"',
    "\\",
    "a'b",
    'a"b',
    "a\\b",
    "; drop table lab.orgs; --",
    "/* */",
    "$1",
    "%s",
    "{}",
    "(",
    ")",
    "),(",
    "a,b",
    "a.b",
    "null",
    "ünï",
    "😀",
    " ",
    " x ",
    "\t",
    "not",
    "9999999999999999999999",
    "1.5",
    "true",
)
_JSON: dict[Kind, tuple[object, ...]] = {
    "int": (1, 2, 50, 51, -3, None, "7", 1.0, 2.5, True, "x"),
    "text": ("new", "Acme", "", None, 5, True, {"a": 1}, ["a"], "ü", "a'b\"c\\"),
    "bool": (True, False, None, "yes", 1),
    "date": ("2020-02-02", None, "never", "infinity"),
    "time": ("2020-02-02T10:00:00Z", None, "now and then"),
    "uuid": ("11111111-1111-4111-8111-111111111111", None, "no uuid"),
    "plan": ("team", "big", None, "huge"),
    "json": ({"z": [1, 2]}, [1], None, "text", 5),
    "jsonb": ({"z": [1, 2]}, [1], None, "text", 5, {"b": 1, "a": 2}),
    "texts": (["p", "q"], [], None, "{p,q}", "p", [1, None], [["a"]]),
    "ints": ([1, 2], [], None, "{1}", ["x"], [1, None], 5),
    "span": ("[1,3)", None, "[3,1)", 5, {"lower": 1}),
    "period": ("[2024-01-01,2024-01-02)", None, "x"),
    "words": ("cat dog", None, 5),
    "number": (1.25, 10, None, "3.5", 123456789.5, "NaN"),
    "float": (1.25, None, "NaN", "x"),
    "bytes": ("\\xabcd", None, "abc"),
    "row": ({"width": 1, "height": 2}, "(3,4)", None, [1, 2], {"width": "x"}, {}),
    "interval": ("2 days", None, "soon", 5),
}


def chance(draw: DrawFn, percent: int) -> bool:
    """True in about ``percent`` of a hundred draws; what shrinks, shrinks to False."""
    return draw(st.integers(0, 99)) >= 100 - percent


def some(draw: DrawFn, most: int, least: int = 0) -> range:
    """A range of ``least`` to ``most`` turns."""
    return range(draw(st.integers(least, most)))


def literal(draw: DrawFn, kind: Kind) -> str:
    """A value as a filter or an argument in the query string has it; some fit no type."""
    if chance(draw, 50 if kind == "text" else 4):
        return draw(st.sampled_from(HOSTILE))
    return draw(st.sampled_from(_FITTING[kind]))


def json_value(draw: DrawFn, kind: Kind) -> object:
    """A value as a JSON body has it."""
    return draw(st.sampled_from(_JSON[kind]))


def quoted(text: str) -> str:
    """A value or name in double quotes, as lists and trees take what holds their separators."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
