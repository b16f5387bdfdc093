"""Errors of function calls.

    FunctionsError
    ├── FunctionsHttpError      the function answered a status that is no success
    └── FunctionsRelayError     what stands before the function could not reach it (``x-relay-error: true``)

When nothing answered, httpx's own exceptions are raised, as upstream does. Source: supabase_functions ``errors``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import httpx

__all__ = ["FunctionsApiErrorDict", "FunctionsError", "FunctionsHttpError", "FunctionsRelayError"]

DEFAULT_STATUS = 400


class FunctionsApiErrorDict(TypedDict):
    """What ``FunctionsError.to_dict`` gives."""

    name: str
    message: str
    status: int


class FunctionsError(Exception):
    """A call that failed.

    message: what the function said, or a sentence of the client's. Where a function sends an object as its ``error``,
    that object.
    name: the class's name. status: the HTTP status.
    response: the whole answer (``FunctionsHttpError.response.json()``), where there was one; of a stream its body has
    been read.
    """

    def __init__(self, message: str, name: str, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        self.status = status
        self.response: httpx.Response | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Survive ``pickle`` and ``copy``, without the response, whose request holds keys in its headers."""
        return _restored, (type(self), self.message, self.name, self.status)

    def to_dict(self) -> FunctionsApiErrorDict:
        """Give name, message and status."""
        return {"name": self.name, "message": self.message, "status": self.status}


def _restored(kind: type[FunctionsError], message: str, name: str, status: int) -> FunctionsError:
    error = kind.__new__(kind, message)
    FunctionsError.__init__(error, message, name, status)
    return error


class FunctionsHttpError(FunctionsError):
    """The function answered a status of 300 or more."""

    def __init__(self, message: str, code: int | None = None) -> None:
        status = DEFAULT_STATUS if code is None else code
        super().__init__(message, "FunctionsHttpError", status)


class FunctionsRelayError(FunctionsError):
    """The relay before the function could not reach it."""

    def __init__(self, message: str, code: int | None = None) -> None:
        status = DEFAULT_STATUS if code is None else code
        super().__init__(message, "FunctionsRelayError", status)


def _error_message_from(response: httpx.Response) -> str | None:
    """Give what an answer says went wrong: ``error`` of a JSON object, else its text, else None.

    An ``error`` that is more than a text is passed on as it is, as supabase_functions does: apps read its parts.
    """
    try:
        body = response.json()
    except ValueError:
        return response.text or None
    if isinstance(body, dict):
        said: str | None = body.get("error")
        return said
    return response.text or None
