"""What names, sizes and types are allowed: pure checks, used by every face before anything is touched.

Source: contracts/storage.md 1.1 and 1.2; upstream ``src/storage/limits.ts``, ``uploader.ts`` and ``storage.ts``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from isobase_services.storage.errors import refuse

__all__ = [
    "EMPTY_FOLDER_PLACEHOLDER",
    "MAX_BUCKET_NAME_CHARS",
    "MAX_MIME_PATTERN_CHARS",
    "check_bucket_name",
    "check_key",
    "check_mime_patterns",
    "check_mime_type",
    "check_new_bucket_name",
    "is_empty_folder",
    "is_uuid",
    "object_limit_bytes",
    "size_limit_bytes",
]

MAX_BUCKET_NAME_CHARS = 100
MAX_MIME_PATTERN_CHARS = 1000
EMPTY_FOLDER_PLACEHOLDER = ".emptyFolderPlaceholder"
RESERVED_BUCKET_SUFFIX = "--table-s3"

_KEY = re.compile(r"[A-Za-z0-9_/!.*'() &$=@;:+,?-]+")
_BUCKET_NAME = re.compile(rf"[A-Za-z0-9_!.*'() &$=@;:+,?-]{{1,{MAX_BUCKET_NAME_CHARS}}}")
_MIME_PATTERN = re.compile(r"[a-zA-Z0-9\-+.]+/[a-zA-Z0-9\-+.]+(;\s*charset=[a-zA-Z0-9\-]+)?", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-5][0-9a-f]{3}-[089ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(gb|mb|kb|b)", re.IGNORECASE)
_UNIT_BYTES = {"gb": 1_000_000_000, "mb": 1_000_000, "kb": 1_000, "b": 1}


def check_key(key: str) -> None:
    """Raise InvalidKey for an object key that is empty, has other characters than S3's safe ones, or a dot segment.

    A ``.`` or ``..`` segment is refused here for every backend, as upstream's file backend does: no later layer has to
    ask what such a path would mean.
    """
    if not _KEY.fullmatch(key) or any(segment in {".", ".."} for segment in key.split("/")):
        raise refuse.invalid_key(key)


def check_bucket_name(name: str) -> None:
    """Raise InvalidBucketName for a name that no bucket can have."""
    if not _BUCKET_NAME.fullmatch(name):
        raise refuse.invalid_bucket_name()


def check_new_bucket_name(name: str) -> None:
    """As ``check_bucket_name``, for a bucket to be made: no outer spaces, no reserved ending."""
    if name != name.strip() or name.endswith(RESERVED_BUCKET_SUFFIX):
        raise refuse.invalid_bucket_name()
    check_bucket_name(name)


def check_mime_patterns(patterns: Sequence[str]) -> None:
    """Raise InvalidMimeType for an entry of ``allowed_mime_types`` that is neither a type nor ends in ``*``."""
    for pattern in patterns:
        is_pattern = _MIME_PATTERN.fullmatch(pattern) is not None or pattern.endswith("*")
        if len(pattern) > MAX_MIME_PATTERN_CHARS or not is_pattern:
            raise refuse.invalid_mime_type(pattern)


def check_mime_type(mime_type: str, allowed: Sequence[str]) -> None:
    """Raise InvalidMimeType where ``allowed`` is not empty and takes no such type.

    Parameters such as ``;charset=utf-8`` are part of the subtype: upstream compares them as text, and so must this.
    """
    if not allowed:
        return
    given = mime_type.split("/")
    if len(given) >= 2:
        for entry in allowed:
            kind, _, rest = entry.partition("/")
            subtype = rest.split("/")[0]
            if kind == given[0] and subtype in {"*", given[1]}:
                return
    raise refuse.invalid_mime_type(mime_type)


def is_empty_folder(key: str) -> bool:
    """True for the placeholder object by which the dashboard keeps an empty folder."""
    return key.endswith(EMPTY_FOLDER_PLACEHOLDER)


def is_uuid(text: str) -> bool:
    """True for a text that the ``owner`` column (uuid) takes."""
    return _UUID.fullmatch(text) is not None


def object_limit_bytes(project_limit_bytes: int, bucket_limit_bytes: int | None) -> int:
    """The most bytes that an object may have: the bucket's own limit (None: it has none) cannot widen the project's."""
    return project_limit_bytes if bucket_limit_bytes is None else min(project_limit_bytes, bucket_limit_bytes)


def size_limit_bytes(given: int | str, project_limit_bytes: int) -> int:
    """A bucket's ``file_size_limit`` in bytes: an integer, or a text such as ``20mb`` (decimal units, three digits count).

    Raises EntityTooLarge for more than ``project_limit_bytes`` and InvalidRequest for a text that names no size.
    """
    if isinstance(given, str):
        match = _SIZE.fullmatch(given)
        if match is None:
            raise refuse.invalid_request("Invalid file size format, hint: use 20GB / 20MB / 30KB / 3B")
        # Upstream rounds the number to three significant digits before it multiplies.
        size = float(f"{float(match[1]):.3g}") * _UNIT_BYTES[match[2].lower()]
        limit = int(min(size, sys.float_info.max))  # more digits than a float holds are infinite
    else:
        limit = given
    if limit > project_limit_bytes:
        raise refuse.too_large()
    return limit
