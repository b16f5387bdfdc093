"""The place of a page among all pages, which the auth server tells in headers.

Source: GoTrue's ``X-Total-Count`` and ``Link`` (RFC 8288) headers, as ``supabase_auth`` reads them for OAuth clients.
"""

from __future__ import annotations

import re

from httpx import URL, QueryParams, Response

from isobase.auth.types import Pagination

__all__ = ["MAX_PER_PAGE", "page_query", "place_of"]

MAX_PER_PAGE = 1000
"""How many users a walk over all of them asks for at a time."""
LINK = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?([a-z]+)"?')


def place_of(response: Response) -> Pagination:
    """Read total, next and last page from an answer's headers; what it does not say stays None or 0."""
    place = Pagination()
    total = response.headers.get("x-total-count", "")
    if total.isdecimal():
        place.total = int(total)
    for address, relation in LINK.findall(response.headers.get("link", "")):
        page = URL(address).params.get("page", "")
        if page.isdecimal() and relation == "next":
            place.next_page = int(page)
        elif page.isdecimal() and relation == "last":
            place.last_page = int(page)
    return place


def page_query(page: int | None, per_page: int | None) -> QueryParams:
    """Give the query of a page; what is None is left to the server."""
    wanted = {"page": page, "per_page": per_page}
    return QueryParams({name: number for name, number in wanted.items() if number is not None})
