"""What TUS 1.0.0 says in headers, parsed and written. Pure.

Source: https://tus.io/protocols/resumable-upload; upstream's server, ``@tus/server`` 2.4 (``validators``, ``Metadata``), for
what is refused with which text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from isobase_services.storage.core.resumable_state import Pairs
from isobase_services.storage.errors import StorageError, refuse

__all__ = [
    "ALLOWED_HEADERS",
    "CONTENT_TYPE",
    "EXPOSED_HEADERS",
    "EXTENSIONS",
    "METHODS",
    "VERSION",
    "decode_upload_id",
    "encode_upload_id",
    "invalid_headers",
    "parse_metadata",
    "protocol_error",
    "write_metadata",
]

VERSION = "1.0.0"
CONTENT_TYPE = "application/offset+octet-stream"
EXTENSIONS = ("creation", "creation-with-upload", "creation-defer-length", "termination", "expiration")
METHODS = ("POST", "HEAD", "PATCH", "OPTIONS", "DELETE")
MAX_SAFE_INTEGER = 2**53
"""Beyond it upstream's numbers are no integers; no object is so large."""

_HEADERS = (
    "Authorization",
    "Content-Type",
    "Location",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-HTTP-Method-Override",
    "X-Requested-With",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "Forwarded",
)
ALLOWED_HEADERS = (*_HEADERS, "Authorization", "X-Upsert", "Upload-Expires", "ApiKey", "x-signature")
EXPOSED_HEADERS = (*_HEADERS, "Upload-Expires", "Tus-Complete")
"""Upstream's, and the two that it sends and forgets: a browser's client may want to know when an upload ends."""

_INTEGER = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_BASE64 = re.compile(r"[0-9+/A-Za-z]*={0,2}", re.ASCII)


def protocol_error(status: int, text: str) -> StorageError:
    """A refusal of the protocol itself, answered as ``text``."""
    return StorageError("TusError", status, text)


def _is_integer(value: str) -> bool:
    return _INTEGER.fullmatch(value) is not None and int(value) <= MAX_SAFE_INTEGER


def _is_metadata(value: str) -> bool:
    return parse_metadata(value) is not None


_CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "upload-offset": _is_integer,
    "upload-length": _is_integer,
    "upload-defer-length": lambda value: value == "1",
    "upload-metadata": _is_metadata,
    "x-forwarded-proto": lambda value: value in {"http", "https"},
    "tus-version": lambda value: value == VERSION,
    "tus-resumable": lambda value: value == VERSION,
    "content-type": lambda value: value == CONTENT_TYPE,
    "upload-concat": lambda value: value == "partial" or value.startswith("final;"),
}


def invalid_headers(headers: Iterable[tuple[str, str]], method: str) -> list[str]:
    """The names of the headers that cannot be understood. The content type counts in a PATCH only."""
    return [
        name
        for name, value in headers
        if (check := _CHECKS.get(name)) is not None
        and not check(value)
        and not (name == "content-type" and method != "PATCH")
    ]


def parse_metadata(text: str) -> Pairs | None:
    """``Upload-Metadata`` as pairs; None for anything else. A name may stand without a value."""
    pairs: dict[str, str | None] = {}
    for pair in text.split(","):
        name, _, value = pair.partition(" ")
        is_known = name in pairs
        if not name or not name.isascii() or is_known or len(value) % 4 or not _BASE64.fullmatch(value):
            return None
        pairs[name] = base64.b64decode(value).decode("utf-8", "replace") if value else None
    return tuple(pairs.items())


def write_metadata(pairs: Pairs) -> str:
    """The pairs as ``Upload-Metadata``."""
    return ",".join(
        name if value is None else f"{name} {base64.b64encode(value.encode('utf-8', 'surrogatepass')).decode()}"
        for name, value in pairs
    )


def encode_upload_id(bucket: str, key: str, version: str) -> str:
    """The last segment of an upload's URL."""
    return base64.urlsafe_b64encode(f"{bucket}/{key}/{version}".encode()).decode().rstrip("=")


def decode_upload_id(segment: str) -> tuple[str, str, str]:
    """Bucket, key and version of an upload's URL. Raises "Invalid upload id" for a segment that names none."""
    try:
        text = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)).decode()
    except ValueError as error:
        raise refuse.invalid_request("Invalid upload id") from error
    bucket, _, rest = text.partition("/")
    key, _, version = rest.rpartition("/")
    if "/" not in text:
        raise refuse.invalid_request("Invalid upload id")
    if not version:
        raise refuse.invalid_request("Version not provided")
    return bucket, key, version
