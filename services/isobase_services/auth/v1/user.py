"""GET and PUT /user."""

from __future__ import annotations

from starlette.responses import Response

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, bad_request
from isobase_services.auth.flows.access import first_audience, signed_in_user
from isobase_services.auth.flows.user_update import UserUpdate, update_own_user
from isobase_services.auth.limits import Limited
from isobase_services.auth.redirects import redirect_target
from isobase_services.auth.request import Request
from isobase_services.auth.v1.render import json_response, user_body

__all__ = ["get_user", "put_user"]


async def get_user(core: AuthCore, request: Request) -> Response:
    """The user of the bearer token. 400 where the token is for another audience than the request."""
    signed_in = await signed_in_user(core, request.bearer)
    audience = first_audience(signed_in.claims)
    # An empty audience is one; a token without any is not for this server.
    if signed_in.claims.raw.get("aud") in (None, []) or request.audience(audience) != audience:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Token audience doesn't match request audience")
    return json_response(user_body(signed_in.user))


async def put_user(core: AuthCore, request: Request) -> Response:
    """Change one's own account and answer with the user."""
    signed_in = await signed_in_user(core, request.bearer)
    await core.limits.check(Limited.USER_UPDATE, request.facts)
    body = await request.body()
    update = UserUpdate(
        email=body.text("email"),
        phone=body.text("phone"),
        password=body.optional_text("password"),
        nonce=body.text("nonce"),
        current_password=body.text("current_password"),
        data=body.object("data"),
        app_metadata=body.object("app_metadata"),
        channel=body.text("channel"),
        code_challenge=body.text("code_challenge"),
        code_challenge_method=body.text("code_challenge_method"),
        audience=request.audience(first_audience(signed_in.claims)),
        redirect_to=redirect_target(request, core.settings),
    )
    return json_response(user_body(await update_own_user(core, signed_in, update, request.facts)))
