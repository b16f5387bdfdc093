"""Where the data API answers otherwise than PostgREST 12.0.2 on purpose: the whole list, each with its reason.

A difference says which requests and answers it concerns and what is left to compare there. What 14 changed for whole classes
of error bodies (their words) is in ``comparing.newer_answer``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.database.differential.conftest import Answer
from tests.database.differential.generated.request import Request

__all__ = ["DIFFERENCES", "Difference", "Left", "code_of"]

Left: TypeAlias = Literal["nothing", "code"]


@dataclass(slots=True, frozen=True)
class Difference:
    """``left``: what is compared all the same; ``code``: status and the error's code."""

    reason: str
    concerns: Callable[[Request, Answer, Answer], bool]
    left: Left = "code"


def code_of(answer: Answer) -> str | None:
    """The code of an error's body, or None."""
    body = answer.json()
    return str(body["code"]) if isinstance(body, dict) and "code" in body and "message" in body else None


def _crashed(request: Request, theirs: Answer, ours: Answer) -> bool:
    return theirs.status == 500 and theirs.body == b"Something went wrong"


def _empty_spread(request: Request, theirs: Answer, ours: Answer) -> bool:
    """A spread with nothing, or nothing but empty embeds, in it, of which 12 makes SQL that PostgreSQL refuses."""
    return "..." in request.query and "()" in request.query and code_of(theirs) in {"42601", "42703"}


def _narrows_a_call(request: Request, theirs: Answer, ours: Answer) -> bool:
    mistakes = {"42702", "42703", "42846"}
    is_refused = code_of(theirs) in mistakes or (request.method == "HEAD" and theirs.status == 400)
    return request.resource.startswith("rpc/") and is_refused and code_of(ours) not in mistakes


_SQL_MISTAKES = frozenset({"42702", "42703", "42704", "42712", "42725", "42803", "42804", "42846", "42883"})
_VALUE_MISTAKES = frozenset(
    {"22003", "22007", "22008", "22023", "2201B", "22P02", "23502", "23503", "23505", "23514", "428C9"}
)


def _is_refused_for_its_sql(request: Request, theirs: Answer, ours: Answer) -> bool:
    return code_of(theirs) == code_of(ours) and code_of(theirs) in _SQL_MISTAKES


def _has_two_mistakes(request: Request, theirs: Answer, ours: Answer) -> bool:
    mistakes = _SQL_MISTAKES | _VALUE_MISTAKES
    return code_of(theirs) != code_of(ours) and code_of(theirs) in mistakes and code_of(ours) in mistakes


def _sorts_what_it_wrote(request: Request, theirs: Answer, ours: Answer) -> bool:
    return request.is_write and "order=" in request.query and code_of(ours) in {"PGRST108", "PGRST118", *_SQL_MISTAKES}


def _is_csv_of_what_was_made(request: Request, theirs: Answer, ours: Answer) -> bool:
    is_made = request.is_write or request.resource.startswith("rpc/")
    return is_made and request.headers.get("Accept") == "text/csv" and theirs.status == ours.status


def _reads_values_late(request: Request, theirs: Answer, ours: Answer) -> bool:
    return "in.(" in request.query and code_of(theirs) in _VALUE_MISTAKES and ours.status in {200, 204}


def _reads_values_early(request: Request, theirs: Answer, ours: Answer) -> bool:
    return request.method == "PATCH" and code_of(ours) in _VALUE_MISTAKES and theirs.status in {200, 204}


NEWER: tuple[Difference, ...] = (
    Difference(
        "The words of a parser's error belong to the parser",
        lambda request, theirs, ours: code_of(theirs) == "PGRST100",
    ),
    Difference(
        "14 names in PGRST121 what cannot be read",
        lambda request, theirs, ours: code_of(theirs) == "PGRST121",
    ),
    Difference(
        "14 filters the rows of a function also by columns that are not selected, which 12 does not know of",
        _narrows_a_call,
        "nothing",
    ),
    Difference(
        "14 reads a JSON argument of the query string as JSON, where 12 takes it as a text",
        lambda request, theirs, ours: request.resource == "rpc/echo" and request.method in {"GET", "HEAD"},
        "nothing",
    ),
    Difference(
        "12 shows columns of its own where a call selects nothing",
        lambda request, theirs, ours: request.resource.startswith("rpc/") and ("select", "") in request.parameters,
        "nothing",
    ),
    Difference(
        "14 looks for a function of a single argument only by the argument's name, if it has one",
        lambda request, theirs, ours: request.resource == "rpc/echo" and code_of(ours) == "PGRST202",
        "nothing",
    ),
    Difference(
        "14 refuses a media type with 406, where 12 has 415; HEAD has no code to tell",
        lambda request, theirs, ours: request.method == "HEAD" and (theirs.status, ours.status) == (415, 406),
        "nothing",
    ),
    Difference(
        "14 offers GeoJSON only where PostGIS is installed, where 12 calls a function that is not there",
        lambda request, theirs, ours: "geo+json" in request.headers.get("Accept", "") and ours.status in {204, 406},
        "nothing",
    ),
    Difference(
        "14 spreads to-many relationships, which 12 refuses",
        lambda request, theirs, ours: code_of(theirs) == "PGRST119",
        "nothing",
    ),
    Difference(
        "14 sorts what a write returns, also in its embeds, where 12 ignores the order", _sorts_what_it_wrote, "nothing"
    ),
    Difference(
        "12 cannot group by an embed of one row",
        lambda request, theirs, ours: code_of(theirs) == "42803" and ours.status < 300,
        "nothing",
    ),
    Difference(
        "12 fails on an embed with a negative limit and on ranges that end before they begin", _crashed, "nothing"
    ),
    Difference("12 makes broken SQL of a spread without columns", _empty_spread, "nothing"),
)
"""What version 14 does otherwise than 12.0.2."""

OWN: tuple[Difference, ...] = (
    Difference(
        "The first line of CSV names every cell also of what a write or a call gave, where upstream leaves repeated ones out",
        _is_csv_of_what_was_made,
    ),
    Difference(
        "What says that the server is not there for the moment is answered so also where a function raises it",
        lambda request, theirs, ours: theirs.status == ours.status == 503 and code_of(ours) == "PGRST001",
        "nothing",
    ),
    Difference("The values of in are read when a row is compared with them", _reads_values_late, "nothing"),
    Difference("The values of a PATCH are read also where no row is changed", _reads_values_early, "nothing"),
    Difference(
        "What PostgreSQL says of names and types in SQL that each server writes in its own way", _is_refused_for_its_sql
    ),
    Difference(
        "Of two mistakes PostgreSQL names the one that the server's SQL has first", _has_two_mistakes, "nothing"
    ),
)
"""What differs because the SQL does, or because it was decided so."""

DIFFERENCES = NEWER + OWN
