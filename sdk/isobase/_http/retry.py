"""Whether a call may be sent again, and when: decisions on plain values, no I/O.

A read may be sent again. A write may be sent again only when nothing of it can have reached the server, or when it
carries an idempotency key and the server is known to keep such keys.
"""

from __future__ import annotations

import enum
import random
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

__all__ = [
    "READ",
    "READ_EXTENSION",
    "RETRIED_STATUSES",
    "Again",
    "again_after_answer",
    "again_after_error",
    "delay_s",
    "is_read",
]

READ_EXTENSION = "isobase_read"
READ: dict[str, object] = {READ_EXTENSION: True}
"""Pass as ``extensions=READ`` with a POST that only reads (storage's list), so that it may be sent again."""

READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# 503 and 520 are postgrest-js's; the others say as plainly that the answer came from a gateway that did not reach the
# service.
RETRIED_STATUSES = frozenset({502, 503, 504, 520, 521, 522, 523, 524})
KEY_IN_USE = b"idempotency_key_in_use"
"""The code of Isobase's answer to a write whose key's first request has not ended."""
FIRST_DELAY_S = 0.25
MAX_DELAY_S = 30.0


class Again(enum.Enum):
    """Whether a call may be sent again."""

    NO = "no"
    YES = "yes"
    IF_KEYS_ARE_KEPT = "if the server keeps idempotency keys"


def is_read(request: httpx.Request) -> bool:
    """Whether the request changes nothing on the server."""
    return request.method in READ_METHODS or READ_EXTENSION in request.extensions


def _again(request: httpx.Request, *, reached: bool) -> Again:
    if not reached:
        return Again.YES
    if not isinstance(request.stream, httpx.ByteStream):
        return Again.NO  # its body was read from an iterator or a file, and is gone
    if is_read(request):
        return Again.YES
    return Again.IF_KEYS_ARE_KEPT if "idempotency-key" in request.headers else Again.NO


def again_after_error(request: httpx.Request, error: httpx.TransportError) -> Again:
    """Decide after a network error. A timeout is not tried again unless it was that of connecting: the time was the
    caller's. One that befell the request which a redirect asked for came after an answer: the write has been done.
    """
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return _again(request, reached=getattr(error, "_request", None) not in (None, request))
    if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
        return _again(request, reached=True)
    return Again.NO


def again_after_answer(request: httpx.Request, response: httpx.Response) -> Again:
    """Decide after an answer. A write that is still being done under its key is asked for again."""
    if response.status_code in RETRIED_STATUSES:
        return _again(request, reached=True)
    if response.status_code == 409 and "idempotency-key" in request.headers and response.is_stream_consumed:
        return Again.IF_KEYS_ARE_KEPT if KEY_IN_USE in response.content else Again.NO
    return Again.NO


def retry_after_s(value: str | None) -> float | None:
    """Read a ``Retry-After`` header: seconds or a date (RFC 9110, 10.2.3); None when there is none or it says nothing."""
    if not value:
        return None
    if re.fullmatch(r"\s*[0-9]{1,12}\s*", value):
        return float(value)
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (then - datetime.now(UTC)).total_seconds()) if then.tzinfo else None


def delay_s(attempt: int, retry_after: str | None = None) -> float:
    """Seconds to wait before the attempt numbered ``attempt`` (1: the first repetition): doubled each time, up to
    half of it by chance less.

    A server's ``Retry-After`` is waited for at least; the caller gives up when it is longer than the time the call
    has left.
    """
    grown: float = min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** (attempt - 1))
    wished = retry_after_s(retry_after)
    return max(wished or 0.0, grown * random.uniform(0.5, 1.0))  # noqa: S311  (spread, no secret)
