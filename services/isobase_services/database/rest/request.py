"""Parse: an HTTP request becomes an ``ApiRequest``, or is refused where the request alone says enough.

Source: PostgREST v14 ``ApiRequest.hs`` and ``QueryParams.hs``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from starlette.types import Scope

from isobase_platform.http.request import header
from isobase_services.database.query.ast import Filter, LogicTree, OrderTerm, SelectItem
from isobase_services.database.query.errors import ParseError, RequestError
from isobase_services.database.query.parameters import Operand
from isobase_services.database.query.parse_filter import parse_argument_or_filter, parse_filter, parse_key, parse_logic
from isobase_services.database.query.parse_select import parse_order, parse_select
from isobase_services.database.query.scan import Scanner
from isobase_services.database.rest.media import MediaType, accepted
from isobase_services.database.rest.preferences import Preferences, parse_preferences
from isobase_services.database.rest.shape import Pair, Query

__all__ = ["ApiRequest", "Target", "parse_request"]

Path = tuple[str, ...]
Ranges = dict[Path, tuple[int | None, int | None]]
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
_CALL_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})
_ROOT_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_KEY_BEGINNINGS = ("eyJ", "sb_publishable_", "sb_secret_")
_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{0,18})")
_NUMBER = re.compile(r"-?[0-9]{1,100}")


@dataclass(slots=True, frozen=True)
class Target:
    """What the path names: the root, a relation, or a function."""

    kind: Literal["root", "relation", "function"]
    name: str


@dataclass(slots=True, frozen=True)
class ApiRequest:
    """One request, parsed. Filters, orders and ranges (limit, offset) are by the path of embeds they are for."""

    method: str
    target: Target
    schema: str
    is_negotiated: bool
    """Whether the schema was chosen among several, which the answer then says."""
    select: tuple[SelectItem, ...]
    filters: Mapping[Path, tuple[Filter | LogicTree, ...]]
    filter_keys: frozenset[str]
    """The names of the parameters that are plain filters, as they were sent."""
    orders: Mapping[Path, tuple[OrderTerm, ...]]
    ranges: Mapping[Path, tuple[int | None, int | None]]
    columns: tuple[str, ...] | None
    on_conflict: tuple[str, ...] | None
    arguments: tuple[tuple[str, str], ...]
    """Parameters of a call by GET: those that read as no filter."""
    offset_slot: int | None
    """Where the offset stands among the operands, if it does."""
    accept: tuple[MediaType, ...]
    preferences: Preferences

    @property
    def is_read(self) -> bool:
        """GET or HEAD."""
        return self.method in {"GET", "HEAD"}

    @property
    def is_head(self) -> bool:
        """Whether no body is wanted."""
        return self.method == "HEAD"

    @property
    def offset(self) -> int:
        """The offset at the top; where it is an operand, that of the request that was parsed."""
        return self.ranges.get((), (None, None))[1] or 0

    @property
    def root_filters(self) -> tuple[Filter | LogicTree, ...]:
        """The filters at the top."""
        return self.filters.get((), ())


def parse_request(
    scope: Scope,
    path: str,
    query: Query,
    schemas: Sequence[str],
    *,
    listed: Sequence[str],
    allows_tx: bool,
    knows_time_zone: Callable[[str], bool],
) -> ApiRequest:
    """Read method, ``path`` (percent-encoded), ``query`` and headers. ``schemas`` are the exposed ones, the default first.

    ``listed`` are those that an error may name: the schemas of other people's databases are not everybody's business.
    ``allows_tx`` and ``knows_time_zone`` as in ``parse_preferences``. Raises ``RequestError`` as upstream does.
    """
    method: str = scope["method"]
    target = _target(path)
    schema, is_negotiated = _schema(scope, method, schemas, listed)
    _check_method(method, target)
    parsed = _parameters(query.pairs, is_call_by_get=target.kind == "function" and method in {"GET", "HEAD"})
    ranges = _top_range(scope, method, _combined(parsed.limits, parsed.offsets))
    return ApiRequest(
        method=method,
        target=target,
        schema=schema,
        is_negotiated=is_negotiated,
        select=parsed.select,
        filters={key: tuple(value) for key, value in parsed.filters.items()},
        filter_keys=frozenset(parsed.filter_keys),
        orders=parsed.orders,
        ranges=ranges,
        columns=parsed.columns,
        on_conflict=parsed.on_conflict,
        arguments=tuple(parsed.arguments),
        accept=accepted(_all(scope, "accept")),
        preferences=parse_preferences(
            (str(value, "latin-1") for name, value in scope["headers"] if name == b"prefer"),
            allows_tx=allows_tx,
            knows_time_zone=knows_time_zone,
        ),
        offset_slot=parsed.offset_slot,
    )


def _all(scope: Scope, name: str) -> str | None:
    """All headers of a name as one list."""
    found = [str(value, "latin-1") for key, value in scope["headers"] if key == name.encode()]
    return ",".join(found) if found else None


def _check_method(method: str, target: Target) -> None:
    if target.kind == "function" and method not in _CALL_METHODS:
        raise RequestError(f"Cannot use the {method} method on RPC", code="PGRST101", status=405)
    if method not in (_ROOT_METHODS if target.kind == "root" else _METHODS):
        raise RequestError(f"Unsupported HTTP method: {method}", code="PGRST117", status=405)


def _target(path: str) -> Target:
    parts = [unquote(part) for part in path.removeprefix("/").split("/")]
    if parts == [""]:
        return Target("root", "")
    if any("\x00" in part for part in parts):
        raise RequestError("Invalid path specified in request URL", code="PGRST125", status=404)
    if len(parts) == 1:
        return Target("relation", parts[0])
    if len(parts) == 2 and parts[0] == "rpc":
        return Target("function", parts[1])
    raise RequestError("Invalid path specified in request URL", code="PGRST125", status=404)


def _schema(scope: Scope, method: str, schemas: Sequence[str], listed: Sequence[str]) -> tuple[str, bool]:
    name = "content-profile" if method in {"POST", "PATCH", "PUT", "DELETE"} else "accept-profile"
    raw = header(scope, name)
    if raw is None:
        return schemas[0], len(schemas) > 1
    profile = raw.encode("latin-1").decode("utf-8", "replace")
    if profile not in schemas:
        raise RequestError(
            f"Invalid schema: {profile}",
            code="PGRST106",
            status=406,
            hint=f"Only the following schemas are exposed: {', '.join(listed)}",
        )
    return profile, True


@dataclass(slots=True)
class _Parsed:
    select: tuple[SelectItem, ...] = ()
    filters: dict[Path, list[Filter | LogicTree]] = field(default_factory=dict)
    filter_keys: list[str] = field(default_factory=list)
    orders: dict[Path, tuple[OrderTerm, ...]] = field(default_factory=dict)
    limits: dict[Path, int | None] = field(default_factory=dict)
    offsets: dict[Path, int | None] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    on_conflict: tuple[str, ...] | None = None
    arguments: list[tuple[str, str]] = field(default_factory=list)
    offset_slot: int | None = None


def _parameters(pairs: Sequence[Pair], *, is_call_by_get: bool) -> _Parsed:
    parsed = _Parsed()
    select: str | None = None
    for key, value, slot in pairs:
        last = key.rpartition(".")[2]
        if key == "select":
            select = value if select is None else select
        elif key == "columns":
            parsed.columns = _names(value, "columns") if parsed.columns is None else parsed.columns
        elif key == "on_conflict":
            parsed.on_conflict = _names(value, "on_conflict") if parsed.on_conflict is None else parsed.on_conflict
        elif last == "order":
            parsed.orders.setdefault(_embed_path(key), parse_order(value))
        elif last in {"limit", "offset"}:
            # Of repeated ones the last counts.
            (parsed.limits if last == "limit" else parsed.offsets)[_embed_path(key)] = _number(value)
            parsed.offset_slot = parsed.offset_slot if slot is None else slot
        elif last in {"and", "or"}:
            path, tree = parse_logic(key, value)
            parsed.filters.setdefault(path, []).append(tree)
        elif key == "apikey" and value.startswith(_KEY_BEGINNINGS):
            continue  # the gateway's key may travel in the query string; anything else filters a column of that name
        else:
            _filter_or_argument(parsed, key, value, slot, is_call_by_get=is_call_by_get)
    parsed.select = parse_select("*" if select is None else select)
    return parsed


def _embed_path(key: str) -> Path:
    path, target = parse_key(key)
    if target.steps:
        raise ParseError(f"A JSON path has no place in the parameter {key}")
    return path


def _filter_or_argument(parsed: _Parsed, key: str, value: str, slot: int | None, *, is_call_by_get: bool) -> None:
    path, target = parse_key(key)
    found = parse_argument_or_filter(target, value, slot) if is_call_by_get else parse_filter(target, value, slot)
    if found is None:
        parsed.arguments.append((target.name, Operand.at(slot, value)))
    else:
        parsed.filters.setdefault(path, []).append(found)
        parsed.filter_keys.append(key)


def _names(text: str, what: str) -> tuple[str, ...]:
    """Names with commas between them; as upstream, what follows the last one nobody reads."""
    scanner = Scanner(text, f"{what} parameter")
    names = [scanner.name()]
    while scanner.take_separator(","):
        names.append(scanner.name())
    return tuple(dict.fromkeys(names))


def _number(value: str) -> int | None:
    return int(value) if _NUMBER.fullmatch(value) else None


def _combined(limits: Mapping[Path, int | None], offsets: Mapping[Path, int | None]) -> Ranges:
    """Limit and offset of each path, as upstream adds them up.

    What is no number is alone as if it were not given; a limit that is none counts as 0 beside an offset. An offset below 0
    takes as many rows from the limit at the top; PostgreSQL refuses that of an embed.
    """
    ranges: Ranges = {}
    for path in (*limits, *(path for path in offsets if path not in limits)):
        limit, offset = limits.get(path), offsets.get(path)
        if path in limits and path in offsets:
            limit = limit or 0
        if not path and offset is not None and offset < 0:
            limit, offset = None if limit is None else limit + offset, None
        ranges[path] = (limit, offset)
    return ranges


def _top_range(scope: Scope, method: str, given: Ranges) -> Ranges:
    """The ranges with that of the ``Range`` header (GET only) laid over the top one.

    Raises PGRST103 (416) for ranges that hold nothing, but for limit=0, and PGRST114 for a PUT with a range.
    """
    limit, offset = given.get((), (None, None))
    low = offset or 0
    high = None if limit is None else low + limit - 1
    first, last = _header_range(header(scope, "range")) if method == "GET" else (0, None)
    if high == -1 and low == 0:
        return {**given, (): (0, 0)}
    if last is not None and first > last:
        raise _unsatisfiable(
            "The lower boundary must be lower than or equal to the upper boundary in the Range header."
        )
    low = max(low, first)
    high = last if high is None else high if last is None else min(high, last)
    if high is not None and high < low:
        raise _unsatisfiable("Limit should be greater than or equal to zero.")
    if method == "PUT" and (low != 0 or high is not None):
        raise RequestError("limit/offset querystring parameters are not allowed for PUT", code="PGRST114")
    if low == 0 and high is None:
        return given
    return {**given, (): (None if high is None else high - low + 1, low)}


def _header_range(text: str | None) -> tuple[int, int | None]:
    found = _RANGE.fullmatch(text) if text is not None else None
    if found is None:
        return 0, None
    return int(found.group(1)), int(found.group(2)) if found.group(2) else None


def _unsatisfiable(details: str) -> RequestError:
    return RequestError("Requested range not satisfiable", code="PGRST103", status=416, details=details)
