"""What an S3 server and its client library say, in the words of ``blob.errors``. Every call of the library passes here."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3.exceptions
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from isobase_services.storage.blob import (
    BlobMissing,
    BlobRangeInvalid,
    BlobStoreFull,
    BlobUnavailable,
    PartInvalid,
    UploadMissing,
)
from isobase_services.storage.errors import refuse

__all__ = ["S3_ERROR", "error_code", "mapped"]

S3_ERROR = "S3Error"
"""The code of a failure of the S3 server on the wire, as upstream's."""
_MISSING = frozenset({"NoSuchKey", "NotFound", "404"})
_TEMPORARY_STATUS = frozenset({408, 429, 502, 503, 504})
_TEMPORARY = frozenset({"SlowDown", "ServiceUnavailable", "RequestTimeout", "Throttling", "TooManyRequests"})
_FULL = frozenset({"InsufficientStorage", "XMinioStorageFull", "QuotaExceeded", "507"})
_INVALID_KEY = frozenset(
    {"KeyTooLongError", "XMinioInvalidObjectName", "XMinioInvalidResourceName", "InvalidObjectName", "InvalidURI"}
)
_PART_INVALID = frozenset({"InvalidPart", "InvalidPartOrder", "MalformedXML"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_log = logging.getLogger("isobase.storage")


def error_code(error: ClientError) -> str:
    """The server's own word for a refusal, such as ``NoSuchKey``; for an answer without a body its HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def mapped(operation: str, key: str = "") -> Iterator[None]:
    """Let failures leave as ``BlobMissing``, ``UploadMissing``, ``PartInvalid``, ``BlobRangeInvalid``, ``BlobUnavailable``.

    ``operation`` is for the log; ``key`` is the user's key for the refusal of one that the server cannot keep.
    """
    try:
        yield
    except ClientError as error:
        raise _from_answer(error, operation, key) from error
    except ParamValidationError as error:
        raise refuse.invalid_key(key) from error
    except (BotoCoreError, urllib3.exceptions.HTTPError, OSError) as error:
        # Its text holds addresses, and the text of a few holds URLs with signatures: the log gets the kind alone.
        _log.warning("the S3 server did not answer", extra={"operation": operation, "kind": type(error).__name__})
        raise BlobUnavailable("The object store did not answer", code=S3_ERROR, is_temporary=True) from error


def _from_answer(error: ClientError, operation: str, key: str) -> Exception:
    code = error_code(error)
    metadata: dict[str, Any] = error.response.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 500)
    if code in _MISSING:
        return BlobMissing()
    if code == "NoSuchUpload":
        return UploadMissing()
    if code == "InvalidRange" or status == 416:
        return BlobRangeInvalid(None)
    if code == "EntityTooSmall":
        return PartInvalid(0, is_too_small=True)
    if code in _PART_INVALID:
        return PartInvalid(0)
    if code in _INVALID_KEY:
        return refuse.invalid_key(key)
    facts = {"operation": operation, "code": code, "status": status, "s3_request_id": metadata.get("RequestId")}
    _log.warning("the S3 server refused a request", extra=facts)
    if code in _FULL or status == 507:
        return BlobStoreFull(code=S3_ERROR)
    is_temporary = status in _TEMPORARY_STATUS or code in _TEMPORARY
    message = code if _NAME.fullmatch(code) else "The object store failed"
    return BlobUnavailable(message, code=S3_ERROR, is_temporary=is_temporary)
