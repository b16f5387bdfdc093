"""What a call of the data API can raise besides httpx's own errors.

    Exception
    └── APIError                the server refused, or answered something that is no answer of the data API
        └── RowValidationError  the server answered, but a row does not fit the model given

Source: postgrest-py 2.34.1 ``exceptions.py`` (class names, attributes, what ``json()`` gives).
"""

from __future__ import annotations

import re
from typing import Any

from httpx import Response
from pydantic import BaseModel, ValidationError

__all__ = ["APIError", "APIErrorFromJSON", "RowValidationError", "api_error", "generate_default_error_message"]


class APIErrorFromJSON(BaseModel):
    """The error body of the data API: every member may be absent."""

    message: str | None = None
    code: str | None = None
    hint: str | None = None
    details: Any | None = None


class APIError(Exception):
    """The server answered with an error.

    ``message``, ``code`` (PostgREST's ``PGRST...`` or PostgreSQL's SQLSTATE), ``hint`` and ``details`` are those of
    the body; ``status`` is the HTTP status where an answer stood behind it, else None.
    """

    _raw_error: dict[str, Any]
    message: str | None
    code: str | None
    hint: str | None
    details: Any | None
    status: int | None

    def __init__(self, error: dict[str, Any], *, status: int | None = None) -> None:
        super().__init__(str(error))
        self._raw_error = error
        self.message = error.get("message")
        self.code = error.get("code")
        self.hint = error.get("hint")
        self.details = error.get("details")
        self.status = status

    def __repr__(self) -> str:
        lines = [f"Error {self.code}:"] if self.code else [""]
        lines += [
            f"{name}: {value}"
            for name, value in (("Message", self.message), ("Hint", self.hint), ("Details", self.details))
            if value
        ]
        return "\n".join(lines) if len(lines) > 1 or self.code else "Empty error"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self._raw_error, self.status)

    def json(self) -> dict[str, Any]:
        """Give the error as the dict that it was made of."""
        return self._raw_error


class RowValidationError(APIError):
    """A row that the server sent does not fit the model that was given for it.

    ``message`` names the table, the row's place, and each column with what is wrong; ``details`` holds the same as a
    list of ``{"row", "column", "problem"}``. ``code`` is ``row_validation``. The cause is pydantic's own error.
    """


def _again(kind: type[APIError], error: dict[str, Any], status: int | None) -> APIError:
    return kind(error, status=status)


def row_validation_error(found: ValidationError, *, table: str, model: str, many: bool) -> RowValidationError:
    """Tell which rows and columns of ``table`` do not fit ``model``; ``many``: the places begin with the row's
    number.
    """
    problems: list[dict[str, Any]] = []
    for problem in found.errors(include_url=False, include_context=False, include_input=False):
        place = list(problem["loc"])
        row = place.pop(0) if many and place and isinstance(place[0], int) else None
        problems.append({"row": row, "column": ".".join(map(str, place)) or None, "problem": problem["msg"]})
    shown = "; ".join(
        (f"row {each['row']}, " if each["row"] is not None else "")
        + (f"column {each['column']!r}: " if each["column"] else "")
        + each["problem"]
        for each in problems[:5]
    )
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    return RowValidationError(
        {
            "message": f"what {table!r} answered does not fit {model}: {shown}{more}",
            "code": "row_validation",
            "hint": "Select every column that the model requires, or give a model of the columns that are selected.",
            "details": problems,
        }
    )


def api_error(response: Response) -> APIError:
    """Make the error of an answer that is none of success; a body that is no error of PostgREST is told as well as
    can be.
    """
    try:
        error = dict(APIErrorFromJSON.model_validate_json(response.content))
    except ValidationError as found:
        made = APIError(generate_default_error_message(response), status=response.status_code)
        made.__cause__ = found
        return made
    return APIError(error, status=response.status_code)


MEMBER = re.compile(r'((?:[^",]|"(?:[^"\\]|\\.)*")+)')
PARAMETER = re.compile(r';\s*error\s*=\s*("(?:[^"\\]|\\.)*"|[^;,\s]+)')


def _proxy_status_error_code(response: Response) -> str | None:
    """The ``error`` that PostgREST names in ``Proxy-Status`` (RFC 9209), which a HEAD request has in place of a body."""
    for member in MEMBER.findall(response.headers.get("Proxy-Status", "")):
        name = member.split(";", 1)[0].strip().strip('"')
        if name.lower() == "postgrest":
            found = PARAMETER.search(member)
            if found is None:
                return None
            value = found[1]
            return (re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value) or None
    return None


def generate_default_error_message(r: Response) -> dict[str, Any]:
    """Make an error of an answer whose body is missing or no error of PostgREST (a proxy's page)."""
    return {
        "message": r.reason_phrase or f"Request failed with status {r.status_code}",
        "code": _proxy_status_error_code(r) or str(r.status_code),
        "hint": None,
        "details": r.text or None,
    }
