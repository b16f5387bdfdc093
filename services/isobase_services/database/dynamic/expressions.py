"""Expressions that clients write: policies and checks. Let in only what is one expression of harmless parts.

Such an expression runs with the rights of whoever touches the table, so it must not call what these may call and its author
may not, nor read what they may read. Three gates, each enough against text that would leave its place:
1. ``check_text`` reads the tokens: no statement can end inside, brackets close where they opened, no comment, no query
   that reads a relation.
2. ``check_without_rights`` lets PostgreSQL parse it, as one statement, as anon.
3. ``check_tree`` looks at what PostgreSQL made of it, before it is ever evaluated: known kinds of nodes, operators of
   PostgreSQL itself, and functions of a closed list.
Why: docs/decisions/0010. Neighbours: ``policies``, ``definition``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from isobase_platform.caller import ANON_ROLE, Caller
from isobase_platform.errors import BadRequest, DatabaseError
from isobase_platform.pool import Connection
from isobase_platform.runtime import Platform
from isobase_platform.sql import quote_identifier
from isobase_services.database.dynamic.expression_words import (
    ALLOWED_FUNCTIONS,
    LOOKUP_TYPES,
    NODES,
    OWN_FUNCTIONS,
    REFUSED_WORDS,
)

__all__ = ["MAX_EXPRESSION_LENGTH_CHARS", "check_text", "check_tree", "check_without_rights"]

MAX_EXPRESSION_LENGTH_CHARS = 2000
MAX_DEPTH = 40
"""Brackets within brackets."""

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<string>'(?:[^'\\]|'')*')
    |(?P<quoted>"(?:[^"\\]|"")+")
    |(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_]))
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*(?!['"&]))
    |(?P<open>[(\[])
    |(?P<close>[)\]])
    |(?P<operator>[-+*/<>=~!@\#%^&|?]+|::|[:,.])""",
    re.VERBOSE,
)


def check_text(text: str, what: str) -> None:
    """Raise ``BadRequest`` (``invalid_expression``) for what cannot be one expression. ``what`` names its place."""
    if not text.strip() or len(text) > MAX_EXPRESSION_LENGTH_CHARS:
        raise _refusal(what, f"it must have 1 to {MAX_EXPRESSION_LENGTH_CHARS} characters")
    if "\x00" in text:
        raise _refusal(what, "it must not hold NUL")
    open_brackets: list[str] = []
    before = ""
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise _refusal(what, f"{text[position : position + 10]!r} at character {position + 1} is not understood")
        position = found.end()
        token, kind = found[0], found.lastgroup
        if kind == "space":
            continue
        _check_token(token, kind, before, what)
        if kind == "open":
            open_brackets.append(token)
            if len(open_brackets) > MAX_DEPTH:
                raise _refusal(what, f"it has more than {MAX_DEPTH} brackets within each other")
        elif kind == "close" and (not open_brackets or open_brackets.pop() + token not in {"()", "[]"}):
            raise _refusal(what, f"the bracket at character {position} closes none")
        before = token.lower()
    if open_brackets:
        raise _refusal(what, "a bracket is not closed")


def _check_token(token: str, kind: str | None, before: str, what: str) -> None:
    if kind == "operator" and ("--" in token or "/*" in token or "*/" in token):
        raise _refusal(what, "it must not hold comments")
    name = token.strip('"').lower()
    # An array type's name is its element's behind an underscore.
    if kind in {"word", "quoted"} and name.lstrip("_") in LOOKUP_TYPES:
        raise _refusal(what, f"it must not use {name}")
    if kind != "word":
        return
    if name in REFUSED_WORDS or (name == "from" and before != "distinct"):
        raise _refusal(what, f"it must not use {name.upper()}: no query that reads a table")


async def check_without_rights(
    platform: Platform, table: str, columns: Mapping[str, str], expressions: Sequence[tuple[str, str]]
) -> None:
    """Let PostgreSQL parse expressions (text, what) over a row of ``columns`` (name -> SQL type) as a role without rights.

    Raises ``BadRequest`` with PostgreSQL's own words for what is no condition over these columns.
    """
    row = ", ".join(f"null::{kind} as {quote_identifier(name)}" for name, kind in columns.items())
    caller = Caller(ANON_ROLE)
    settings = {"search_path": "", "standard_conforming_strings": "on"}
    for text, what in expressions:
        check_text(text, what)
        # Parsed and planned, not run; with parameters' protocol, which takes one statement only.
        sql = f"explain select from (select {row}) as {quote_identifier(table)} where (\n{text}\n)"
        try:
            async with platform.door.transaction(
                caller, read_only=True, rollback=True, settings=settings
            ) as connection:
                await connection.fetch(sql)
        except DatabaseError as error:
            raise _refusal(what, error.message, error.hint) from error


_NODE = re.compile(r"(?<!\\)\{([A-Z_]+)")
_SYSTEM_COLUMN = re.compile(r":varattno -")
_CALLS = re.compile(r":(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)")
_OPERATORS = re.compile(r":opnos? (?:\(o ([0-9 ]+)\)|([0-9]+))")
_TABLES = re.compile(r":(?:rtable|cteList|setOperations|jointree \{FROMEXPR :fromlist) (<>|\S)")
_CHECK_CALLS = """
select p.oid::int8 as oid, n.nspname || '.' || p.proname as name,
       (n.nspname = 'pg_catalog' and p.provolatile <> 'v' and not p.proretset and p.prokind = 'f'
        and (p.proname = any($2::text[])
             or exists (select from pg_catalog.pg_cast as c where c.castfunc = p.oid)
             or exists (select from pg_catalog.pg_operator as o where o.oprcode = p.oid and o.oid = any($3::int8[]::oid[]))))
       or n.nspname || '.' || p.proname = any($4::text[]) as is_allowed
  from pg_catalog.pg_proc as p join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
 where p.oid = any($1::int8[]::oid[])
    or p.oid in (select o.oprcode from pg_catalog.pg_operator as o where o.oid = any($3::int8[]::oid[]))
"""
_FOREIGN_OPERATORS = """
select o.oprname from pg_catalog.pg_operator as o
 where o.oid = any($1::int8[]::oid[]) and o.oprnamespace <> 'pg_catalog'::pg_catalog.regnamespace
"""


async def check_tree(connection: Connection, tree: str, what: str) -> None:
    """Raise ``BadRequest`` unless all that ``tree`` (a pg_node_tree as text) holds is harmless, whoever evaluates it."""
    unknown = {name for name in _NODE.findall(tree) if name not in NODES}
    if unknown or _SYSTEM_COLUMN.search(tree) or any(found != "<>" for found in _TABLES.findall(tree)):
        raise _refusal(what, "it must hold nothing but columns, values, operators and functions")
    calls = [int(oid) for oid in _CALLS.findall(tree) if oid != "0"]
    operators = [
        int(oid) for several, one in _OPERATORS.findall(tree) for oid in (several or one).split() if oid != "0"
    ]
    rows = await connection.fetch(_CHECK_CALLS, calls, sorted(ALLOWED_FUNCTIONS), operators, list(OWN_FUNCTIONS))
    refused = sorted({row["name"].removeprefix("pg_catalog.") for row in rows if not row["is_allowed"]})
    foreign = await connection.fetch(_FOREIGN_OPERATORS, operators)
    refused += sorted({row["oprname"] for row in foreign})
    if refused or not set(calls) <= {row["oid"] for row in rows}:
        raise _refusal(
            what, f"it must not use {', '.join(refused)}", "docs/databases.md lists the functions that it may use"
        )


def _refusal(what: str, reason: str, hint: str | None = None) -> BadRequest:
    return BadRequest(
        f"The {what} is not an expression that can be used", code="invalid_expression", details=reason, hint=hint
    )
