"""What the engine refuses, with PostgREST's own codes, statuses and words.

Source: PostgREST v14 ``Error.hs`` and ``Error/Types.hs``: PGRST1xx request, PGRST2xx schema cache, PGRST3xx JWT.
"""

from __future__ import annotations

from isobase_platform.errors import IsobaseError

__all__ = ["ParseError", "RequestError"]


class RequestError(IsobaseError):
    """A refusal in PostgREST's vocabulary: ``code`` PGRSTnnn, its HTTP ``status``, details and hint as upstream's."""

    default_code = "PGRST100"
    default_status = 400
    payload: object = None
    """A JSON value to show as ``details`` where upstream shows more than text."""
    headers: tuple[tuple[str, str], ...] = ()


class ParseError(RequestError):
    """PGRST100: a part of the query string cannot be read. ``details`` says where."""
