"""POST /invite and POST /admin/generate_link."""

from __future__ import annotations

from starlette.responses import Response

from isobase_services.auth.core import AuthCore
from isobase_services.auth.flows.access import admin_of
from isobase_services.auth.flows.generate_link import LinkOrder, generate_link
from isobase_services.auth.flows.invite import Invitation, invite
from isobase_services.auth.redirects import is_allowed_redirect, redirect_target
from isobase_services.auth.request import Request
from isobase_services.auth.v1.render import json_response, user_body

__all__ = ["post_generate_link", "post_invite"]


async def post_invite(core: AuthCore, request: Request) -> Response:
    """Invite somebody by mail: 200 with the user."""
    admin = await admin_of(core, request.bearer)
    body = await request.body()
    invitation = Invitation(
        email=body.text("email"),
        data=body.object("data") or {},
        audience=request.audience(),
        redirect_to=redirect_target(request, core.settings),
    )
    return json_response(user_body(await invite(core, admin, invitation, request.facts)))


async def post_generate_link(core: AuthCore, request: Request) -> Response:
    """Make a link without mailing it: 200 with the user's fields and the link's, side by side."""
    admin = await admin_of(core, request.bearer)
    body = await request.body()
    wanted = body.text("redirect_to")
    is_allowed = is_allowed_redirect(wanted, core.settings)
    order = LinkOrder(
        type=body.text("type"),
        email=body.text("email"),
        new_email=body.text("new_email"),
        password=body.text("password"),
        data=body.object("data") or {},
        audience=request.audience(),
        redirect_to=wanted if is_allowed else redirect_target(request, core.settings),
    )
    made = await generate_link(core, admin, order, request.facts)
    return json_response(
        {
            **user_body(made.user),
            "action_link": made.link,
            "email_otp": made.code,
            "hashed_token": made.token_hash,
            "verification_type": made.type,
            "redirect_to": made.redirect_to,
        }
    )
