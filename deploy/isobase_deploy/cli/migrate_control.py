"""What ``isobase migrate flags`` and ``status`` share: the control store, its errors, tables of text, plain values."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from isobase_adapter.bulk.managed import MANAGED_SCHEMAS
from isobase_adapter.bulk.report import printable
from isobase_adapter.control.errors import ChangeRefused, ControlAway, LoginRefused, NotInstalled
from isobase_adapter.control.functions import read_volatile, without_rule
from isobase_adapter.control.operator import Operator
from isobase_adapter.control.postgres import PostgresStore
from isobase_adapter.control.sqlite import SqliteStore
from isobase_adapter.control.store import Store
from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.reasons import reason_of
from isobase_deploy.cli.migrate import places_of
from isobase_platform.errors import BadRequest, ConfigurationError, Unavailable

__all__ = ["absent", "needing_rules", "note_new_file", "opened_operator", "plain", "table"]

CONNECT_TIMEOUT_S = 10.0
NAMED = {
    "table": "select exists (select from pg_class as c join pg_namespace as n on n.oid = c.relnamespace"
    " where n.nspname || '.' || c.relname = $1)",
    "rpc": "select exists (select from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace"
    " where n.nspname || '.' || p.proname = $1)",
    "bucket": "select exists (select from storage.buckets where id = $1)",
}
"""How a database is asked whether it has what a capability names."""


@asynccontextmanager
async def opened_operator(parsed: argparse.Namespace) -> AsyncIterator[Operator]:
    """Open the control store that the command line names; its errors become the house's."""
    try:
        async with Operator(_store(parsed), by=getattr(parsed, "by", "")) as operator:
            yield operator
    except ChangeRefused as error:
        raise BadRequest(str(error)) from error
    except (LoginRefused, NotInstalled) as error:
        raise ConfigurationError(str(error)) from error
    except ControlAway as error:
        where = (
            "does its disk answer?"
            if parsed.control_file
            else "is the address in ISOBASE_DB_URL right, and does it run?"
        )
        raise Unavailable(str(error), hint=where) from error


def _store(parsed: argparse.Namespace) -> Store:
    if parsed.control_file is not None:
        note_new_file(parsed.control_file)
        return SqliteStore(parsed.control_file)
    places = places_of(parsed)
    places.require("isobase_db_url")
    assert places.isobase_db_url is not None
    return PostgresStore(places.isobase_db_url, name="isobase migrate")


def note_new_file(path: Path) -> None:
    """Say that a control file was not there: a misspelt one would look like a move that has not begun."""
    if not path.exists():
        print(f"note: {path} was not there and is made; is it the file of the app's clients?", file=sys.stderr)  # noqa: T201  the command's voice


async def absent(parsed: argparse.Namespace, patterns: Sequence[str]) -> bool:
    """Say whether none of ``patterns`` names what Isobase's database has: a misspelt name would be a flag of nothing.

    False where that is not known: patterns of several, other kinds, flags in a file.
    """
    dsn = None if parsed.control_file is not None else places_of(parsed).isobase_db_url
    named = [pattern.partition(":") for pattern in patterns]
    if dsn is None or not all(kind in NAMED and not name.endswith("*") for kind, _, name in named):
        return False
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, statement_cache_size=0)
    try:
        for kind, _, name in named:
            if await connection.fetchval(NAMED[kind], name):
                return False
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT_S)
    return True


async def needing_rules(parsed: argparse.Namespace, operator: Operator) -> tuple[str, ...]:
    """Give the functions that may write and that have no rule, see ``control/functions.py``.

    Empty where Isobase's database is not known; so it is, with a note, where flags are in a file and the database is away:
    they can be set and shown all the same.
    """
    dsn = places_of(parsed).isobase_db_url
    if dsn is None:
        return ()
    try:
        async with asyncpg.create_pool(dsn, min_size=0, max_size=1, timeout=CONNECT_TIMEOUT_S) as pool:
            names = await read_volatile(pool, MANAGED_SCHEMAS)
    except DATABASE_FAILURES as error:
        if parsed.control_file is None:
            raise
        note = f"functions without a rule were not looked for: Isobase's database is away ({reason_of(error)})"
        print(f"note: {note}", file=sys.stderr)  # noqa: T201  the command's voice
        return ()
    return without_rule(names, await operator.store.read_snapshot(), await operator.clients())


def plain(value: Any) -> Any:
    """Give a value of dataclasses as plain JSON values."""
    match value:
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
        case Enum():
            return value.value
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
        case Mapping():
            return {str(name): plain(each) for name, each in value.items()}
        case frozenset() | set():
            return sorted(plain(each) for each in value)
        case list() | tuple():
            return [plain(each) for each in value]
        case _:
            return value


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Give rows as text in columns."""
    lines = [tuple(head), *(tuple(printable(str(cell)) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
