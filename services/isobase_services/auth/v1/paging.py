"""Pages of a list by ``page`` and ``per_page``, and the headers that lead to the others.

Source: supabase/auth internal/api/pagination.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode

from isobase_services.auth.errors import AuthError, ErrorCode, bad_request
from isobase_services.auth.request import Request

__all__ = ["Page", "bad_parameters", "page_headers", "read_page"]

DEFAULT_PAGE_SIZE_ROWS = 50
MAX_PAGE_SIZE_ROWS = 10_000
"""Upstream takes any ``per_page``. A larger page would only fill the memory; ``Link`` leads to the rest."""
MAX_UNSIGNED = 2**64 - 1
_UNSIGNED = re.compile(r"[0-9]+")


@dataclass(slots=True, frozen=True)
class Page:
    """Which page, counted from 1, of how many rows."""

    number: int
    size: int


def read_page(request: Request) -> Page:
    """The page that the query asks for. Raises 400 validation_failed for what is no number."""
    # Upstream's database layer reads a page of zero as the first, a size of zero as twenty.
    return Page(
        number=max(_unsigned(request.query("page"), 1), 1),
        size=min(_unsigned(request.query("per_page"), DEFAULT_PAGE_SIZE_ROWS) or 20, MAX_PAGE_SIZE_ROWS),
    )


def page_headers(request: Request, page: Page, total: int) -> dict[str, str]:
    """``Link`` and ``X-Total-Count``.

    auth-js reads the number between the first two "=" of ``Link``, so ``page`` comes first: keys are sorted.
    """
    last = -(-total // page.size)
    query = dict(reversed(request.query_items()))
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))

    def link(number: int, relation: str) -> str:
        return f'<{path}?{urlencode(sorted({**query, "page": str(number)}.items()))}>; rel="{relation}"'

    links = [link(page.number + 1, "next")] if last > page.number else []
    return {"link": ", ".join([*links, link(last, "last")]), "x-total-count": str(total)}


def bad_parameters(kind: str, reason: str) -> AuthError:
    """The refusal of a parameter of the list."""
    return bad_request(ErrorCode.VALIDATION_FAILED, f"Bad {kind} Parameters: {reason}")


def _unsigned(text: str, default: int) -> int:
    if not text:
        return default
    if not _UNSIGNED.fullmatch(text):
        raise bad_parameters("Pagination", f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if len(text) > 20 or int(text) > MAX_UNSIGNED:
        raise bad_parameters("Pagination", f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)
