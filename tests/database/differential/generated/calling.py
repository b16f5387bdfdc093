"""Generated calls of functions by GET, HEAD and POST, with arguments, filters and selects on what they return."""

from __future__ import annotations

import json

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.database.differential.generated.model import FUNCTIONS, TABLES, Function
from tests.database.differential.generated.reading import Embed, filters, headers_of_read, narrowing, role_of, select
from tests.database.differential.generated.request import Parameter, Request
from tests.database.differential.generated.values import chance, json_value, literal

__all__ = ["calls"]

_STATES = ("P0001", "23505", "42501", "PT418", "PT9", "22012", "57014", "PGRST", "no", "0L000", "53100")
_BODIES = (b"", b"{}", b"[]", b"null", b"5", b'"x"', b"{", b'[{"a": 1}, {"a": 2}]', b'{"b": {"c": [1]}}')


def _arguments(draw: DrawFn, function: Function) -> dict[str, object]:
    given: dict[str, object] = {}
    for name, kind in function.arguments.items():
        if chance(draw, 85):
            given[name] = json_value(draw, kind)
            if function.is_variadic:
                given[name] = [given[name], json_value(draw, kind)]
            elif function.name == "refuse":
                given[name] = draw(st.sampled_from(_STATES))
            elif function.name == "table_of":
                given[name] = draw(st.sampled_from((0, 1, 3)))
    if chance(draw, 4):
        given[draw(st.sampled_from(("nosuch", "", "A")))] = 1
    return given


def _query(draw: DrawFn, function: Function) -> list[Parameter]:
    found: list[Parameter] = []
    for name, kind in function.arguments.items():
        if not chance(draw, 85):
            continue
        value = literal(draw, kind)
        if function.name == "refuse":
            value = draw(st.sampled_from(_STATES))
        elif function.name == "table_of":
            value = draw(st.sampled_from(("0", "1", "3")))
        found.append((name, value))
        if function.is_variadic and chance(draw, 50):
            found.append((name, literal(draw, kind)))
    if chance(draw, 4):
        found.append((draw(st.sampled_from(("nosuch", "A"))), "1"))
    return found


def _on_result(draw: DrawFn, function: Function, *, is_ordered: bool) -> list[Parameter]:
    found: list[Parameter] = []
    if function.table is not None:
        table = TABLES[function.table]
        embeds: tuple[Embed, ...] = ()
        if chance(draw, 50):
            text, embeds = select(draw, table, depth=1)
            found.append(("select", text))
        if chance(draw, 40):
            found += filters(draw, table, embeds)
        found += narrowing(draw, table, embeds, is_ordered=is_ordered)
    elif function.columns:
        if chance(draw, 50):
            chosen = [draw(st.sampled_from(function.columns)) for _ in range(draw(st.integers(1, 3)))]
            found.append(("select", ",".join(chosen)))
        if chance(draw, 30):
            found.append(
                (
                    draw(st.sampled_from(function.columns)),
                    draw(st.sampled_from(("gt.1", "eq.w2", "is.null", "in.(1,4)"))),
                )
            )
        if is_ordered:
            found.append(("order", function.columns[0] + draw(st.sampled_from(("", ".desc")))))
            if chance(draw, 30):
                found.append(("limit", draw(st.sampled_from(("0", "1", "2")))))
    elif chance(draw, 10):
        found.append(draw(st.sampled_from((("select", "a"), ("limit", "1"), ("order", "a"), ("select", "*")))))
    return found


@st.composite
def calls(draw: DrawFn) -> Request:
    """One call."""
    function = draw(st.sampled_from(FUNCTIONS))
    method = draw(st.sampled_from(("GET", "GET", "POST", "POST", "HEAD")))
    is_ordered = function.table is not None and not function.is_volatile
    headers = headers_of_read(draw, is_ordered=is_ordered)
    name = function.name if not chance(draw, 2) else draw(st.sampled_from(("nosuch", "pluss", "Plus")))
    parameters = [] if method == "POST" else _query(draw, function)
    body: bytes | None = None
    if method == "POST":
        headers["Content-Profile"] = "lab"
        headers["Content-Type"] = "application/json"
        body = json.dumps(_arguments(draw, function)).encode()
        if function.name == "body" or chance(draw, 4):
            body = draw(st.sampled_from(_BODIES))
        if chance(draw, 4):
            headers["Prefer"] = "params=multiple-objects"
    else:
        headers["Accept-Profile"] = "lab"
    parameters += _on_result(draw, function, is_ordered=is_ordered)
    return Request(f"rpc/{name}", method, tuple(parameters), headers, body, role_of(draw), is_ordered)
