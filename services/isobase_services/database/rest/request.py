"""Parse: an HTTP request becomes an ``ApiRequest``, or is refused where the request alone says enough.

Source: PostgREST v14 ``ApiRequest.hs`` and ``QueryParams.hs``.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.types import Scope

from isobase_platform.http.request import header
from isobase_services.database.query.ast import Filter, LogicTree, OrderTerm, SelectItem
from isobase_services.database.query.errors import ParseError, RequestError
from isobase_services.database.query.parse_filter import parse_filter, parse_key, parse_logic, parse_returned_filter
from isobase_services.database.query.parse_select import parse_order, parse_select
from isobase_services.database.query.scan import Scanner
from isobase_services.database.rest.preferences import Preferences, parse_preferences

__all__ = ["ApiRequest", "Target", "parse_payload", "parse_request"]

Path = tuple[str, ...]
_LOGIC_KEY = re.compile(r"^(?:.+\.)?(?:not\.)?(?:and|or)$")
_RANGE = re.compile(r"^(\d*)-(\d*)$")


@dataclass(slots=True, frozen=True)
class Target:
    """What the path names: the root, a relation, or a function."""

    kind: str
    name: str


@dataclass(slots=True, frozen=True)
class ApiRequest:
    """One request, parsed."""

    method: str
    target: Target
    schema: str
    profile_given: bool
    select: tuple[SelectItem, ...]
    filters: Mapping[Path, tuple[Filter | LogicTree, ...]]
    root_filter_names: tuple[str, ...]
    orders: Mapping[Path, tuple[OrderTerm, ...]]
    ranges: Mapping[Path, tuple[int | None, int | None]]
    columns: tuple[str, ...] | None
    on_conflict: tuple[str, ...] | None
    arguments: tuple[tuple[str, str], ...]
    accept: tuple[str, ...]
    preferences: Preferences
    query: tuple[tuple[str, str], ...]
    has_range: bool = field(default=False)


def parse_request(scope: Scope, path: str, schemas: Sequence[str]) -> ApiRequest:
    """Read method, path, query string and headers. Raises ``RequestError`` as upstream does."""
    method: str = scope["method"]
    target = _target(path)
    if method not in {"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"}:
        raise RequestError(f"Unsupported HTTP method: {method}", code="PGRST117", status=405)
    schema, given = _schema(scope, method, schemas)
    query = _query(scope)
    parsed = _parameters(query, is_call=target.kind == "function", is_get=method in {"GET", "HEAD"})
    limits = dict(parsed.ranges)
    has_range = _header_range(scope, method, limits)
    return ApiRequest(
        method=method,
        target=target,
        schema=schema,
        profile_given=given,
        select=parsed.select,
        filters={key: tuple(value) for key, value in parsed.filters.items()},
        root_filter_names=tuple(parsed.root_names),
        orders=parsed.orders,
        ranges=limits,
        columns=parsed.columns,
        on_conflict=parsed.on_conflict,
        arguments=tuple(parsed.arguments),
        accept=_accept(scope),
        preferences=parse_preferences(str(value, "latin-1") for name, value in scope["headers"] if name == b"prefer"),
        query=tuple(query),
        has_range=has_range or () in parsed.ranges,
    )


def _target(path: str) -> Target:
    parts = [unquote(part) for part in path.strip("/").split("/")] if path.strip("/") else []
    if not parts:
        return Target("root", "")
    if len(parts) == 1:
        return Target("relation", parts[0])
    if len(parts) == 2 and parts[0] == "rpc":
        return Target("function", parts[1])
    raise RequestError("Invalid path specified in request URL", code="PGRST125", status=404)


def _schema(scope: Scope, method: str, schemas: Sequence[str]) -> tuple[str, bool]:
    name = "accept-profile" if method in {"GET", "HEAD"} else "content-profile"
    profile = header(scope, name)
    if profile is None:
        return schemas[0], False
    if profile not in schemas:
        raise RequestError(
            f"Invalid schema: {profile}",
            code="PGRST106",
            status=406,
            hint=f"Only the following schemas are exposed: {', '.join(schemas)}",
        )
    return profile, True


def _query(scope: Scope) -> list[tuple[str, str]]:
    raw: bytes = scope.get("query_string", b"")
    try:
        text = raw.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        raise ParseError("The query string is not valid UTF-8") from error
    if any("\x00" in part for pair in pairs for part in pair):
        raise RequestError("The query string contains NUL", code="22P05")
    return pairs


@dataclass(slots=True)
class _Parsed:
    select: tuple[SelectItem, ...] = ()
    filters: dict[Path, list[Filter | LogicTree]] = field(default_factory=dict)
    root_names: list[str] = field(default_factory=list)
    orders: dict[Path, tuple[OrderTerm, ...]] = field(default_factory=dict)
    ranges: dict[Path, tuple[int | None, int | None]] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    on_conflict: tuple[str, ...] | None = None
    arguments: list[tuple[str, str]] = field(default_factory=list)


def _parameters(query: Sequence[tuple[str, str]], *, is_call: bool, is_get: bool) -> _Parsed:
    parsed = _Parsed()
    seen: set[str] = set()
    select_text = "*"
    for key, value in query:
        last = key.rpartition(".")[2]
        if key == "select":
            select_text = value if "select" not in seen else select_text
        elif key == "columns":
            parsed.columns = _names(value, "columns")
        elif key == "on_conflict":
            parsed.on_conflict = _names(value, "on_conflict")
        elif last == "order" and not (is_call and is_get and key in seen):
            path = tuple(key.split(".")[:-1])
            if path not in parsed.orders and value:
                parsed.orders[path] = parse_order(value)
        elif last in {"limit", "offset"} and (key == last or "->" not in key):
            _limit(parsed, tuple(key.split(".")[:-1]), last, value)
        elif _LOGIC_KEY.match(key):
            path, tree = parse_logic(key, value)
            parsed.filters.setdefault(path, []).append(tree)
        elif key == "apikey":
            continue  # the gateway's key may travel in the query string
        else:
            _filter_or_argument(parsed, key, value, is_call=is_call, is_get=is_get)
        seen.add(key)
    parsed.select = parse_select(select_text)
    return parsed


def _filter_or_argument(parsed: _Parsed, key: str, value: str, *, is_call: bool, is_get: bool) -> None:
    path, target = parse_key(key)
    if is_call:
        found = parse_returned_filter(target, value)
        if is_get and not path and not target.steps and found is None:
            parsed.arguments.append((key, value))
            return
        if is_get and not path and not target.steps:
            parsed.arguments.append((key, value))
        if found is None:
            found = parse_filter(target, value)
        parsed.filters.setdefault(path, []).append(found)
        return
    parsed.filters.setdefault(path, []).append(parse_filter(target, value))
    if not path:
        parsed.root_names.append(target.name)


def _names(text: str, what: str) -> tuple[str, ...]:
    scanner = Scanner(text, f"{what} parameter")
    names = [scanner.name()]
    while scanner.take(","):
        names.append(scanner.name())
    if not scanner.at_end:
        raise scanner.error('expecting "," or end of input')
    return tuple(names)


def _limit(parsed: _Parsed, path: Path, kind: str, value: str) -> None:
    # As upstream: what is no number is as if it were not given; of repeated ones the last counts.
    number = int(value) if re.fullmatch(r"\d{1,18}", value) else None
    limit, offset = parsed.ranges.get(path, (None, None))
    parsed.ranges[path] = (number, offset) if kind == "limit" else (limit, number)


def _header_range(scope: Scope, method: str, ranges: dict[Path, tuple[int | None, int | None]]) -> bool:
    """``Range: 0-9`` on GET and HEAD, where the query string did not say limit or offset."""
    text = header(scope, "range")
    if text is None or method not in {"GET", "HEAD"} or () in ranges:
        return False
    found = _RANGE.match(text.removeprefix("items="))
    if found is None or not found.group(1):
        return False
    first = int(found.group(1))
    last = int(found.group(2)) if found.group(2) else None
    if last is not None and last < first:
        raise _unsatisfiable(
            "The lower boundary must be lower than or equal to the upper boundary in the Range header."
        )
    ranges[()] = (None if last is None else last - first + 1, first)
    return True


def _unsatisfiable(details: str) -> RequestError:
    return RequestError("Requested range not satisfiable", code="PGRST103", status=416, details=details)


def _accept(scope: Scope) -> tuple[str, ...]:
    """Media types in the client's order of preference (quality, then place)."""
    text = header(scope, "accept")
    if not text:
        return ("*/*",)
    weighted = []
    for place, part in enumerate(text.split(",")):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        quality = 1.0
        kept = []
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
            else:
                kept.append(parameter)
        weighted.append((-quality, place, ";".join([media.lower(), *kept])))
    return tuple(media for _, _, media in sorted(weighted))


def parse_payload(
    body: bytes, content_type: str | None, *, needs_equal_keys: bool = True
) -> tuple[str, list[str], int]:
    """A write's body as JSON text, the keys of its first object, and the number of its rows (-1 for one object).

    JSON (default), CSV and form data. Raises PGRST102 for what is none of them, is broken, or (with ``needs_equal_keys``:
    where ``columns`` does not say which ones count) has rows of unequal keys.
    """
    kind = (content_type or "application/json").partition(";")[0].strip().lower()
    if kind in {"application/json", "application/vnd.pgrst.object+json", "application/vnd.pgrst.array+json"}:
        return _json_payload(body, needs_equal_keys)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise RequestError("The body is not valid UTF-8", code="PGRST102") from error
    if kind == "text/csv":
        rows = list(csv.reader(io.StringIO(text)))
        if not rows or any(len(row) != len(rows[0]) for row in rows):
            raise RequestError("All lines must have same number of fields", code="PGRST102")
        objects = [
            dict(zip(rows[0], (None if cell == "NULL" else cell for cell in row), strict=True)) for row in rows[1:]
        ]
        return json.dumps(objects), rows[0], len(objects)
    if kind == "application/x-www-form-urlencoded":
        pairs = dict(parse_qsl(text, keep_blank_values=True))
        return json.dumps(pairs), list(pairs), -1
    raise RequestError(f"Content-Type not acceptable: {kind}", code="PGRST102")


def _json_payload(body: bytes, needs_equal_keys: bool) -> tuple[str, list[str], int]:
    if not body:
        raise RequestError("Empty or invalid json", code="PGRST102")
    try:
        text = body.decode()
        value: Any = json.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise RequestError("Empty or invalid json", code="PGRST102") from error
    if "\\u0000" in text or "\x00" in text:
        raise RequestError(
            "unsupported Unicode escape sequence", code="22P05", details="\\u0000 cannot be converted to text."
        )
    if isinstance(value, dict):
        return text, list(value), -1
    if not isinstance(value, list):
        raise RequestError("Empty or invalid json", code="PGRST102")
    if not all(isinstance(row, dict) for row in value):
        raise RequestError("All object keys must match", code="PGRST102")
    keys = list(value[0]) if value else []
    if needs_equal_keys and any(row.keys() != value[0].keys() for row in value):
        raise RequestError("All object keys must match", code="PGRST102")
    return text, keys, len(value)
