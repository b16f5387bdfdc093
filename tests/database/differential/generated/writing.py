"""Generated writes: inserts, upserts, updates, single-row puts and deletes over the schema ``lab``."""

from __future__ import annotations

import json
from urllib.parse import quote_plus

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.database.differential.generated.model import TABLES, Table
from tests.database.differential.generated.reading import filters, name_of, narrowing, role_of, select
from tests.database.differential.generated.request import Parameter, Request
from tests.database.differential.generated.values import chance, json_value, literal, some

__all__ = ["writes"]

_RETURN = (
    "return=representation",
    "return=representation",
    "return=representation",
    "return=minimal",
    "return=headers-only",
)
_WISHES = (
    "count=exact",
    "missing=default",
    "missing=null",
    "resolution=merge-duplicates",
    "resolution=ignore-duplicates",
    "handling=lenient",
    "handling=strict",
    "tx=rollback",
    "timezone=America/New_York",
    "nonsense",
)
_BROKEN_BODIES = (
    b"",
    b"{",
    b"null",
    b"5",
    b'"text"',
    b"[1]",
    b"[[]]",
    b"[{}, 5]",
    b"\xff",
    b'{"id": 1,}',
    b"[]",
    b"{}",
    b"[{}]",
)
_MEDIA = (
    "text/csv",
    "application/vnd.pgrst.object+json",
    "application/vnd.pgrst.object+json",
    "*/*",
    "application/octet-stream",
)
_WRITABLE = tuple(table for table in TABLES.values() if table.is_writable)
_UNIQUE = {"orgs": ("name", "id", "name,id"), "teams": ("org_id,code", "code"), "members": ("id", "address")}


def _row(draw: DrawFn, table: Table, keys: tuple[str, ...]) -> dict[str, object]:
    return {key: json_value(draw, table.columns.get(key, "text")) for key in keys}


def _keys(draw: DrawFn, table: Table) -> tuple[str, ...]:
    """The keys of a body: those of the primary key mostly among them."""
    columns = tuple(table.columns)
    found = [draw(st.sampled_from(columns)) for _ in some(draw, 4)]
    if chance(draw, 70):
        found += table.key
    if chance(draw, 3):
        found.append(draw(st.sampled_from(("nosuch", "ID", "", 'a"b'))))
    return tuple(dict.fromkeys(found))


def _csv(table_keys: tuple[str, ...], rows: list[dict[str, object]]) -> bytes:
    def cell(value: object) -> str:
        text = "NULL" if value is None else value if isinstance(value, str) else json.dumps(value)
        return '"' + text.replace('"', '""') + '"' if any(letter in text for letter in ',"\n') else text

    lines = [",".join(cell(key) for key in table_keys)]
    lines += [",".join(cell(row.get(key)) for key in table_keys) for row in rows]
    return "\n".join(lines).encode()


def _body(draw: DrawFn, table: Table) -> tuple[bytes, str, tuple[str, ...]]:
    """A body, its type, and the keys that it has."""
    keys = _keys(draw, table)
    if chance(draw, 5):
        return draw(st.sampled_from(_BROKEN_BODIES)), "application/json", keys
    rows = [_row(draw, table, keys) for _ in some(draw, 3, 1)]
    if keys and chance(draw, 8):
        return _csv(keys, rows), "text/csv", keys
    if keys and chance(draw, 6):
        pairs = "&".join(f"{quote_plus(key)}={quote_plus(str(value))}" for key, value in rows[0].items())
        return pairs.encode(), "application/x-www-form-urlencoded", keys
    if chance(draw, 8) and len(rows) > 1 and keys:
        del rows[-1][keys[-1]]
    value: object = rows[0] if chance(draw, 50) else rows
    return json.dumps(value).encode(), "application/json", keys


def _prefer(draw: DrawFn) -> dict[str, str]:
    wishes = [draw(st.sampled_from(_RETURN))] if chance(draw, 80) else []
    wishes += [draw(st.sampled_from(_WISHES)) for _ in some(draw, 2)]
    return {"Prefer": ", ".join(wishes)} if wishes else {}


def _returned(draw: DrawFn, table: Table) -> list[Parameter]:
    if not chance(draw, 45):
        return []
    text, embeds = select(draw, table, depth=1)
    found: list[Parameter] = [("select", text)]
    for embed in embeds:
        if not embed.is_single:
            # Version 12 does not sort what a write returns, so no limit may depend on it.
            parameters = narrowing(draw, embed.table, embed.embeds, f"{embed.name}.", is_ordered=True)
            found += [one for one in parameters if one[0].endswith(".order")]
    return found


@st.composite
def writes(draw: DrawFn) -> Request:
    """POST, PATCH, PUT and DELETE of a table or view."""
    table = draw(st.sampled_from(_WRITABLE))
    method = draw(st.sampled_from(("POST", "POST", "PATCH", "PUT", "DELETE")))
    headers = {"Content-Profile": "lab", **_prefer(draw)}
    if chance(draw, 12):
        headers["Accept"] = draw(st.sampled_from(_MEDIA))
    parameters: list[Parameter] = []
    body: bytes | None = None
    if method != "DELETE":
        body, headers["Content-Type"], keys = _body(draw, table)
        if method != "PUT" and keys and chance(draw, 15):
            chosen = [name_of(draw, draw(st.sampled_from((*keys, *table.columns)))) for _ in some(draw, 3, 1)]
            parameters.append(("columns", ",".join(chosen)))
    if method == "POST" and chance(draw, 20):
        target = draw(
            st.sampled_from((*_UNIQUE.get(table.name, ()), ",".join(name_of(draw, key) for key in table.key), "nosuch"))
        )
        parameters.append(("on_conflict", target))
    if method in {"PATCH", "DELETE"}:
        found = filters(draw, table)
        # Version 12 applies the trees among them once more to what is returned.
        parameters += [one for one in found if "Prefer" not in headers or not one[0].endswith(("and", "or"))]
    if method == "PUT":
        for key in table.key:
            parameters.append((name_of(draw, key), f"eq.{literal(draw, table.columns[key])}"))
        if chance(draw, 10):
            parameters.append(draw(st.sampled_from((("limit", "1"), ("id", "gt.1"), ("nosuch", "eq.1")))))
    parameters += _returned(draw, table)
    return Request(table.name, method, tuple(parameters), headers, body, role_of(draw))
