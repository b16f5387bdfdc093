"""``drop trigger ... on auth.users`` in a project's SQL, which role postgres may run on Supabase and not by itself here.

PostgreSQL lets only a table's owner drop a trigger, and postgres owns none of the tables of schema ``auth``. Migrations
drop and make again their own triggers there all the time, so the runner hands this one statement to
``auth.drop_user_trigger`` of schema.sql, which does nothing else. Neighbour: ``apply``.
"""

from __future__ import annotations

import re

from isobase_platform.sql import quote_literal

__all__ = ["as_permitted"]

_NAME = r'(?:"(?:[^"]|"")+"|[A-Za-z_\x80-\U0010ffff][\w$]*)'
_SPACE = r"(?:\s|--[^\n]*\n)+"
_DROP = re.compile(
    rf"drop{_SPACE}trigger{_SPACE}(?P<lenient>if{_SPACE}exists{_SPACE})?(?P<trigger>{_NAME}){_SPACE}on{_SPACE}"
    rf'(?:auth|"auth")\s*\.\s*(?P<table>{_NAME})(?:{_SPACE}(?:cascade|restrict))?\s*',
    re.IGNORECASE,
)


def as_permitted(statement: str) -> str:
    """The statement as role postgres may run it: a call for a trigger to drop in ``auth``, anything else as it is."""
    found = _DROP.fullmatch(statement)
    if found is None:
        return statement
    trigger, table = (quote_literal(_folded(found[name])) for name in ("trigger", "table"))
    return f"select auth.drop_user_trigger({trigger}, {table}, {'true' if found['lenient'] else 'false'})"


def _folded(name: str) -> str:
    """A name as PostgreSQL reads it: quoted as it stands, bare in lower case."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
