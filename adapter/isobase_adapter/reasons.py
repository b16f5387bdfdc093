"""Says why something failed without telling any value of a row, key, token or address: the one way from an error to text.

PostgreSQL quotes rows in details and often in messages, asyncpg quotes parameters, HTTP libraries quote headers and URLs.
What is kept (outbox, events, reports) or logged is ``reason_of(error)``: of foreign errors only what is known to hold no
value, the names of tables, columns and constraints among it. Errors of the adapter itself say no values in the first
place.
"""

from __future__ import annotations

import os
import sqlite3
import ssl

import asyncpg
import httpx

__all__ = ["has_values", "reason_of", "without_values"]

MAX_REASON_CHARS = 300
CLASSES_WITHOUT_VALUES = frozenset({"08", "0A", "23", "25", "26", "28", "3D", "40", "42", "53", "55", "57", "58"})
"""SQLSTATE classes whose messages name things and no values (their details may)."""
CODES_WITHOUT_VALUES = frozenset({"22001"})
NAMES = ("table_name", "column_name", "constraint_name", "data_type_name")
OWN = "isobase_adapter."
PLAIN = (httpx.ConnectError, httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)
"""Errors of a connection: they name addresses of nobody's data, and never what was sent."""


def reason_of(error: BaseException) -> str:
    """Give ``Class: text`` in one line of at most ``MAX_REASON_CHARS``, the class alone where its text may hold values."""
    name, text = type(error).__name__, " ".join(_text_of(error).split())
    return (f"{name}: {text}" if text else name)[:MAX_REASON_CHARS]


def has_values(sqlstate: str) -> bool:
    """Whether messages of a SQLSTATE (or of another code of a data API) may quote values."""
    return sqlstate[:2] not in CLASSES_WITHOUT_VALUES and sqlstate not in CODES_WITHOUT_VALUES


def without_values(error: asyncpg.PostgresError) -> asyncpg.PostgresError:
    """Take the values out of ``error`` itself, which stays of its class; gives it back.

    Details, hints and contexts go; so does a message that may quote a value. Names of tables, columns and constraints stay.
    """
    message = _message_of(error)
    error.args = (message,)
    error.message = message
    for part in ("detail", "hint", "context", "query", "internal_query"):
        if getattr(error, part, None):
            setattr(error, part, None)
    return error


def _text_of(error: BaseException) -> str:
    match error:
        case asyncpg.PostgresError():
            message, code = _message_of(error), str(getattr(error, "sqlstate", "") or "")
            return message if not code or code in message else f"{message} (SQLSTATE {code})"
        case asyncpg.InterfaceError() if not isinstance(error, ValueError):
            return str(error.args[0]) if error.args else ""
        case ssl.SSLError():
            return error.reason or ""
        case OSError() if not type(error).__module__.startswith(OWN):
            return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or ""
        case sqlite3.Error():
            return str(error)
    is_own = type(error).__module__.startswith(OWN)
    return str(error) if is_own or isinstance(error, PLAIN) else ""


def _message_of(error: asyncpg.PostgresError) -> str:
    code = str(getattr(error, "sqlstate", "") or "")
    message = getattr(error, "message", None) or (str(error.args[0]) if error.args else "")
    if not has_values(code):
        return str(message)
    if message.startswith("SQLSTATE "):  # by ``without_values``
        return str(message)
    names = [f"{name.removesuffix('_name')} {value}" for name in NAMES if (value := getattr(error, name, None))]
    return f"SQLSTATE {code}{': ' if names else ''}{', '.join(names)}"
