"""What functions of the database may say of an answer's status and headers, so that it stays one answer that can be sent.

Neighbours: ``statement`` reads ``response.status`` and ``response.headers``, ``errors`` what RAISE said; ``answer`` and
``errors`` write the head.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["BODILESS_STATUSES", "framed", "is_header", "is_status"]

BODILESS_STATUSES = frozenset({204, 304})
"""Statuses of answers that never have a body."""

# RFC 9110, 5.6.2 for names. Control characters and halves of surrogate pairs cannot travel in a value.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*")
# How an answer is cut out of the connection's bytes is the server's business: RFC 9112, 6.
_FRAMING = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})


def is_status(number: float) -> bool:
    """Whether ``number`` is the status of a whole answer; one below 200 would have another answer follow."""
    return 200 <= number <= 599


def is_header(name: str, value: str) -> bool:
    """Whether this is one header and no more."""
    return _NAME.fullmatch(name) is not None and _VALUE.fullmatch(value) is not None


def framed(
    headers: Iterable[tuple[str, str]], length: int | None, *, keeps_length: bool = False
) -> list[tuple[str, str]]:
    """``headers``, names in lower case, without those that say where the answer ends, and with the body's ``length``.

    ``length`` None adds none; ``keeps_length`` leaves one that is given, which an answer to HEAD cannot contradict.
    """
    dropped = _FRAMING if keeps_length else _FRAMING | {"content-length"}
    shown = [pair for pair in headers if pair[0] not in dropped]
    if length is not None:
        shown.append(("content-length", str(length)))
    return shown
