"""One side's rows through its data API, with a service-role key, for who has no database URL.

Every value is read as text (``select=column::text``) and sent as text, which the database reads as the column's type;
JSON columns are sent as the text that they are, so their numbers stay exact.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from isobase_adapter.reasons import has_values
from isobase_adapter.rows.catalog import UnknownTable
from isobase_adapter.rows.keys import key_text
from isobase_adapter.rows.quoting import split_resource
from isobase_adapter.rows.tables import Column, Table
from isobase_adapter.sides import Side

__all__ = ["RestRefused", "RestSide", "Row"]

Row = Mapping[str, str | None]
"""Column -> the value's text."""

KEYS_PER_REQUEST = 40
"""They are part of the URL, whose length servers bound."""
ROWS_PER_PAGE = 1_000
SHAPES_FOR_S = 300.0
PRIMARY_KEY_MARK = "<pk/>"
BASES = {
    "int64": "int8",
    "int32": "int4",
    "bigint": "int8",
    "integer": "int4",
    "smallint": "int2",
    "character varying": "varchar",
    "character": "bpchar",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "boolean": "bool",
}
"""Types as the API's description names them -> as ``keys`` does."""
COMPUTED = re.compile(r'cannot insert a non-DEFAULT value into column "(.+)"')
CODE_GENERATED = "428C9"


class RestRefused(RuntimeError):
    """A side's data API refused what the carrier asked. ``code``: its own (a SQLSTATE or PGRST...). Holds no values."""

    def __init__(self, side: Side, status: int, code: str, message: str) -> None:
        super().__init__(f"{side} answered {status} {code}: {message}")
        self.status, self.code, self.message = status, code, message


class RestSide:
    """One side's data API.

    http: the caller's to close. url: the project's, without ``/rest/v1``. key: a service-role or secret key: it sees all
    rows, and is never shown.
    """

    def __init__(self, side: Side, http: httpx.AsyncClient, url: str, key: str) -> None:
        self.side = side
        self._http = http
        self._url = url.rstrip("/") + "/rest/v1/"
        self._headers = {"apikey": key, "authorization": f"Bearer {key}"}
        self._shapes: dict[str, dict[str, Table]] = {}
        self._read_at_s: dict[str, float] = {}
        self._computed: dict[str, set[str]] = {}

    def __repr__(self) -> str:
        """Show the side, no secrets."""
        return f"<RestSide {self.side}>"

    async def table(self, resource: str) -> Table:
        """Give a table's columns and key from the API's description; raises ``UnknownTable``.

        Kept for some minutes: it does not tell of changes. Which columns are generated it does not say either; the first
        write finds out.
        """
        schema, name = split_resource(resource)
        is_old = time.monotonic() - self._read_at_s.get(schema, -SHAPES_FOR_S) >= SHAPES_FOR_S
        if is_old or name not in self._shapes.get(schema, {}):
            await self.tables(schema)
        if name not in self._shapes[schema]:
            raise UnknownTable(f"{self.side} offers no table {resource}")
        return self._shapes[schema][name]

    async def tables(self, schema: str) -> dict[str, Table]:
        """Give the tables of a schema by ``schema.name``, as the API describes them now."""
        answer = await self._ask("GET", "", schema)
        self._shapes[schema] = _tables(schema, answer.json())
        self._read_at_s[schema] = time.monotonic()
        return {table.resource: table for table in self._shapes[schema].values()}

    @property
    def known(self) -> dict[str, Table]:
        """The tables that were read so far, by ``schema.name``."""
        return {table.resource: table for tables in list(self._shapes.values()) for table in tables.values()}

    def computed(self, resource: str) -> set[str]:
        """The columns that are known to be generated here."""
        return self._computed.setdefault(resource, set())

    async def read(self, table: Table, columns: Sequence[str], keys: Sequence[Sequence[Any]]) -> list[Row]:
        """Read rows by key."""
        found: list[Row] = []
        for start in range(0, len(keys), KEYS_PER_REQUEST):
            parameters = _selected(columns) | _named(table, keys[start : start + KEYS_PER_REQUEST])
            found += (await self._ask("GET", table.name, table.schema, parameters)).json()
        return found

    async def page(self, table: Table, columns: Sequence[str], after: Sequence[str] | None) -> list[Row]:
        """Read the next rows in the order of the key, as this side sorts it."""
        parameters = _selected(columns) | {
            "order": ",".join(f"{_name(column)}.asc" for column in table.key),
            "limit": str(ROWS_PER_PAGE),
        }
        if after is not None:
            parameters |= {"or": f"({','.join(_after(table.key, after))})"}
        rows: list[Row] = (await self._ask("GET", table.name, table.schema, parameters)).json()
        return rows

    async def upsert(self, table: Table, rows: Sequence[Row], columns: Sequence[str]) -> list[Row]:
        """Make rows what ``rows`` say; gives them as they are afterwards (triggers may have had their way).

        Raises ``RestRefused``.
        """
        while True:
            sent = [column for column in columns if column not in self.computed(table.resource)]
            parameters = _selected(columns) | {"on_conflict": ",".join(map(_name, table.key))}
            parameters["columns"] = ",".join(map(_name, sent))
            prefer = "resolution=merge-duplicates,return=representation"
            try:
                answer = await self._ask("POST", table.name, table.schema, parameters, _body(table, rows, sent), prefer)
            except RestRefused as refused:
                column = COMPUTED.search(refused.message)
                if refused.code != CODE_GENERATED or column is None or column[1] in (*table.key, None):
                    raise
                if column[1] in self.computed(table.resource):
                    raise
                self.computed(table.resource).add(column[1])
                continue
            found: list[Row] = answer.json()
            return found

    async def delete(self, table: Table, keys: Sequence[Sequence[Any]]) -> int:
        """Delete rows by key; gives how many there were."""
        count = 0
        for start in range(0, len(keys), KEYS_PER_REQUEST):
            parameters = _selected(table.key) | _named(table, keys[start : start + KEYS_PER_REQUEST])
            answer = await self._ask("DELETE", table.name, table.schema, parameters, prefer="return=representation")
            count += len(answer.json())
        return count

    async def _ask(
        self,
        method: str,
        path: str,
        schema: str,
        parameters: Mapping[str, str] | None = None,
        body: str | None = None,
        prefer: str | None = None,
    ) -> httpx.Response:
        profile = "accept-profile" if method == "GET" else "content-profile"
        headers = self._headers | {profile: schema, "content-type": "application/json"}
        if prefer is not None:
            headers["prefer"] = prefer
        url = httpx.URL(self._url).join(httpx.URL(path="./" + path)) if path else httpx.URL(self._url)
        answer = await self._http.request(method, url, params=parameters, headers=headers, content=body)
        if answer.is_success:
            return answer
        try:
            value = answer.json()
        except ValueError:
            value = {}
        told = value if isinstance(value, dict) else {}
        code = str(told.get("code"))
        message = "" if has_values(code) else str(told.get("message", ""))[:300]
        raise RestRefused(self.side, answer.status_code, code, message)


def _tables(schema: str, description: Mapping[str, Any]) -> dict[str, Table]:
    found: dict[str, Table] = {}
    for name, definition in description.get("definitions", {}).items():
        columns, key = [], []
        required = set(definition.get("required", ()))
        for column, value in definition.get("properties", {}).items():
            shown = str(value.get("format", "text"))
            base = BASES.get(shown.partition("(")[0].strip(), shown.partition("(")[0].strip())
            columns.append(Column(column, shown, base, base, "=", column in required))
            if PRIMARY_KEY_MARK in (value.get("description") or ""):
                key.append(column)
        found[name] = Table(schema, name, tuple(columns), tuple(key))
    return found


def _selected(columns: Sequence[str]) -> dict[str, str]:
    return {"select": ",".join(f"{_name(column)}::text" for column in columns)}


def _named(table: Table, keys: Sequence[Sequence[Any]]) -> dict[str, str]:
    if len(table.key) == 1:
        return {_name(table.key[0]): f"in.({','.join(_value(key[0]) for key in keys)})"}
    each = (
        f"and({','.join(f'{_name(c)}.eq.{_value(v)}' for c, v in zip(table.key, key, strict=True))})" for key in keys
    )
    return {"or": f"({','.join(each)})"}


def _after(columns: Sequence[str], values: Sequence[str]) -> list[str]:
    """The rows behind ``values``: the first column is greater, or it is equal and the next is greater, ..."""
    parts = []
    for i, column in enumerate(columns):
        equal = [f"{_name(columns[j])}.eq.{_value(values[j])}" for j in range(i)]
        greater = f"{_name(column)}.gt.{_value(values[i])}"
        parts.append(f"and({','.join([*equal, greater])})" if equal else greater)
    return parts


def _body(table: Table, rows: Sequence[Row], columns: Sequence[str]) -> str:
    as_json = {column.name for column in table.columns if column.base in ("json", "jsonb")}

    def written(column: str, value: str | None) -> str:
        return value if value is not None and column in as_json else json.dumps(value)

    each = (
        "{" + ",".join(f"{json.dumps(column)}:{written(column, row[column])}" for column in columns) + "}"
        for row in rows
    )
    return f"[{','.join(each)}]"


PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _name(name: str) -> str:
    return name if PLAIN_NAME.fullmatch(name) else _quoted(name)


def _value(value: Any) -> str:
    return _quoted(key_text(value))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
