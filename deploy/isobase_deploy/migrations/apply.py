"""Runs SQL files against the project's database: each file in one transaction, with the row that says it was applied.

A failure is a ``ScriptError`` that names file, line, SQLSTATE and statement; nothing of that file stays. Neighbours:
``files`` finds the files, ``split`` cuts them, ``history`` holds the rows. Statements that PostgreSQL refuses inside a
transaction (CREATE INDEX CONCURRENTLY, VACUUM, ...) make their file run statement by statement, and the report says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import asyncpg

from isobase_deploy.migrations.split import Statement, copies_from_client, split_statements
from isobase_deploy.migrations.triggers import as_permitted
from isobase_platform.errors import DatabaseError, database_error
from isobase_platform.pool import DATABASE_FAILURES, Connection

__all__ = ["Recorder", "ScriptError", "run_script", "runs_outside_transaction"]

Recorder: TypeAlias = Callable[[Connection, Sequence[Statement]], Awaitable[None]]
"""Writes the row that says a file was applied; called in the file's own transaction."""

MAX_SHOWN_STATEMENT_LINES = 12
FEATURE_NOT_SUPPORTED = "0A000"
CANCEL_WAIT_S = 1.0
"""A cancel that reaches PostgreSQL before its statement does is lost, and the statement would run to its end."""


class ScriptError(DatabaseError):
    """A statement of an SQL file failed. ``path`` and ``line`` say where; ``is_partial`` whether earlier ones stay."""

    def __init__(self, path: Path, statement: Statement, error: DatabaseError, *, is_partial: bool) -> None:
        super().__init__(error.message, error.sqlstate, details=error.details, hint=error.hint, position=error.position)
        self.path = path
        self.statement = statement
        self.line = statement.line_of(error.position or 1)
        self.is_partial = is_partial

    @property
    def excerpt(self) -> str:
        """The statement as it stands in the file, a caret below the place that PostgreSQL points at, cut when long."""
        lines = self.statement.text.split("\n")
        if self.position:
            before = self.statement.text[: self.position - 1]
            row = before.count("\n")
            column = len(before) - (before.rfind("\n") + 1)
            lines.insert(row + 1, " " * column + "^")
            first = max(0, row + 2 - MAX_SHOWN_STATEMENT_LINES)
        else:
            first = 0
        shown = lines[first : first + MAX_SHOWN_STATEMENT_LINES]
        before_mark = ["..."] if first else []
        after_mark = ["..."] if first + MAX_SHOWN_STATEMENT_LINES < len(lines) else []
        return "\n".join([*before_mark, *shown, *after_mark])


def runs_outside_transaction(statement: Statement) -> bool:
    """Whether PostgreSQL refuses this statement inside a transaction block, by its first words."""
    words = statement.words
    match words[:2]:
        case ("vacuum", *_):
            return True
        case ("create" | "drop", "database" | "tablespace"):
            return True
        case ("alter", "system"):
            return True
        case ("create", "index") | ("drop", "index"):
            return "concurrently" in words
        case ("create", "unique"):
            return "concurrently" in words[:4]
        case ("reindex", *_):
            return "concurrently" in words or "database" in words[:3] or "system" in words[:3]
        case ("create", "subscription") | ("drop", "subscription"):
            return True
    return False


def _controls_transaction(statement: Statement) -> bool:
    match statement.words[:2]:
        case ("begin" | "commit" | "rollback" | "end" | "abort", *rest):
            # ROLLBACK TO SAVEPOINT stays inside.
            return rest[:1] != ["to"]
        case ("start", "transaction"):
            return True
    return False


def _without_frame(statements: list[Statement]) -> list[Statement]:
    """A file that is one ``begin; ... commit;`` means what we do anyway: its frame is taken off."""
    if len(statements) < 2:
        return statements
    first, last = statements[0].words[:2], statements[-1].words[:1]
    opens = first[:1] == ("begin",) or first == ("start", "transaction")
    inner = statements[1:-1]
    if opens and last in {("commit",), ("end",)} and not any(map(_controls_transaction, inner)):
        return inner
    return statements


async def run_script(
    connection: Connection, path: Path, sql: str, *, record: Recorder | None, notice: Callable[[str], None]
) -> None:
    """Run the statements of ``sql`` (read from ``path``) on ``connection``, then ``record``, in one transaction.

    ``notice`` is told when the file has to run without one. Raises ``ScriptError`` for a statement that fails; then
    nothing of the file stays, except where it ran statement by statement, which the error's ``is_partial`` says. A
    cancellation closes the connection: its end is the rollback, whatever PostgreSQL is busy with.
    """
    try:
        await _run(connection, path, sql, record, notice)
    except asyncio.CancelledError:
        await _leave(connection)
        raise


async def _run(
    connection: Connection, path: Path, sql: str, record: Recorder | None, notice: Callable[[str], None]
) -> None:
    statements = _without_frame(split_statements(sql))
    await _forget_settings(connection)
    if any(runs_outside_transaction(one) or _controls_transaction(one) for one in statements):
        notice(
            f"{path.name} holds statements that cannot run in a transaction or control one themselves;"
            " it runs statement by statement, and what came before a failure stays"
        )
        await _run_each(connection, path, statements, is_partial=True)
        if record is not None:
            await _record(record, connection, statements)
        return
    transaction = connection.transaction()
    await _mapped(transaction.start())
    try:
        await _run_each(connection, path, statements, is_partial=False)
        if record is not None:
            await _record(record, connection, statements)
    except asyncio.CancelledError:
        raise
    except BaseException:
        await _roll_back(transaction)
        raise
    # Deferred constraints are checked now: the last statement stands for the file.
    try:
        await transaction.commit()
    except DATABASE_FAILURES as error:
        raise _script_error(path, statements[-1:], error) from error


async def _run_each(connection: Connection, path: Path, statements: Sequence[Statement], *, is_partial: bool) -> None:
    for number, statement in enumerate(statements):
        if copies_from_client(statement):
            # Nobody would send the data, and the server would wait for them for ever, deaf to a cancel.
            refusal = DatabaseError(
                "COPY from or to the client's connection cannot run from a file",
                FEATURE_NOT_SUPPORTED,
                hint="write the rows as INSERT statements (pg_dump --inserts), or load them with psql once it is up",
            )
            raise ScriptError(path, statement, refusal, is_partial=is_partial and number > 0)
        try:
            await connection.execute(as_permitted(statement.text))
        except DATABASE_FAILURES as error:
            mapped = database_error(error)
            if not isinstance(mapped, DatabaseError):
                raise mapped from error
            if statement.text.startswith("\\"):
                mapped.hint = "psql's own commands (such as \\copy or \\connect) are not SQL and cannot be run here"
            raise ScriptError(path, statement, mapped, is_partial=is_partial and number > 0) from error


def _script_error(path: Path, statements: Sequence[Statement], error: BaseException) -> BaseException:
    mapped = database_error(error)
    if isinstance(mapped, DatabaseError) and statements:
        return ScriptError(path, statements[0], mapped, is_partial=False)
    return mapped


async def _forget_settings(connection: Connection) -> None:
    """What a file set on the connection (search_path, role) must reach neither its record nor the next file."""
    await _mapped(connection.execute("reset session authorization; reset all"))


async def _record(record: Recorder, connection: Connection, statements: Sequence[Statement]) -> None:
    await _forget_settings(connection)
    await _mapped(record(connection, statements))


async def _mapped(work: Awaitable[object]) -> None:
    try:
        await work
    except DATABASE_FAILURES as error:
        raise database_error(error) from error


async def _roll_back(transaction: asyncpg.transaction.Transaction) -> None:
    try:
        await transaction.rollback()
    except DATABASE_FAILURES as error:
        # The connection is gone, and with it the transaction: that is the rollback.
        raise database_error(error) from error


async def _leave(connection: Connection) -> None:
    """Close the connection, without waiting long for a statement that may not have heard that it is cancelled."""
    closing = asyncio.ensure_future(connection.close())
    await asyncio.wait({closing}, timeout=CANCEL_WAIT_S)
    if not closing.done():
        connection.terminate()
        closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
