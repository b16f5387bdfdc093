"""GET /admin/audit. Source: supabase/auth internal/api/audit.go; contracts auth section 1."""

from __future__ import annotations

from starlette.responses import Response

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, bad_request
from isobase_services.auth.flows.access import admin_of
from isobase_services.auth.request import Request
from isobase_services.auth.store import audit
from isobase_services.auth.user_json import rfc3339
from isobase_services.auth.v1.paging import page_headers, read_page
from isobase_services.auth.v1.render import json_response

__all__ = ["get_audit"]

_FIELDS: dict[str, tuple[str, ...]] = {
    "author": ("actor_username", "actor_name"),
    "action": ("action",),
    "type": ("log_type",),
}


async def get_audit(core: AuthCore, request: Request) -> Response:
    """A page of the audit log, newest first, with ``X-Total-Count`` and ``Link``.

    ``query`` is ``author:TEXT``, ``action:TEXT`` or ``type:TEXT``. Raises 400 validation_failed for another scope.
    """
    await admin_of(core, request.bearer)
    page = read_page(request)
    fields, text = _filter(request.query("query"))
    offset = min((page.number - 1) * page.size, audit.MAX_OFFSET_ROWS)
    async with core.connection() as connection:
        found, total = await audit.find_entries(connection, fields, text, limit=page.size, offset=offset)
    entries = [
        {
            "id": str(entry.id),
            "payload": entry.payload,
            "created_at": rfc3339(entry.created_at),
            "ip_address": entry.ip_address,
        }
        for entry in found
    ]
    return json_response(entries, headers=page_headers(request, page, total))


def _filter(query: str) -> tuple[tuple[str, ...], str]:
    if not query:
        return (), ""
    scope, colon, text = query.partition(":")
    if not colon or scope not in _FIELDS:
        raise bad_request(ErrorCode.VALIDATION_FAILED, f"Invalid query scope: {query}")
    return _FIELDS[scope], text
