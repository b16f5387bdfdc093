"""POST /otp, /magiclink, /recover, /resend; GET /reauthenticate: requests for codes and links."""

from __future__ import annotations

from starlette.responses import Response

from isobase_services.auth.core import AuthCore
from isobase_services.auth.flows.access import signed_in_user
from isobase_services.auth.flows.otp import OtpRequest, request_magic_link, request_otp
from isobase_services.auth.flows.reauthenticate import send_nonce
from isobase_services.auth.flows.recover import RecoverRequest, request_recovery
from isobase_services.auth.flows.resend import ResendRequest, resend
from isobase_services.auth.redirects import redirect_target
from isobase_services.auth.request import Body, Request
from isobase_services.auth.v1.render import json_response

__all__ = ["get_reauthenticate", "post_magiclink", "post_otp", "post_recover", "post_resend"]


async def post_otp(core: AuthCore, request: Request) -> Response:
    """Send a code to an address or number: 200 with an empty object, or the provider's ``message_id``."""
    body = await request.body()
    creates_user = body.fields.get("create_user") is None or body.flag("create_user")
    return _sent(await request_otp(core, _otp_request(core, request, body, creates_user=creates_user), request.facts))


async def post_magiclink(core: AuthCore, request: Request) -> Response:
    """The older twin of POST /otp for e-mail: always creates the user."""
    body = await request.body()
    await request_magic_link(core, _otp_request(core, request, body, creates_user=True), request.facts)
    return _sent()


async def post_recover(core: AuthCore, request: Request) -> Response:
    """Mail a link to set a new password: 200 with an empty object, for an unknown address too."""
    body = await request.body()
    wanted = RecoverRequest(
        email=body.text("email"),
        code_challenge=body.text("code_challenge"),
        code_challenge_method=body.text("code_challenge_method"),
        audience=request.audience(),
        redirect_to=redirect_target(request, core.settings),
    )
    await request_recovery(core, wanted, request.facts)
    return _sent()


async def post_resend(core: AuthCore, request: Request) -> Response:
    """Send a code again: 200 with an empty object, whether there was one to send or not."""
    body = await request.body()
    wanted = ResendRequest(
        type=body.text("type"),
        email=body.text("email"),
        phone=body.text("phone"),
        code_challenge=body.text("code_challenge"),
        code_challenge_method=body.text("code_challenge_method"),
        audience=request.audience(),
        redirect_to=redirect_target(request, core.settings),
    )
    await resend(core, wanted, request.facts)
    return _sent()


async def get_reauthenticate(core: AuthCore, request: Request) -> Response:
    """Send the signed-in user a code for changing the password."""
    signed_in = await signed_in_user(core, request.bearer)
    return _sent(await send_nonce(core, signed_in.user, request.facts))


def _otp_request(core: AuthCore, request: Request, body: Body, *, creates_user: bool) -> OtpRequest:
    return OtpRequest(
        email=body.text("email"),
        phone=body.text("phone"),
        creates_user=creates_user,
        data=body.object("data") or {},
        channel=body.text("channel"),
        code_challenge=body.text("code_challenge"),
        code_challenge_method=body.text("code_challenge_method"),
        audience=request.audience(),
        redirect_to=redirect_target(request, core.settings),
    )


def _sent(message_id: str = "") -> Response:
    return json_response({"message_id": message_id} if message_id else {})
