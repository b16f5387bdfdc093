"""The one place where names and literals become SQL text.

Values travel as parameters. A name cannot, so it passes through ``quote_identifier``; ``quote_literal`` is for the few
statements that PostgreSQL takes no parameters for (utility statements and the door's transaction prologue).
"""

from __future__ import annotations

from isobase_platform.errors import BadRequest

__all__ = ["MAX_IDENTIFIER_BYTES", "qualified", "quote_identifier", "quote_literal"]

MAX_IDENTIFIER_BYTES = 63
"""PostgreSQL's NAMEDATALEN - 1: a longer name would be cut silently and could then mean another object."""


def quote_identifier(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier: ``a"b`` becomes ``"a""b"``.

    Raises ``BadRequest`` for an empty name, a NUL character, or more than ``MAX_IDENTIFIER_BYTES`` bytes of UTF-8.
    """
    if not name:
        raise BadRequest("An identifier must not be empty", code="invalid_identifier")
    if "\x00" in name:
        raise BadRequest("An identifier must not contain NUL", code="invalid_identifier")
    if len(name) > MAX_IDENTIFIER_BYTES or len(name.encode("utf-8", "surrogatepass")) > MAX_IDENTIFIER_BYTES:
        raise BadRequest(f"Identifier is longer than {MAX_IDENTIFIER_BYTES} bytes", code="invalid_identifier")
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """Return ``"schema"."name"``; errors as ``quote_identifier``."""
    return f"{quote_identifier(schema)}.{quote_identifier(name)}"


def quote_literal(value: str) -> str:
    """Return ``value`` as an SQL string constant that reads the same whatever ``standard_conforming_strings`` says.

    The E'' form with doubled backslashes and quotes does not depend on that setting, which a user's function may have
    changed for the session. Raises ``BadRequest`` for what PostgreSQL text cannot hold: NUL, and half a surrogate pair.
    """
    if "\x00" in value:
        raise BadRequest("Text must not contain NUL", code="invalid_text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRequest("Text must be Unicode", code="invalid_text") from error
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
