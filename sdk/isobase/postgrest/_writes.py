"""What the four statements ask for: method, ``Prefer``, columns and body. Source: postgrest-py 2.34.1
``base_request_builder.py`` (``pre_*``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from httpx import Headers, QueryParams

from isobase.postgrest._bodies import columns_parameter, is_row_list, rows_to_send
from isobase.postgrest._modifiers import cleaned_columns
from isobase.postgrest._request import Pairs
from isobase.postgrest.types import CountMethod, RequestBody, RequestMethod, ReturnMethod


class Asked(NamedTuple):
    """One statement as it is asked for."""

    method: RequestMethod
    pairs: Pairs
    prefer: str
    body: Any


class QueryArgs(NamedTuple):
    """The same with httpx's types; what the ``pre_*`` functions give."""

    method: RequestMethod
    params: QueryParams
    headers: Headers
    json: RequestBody


def ask_select(columns: tuple[str, ...], count: CountMethod | None, head: bool | None) -> Asked:
    """Ask for rows, or with ``head`` for their number alone."""
    method = RequestMethod.HEAD if head else RequestMethod.GET
    return Asked(method, [("select", cleaned_columns(columns))], f"count={count}" if count else "", {})


def _prefer(returning: ReturnMethod, count: CountMethod | None, *more: str) -> str:
    return ",".join([f"return={returning}", *([f"count={count}"] if count else ()), *more])


def ask_insert(
    json: Any, count: CountMethod | None, returning: ReturnMethod, upsert: bool, default_to_null: bool
) -> Asked:
    """Ask for rows to be added."""
    more = (["resolution=merge-duplicates"] if upsert else []) + ([] if default_to_null else ["missing=default"])
    body = rows_to_send(json)
    return Asked(RequestMethod.POST, _columns(body), _prefer(returning, count, *more), body)


def ask_upsert(
    json: Any,
    count: CountMethod | None,
    returning: ReturnMethod,
    ignore_duplicates: bool,
    on_conflict: str,
    default_to_null: bool,
) -> Asked:
    """Ask for rows to be added, or merged with those that are there."""
    resolution = f"resolution={'ignore' if ignore_duplicates else 'merge'}-duplicates"
    more = [resolution] if default_to_null else [resolution, "missing=default"]
    body = rows_to_send(json)
    pairs = [("on_conflict", on_conflict)] if on_conflict else []
    return Asked(RequestMethod.POST, pairs + _columns(body), _prefer(returning, count, *more), body)


def ask_update(json: Any, count: CountMethod | None, returning: ReturnMethod) -> Asked:
    """Ask for rows to be changed."""
    return Asked(RequestMethod.PATCH, [], _prefer(returning, count), rows_to_send(json))


def ask_delete(count: CountMethod | None, returning: ReturnMethod) -> Asked:
    """Ask for rows to be removed."""
    return Asked(RequestMethod.DELETE, [], _prefer(returning, count), {})


def _columns(body: Any) -> Pairs:
    columns = columns_parameter(body) if is_row_list(body) else ""
    return [("columns", columns)] if columns else []


def _query_args(asked: Asked) -> QueryArgs:
    headers = Headers({"Prefer": asked.prefer}) if asked.prefer else Headers()
    return QueryArgs(asked.method, QueryParams(asked.pairs), headers, asked.body)  # type: ignore[arg-type]


def pre_select(*columns: str, count: CountMethod | None = None, head: bool | None = None) -> QueryArgs:
    """Give what ``select`` asks for."""
    return _query_args(ask_select(columns, count, head))


def pre_insert(
    json: RequestBody,
    *,
    count: CountMethod | None,
    returning: ReturnMethod,
    upsert: bool,
    default_to_null: bool = True,
) -> QueryArgs:
    """Give what ``insert`` asks for."""
    return _query_args(ask_insert(json, count, returning, upsert, default_to_null))


def pre_upsert(
    json: RequestBody,
    *,
    count: CountMethod | None,
    returning: ReturnMethod,
    ignore_duplicates: bool,
    on_conflict: str = "",
    default_to_null: bool = True,
) -> QueryArgs:
    """Give what ``upsert`` asks for."""
    return _query_args(ask_upsert(json, count, returning, ignore_duplicates, on_conflict, default_to_null))


def pre_update(json: RequestBody, *, count: CountMethod | None, returning: ReturnMethod) -> QueryArgs:
    """Give what ``update`` asks for."""
    return _query_args(ask_update(json, count, returning))


def pre_delete(*, count: CountMethod | None, returning: ReturnMethod) -> QueryArgs:
    """Give what ``delete`` asks for."""
    return _query_args(ask_delete(count, returning))
