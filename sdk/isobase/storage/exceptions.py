"""The errors of the storage client, and how an answer of the server becomes one.

    Exception
    ├── StorageException            anything that goes wrong in the storage client
    │   ├── StorageApiError         the server refused
    │   └── TransferError           bytes came or went otherwise than they should have
    └── VectorBucketException       an argument that the vector API takes in no case

Source: storage3's ``exceptions`` for the first and the last, supabase-js's ``StorageApiError`` for ``error_code`` and
``http_status``.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypedDict

from httpx import Response
from pydantic import BaseModel

from isobase.storage.utils import StorageException

__all__ = [
    "StorageApiError",
    "StorageApiErrorDict",
    "StorageException",
    "TransferError",
    "VectorBucketErrorMessage",
    "VectorBucketException",
]

NOT_FOUND = str(HTTPStatus.NOT_FOUND.value)


class VectorBucketException(Exception):
    """An argument of a vector call is outside what the API takes; nothing was sent. ``msg`` says which."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)
        self.msg = msg


class TransferError(StorageException):
    """A transfer ended otherwise than complete: a file that changed under way, an object that was replaced meanwhile."""


class StorageApiErrorDict(TypedDict):
    """What :meth:`StorageApiError.to_dict` gives."""

    name: str
    message: str
    code: str
    status: int | str


class StorageApiError(StorageException):
    """The server refused a call.

    - ``message``: the server's words.
    - ``code``: its label (``error`` in the answer, such as ``not_found`` or ``Duplicate``), as storage3 has it.
    - ``status``: the status the answer names in its body, often a text; the HTTP status is 400 for most refusals.
    - ``error_code``: the service's own code for it (``NoSuchKey``, ``AccessDenied``, ``NotFoundException``), or None
      from servers that send none.
    - ``http_status``: the status of the HTTP answer, or None where the error came from elsewhere.

    Source: storage3's class; the last two as supabase-js's ``code`` and ``status``.
    """

    def __init__(
        self,
        message: str,
        code: str,
        status: int | str,
        *,
        error_code: str | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(f"{{'statusCode': {status}, 'error': {code}, 'message': {message}}}")
        self.name = "StorageApiError"
        self.message = message
        self.code = code
        self.status = status
        self.error_code = error_code
        self.http_status = http_status

    def to_dict(self) -> StorageApiErrorDict:
        """Give name, code, message and status, for a log or an answer of one's own."""
        return {"name": self.name, "code": self.code, "message": self.message, "status": self.status}

    def __reduce__(self) -> tuple[type[StorageApiError], tuple[str, str, int | str], dict[str, Any]]:
        """Survive ``pickle`` and ``copy``: the constructor's arguments are not those of ``Exception``."""
        return type(self), (self.message, self.code, self.status), self.__dict__


class VectorBucketErrorMessage(BaseModel):
    """The body of a refusal of the vector API."""

    statusCode: str | int  # noqa: N815 (the API's name)
    error: str
    message: str
    code: str | None = None


def _body(response: Response) -> Mapping[str, Any]:
    """Give the answer's JSON object, or an empty one where it is none."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, Mapping) else {}


def error_of(response: Response) -> StorageApiError:
    """Turn a refusal of buckets or objects into its error."""
    body = _body(response)
    if {"message", "error", "statusCode"} <= body.keys():
        return StorageApiError(
            body["message"],
            body["error"],
            body["statusCode"],
            error_code=body.get("code"),
            http_status=getattr(response, "status_code", None),
        )
    message = f"Unable to parse error message: {response.text}"
    return StorageApiError(message, "InternalError", response.status_code, http_status=response.status_code)


def _parse_storage_api_error(response: Response) -> StorageApiError:
    """Turn a refusal of the vector or the Iceberg API into its error."""
    body = _body(response)
    status = response.status_code
    if {"message", "error", "statusCode"} <= body.keys():
        code = body.get("code")
        return StorageApiError(body["message"], code or "400", body["statusCode"], error_code=code, http_status=status)
    inner = body.get("error")
    if isinstance(inner, Mapping) and {"message", "type"} <= inner.keys():
        return StorageApiError(inner["message"], inner["type"], status, error_code=inner["type"], http_status=status)
    return StorageApiError(
        f"The request failed, but could not parse error message response:'{response.text}'",
        "LibraryError",
        status,
        http_status=status,
    )


TUS_CODES: dict[int, tuple[str, str]] = {
    HTTPStatus.BAD_REQUEST: ("InvalidRequest", "InvalidRequest"),
    HTTPStatus.FORBIDDEN: ("Unauthorized", "AccessDenied"),
    HTTPStatus.NOT_FOUND: ("not_found", "NoSuchUpload"),
    HTTPStatus.CONFLICT: ("Duplicate", "KeyAlreadyExists"),
    HTTPStatus.GONE: ("not_found", "NoSuchUpload"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("Payload too large", "EntityTooLarge"),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("invalid_mime_type", "InvalidMimeType"),
    HTTPStatus.LOCKED: ("ResourceLocked", "ResourceLocked"),
}


def resumable_error(status: int, text: str) -> StorageApiError:
    """Turn a refusal of the resumable protocol, plain text with a true status, into the error a common upload has.

    So ``except StorageApiError as error: error.code == "Duplicate"`` holds for large files as for small ones.
    """
    if text.startswith("{"):
        # A token that does not verify is refused before the protocol is looked at, in the common shape.
        return error_of(Response(status, text=text, headers={"content-type": "application/json"}))
    label, code = TUS_CODES.get(status, ("InternalError", "InternalError"))
    return StorageApiError(text.strip() or f"HTTP {status}", label, str(status), error_code=code, http_status=status)


def is_absent(error: StorageApiError) -> bool:
    """Whether the server says with certainty that the object is not there (a missing bucket is another thing)."""
    return str(error.status) == NOT_FOUND and error.code in ("not_found", "InternalError")
