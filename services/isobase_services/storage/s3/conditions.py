"""The conditions of a request on an object, and the headers that tell an object's facts: pure.

Source: RFC 9110, section 13; AWS's GetObject, HeadObject and CopyObject; contracts/storage.md 1.5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from isobase_services.storage.errors import refuse
from isobase_services.storage.http_values import is_header_text, last_modified, parse_http_date

__all__ = [
    "Outcome",
    "RequestConditions",
    "matches_etag",
    "metadata_headers",
]

MAX_META_CHARS = 8 * 1024
"""The longest value of user metadata that an answer carries as a header, as upstream's; it stays in the row."""
_META = "x-amz-meta-"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")


@dataclass(slots=True, frozen=True)
class Outcome:
    """``is_failed``: 412. ``is_unchanged``: 304 for a read, 412 for a copy."""

    is_failed: bool = False
    is_unchanged: bool = False


@dataclass(slots=True, frozen=True)
class RequestConditions:
    """The four conditional headers, as sent; None where absent."""

    if_match: str | None
    if_none_match: str | None
    if_modified_since: str | None
    if_unmodified_since: str | None

    @classmethod
    def of(cls, headers: Mapping[str, str], prefix: str = "") -> RequestConditions:
        """From headers, whose names may have a prefix (``x-amz-copy-source-``)."""
        return cls(
            headers.get(f"{prefix}if-match"),
            headers.get(f"{prefix}if-none-match"),
            headers.get(f"{prefix}if-modified-since"),
            headers.get(f"{prefix}if-unmodified-since"),
        )

    def outcome(self, etag: str | None, modified: datetime | None) -> Outcome:
        """What the conditions say of an object. An ETag condition outdoes the date beside it."""
        if self.if_match is not None:
            if not matches_etag(self.if_match, etag):
                return Outcome(is_failed=True)
        elif self.if_unmodified_since is not None:
            moment = parse_http_date(self.if_unmodified_since)
            if moment is not None and modified is not None and modified > moment:
                return Outcome(is_failed=True)
        if self.if_none_match is not None:
            return Outcome(is_unchanged=matches_etag(self.if_none_match, etag))
        since = parse_http_date(self.if_modified_since)
        return Outcome(is_unchanged=since is not None and modified is not None and modified <= since)

    def check_copy(self, metadata: Mapping[str, Any]) -> None:
        """Raise PreconditionFailed where the source of a copy does not meet the conditions."""
        etag = metadata.get("eTag")
        found = self.outcome(etag if isinstance(etag, str) else None, last_modified(metadata, None))
        if found.is_failed or found.is_unchanged:
            raise refuse.precondition_failed()


def matches_etag(condition: str, etag: str | None) -> bool:
    """True where the list of ETags (or ``*``) holds this one; quotes and a weak mark count for nothing."""
    if condition.strip() == "*":
        return etag is not None
    listed = {part.strip().removeprefix("W/").strip('"') for part in condition.split(",")}
    return etag is not None and etag.strip('"') in listed


def metadata_headers(user_metadata: Mapping[str, Any] | None) -> dict[str, str]:
    """User metadata as ``x-amz-meta-`` headers; what cannot be one is counted in ``x-amz-missing-meta``."""
    headers: dict[str, str] = {}
    missing = 0
    for name, value in (user_metadata or {}).items():
        header = _META + name.lower()
        is_text = isinstance(value, str) and len(value) <= MAX_META_CHARS and is_header_text(value)
        if name and is_text and _TOKEN.fullmatch(header):
            headers[header] = value
        else:
            missing += 1
    if missing:
        headers["x-amz-missing-meta"] = str(missing)
    return headers
