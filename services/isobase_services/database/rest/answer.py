"""Render: an outcome becomes status, headers and bytes.

Source: PostgREST v14 ``Response.hs`` and ``RangeQuery.hs``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from urllib.parse import quote

from starlette.responses import Response

from isobase_services.database.query.errors import RequestError
from isobase_services.database.rest.given_head import BODILESS_STATUSES, framed
from isobase_services.database.rest.media import Media
from isobase_services.database.rest.preferences import Preferences
from isobase_services.database.rest.request import ApiRequest
from isobase_services.database.rest.shape import Pair
from isobase_services.database.rest.statement import Outcome

__all__ = ["Manner", "check_singular", "content_location", "manner", "render", "rows_head", "written_range"]

Headers = list[tuple[str, str]]


@dataclass(slots=True, frozen=True)
class Manner:
    """How the answers of a plan are given: the representation, None for no body, and the headers that all have."""

    media: Media | None
    headers: tuple[tuple[str, str], ...]


def manner(request: ApiRequest, applied: Preferences, media: Media | None) -> Manner:
    """The manner of ``media`` for a request whose preferences ``applied`` were honoured."""
    content_type = [("content-type", media.content_type)] if media is not None else []
    return Manner(media, (*content_type, *_negotiated(request, applied, has_body=media is not None)))


def render(request: ApiRequest, outcome: Outcome, status: int, headers: Headers, given: Manner) -> Response:
    """The answer in the ``given`` manner, with ``headers`` first. What a function set for status and headers wins.

    A plan that was asked for is the answer whatever the request else would have said.
    """
    if outcome.explained is not None:
        status, headers, given = 200, [], manner(request, Preferences(), outcome.explained)
    status = status if outcome.status is None else outcome.status
    has_no_body = request.is_head or status in BODILESS_STATUSES
    body = b"" if given.media is None or has_no_body else outcome.body
    shown = [*headers, *given.headers]
    if outcome.headers:
        overridden = {name for name, _ in outcome.headers}
        shown = [pair for pair in shown if pair[0] not in overridden]
        length = None if has_no_body else len(body)
        shown = framed([*shown, *outcome.headers], length, keeps_length=request.is_head)
    elif not has_no_body:
        shown.append(("content-length", str(len(body))))
    return Answer(body, status, [(name.encode(), value.encode()) for name, value in shown])


class Answer(Response):
    """A response whose headers are made already: Starlette would make its own first."""

    def __init__(self, body: bytes, status: int, raw_headers: list[tuple[bytes, bytes]]) -> None:
        self.body = body
        self.status_code = status
        self.raw_headers = raw_headers
        self.background = None


def check_singular(media: Media, rows: int) -> None:
    """PGRST116 (406) where one object was asked for and there is not exactly one row."""
    if media.is_singular and rows != 1:
        raise RequestError(
            "Cannot coerce the result to a single JSON object",
            code="PGRST116",
            status=406,
            details=f"The result contains {rows} rows",
        )


def _negotiated(request: ApiRequest, applied: Preferences, *, has_body: bool) -> Headers:
    """Which schema and which preferences the answer is of."""
    headers: Headers = [("content-profile", request.schema)] if has_body and request.is_negotiated else []
    text = applied.applied()
    return [*headers, ("preference-applied", text)] if text else headers


def rows_head(
    request: ApiRequest, offset: int, rows: int, total: int | None, applied: Preferences, also: Headers
) -> tuple[int, Headers]:
    """Status and headers, ``also`` among them, of ``rows`` that were read from ``offset`` on.

    Raises PGRST103 (416) with the headers of the answer that it stands for, for an offset beyond the ``total``.
    """
    headers = [("content-range", _content_range(offset, offset + rows - 1, total)), *also]
    if total is None:
        return 200, headers
    if offset > total:
        error = RequestError(
            "Requested range not satisfiable",
            code="PGRST103",
            status=416,
            details=f"An offset of {offset} was requested, but there are only {total} rows.",
        )
        error.headers = (*headers, *_negotiated(request, applied, has_body=True))
        raise error
    return (206 if rows < total else 200), headers


def written_range(rows: int, total: int | None) -> str:
    """Content-Range of ``rows`` that were updated; of inserted and deleted ones with ``rows`` 0, as upstream."""
    return _content_range(0, rows - 1, total)


def _content_range(first: int, last: int, total: int | None) -> str:
    span = f"{first}-{last}" if first <= last and total != 0 else "*"
    return f"{span}/{'*' if total is None else total}"


def content_location(name: str, pairs: Sequence[Pair]) -> str:
    """The canonical place of what was read: parameters sorted by name, the values of a repeated one joined by commas."""
    values: dict[str, list[str]] = {}
    for key, value, _ in sorted(pairs, key=itemgetter(0)):
        values.setdefault(_encoded(key), []).append(value if _UNRESERVED.fullmatch(value) else _encoded(value))
    text = "&".join([f"{key}={','.join(found)}" for key, found in values.items()])
    return f"/{_encoded(name)}?{text}" if text else f"/{_encoded(name)}"


_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]*")


MAX_REMEMBERED_CHARS = 256
"""A longer text is encoded anew each time: what is remembered shall not fill the memory."""


def _encoded(text: str) -> str:
    return quote(text, safe="") if len(text) > MAX_REMEMBERED_CHARS else _encoded_once(text)


@lru_cache(maxsize=512)
def _encoded_once(text: str) -> str:
    return quote(text, safe="")
