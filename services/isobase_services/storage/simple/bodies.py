"""What the simple face reads as JSON: the edge where outside data is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from isobase_platform.errors import BadRequest
from isobase_platform.http.body import read_body
from isobase_platform.strict_json import load_finite

__all__ = ["AnnounceBody", "read_announce"]

MAX_BODY_BYTES = 64 * 1024
MAX_SIZE_BYTES = 2**63 - 1


class AnnounceBody(BaseModel):
    """A file that is going to be uploaded: its kind, its type, its size in bytes, and what its key's template asks for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Annotated[str, Field(min_length=1, max_length=32)]
    content_type: Annotated[str, Field(min_length=1, max_length=200)]
    size: Annotated[int, Field(strict=True, ge=0, le=MAX_SIZE_BYTES)]
    variables: Annotated[Mapping[str, str], Field(max_length=20)] = Field(default_factory=dict)


async def read_announce(request: Request) -> AnnounceBody:
    """The request's body. Raises 400 naming the fields that are missing or wrong, and 413."""
    raw = await read_body(request.scope, request.receive, MAX_BODY_BYTES)
    try:
        value = load_finite(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body must be a JSON object", code="invalid_json") from error
    try:
        return AnnounceBody.model_validate(value)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise BadRequest("The request body is not valid", code="invalid_body", details=problems) from None
