"""Every position of the language, filled with what an attacker would write there: no SQL of it, no crash, no change.

A text that reached SQL unquoted would sooner or later be a syntax error, so none may ever be seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isobase_platform.config import Settings
from tests.database.proof.conftest import run_sql, serving

EXAMPLES = 400
SQL_ERROR = re.compile(
    r"syntax error at|unterminated|zero-length delimited|trailing junk|cannot insert multiple commands"
)
"""What PostgreSQL says of SQL that it cannot read; 42601 alone is also the code of a bad text search query."""
PIECES = (
    "'",
    '"',
    "''",
    '""',
    "\\",
    "\\'",
    '\\"',
    "--",
    "/*",
    "*/",
    ";",
    "$1",
    "$$",
    "%",
    "%s",
    "{",
    "}",
    "(",
    ")",
    ",",
    ".",
    ":",
    "::",
    "->",
    "->>",
    "!",
    "*",
    "&",
    "=",
    " ",
    "\t",
    "\n",
    "\x00",
    "\x7f",
    "ü",
    "\u202e",
    "😀",
    "x",
    "1",
    "id",
    "things",
    "null",
    "select",
    " or true ",
    "; drop table public.things; ",
    "1) union select 1 --",
    "x" * 70,
    "y" * 5000,
)
HOSTILE = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


Filled = tuple[str, str, dict[str, str], bytes | None]


def _in_query(method: str, path: str, form: Callable[[str], str], body: bytes | None = None) -> Callable[[str], Filled]:
    """A position inside a query string: ``path`` has one ``{}`` for the text as ``form`` writes it."""
    return lambda text: (method, path.format(quote(form(text), safe="")), {}, body)


def _as_is(text: str) -> str:
    return text


def _header(name: str, form: str, method: str = "GET", body: bytes | None = None) -> Callable[[str], Filled]:
    def fill(text: str) -> Filled:
        # What HTTP itself does not let through cannot be sent.
        plain = "".join(letter for letter in text if letter.isprintable() and letter.isascii())
        return method, "/things?limit=1", {name: form.format(plain).strip()}, body

    return fill


def _body(path: str, shape: Callable[[str], object]) -> Callable[[str], Filled]:
    return lambda text: ("POST", path, {"content-type": "application/json"}, json.dumps(shape(text)).encode())


def _csv(text: str) -> Filled:
    return "POST", "/things", {"content-type": "text/csv"}, f"{text},id\nx,1".encode("utf-8", "replace")


_IN_QUERIES = (
    "/{}",
    "/rpc/{}",
    "/rpc/plus?{}=1",
    "/rpc/plus?a={}",
    "/rpc/pick?wanted=1&select={}",
    "/things?select={}",
    "/things?select={}:id",
    "/things?select=id::{}",
    "/things?select=data->{}",
    "/things?select=data->>{}",
    "/things?select={}(id)",
    "/things?select=parents!{}(id)",
    "/things?select=x:parents(id)&x.{}=eq.1",
    "/things?select=parents({})",
    "/things?select=...parents({})",
    "/things?select=size.{}()",
    "/things?select=size.sum()::{}",
    "/things?{}=eq.1",
    "/things?data->{}=eq.1",
    "/things?id=eq.{}",
    "/things?name=eq.{}",
    "/things?name=like.{}",
    "/things?name=match.{}",
    "/things?name=in.({})",
    "/things?name=eq(any).{}",
    "/things?name=fts({}).x",
    "/things?name=fts.{}",
    "/things?name=is.{}",
    "/things?name={}.x",
    "/things?name=not.{}",
    "/things?data=cs.{}",
    "/things?or=({}.eq.1)",
    "/things?or=(name.eq.{})",
    "/things?and=({})",
    "/things?order={}",
    "/things?order=id.{}",
    "/things?order=parents({})&select=*,parents(*)",
    "/things?order=data->{}",
    "/things?limit={}",
    "/things?offset={}",
    "/things?columns={}",
)
_ONE = b'{"id": 1, "name": "t1"}'
POSITIONS: tuple[Callable[[str], Filled], ...] = (
    *(_in_query("GET", path, form) for path in _IN_QUERIES for form in (_as_is, _quoted)),
    *(_in_query("POST", path, _quoted, _ONE) for path in ("/things?columns={}", "/things?on_conflict={}")),
    _in_query("PATCH", "/things?id=eq.0&{}=eq.1", _quoted, b'{"name": "x"}'),
    _in_query("DELETE", "/things?id=eq.0&name=eq.{}", _as_is),
    _in_query("PUT", "/things?id=eq.{}", _as_is, _ONE),
    _body("/things", lambda text: {text: 1}),
    _body("/things", lambda text: [{"id": 1, "name": text}]),
    _body("/rpc/plus", lambda text: {text: 1}),
    _body("/rpc/plus", lambda text: {"a": text}),
    _csv,
    *(_header(name, "{}") for name in ("accept", "accept-profile", "range", "prefer", "cookie", "x-forwarded-host")),
    *(_header("prefer", form) for form in ("timezone={}", "count={}", "handling=strict, {}", "max-affected={}")),
    _header("content-profile", "{}", "POST", _ONE),
    _header("content-type", "{}", "POST", _ONE),
    _header("authorization", "Bearer {}"),
)


def test_no_text_of_any_position_becomes_sql_or_breaks_the_server(things: Settings) -> None:
    rest = things.rest.model_copy(update={"aggregates_enabled": True, "plan_enabled": True})
    before = run_sql(things, "select * from public.things order by id")
    with serving(things.model_copy(update={"rest": rest})) as api, api.client() as client:

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.sampled_from(POSITIONS), HOSTILE)
        def fill(position: Callable[[str], Filled], text: str) -> None:
            method, path, headers, body = position(text)
            if len(path) > 8000:
                return
            answer = client.request(method, path, headers=headers, content=body)
            shown = f"{method} {path} {headers} {body!r} -> {answer.status_code} {answer.text[:500]}"
            assert answer.status_code < 500, shown
            if answer.status_code >= 400:
                refusal = answer.json()
                assert set(refusal) == {"code", "details", "hint", "message"}, shown
                assert refusal["code"] not in {"XX000", "26000"}, shown
                assert not SQL_ERROR.match(refusal["message"]), shown
                assert "Traceback" not in answer.text, shown

        fill()
    assert run_sql(things, "select * from public.things order by id") == before
