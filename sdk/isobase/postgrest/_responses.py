"""What a call gives back, made of the HTTP answer. Source: postgrest-py 2.34.1 ``base_request_builder.py`` (names,
attributes, what is parsed).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Generic

from httpx import Response
from pydantic import BaseModel
from typing_extensions import TypeVar

from isobase.postgrest._rows import typed, typed_value
from isobase.postgrest.exceptions import APIError, api_error
from isobase.postgrest.types import JSON, CountMethod

if TYPE_CHECKING:
    from isobase.postgrest._request import RequestConfig

__all__ = ["APIResponse", "Row", "SingleAPIResponse"]

Row = TypeVar("Row", default=JSON)
"""What a row is: JSON, or the model that was given."""

_COUNTED = re.compile(f"count=({'|'.join(CountMethod)})")


class APIResponse(BaseModel, Generic[Row]):
    """The rows of an answer.

    ``data``: the rows, a list (empty where a write answered nothing); ``count``: the total number of rows where
    ``count=`` asked for it, else None.
    """

    data: list[Row]
    count: int | None = None

    @staticmethod
    def _get_count_from_content_range_header(content_range_header: str) -> int | None:
        _, slash, total = content_range_header.partition("/")
        return int(total) if slash and total != "*" else None

    @staticmethod
    def _is_count_in_prefer_header(prefer_header: str) -> bool:
        return _COUNTED.search(prefer_header) is not None

    @staticmethod
    def _get_count_from_http_request_response(request_response: Response) -> int | None:
        if not APIResponse._is_count_in_prefer_header(request_response.request.headers.get("prefer", "")):
            return None
        content_range = request_response.headers.get("content-range")
        return APIResponse._get_count_from_content_range_header(content_range) if content_range else None

    @staticmethod
    def from_http_request_response(request_response: Response) -> APIResponse[Any]:
        """Make the response of an HTTP answer: JSON where it is JSON, else its text, else no rows."""
        count = APIResponse._get_count_from_http_request_response(request_response)
        return APIResponse.model_construct(data=parsed(request_response), count=count)


class SingleAPIResponse(APIResponse[Row], Generic[Row]):
    """One value: ``data`` is the row (or a function's result, or CSV as text).

    A response of ``maybe_single()`` that found no row has ``data`` None and counts as false.
    """

    data: Row  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return self.data is not None

    @staticmethod
    def from_http_request_response(request_response: Response) -> SingleAPIResponse[Any]:
        """Make the response of an HTTP answer: JSON where it is JSON, else its text, else an empty list."""
        count = APIResponse._get_count_from_http_request_response(request_response)
        return SingleAPIResponse.model_construct(data=parsed(request_response), count=count)


def parsed(response: Response) -> Any:
    """Parse a body as what it says it is: JSON, or text for CSV and for what cannot be read as JSON; empty is ``[]``.

    Raises APIError for what says that it is JSON and is none: a part of the rows, cut on its way, is not the rows.
    """
    content = response.content
    if not content:
        return []
    kind = response.headers.get("content-type", "")
    if kind.startswith("text/csv"):
        return response.text
    try:
        return json.loads(content)
    except ValueError as error:
        if kind.startswith("application/json"):
            raise APIError(
                {
                    "message": f"the answer is no JSON: {error}",
                    "code": str(response.status_code),
                    "hint": "It may have been cut on its way.",
                    "details": None,
                },
                status=response.status_code,
            ) from error
        return response.text


def rows_answer(request: RequestConfig[Any], response: Response) -> APIResponse[Any]:
    """Make what a query gives: typed rows where a model was given. Raises APIError."""
    if not response.is_success:
        raise api_error(response)
    if request.model is None or not response.content:
        return APIResponse.from_http_request_response(response)
    count = APIResponse._get_count_from_http_request_response(response)
    data = typed(response.content, request.model, table=request.table, many=True)
    return APIResponse.model_construct(data=data, count=count)


def single_answer(request: RequestConfig[Any], response: Response) -> SingleAPIResponse[Any]:
    """Make what ``single()``, ``csv()``, a plan as JSON or a function gives. Raises APIError."""
    if not response.is_success:
        raise api_error(response)
    if request.model is None or not response.content:
        return SingleAPIResponse.from_http_request_response(response)
    count = APIResponse._get_count_from_http_request_response(response)
    data = typed(response.content, request.model, table=request.table, many=False)
    return SingleAPIResponse.model_construct(data=data, count=count)


def maybe_single_answer(request: RequestConfig[Any], response: Response) -> SingleAPIResponse[Any]:
    """Make what ``maybe_single()`` gives: ``data`` None where there was no row. Raises APIError, PGRST116 for several
    rows.
    """
    if not response.is_success:
        raise api_error(response)
    found = APIResponse.from_http_request_response(response)
    data: Any = found.data
    if isinstance(data, list):
        if len(data) > 1:
            raise APIError(
                {
                    "message": "Cannot coerce the result to a single JSON object",
                    "code": "PGRST116",
                    "hint": None,
                    "details": f"The result contains {len(data)} rows",
                },
                status=406,
            )
        data = data[0] if data else None
    if request.model is not None and data is not None:
        data = typed_value(data, request.model, table=request.table)
    return SingleAPIResponse.model_construct(data=data, count=found.count)


def row_of(request: RequestConfig[Any], value: Any, text: str) -> Any:
    """Make one row of an answer that is read while it arrives. Raises RowValidationError."""
    if request.model is None:
        return value
    return typed(text.encode(), request.model, table=request.table, many=False)


def key_of_last(response: Response, key: str) -> Any:
    """Give the column ``key`` of an answer's last row, where the next page begins. Raises ValueError where it is not
    selected.
    """
    last = json.loads(response.content)[-1]
    if last.get(key) is None:
        raise ValueError(f"pages() needs the column {key!r} in what is selected, and no row without it")
    return last[key]


def text_answer(response: Response) -> str:
    """Make what a plan as text gives. Raises APIError."""
    if not response.is_success:
        raise api_error(response)
    return response.text
