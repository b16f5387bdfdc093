"""Cuts an SQL file into its statements, so that an error can name the line and show the statement.

A lexer for exactly what decides where a statement ends: strings (plain, E'', U&'', dollar-quoted), quoted identifiers,
comments (block comments nest), parentheses (rules), and ``BEGIN ATOMIC ... END`` bodies. Everything else passes untouched:
the server parses, not we. Source: PostgreSQL manual 4.1 (lexical structure); psql's rules for the end of a statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Statement", "copies_from_client", "split_statements"]


@dataclass(slots=True, frozen=True)
class Statement:
    """One statement without its semicolon. ``line`` (from 1) is where its text begins in the file.

    ``words`` are its first keywords and names in lower case, comments left out: enough to tell what kind it is.
    """

    text: str
    line: int
    words: tuple[str, ...]

    def line_of(self, position: int) -> int:
        """The file's line of the ``position``-th character (from 1) of the text, as PostgreSQL reports errors."""
        return self.line + self.text.count("\n", 0, max(position - 1, 0))


MAX_WORDS = 6

# One token at a time; the order matters: comments before operators, prefixed strings before words.
_TOKEN = re.compile(
    r"""
      (?P<line_comment>--[^\n]*)
    | (?P<block_comment>/\*)
    | (?P<escape_string>[eE]')
    | (?P<string>(?:[uU]&|[bBxXnN])?')
    | (?P<identifier>(?:[uU]&)?")
    | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
    | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | (?P<number>[0-9][0-9A-Za-z_.]*)
    | (?P<semicolon>;)
    | (?P<open>[(\[])
    | (?P<close>[)\]])
    | (?P<space>\s+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE_STEP = re.compile(r"\\.|''|'", re.DOTALL)
_COMMENT_STEP = re.compile(r"/\*|\*/")


def _end_of_string(sql: str, start: int) -> int:
    """The offset after a plain string whose content begins at ``start``; the end of the text when it never closes."""
    position = start
    while True:
        quote = sql.find("'", position)
        if quote < 0:
            return len(sql)
        if not sql.startswith("''", quote):
            return quote + 1
        position = quote + 2


def _end_of_escape_string(sql: str, start: int) -> int:
    for step in _ESCAPE_STEP.finditer(sql, start):
        if step.group() == "'":
            return step.end()
    return len(sql)


def _end_of_identifier(sql: str, start: int) -> int:
    position = start
    while True:
        quote = sql.find('"', position)
        if quote < 0:
            return len(sql)
        if not sql.startswith('""', quote):
            return quote + 1
        position = quote + 2


def _end_of_block_comment(sql: str, start: int) -> int:
    depth = 1
    for step in _COMMENT_STEP.finditer(sql, start):
        depth += 1 if step.group() == "/*" else -1
        if depth == 0:
            return step.end()
    return len(sql)


def _end_of_dollar(sql: str, start: int, tag: str) -> int:
    end = sql.find(tag, start)
    return len(sql) if end < 0 else end + len(tag)


class _Scanner:
    """The state between two semicolons: nesting, and the words seen so far."""

    def __init__(self) -> None:
        self.parentheses = 0
        self.atomic_depth = 0
        self.words: list[str] = []
        self.previous_word = ""
        self.first: int | None = None

    def see(self, kind: str, text: str, offset: int) -> None:
        """Take note of a token that is neither space nor comment."""
        if self.first is None:
            self.first = offset
        if kind == "word":
            self._see_word(text.lower())
            return
        if kind == "open":
            self.parentheses += 1
        elif kind == "close":
            self.parentheses = max(self.parentheses - 1, 0)
        if kind == "identifier" and len(self.words) < MAX_WORDS:
            self.words.append(text)
        self.previous_word = ""

    def _see_word(self, word: str) -> None:
        if len(self.words) < MAX_WORDS:
            self.words.append(word)
        if word == "atomic" and self.previous_word == "begin" and self.words[0] in {"create", "alter"}:
            self.atomic_depth += 1
        elif self.atomic_depth and word == "case":
            # CASE ... END inside the body; without it the first END would close the body.
            self.atomic_depth += 1
        elif self.atomic_depth and word == "end":
            self.atomic_depth -= 1
        self.previous_word = word

    @property
    def ends_here(self) -> bool:
        """Whether a semicolon now ends the statement."""
        return self.parentheses == 0 and self.atomic_depth == 0


def _tokens(sql: str) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end) of every token, without a gap."""
    # A byte order mark is no part of SQL, and editors still write one.
    position = 1 if sql.startswith("\ufeff") else 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        assert match is not None
        kind = match.lastgroup
        assert kind is not None
        end = match.end()
        if kind == "block_comment":
            end = _end_of_block_comment(sql, end)
        elif kind == "string":
            end = _end_of_string(sql, end)
        elif kind == "escape_string":
            end = _end_of_escape_string(sql, end)
        elif kind == "identifier":
            end = _end_of_identifier(sql, end)
        elif kind == "dollar":
            end = _end_of_dollar(sql, end, match.group())
        yield kind, position, end
        position = end


def split_statements(sql: str) -> list[Statement]:
    """The statements of ``sql`` in order; comments before a statement are left out, empty statements are dropped.

    Text that never ends (an open string) becomes part of the last statement, and the server says what is wrong with it.
    """
    statements: list[Statement] = []
    scanner = _Scanner()
    line = 1
    counted = 0

    def finish(end: int) -> None:
        nonlocal scanner, line, counted
        if scanner.first is not None:
            line += sql.count("\n", counted, scanner.first)
            counted = scanner.first
            statements.append(Statement(sql[scanner.first : end].rstrip(), line, tuple(scanner.words)))
        scanner = _Scanner()

    for kind, begin, end in _tokens(sql):
        if kind in {"space", "line_comment", "block_comment"}:
            continue
        if kind == "semicolon" and scanner.ends_here:
            finish(begin)
        else:
            scanner.see(kind, sql[begin:end], begin)
    finish(len(sql))
    return statements


def copies_from_client(statement: Statement) -> bool:
    """Whether ``statement`` is a COPY whose data come from, or go to, the client's connection (STDIN, STDOUT).

    Only the name that follows FROM or TO outside parentheses decides: a column may be called ``stdin``.
    """
    if statement.words[:1] != ("copy",):
        return False
    depth = 0
    previous = ""
    for kind, begin, end in _tokens(statement.text):
        if kind in {"space", "line_comment", "block_comment"}:
            continue
        text = statement.text[begin:end].lower()
        depth += (kind == "open") - (kind == "close")
        # PostgreSQL takes either name in either direction.
        if depth == 0 and previous in {"from", "to"} and text in {"stdin", "stdout"}:
            return True
        previous = text
    return False
