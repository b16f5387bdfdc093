"""GET and POST /verify."""

from __future__ import annotations

import html
from collections.abc import Mapping

from starlette.responses import HTMLResponse, Response

from isobase_platform.errors import DatabaseError
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request, log_database_error
from isobase_services.auth.flows.verify import (
    AuthCode,
    HalfConfirmed,
    LinkRequest,
    VerifyRequest,
    follow_link,
    verify_code,
)
from isobase_services.auth.links import code_redirect, error_redirect, grant_redirect, location, message_redirect
from isobase_services.auth.models import SessionTerms
from isobase_services.auth.redirects import redirect_target
from isobase_services.auth.request import Request
from isobase_services.auth.v1.render import grant_headers, json_response, session_body

__all__ = ["get_verify", "post_verify"]


async def post_verify(core: AuthCore, request: Request) -> Response:
    """Exchange a typed code or a link's hash for a session; half of a secure change of e-mail answers with a message."""
    body = await request.body()
    wanted = VerifyRequest(
        type=body.text("type"),
        token=body.text("token"),
        token_hash=body.text("token_hash"),
        email=body.text("email"),
        phone=body.text("phone"),
        redirect_to=body.text("redirect_to"),
        audience=request.audience(),
    )
    result = await verify_code(core, wanted, request.facts, SessionTerms(core.settings.jwt_expiry_s))
    if isinstance(result, HalfConfirmed):
        return json_response({"msg": result.message, "code": "200"})
    return json_response(session_body(result), headers=grant_headers(result))


async def get_verify(core: AuthCore, request: Request) -> Response:
    """What a link in a mail leads to: 303 to the app, with session, code, message or error in the URL."""
    link = LinkRequest(request.query("type"), request.query("token"))
    if not link.type:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Verify requires a verification type")
    if not link.token:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Verify requires a token or a token hash")
    target = redirect_target(request, core.settings)
    try:
        result = await follow_link(core, link, request.facts, SessionTerms(core.settings.jwt_expiry_s))
    except AuthError as error:
        return _see_other(error_redirect(target, error, is_pkce=link.is_pkce))
    except DatabaseError as error:
        # A reader of mail is better served by their app than by JSON.
        log_database_error(error)
        failure = AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Unexpected failure, please check server logs")
        return _see_other(error_redirect(target, failure, is_pkce=link.is_pkce))
    if isinstance(result, HalfConfirmed):
        return _see_other(message_redirect(target, result.message, is_pkce=link.is_pkce))
    if isinstance(result, AuthCode):
        return _see_other(code_redirect(target, result.code))
    return _see_other(grant_redirect(target, result, {"type": link.type}), grant_headers(result))


def _see_other(url: str, headers: Mapping[str, str] | None = None) -> Response:
    # The body is for whoever does not follow redirects; no cache may keep what the URL holds.
    target = location(url)
    body = f'<a href="{html.escape(target)}">See Other</a>.\n\n'
    return HTMLResponse(body, 303, headers={"location": target, "cache-control": "no-store", **(headers or {})})
