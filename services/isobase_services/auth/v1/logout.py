"""POST /logout."""

from __future__ import annotations

import json

from starlette.responses import Response

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, bad_request
from isobase_services.auth.flows.access import signed_in_user
from isobase_services.auth.flows.logout import LogoutScope, log_out
from isobase_services.auth.request import Request

__all__ = ["post_logout"]


async def post_logout(core: AuthCore, request: Request) -> Response:
    """End sessions by the query's ``scope``: global (default), local, others. 204 without a body."""
    signed_in = await signed_in_user(core, request.bearer)
    wanted = request.query("scope") or LogoutScope.GLOBAL
    try:
        scope = LogoutScope(wanted)
    except ValueError:
        raise bad_request(
            ErrorCode.VALIDATION_FAILED, f"Unsupported logout scope {json.dumps(wanted, ensure_ascii=False)}"
        ) from None
    await log_out(core, signed_in, scope)
    return Response(status_code=204)
