"""Which rows a write of the data API changes: what can be told before, how to ask for it, and what the answer tells.

``plan_write`` gives a ``WritePlan``: the things that the call names, and the request that is sent in the app's place,
which asks for the keys of the changed rows as well. ``WritePlan.changed`` reads them out of the answer and ``render``
turns that answer into exactly the one that the app asked for. Pure: requests and responses are values here.
"""

from __future__ import annotations

import csv
import io
import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx

from isobase_adapter.http.made_keys import are_new, are_unique, random_key
from isobase_adapter.http.prefers import Prefer
from isobase_adapter.http.queries import eq_values, parameter, parts_of, with_parameter, with_request
from isobase_adapter.http.relations import Relation
from isobase_adapter.rows.keys import KeyNotGiven, row_thing
from isobase_adapter.rows.tables import Table
from isobase_adapter.things import Thing, ThingKind, distinct

__all__ = ["WritePlan", "is_denied", "plan_write"]

ALIAS = "isobase_key_"
"""Under these names the key's columns are asked for, and taken out of the answer again."""
PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
JSON_TYPES = ("application/json", "application/vnd.pgrst.object", "application/vnd.pgrst.array", "*/*", "application/*")
SINGULAR = "application/vnd.pgrst.object"
DENIED = "42501"


@dataclass(slots=True, frozen=True)
class WritePlan:
    """How one write is sent, and what it changes."""

    original: httpx.Request
    request: httpx.Request
    """What is sent in its place; ``original`` itself where nothing more can be asked for."""
    relation: Relation
    prefer: Prefer
    things: tuple[Thing, ...]
    """What it may change, as far as can be told before: rows, or the whole of its tables."""
    aliases: tuple[str, ...] = ()
    """The names under which the key was added to the answer's rows; empty where it stands there by itself or not at
    all.
    """
    is_shown: bool = True
    """Whether the app asked for the rows."""

    @property
    def is_augmented(self) -> bool:
        """Whether another request than the app's is sent."""
        return self.request is not self.original

    @property
    def whole(self) -> tuple[Thing, ...]:
        """All of the tables that it may change; with those that refer to them, where rows may be there anew."""
        table, resources = self.relation.table, self.relation.resources
        if self._may_insert and not (table is not None and are_new(table, _body_rows(self.original))):
            resources = tuple(dict.fromkeys([*resources, *self.relation.referring]))
        return tuple(Thing(ThingKind.TABLE, resource) for resource in resources)

    @property
    def _may_insert(self) -> bool:
        """Whether a row may get a key that another had: it is inserted, or gets another key."""
        table = self.relation.table
        if self.original.method == "PATCH":
            return table is None or _body_names(self.original, table.key)
        return self.original.method in ("POST", "PUT")

    def naming(self, rows: Iterable[Thing], *, may_insert: bool = True) -> tuple[Thing, ...]:
        """Name rows; those that may be there anew as such, where something refers to them."""
        table = self.relation.table
        is_anew = may_insert and self._may_insert and bool(self.relation.referring)
        if is_anew and table is not None and self.original.method == "POST":
            is_anew = not are_unique(table, _body_rows(self.original))
        return distinct(replace(row, is_anew=is_anew) for row in rows)

    def with_made_keys(self) -> WritePlan | None:
        """Give the app's own insert with random keys in its rows, as their default would make; None where it is another.

        For who may insert rows and not read them: no answer names such rows.
        """
        table, request = self.relation.table, self.original
        column = None if table is None or self.relation.is_view else random_key(table)
        if column is None or request.method != "POST" or self.is_shown:
            return None
        rows = _body_rows(request)
        merges = self.prefer.get("resolution") is not None or parameter(request.url, "on_conflict") is not None
        if table is None or rows is None or merges or any(column in row for row in rows):
            return None
        body = json.loads(request.content, parse_float=_Written, parse_int=_Written)
        keys = [{column: str(uuid.uuid4())} for _ in rows]
        made = [row | key for row, key in zip(body if isinstance(body, list) else [body], keys, strict=True)]
        url = request.url
        if parameter(url, "columns") is not None:
            url = with_parameter(url, "columns", lambda before: f"{before},{_quoted(column)}")
        content = _dumped(made if isinstance(body, list) else made[0]).encode()
        sent = with_request(request, url, content=content)
        things = self.naming((row_thing(table, key) for key in keys), may_insert=False)
        return replace(self, request=sent, things=things, aliases=())

    def changed(self, response: httpx.Response, *, is_original: bool = False) -> tuple[Thing, ...]:
        """Say what a successful answer tells of the rows that changed; what cannot be told is the whole table.

        is_original: it answers the app's own request, without the keys.
        """
        if _applied(response.headers, "tx") == "rollback":
            return ()
        table = self.relation.table
        if table is None or not table.key:
            return self.whole
        named = self.things if not any(thing.is_whole for thing in self.things) else None
        may_move_keys = self._may_move_keys(table)
        # An upsert says so where it found all of its rows.
        may_insert = may_move_keys or response.status_code != httpx.codes.OK
        rows = None if is_original and not self.is_shown else self._rows(response)
        if rows is None:
            located = _located(response, table)
            return self.naming(located or named or (), may_insert=may_insert) or self.whole
        columns = dict(zip(self.aliases, table.key, strict=True)) if self.aliases and not is_original else {}
        found: list[Thing] = list(named or ())
        try:
            for row in rows:
                values = {column: row[alias] for alias, column in columns.items()} if columns else row
                found.append(row_thing(table, values))
        except (KeyNotGiven, KeyError, TypeError):
            return self.whole
        if may_move_keys and named is None:
            return self.whole
        return self.naming(found, may_insert=may_insert)

    def render(self, response: httpx.Response) -> httpx.Response:
        """Turn the answer to ``request`` into the answer to ``original``."""
        if not self.is_augmented or not response.is_success:
            return response
        headers = [(name, value) for name, value in response.headers.raw if name.lower() not in REWRITTEN]
        applied = response.headers.get("preference-applied")
        wished = self.prefer.get("return")
        if applied is not None:
            kept = [part.strip() for part in applied.split(",")]
            kept = [f"return={wished}" if part.startswith("return=") else part for part in kept]
            kept = [part for part in kept if wished is not None or not part.startswith("return=")]
            if kept:
                headers.append((b"Preference-Applied", ", ".join(kept).encode()))
        if self.is_shown:
            body = self._stripped(response)
            headers.append((b"Content-Length", str(len(body)).encode()))
            return _response(response.status_code, headers, body)
        headers = [(name, value) for name, value in headers if name.lower() not in OF_BODIES]
        if self.original.method in ("PATCH", "DELETE", "PUT"):
            return _response(204, headers, b"")
        headers.append((b"Content-Length", b"0"))
        return _response(response.status_code, headers, b"")

    def _rows(self, response: httpx.Response) -> list[Mapping[str, Any]] | None:
        """The rows of an answer; None where it holds none that can be read."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        content = response.content
        if kind == "text/csv":
            if parameter(self.original.url, "select") is not None:
                return None  # PostgREST 12 writes the names of more columns than the rows have
            return [dict(row) for row in csv.DictReader(io.StringIO(content.decode()))]
        if not content or not (kind == "application/json" or kind.startswith("application/vnd.pgrst.")):
            return None
        try:
            body = json.loads(content, parse_float=str)
        except ValueError:
            return None
        rows = [body] if isinstance(body, dict) else body
        return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None

    def _stripped(self, response: httpx.Response) -> bytes:
        """The body without the columns that were added, every other byte as the server wrote it."""
        content = response.content
        if not self.aliases:
            return content
        # Numbers stay as they are written: one that is read as a float would come back as another.
        body = json.loads(content, parse_float=_Written, parse_int=_Written)
        for row in [body] if isinstance(body, dict) else body:
            for alias in self.aliases:
                row.pop(alias, None)
        return _dumped(body).encode()

    def _may_move_keys(self, table: Table) -> bool:
        """Whether rows may have had another key before, which no answer names."""
        request = self.original
        if request.method == "PATCH":
            return _body_names(request, table.key)
        target = parameter(request.url, "on_conflict")
        merges = self.prefer.get("resolution") == "merge-duplicates" and target is not None
        if not merges or target is None:
            return False
        names = {name.strip().strip('"') for name in target.split(",")}
        return names != set(table.key) and _body_names(request, table.key)


REWRITTEN = frozenset({b"preference-applied", b"content-length", b"content-encoding", b"transfer-encoding"})


OF_BODIES = frozenset({b"content-type", b"content-profile"})
"""Headers that stand only in answers with rows."""


class _Written(float):
    """A number that is written as it was read."""

    def __new__(cls, text: str) -> _Written:
        """Keep the text."""
        number = super().__new__(cls, 0.0)
        number.text = text
        return number

    text: str

    def __repr__(self) -> str:
        """Give the text."""
        return self.text


def _dumped(value: Any) -> str:
    """Write JSON as compactly as PostgREST does, numbers as they were read."""
    if isinstance(value, _Written):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{_text(key)}:{_dumped(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dumped, value)) + "]"
    return _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _response(status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> httpx.Response:
    answer = httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))
    answer.read()
    return answer


def is_denied(response: httpx.Response) -> bool:
    """Whether an answer says that a right is missing (SQLSTATE 42501)."""
    if response.status_code not in (401, 403):
        return False
    try:
        body = json.loads(response.content)
    except ValueError:
        return False
    return isinstance(body, dict) and body.get("code") == DENIED


def plan_write(request: httpx.Request, relation: Relation) -> WritePlan:
    """Plan a POST, PATCH, PUT or DELETE of rows. relation: what its path names."""
    prefer = Prefer.of(request.headers)
    wished = prefer.get("return")
    is_shown = wished == "representation"
    table = relation.table
    plan = WritePlan(request, request, relation, prefer, (), is_shown=is_shown)
    things = plan.naming((table and _named(request, table)) or ()) or plan.whole
    if table is None or not table.key or not _answers_json(request) or wished == "headers-only":
        return WritePlan(request, request, relation, prefer, things, is_shown=is_shown)
    if not is_shown and request.method in ("PATCH", "DELETE") and not _reads(request):
        # Row security lets a statement that reads nothing change rows that the caller may not see.
        return WritePlan(request, request, relation, prefer, things, is_shown=False)
    select = parameter(request.url, "select")
    if is_shown and select is None:  # every column is shown, the key among them
        return WritePlan(request, request, relation, prefer, things, is_shown=True)
    aliases = tuple(f"{ALIAS}{number}" for number in range(len(table.key)))
    added = ",".join(f"{alias}:{_quoted(column)}" for alias, column in zip(aliases, table.key, strict=True))
    url = with_parameter(request.url, "select", lambda before: f"{before},{added}" if before and is_shown else added)
    sent = with_request(request, url, prefer.headers(request.headers.raw, **{"return": "representation"}))
    return WritePlan(request, sent, relation, prefer, things, aliases, is_shown)


def _reads(request: httpx.Request) -> bool:
    """Whether a change reads columns of its rows: by a filter, or an order."""
    return any(name not in ("select", "columns", "limit", "offset") for name, _ in parts_of(request.url))


def _answers_json(request: httpx.Request) -> bool:
    accept: str = request.headers.get("accept", "*/*").partition(",")[0].strip()
    return accept.startswith(JSON_TYPES)


def _quoted(column: str) -> str:
    return column if PLAIN_NAME.fullmatch(column) else '"' + column.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _named(request: httpx.Request, table: Table) -> tuple[Thing, ...] | None:
    """The rows that the call itself names by their keys; None where it may change others."""
    try:
        if request.method == "POST":
            bodies = _body_rows(request)
            return tuple(dict.fromkeys(row_thing(table, row) for row in bodies)) if bodies is not None else None
        filtered = _filtered(request, table)
        if filtered is None or not _body_names(request, table.key) or request.method != "PATCH":
            return filtered
        # The rows get new keys: the old ones are in the filter, the new one in the body (or in both).
        old = [dict(zip(table.key, thing.key, strict=True)) for thing in filtered]
        moved = [row_thing(table, row | body) for row in old for body in _body_rows(request) or ()]
        return tuple(dict.fromkeys([*filtered, *moved]))
    except KeyNotGiven:
        return None


def _filtered(request: httpx.Request, table: Table) -> tuple[Thing, ...] | None:
    rows: list[dict[str, str]] = [{}]
    for column in table.key:
        values = eq_values(request.url, column)
        if values is None:
            return None
        rows = [row | {column: value} for row in rows for value in values]
        if len(rows) > MOST_NAMED:
            return None
    return tuple(dict.fromkeys(row_thing(table, row) for row in rows))


MOST_NAMED = 5000
"""A call that names more keys than this is recorded as its whole table."""


def _body_rows(request: httpx.Request) -> list[dict[str, Any]] | None:
    """The rows of a JSON body, with the columns that count; None where it is something else."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind not in ("application/json", "application/vnd.pgrst.object+json", "application/vnd.pgrst.array+json"):
        return None
    try:
        body = json.loads(request.content or b"null", parse_float=str)
    except (ValueError, httpx.RequestNotRead):
        return None
    rows = [body] if isinstance(body, dict) else body
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return None
    if len(rows) > MOST_NAMED:
        return None
    columns = parameter(request.url, "columns")
    if columns is None:
        return rows
    names = {name.strip().strip('"') for name in columns.split(",")}
    return [{name: value for name, value in row.items() if name in names} for row in rows]


def _body_names(request: httpx.Request, columns: Sequence[str]) -> bool:
    """Whether a body sets one of the columns; True where that cannot be told."""
    rows = _body_rows(request)
    return rows is None or any(column in row for row in rows for column in columns)


def _located(response: httpx.Response, table: Table) -> tuple[Thing, ...] | None:
    """The row that a ``Location`` header names (``return=headers-only``)."""
    location = response.headers.get("location")
    if location is None:
        return None
    url = httpx.URL("http://x/").join(location)
    values = {column: eq_values(url, column) for column in table.key}
    try:
        return (row_thing(table, {column: found[0] for column, found in values.items() if found}),)
    except KeyNotGiven:
        return None


def _applied(headers: httpx.Headers, name: str) -> str | None:
    applied: str = headers.get("preference-applied", "")
    for part in applied.split(","):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return None
