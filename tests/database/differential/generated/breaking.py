"""Requests that went wrong on the way: a sound request whose query string was cut, doubled or salted with signs."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.database.differential.generated.calling import calls
from tests.database.differential.generated.reading import reads
from tests.database.differential.generated.request import Parameter, Request
from tests.database.differential.generated.writing import writes

__all__ = ["broken"]

_SIGNS = (
    "(",
    ")",
    ",",
    ".",
    ":",
    "!",
    '"',
    "\\",
    "->",
    "->>",
    "*",
    " ",
    "'",
    "%",
    "&",
    "=",
    "{",
    "}",
    "::",
    "...",
    "not.",
    "-",
    "()",
)


@st.composite
def broken(draw: DrawFn) -> Request:
    """A generated request with one of its parameters damaged."""
    request = draw(st.one_of(reads(), reads(), calls(), writes()))
    if not request.parameters:
        return request
    parameters = list(request.parameters)
    place = draw(st.integers(0, len(parameters) - 1))
    name, value = parameters[place]
    is_name = draw(st.integers(0, 3)) == 3
    text = name if is_name else value
    at = draw(st.integers(0, max(len(text) - 1, 0)))
    match draw(st.sampled_from(("cut", "put", "put", "swap", "double"))):
        case "cut":
            text = text[:at] + text[at + 1 :]
        case "put":
            text = text[:at] + draw(st.sampled_from(_SIGNS)) + text[at:]
        case "swap":
            text = text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]
        case _:
            text += text[at:]
    changed: Parameter = (text, value) if is_name else (name, text)
    parameters[place] = changed
    return replace(request, parameters=tuple(parameters), is_ordered=False)
