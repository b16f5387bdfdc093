"""POST /signup."""

from __future__ import annotations

from starlette.responses import Response

from isobase_services.auth.core import AuthCore
from isobase_services.auth.flows.signup import SignupRequest, sign_up
from isobase_services.auth.flows.signup_anonymous import sign_up_anonymously
from isobase_services.auth.models import Grant, SessionTerms
from isobase_services.auth.redirects import redirect_target
from isobase_services.auth.request import Request
from isobase_services.auth.v1.render import grant_headers, json_response, session_body, user_body

__all__ = ["post_signup"]


async def post_signup(core: AuthCore, request: Request) -> Response:
    """Sign up with e-mail or phone, or, with neither, anonymously. 200 with a session, or the bare user."""
    body = await request.body()
    wanted = SignupRequest(
        email=body.text("email"),
        phone=body.text("phone"),
        password=body.text("password"),
        data=body.object("data") or {},
        channel=body.text("channel"),
        code_challenge=body.text("code_challenge"),
        code_challenge_method=body.text("code_challenge_method"),
        audience=request.audience(),
        redirect_to=redirect_target(request, core.settings),
    )
    terms = SessionTerms(core.settings.jwt_expiry_s)
    if wanted.email or wanted.phone:
        result = await sign_up(core, wanted, request.facts, terms)
    else:
        result = await sign_up_anonymously(core, wanted.data, wanted.audience, request.facts, terms)
    if isinstance(result, Grant):
        return json_response(session_body(result), headers=grant_headers(result))
    return json_response(user_body(result))
