"""The statement around a read, a write or a call: one row with the body and all that the answer's head needs.

The body comes in PostgreSQL's binary format, which for json and text is the text itself: no cast copies it once more.

Source: PostgREST v14 ``Query/Statements.hs`` for what is asked for; the SQL is our own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from isobase_platform.sql import qualified, quote_identifier
from isobase_platform.wire_messages import Row
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.media_handlers import MediaHandler
from isobase_services.database.query.parameters import Parameters
from isobase_services.database.query.schema_cache import Function
from isobase_services.database.query.sql_write import INSERTED_SETTING
from isobase_services.database.rest.given_head import is_header, is_status
from isobase_services.database.rest.media import Builtin, Explain, Media, MediaType

__all__ = ["JSON_PLAN", "Outcome", "answer_sql", "explain_sql", "limited", "planned_rows", "pre_request_sql"]

# Always used with a dot: bare it would mean a column of that name first.
_ROW = "isobase_answer"


@dataclass(slots=True, frozen=True)
class Outcome:
    """What the database answered. ``total`` is None where it was not counted; ``location`` holds the key of one new row."""

    body: bytes
    rows: int
    total: int | None
    location: tuple[tuple[str, str | None], ...]
    status: int | None
    headers: tuple[tuple[str, str], ...]
    inserted: int | None
    planned: int | None = None
    """How many rows the planner expects, where it was asked."""
    explained: Media | None = None
    """Set where the body is the plan that was asked for and nothing else is known."""

    @classmethod
    def from_row(cls, row: Row) -> Outcome:
        """Decode the row of ``answer_sql``. Raises PGRST111 / PGRST112 for unusable response settings."""
        total, rows, body, location, inserted, status, headers = row
        return cls(
            body or b"",
            int.from_bytes(rows or b""),
            None if total is None else int.from_bytes(total),
            tuple(json.loads(location).items()) if location else (),
            _status(status.decode(errors="replace")) if status else None,
            _headers(headers) if headers else (),
            int(inserted) if inserted is not None else None,
        )

    @classmethod
    def from_plan(cls, lines: Sequence[Row], media: Media) -> Outcome:
        """What EXPLAIN said, as the one row that no check has anything against."""
        body = b"".join([(line[0] or b"") + b"\n" for line in lines])
        return cls(body, 1, None, (), None, (), None, explained=media)


def answer_sql(
    ctes: str,
    media: Media | None,
    *,
    function: Function | None = None,
    total: str | None = None,
    key: Sequence[str] = (),
    counts_inserted: bool = False,
    parameters: Parameters | None = None,
) -> str:
    """``with CTES select total, rows, body, ...`` over the CTE named ``source``.

    ``media`` None asks for no body; ``function`` is the called one, whose kind shapes the body; ``total`` a SELECT whose rows
    are counted; ``key`` the columns of ``written`` that name a single new row, with ``parameters`` to take them.
    """
    body = _body(media.handler, function) if media is not None else "''"
    counted = f", total as ({total})" if total is not None else ""
    total_column = "(select count(*) from total)" if total is not None else "null::bigint"
    location = "null::text"
    if key and parameters is not None:
        names = parameters.add(list(key))
        location = (
            "case when count(*) = 1 then (select json_object_agg(k.key, k.value)::text from (select row_to_json(w) as data"
            f" from written as w limit 1) as d, json_each_text(d.data) as k where k.key = any({names}::text[])) end"
        )
    rows = f"count({_ROW}.*)"
    if function is not None and not function.returns_set:
        # A call of one result counts as one row even where a filter or limit leaves none of it. Some aggregate there must be,
        # or there would be no answer either; a body that we make has one.
        has_aggregate = media is not None and isinstance(media.handler, Builtin)
        rows = "1::bigint" if has_aggregate else f"greatest({rows}, 1)"
    inserted = f"nullif(current_setting('{INSERTED_SETTING}', true), '')" if counts_inserted else "null::text"
    return (
        f"with {ctes}{counted} select {total_column} as total, {rows} as rows, {body} as body, {location} as location,"
        f" {inserted} as inserted, nullif(current_setting('response.status', true), '') as status,"
        f" nullif(current_setting('response.headers', true), '') as headers from source as {_ROW}"
    )


def _body(handler: Builtin | MediaHandler, function: Function | None) -> str:
    if isinstance(handler, MediaHandler):
        return _handled(handler, function)
    if handler is Builtin.GEOJSON:
        # As upstream by its bare name: PostGIS lives in whichever schema of the path it was installed in.
        features = f"coalesce(json_agg(ST_AsGeoJSON({_ROW}.*)::json), '[]')"
        return f"json_build_object('type', 'FeatureCollection', 'features', {features})"
    if handler is Builtin.CSV:
        return (
            "(select coalesce(string_agg(k, ','), '') from json_object_keys((select row_to_json(f) from source as f limit 1))"
            " as k)"
            f" || e'\\n' || coalesce(string_agg(substring(({_ROW}.*)::text, 2, length(({_ROW}.*)::text) - 2), e'\\n'), '')"
        )
    is_scalar = function is not None and function.is_scalar
    rows = f"json_agg({_ROW}.pgrst_scalar)" if is_scalar else f"json_agg({_ROW}.*)"
    is_single = handler in {Builtin.OBJECT, Builtin.OBJECT_STRIPPED} or (
        function is not None and not function.returns_set
    )
    shown = f"{rows}->0" if is_single else rows
    if handler in {Builtin.ARRAY_STRIPPED, Builtin.OBJECT_STRIPPED}:
        shown = f"json_strip_nulls({shown})"
    return f"coalesce({shown}, '{'null' if is_single else '[]'}')"


def _handled(handler: MediaHandler, function: Function | None) -> str:
    """What a handler makes of the rows, or of a scalar that has the handler's type already."""
    called = qualified(*handler.function)
    if function is not None and function.is_scalar and not function.returns_set:
        # In a query of its own: the row of the answer is there even when the call gives none.
        return f"(select {called}(s.pgrst_scalar) from source as s limit 1)"
    row = f"{_ROW}.*" if handler.target is None else f"({_ROW}.*)::{qualified(*handler.target)}"
    return f"{called}({row})"


def limited(sql: str, rows: int | None) -> str:
    """``sql`` cut after ``rows`` rows; None leaves it."""
    return sql if rows is None else f"{sql} limit {rows:d}"


def pre_request_sql(function: str) -> str:
    """The call of the function that a setting names, with or without its schema."""
    schema, dot, name = function.partition(".")
    return f"select {qualified(schema, name) if dot else quote_identifier(function)}()"


def _status(text: str) -> int:
    """``response.status``, which a function may set for its own answer."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and is_status(int(text))):
        raise RequestError("response.status guc must be a valid status code", code="PGRST112", status=500)
    return int(text)


def _headers(text: bytes) -> tuple[tuple[str, str], ...]:
    """``response.headers``, likewise. A line break in one would be another header, so it is refused too.

    A function may have changed the encoding that its own answer is sent in.
    """
    found: list[tuple[str, str]] = []
    try:
        for entry in json.loads(text):
            ((name, value),) = entry.items()
            if not isinstance(value, str) or not is_header(name, value):
                raise TypeError(name)
            found.append((name.lower(), value))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RequestError(
            "response.headers guc must be a JSON array composed of objects with a single key and a string value",
            code="PGRST111",
            status=500,
        ) from error
    return tuple(found)


JSON_PLAN = Explain(MediaType(""), is_json=True, options=())
"""A plan that is for ourselves to read."""


def planned_rows(row: Row) -> int:
    """The number of rows that a plan of ``JSON_PLAN``'s kind expects."""
    return int(json.loads(row[0] or b"")[0]["Plan"]["Plan Rows"])


def explain_sql(sql: str, explain: Explain) -> str:
    """The planner's view of ``sql``."""
    options = ", ".join([f"format {'json' if explain.is_json else 'text'}", *explain.options])
    return f"explain ({options}) {sql}"
