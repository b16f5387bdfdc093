"""The one error tree, and nothing about how an error looks on the wire.

Each face renders these classes in its upstream's shape in one place; no endpoint builds an error body::

    IsobaseError                      code, status, message, details, hint
    ├── BadRequest            400     the request cannot be understood
    │   ├── BodyTooLarge      413
    │   └── MethodNotAllowed  405
    ├── TokenError            401     a bearer token that does not verify; ``reason`` says why
    ├── Forbidden             403     understood, verified, refused
    ├── NotFound              404
    ├── Conflict              409
    ├── TooManyRequests       429
    ├── DatabaseError         400     PostgreSQL refused a statement; carries the SQLSTATE and its fields
    ├── Unavailable           503     database, store or bus out of reach; worth retrying
    └── ConfigurationError    500     raised at start, never on a request

Source of the idea: style.md section 6; PostgREST ``Error/Types.hs`` for the fields.
"""

from __future__ import annotations

from enum import StrEnum

import asyncpg

__all__ = [
    "BadRequest",
    "BodyTooLarge",
    "ConfigurationError",
    "Conflict",
    "DatabaseError",
    "Forbidden",
    "IsobaseError",
    "MethodNotAllowed",
    "NotFound",
    "TokenError",
    "TokenRefusal",
    "TooManyRequests",
    "Unavailable",
    "database_error",
]


class IsobaseError(Exception):
    """A failure with a stable code that a caller may be told about.

    Parameters: ``message`` in the reader's words; ``code`` stable and machine readable, default the class's own;
    ``status`` an HTTP status, default the class's own; ``details`` and ``hint`` as PostgREST uses the two words.
    """

    default_code = "internal_error"
    default_status = 500

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        details: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.status = status or self.default_status
        self.details = details
        self.hint = hint


class BadRequest(IsobaseError):
    """The request cannot be understood; nothing was changed."""

    default_code = "bad_request"
    default_status = 400


class BodyTooLarge(BadRequest):
    """The body is larger than the named limit of the route."""

    default_code = "body_too_large"
    default_status = 413


class MethodNotAllowed(BadRequest):
    """The path exists, the method does not."""

    default_code = "method_not_allowed"
    default_status = 405


class TokenRefusal(StrEnum):
    """Why a token was refused; faces map it to their upstream's words."""

    MALFORMED = "malformed"
    SIGNATURE = "signature"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown_key"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUED_IN_FUTURE = "issued_in_future"
    CLAIMS = "claims"


class TokenError(IsobaseError):
    """A bearer token that does not verify. ``reason`` is the refusal; the message never repeats the token."""

    default_code = "invalid_token"
    default_status = 401

    def __init__(self, message: str, reason: TokenRefusal) -> None:
        super().__init__(message)
        self.reason = reason


class Forbidden(IsobaseError):
    """The caller is known and may not do this."""

    default_code = "forbidden"
    default_status = 403


class NotFound(IsobaseError):
    """There is no such thing, or the caller may not know of it."""

    default_code = "not_found"
    default_status = 404


class Conflict(IsobaseError):
    """The state of the resource does not allow this."""

    default_code = "conflict"
    default_status = 409


class TooManyRequests(IsobaseError):
    """A rate limit was reached."""

    default_code = "too_many_requests"
    default_status = 429


class Unavailable(IsobaseError):
    """The database, the store or the bus is out of reach for the moment."""

    default_code = "unavailable"
    default_status = 503


class ConfigurationError(IsobaseError):
    """A setting that cannot be served; raised at start, with the setting's name in the message."""

    default_code = "configuration"


class DatabaseError(IsobaseError):
    """PostgreSQL refused a statement.

    ``sqlstate`` is the five-character code (also ``code``); ``details`` and ``hint`` are PostgreSQL's own fields;
    ``constraint``, ``table``, ``schema``, ``column`` and ``context`` are given where PostgreSQL gave them. ``status``
    stays 400: each face maps SQLSTATE to its own status.
    """

    default_status = 400

    def __init__(
        self,
        message: str,
        sqlstate: str,
        *,
        details: str | None = None,
        hint: str | None = None,
        constraint: str | None = None,
        schema: str | None = None,
        table: str | None = None,
        column: str | None = None,
        context: str | None = None,
        position: int | None = None,
    ) -> None:
        super().__init__(message, code=sqlstate, details=details, hint=hint)
        self.sqlstate = sqlstate
        self.constraint = constraint
        self.schema = schema
        self.table = table
        self.column = column
        self.context = context
        self.position = position

    @property
    def is_insufficient_privilege(self) -> bool:
        """True for SQLSTATE 42501: a missing grant or a row-level security refusal."""
        return self.sqlstate == "42501"

    @property
    def is_unique_violation(self) -> bool:
        """True for SQLSTATE 23505."""
        return self.sqlstate == "23505"


def database_error(error: BaseException) -> IsobaseError:
    """Map an error of asyncpg (or of its socket) to this tree; the caller raises the result ``from error``.

    Returns ``DatabaseError`` for what the server refused, ``Unavailable`` for a lost or refused connection and for a
    pool that gave none in time. SQLSTATE classes 08, 53 and 57P mean the server is not there for the moment.
    """
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = error.sqlstate or "XX000"
        message = str(error.args[0]) if error.args else type(error).__name__
        # 53400 is a limit of the role's own, such as temp_file_limit; the server is there.
        if sqlstate.startswith(("08", "53", "57P")) and sqlstate != "53400":
            return Unavailable("The database is not available", details=message)
        position = getattr(error, "position", None)
        return DatabaseError(
            message,
            sqlstate,
            details=getattr(error, "detail", None),
            hint=getattr(error, "hint", None),
            constraint=getattr(error, "constraint_name", None),
            schema=getattr(error, "schema_name", None),
            table=getattr(error, "table_name", None),
            column=getattr(error, "column_name", None),
            context=getattr(error, "context", None),
            position=int(position) if position else None,
        )
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        # asyncpg's DataError: a value that does not fit the parameter's type, refused before it was sent.
        return DatabaseError(str(error), "22P02")
    return Unavailable("The database is not available")
