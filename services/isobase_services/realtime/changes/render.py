"""A row change as JSON text: what a role may see of it, under the selected columns, built once for all its receivers.

Source: contracts/realtime.md 1.10; upstream ``realtime.apply_rls``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from isobase_services.realtime.changes.rows import Action, Row, commit_timestamp
from isobase_services.realtime.changes.tables import Column, RoleRights
from isobase_services.realtime.changes.values import quote_json

__all__ = ["MAX_CHANGE_BYTES", "NO_KEY", "UNAUTHORIZED", "ExoticJson", "render_change", "render_refusal"]

MAX_CHANGE_BYTES = 1_048_576
MAX_KEPT_VALUE_BYTES = 64
"""What a value of an oversized change may take to stay in it."""

NO_KEY = "Error 400: Bad Request, no primary key"
UNAUTHORIZED = "Error 401: Unauthorized"
TOO_LARGE = "Error 413: Payload Too Large"

ExoticJson = Mapping[tuple[str, str], str]
"""(type as SQL, text) -> JSON text, for values without a converter."""


@dataclass(slots=True, frozen=True)
class _View:
    names: Collection[str]
    selected: frozenset[str] | None

    def shows(self, column: Column) -> bool:
        return column.name in self.names and (self.selected is None or column.name in self.selected or column.is_key)


def render_change(
    row: Row,
    rights: RoleRights,
    selected: tuple[str, ...] | None,
    exotic: ExoticJson,
    *,
    with_position: bool = False,
) -> str:
    """The ``data`` object of an event for one role and selection, as JSON text. ``with_position`` adds ``position``."""
    view = _View(rights.columns, None if selected is None else frozenset(selected))
    columns = row.table.columns.values()
    descriptions = ",".join(column.description for column in columns if view.shows(column))
    record = _members(row.record, row, view.shows, exotic)
    old_shown: Callable[[Column], bool] = view.shows
    if row.action is Action.DELETE and row.table.has_row_security:
        # Whether a deleted row was visible cannot be asked any more, so no more than its key is shown.
        def old_shown(column: Column) -> bool:
            return column.is_key and view.shows(column)

    old = _members(row.old, row, old_shown, exotic)
    errors = "null"
    if _size_bytes(record) + _size_bytes(old) > MAX_CHANGE_BYTES:
        errors = f'["{TOO_LARGE}"]'
        record, old = _small_only(record), _small_only(old)
    parts = [
        _head(row),
        f'"commit_timestamp":"{commit_timestamp(row.commit_time_us)}"',
        f'"columns":[{descriptions}]',
    ]
    if row.action is not Action.DELETE:
        parts.append(f'"record":{_object(record)}')
    if row.action is not Action.INSERT:
        parts.append(f'"old_record":{_object(old)}')
    parts.append(f'"errors":{errors}')
    if with_position:
        parts.append(_position(row))
    return "{" + ",".join(parts) + "}"


def render_refusal(row: Row, reason: str, *, with_position: bool = False) -> str:
    """The ``data`` object of an event that tells only that something changed and why no more is said."""
    position = f",{_position(row)}" if with_position else ""
    old = ',"old_record":{}' if row.action is Action.UPDATE else ""
    return (
        f'{{{_head(row)},"commit_timestamp":"{commit_timestamp(row.commit_time_us)}","columns":[],"record":{{}}{old},'
        f'"errors":["{reason}"]{position}}}'
    )


def _position(row: Row) -> str:
    return f'"position":{quote_json(str(row.position))}'


def _head(row: Row) -> str:
    return f'"schema":{quote_json(row.table.schema)},"table":{quote_json(row.table.name)},"type":"{row.action.value}"'


def _members(
    values: Mapping[str, str | None], row: Row, is_shown: Callable[[Column], bool], exotic: ExoticJson
) -> list[tuple[str, str]]:
    """(key with its colon, JSON of the value) in the table's order."""
    members: list[tuple[str, str]] = []
    for column in row.table.columns.values():
        if column.name not in values or not is_shown(column):
            continue
        text = values[column.name]
        if text is None:
            json = "null"
        elif column.name in row.recast:
            json = quote_json(text)
        elif column.converter is not None:
            json = column.converter(text)
        else:
            json = exotic[column.type_sql, text]
        members.append((column.json_key, json))
    return members


def _object(members: list[tuple[str, str]]) -> str:
    return "{" + ",".join(key + value for key, value in members) + "}"


def _size_bytes(members: list[tuple[str, str]]) -> int:
    return sum(len(key) + (len(value) if value.isascii() else len(value.encode())) for key, value in members)


def _small_only(members: list[tuple[str, str]]) -> list[tuple[str, str]]:
    # A NULL has no length that could be within the limit, as upstream asks.
    return [(key, value) for key, value in members if value != "null" and len(value.encode()) <= MAX_KEPT_VALUE_BYTES]
