"""Reasons that are kept or logged: they say what failed, and no value that was sent or stored."""

from __future__ import annotations

import ast
import socket
from pathlib import Path

import asyncpg
import httpx
import pytest

import isobase_adapter
from isobase_adapter.auth.errors import UserConflict
from isobase_adapter.reasons import reason_of, without_values

SECRET = "s3cr3t-mark"


def from_postgres(sqlstate: str, message: str, **more: str) -> asyncpg.PostgresError:
    parts = {"S": "ERROR", "C": sqlstate, "M": message, "D": f"Key (email)=({SECRET}) already exists.", "H": SECRET}
    return asyncpg.PostgresError.new(parts | more)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(
            from_postgres("23505", 'duplicate key value violates unique constraint "users_email_key"'),
            'UniqueViolationError: duplicate key value violates unique constraint "users_email_key" (SQLSTATE 23505)',
            id="detail",
        ),
        pytest.param(
            from_postgres("22P02", f'invalid input syntax for type integer: "{SECRET}"', t="orders", c="total"),
            "InvalidTextRepresentationError: SQLSTATE 22P02: table orders, column total",
            id="message with a value",
        ),
        pytest.param(
            without_values(from_postgres("22P02", f'invalid input syntax for type integer: "{SECRET}"', t="orders")),
            "InvalidTextRepresentationError: SQLSTATE 22P02: table orders",
            id="already without values",
        ),
        pytest.param(
            from_postgres("P0001", f"a trigger says {SECRET}"), "RaiseError: SQLSTATE P0001", id="an app's own text"
        ),
        pytest.param(asyncpg.DataError(f"argument $1: {SECRET}"), "DataError: SQLSTATE 22000", id="argument"),
        pytest.param(asyncpg.InterfaceError("pool is closing"), "InterfaceError: pool is closing", id="of the driver"),
        pytest.param(httpx.LocalProtocolError(f"Illegal header value b'Bearer {SECRET}'"), "LocalProtocolError", id="header"),
        pytest.param(httpx.ConnectError("All connection attempts failed"), None, id="connection"),
        pytest.param(KeyError(SECRET), "KeyError", id="of Python"),
        pytest.param(ConnectionRefusedError(111, "x"), "ConnectionRefusedError: Connection refused", id="errno"),
        pytest.param(
            socket.gaierror(-2, "Name or service not known"), "gaierror: Name or service not known", id="name"
        ),
        pytest.param(UserConflict(["1", "2"], "users_email_key"), None, id="own"),
    ],
)  # fmt: skip
def test_a_reason_says_what_failed_and_no_value(error: BaseException, said: str | None) -> None:
    reason = reason_of(error)
    assert SECRET not in reason
    assert reason == (said or f"{type(error).__name__}: {error}")


def test_no_part_of_the_adapter_keeps_or_logs_the_text_of_an_error_that_it_does_not_know() -> None:
    """What catches errors of databases or of anybody says why by ``reason_of``, never by the error's own text."""
    folder = Path(isobase_adapter.__file__).parent
    found = []
    for path in sorted(folder.rglob("*.py")):
        for handler in ast.walk(ast.parse(path.read_text())):
            if isinstance(handler, ast.ExceptHandler) and handler.name and _is_foreign(handler.type):
                found += [
                    f"{path.relative_to(folder)}: {ast.unparse(node)}"
                    for node in ast.walk(handler)
                    if _tells_text(node, handler.name)
                ]
    assert found == []


FOREIGN = ("asyncpg", "httpx", "Exception", "BaseException")


def _is_foreign(caught: ast.expr | None) -> bool:
    names = (
        {node.id for node in ast.walk(caught) if isinstance(node, ast.Name)} if caught is not None else {"Exception"}
    )
    return bool(names & set(FOREIGN))


def _tells_text(node: ast.AST, name: str) -> bool:
    def is_it(value: ast.AST) -> bool:
        return isinstance(value, ast.Name) and value.id == name

    if isinstance(node, ast.FormattedValue):
        return is_it(node.value)
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name) and node.func.id in ("str", "repr"):
        return any(map(is_it, node.args))
    return (
        isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "logger" and any(map(is_it, node.args))
    )
