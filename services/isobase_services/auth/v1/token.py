"""POST /token, by grant type. More grants join the table below."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from isobase_platform.http.request import header
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, OAuthRefusal, bad_request
from isobase_services.auth.flows.access import signed_in_user
from isobase_services.auth.flows.token_id_token import IdTokenRequest, check_id_token_request, sign_in_with_id_token
from isobase_services.auth.flows.token_password import PasswordRequest, sign_in_with_password
from isobase_services.auth.flows.token_pkce import exchange_code
from isobase_services.auth.flows.token_refresh import refresh_session
from isobase_services.auth.models import SessionTerms
from isobase_services.auth.request import Request
from isobase_services.auth.routing import Endpoint
from isobase_services.auth.v1.disabled import grant_web3
from isobase_services.auth.v1.render import grant_headers, json_response, session_body

__all__ = ["post_token"]


async def post_token(core: AuthCore, request: Request) -> Response:
    """Choose the grant. Raises 400 invalid_credentials "unsupported_grant_type" for an unknown one."""
    grant = _GRANTS.get(request.query("grant_type"))
    if grant is None:
        raise bad_request(ErrorCode.INVALID_CREDENTIALS, "unsupported_grant_type")
    return await grant(core, request)


async def _password(core: AuthCore, request: Request) -> Response:
    body = await request.body()
    wanted = PasswordRequest(
        email=body.text("email"),
        phone=body.text("phone"),
        password=body.text("password"),
        audience=request.audience(),
    )
    signed_in = await sign_in_with_password(core, wanted, request.facts, SessionTerms(core.settings.jwt_expiry_s))
    weakness = signed_in.weakness
    content = session_body(signed_in.grant)
    content["weak_password"] = (
        {"message": weakness.message, "reasons": list(weakness.reasons)} if weakness is not None else None
    )
    return json_response(content, headers=grant_headers(signed_in.grant))


async def _refresh_token(core: AuthCore, request: Request) -> Response:
    body = await request.body()
    terms = SessionTerms(core.settings.jwt_expiry_s)
    grant = await refresh_session(core, body.text("refresh_token"), request.facts, terms)
    headers = grant_headers(grant)
    if not grant.is_reuse:
        headers["sb-auth-refresh-token-reuse"] = "false"
    return json_response(session_body(grant), headers=headers)


async def _pkce(core: AuthCore, request: Request) -> Response:
    body = await request.body()
    exchange = await exchange_code(
        core,
        body.text("auth_code"),
        body.text("code_verifier"),
        request.facts,
        SessionTerms(core.settings.jwt_expiry_s),
    )
    content = session_body(exchange.grant)
    if exchange.provider_token:
        content["provider_token"] = exchange.provider_token
    if exchange.provider_refresh_token:
        content["provider_refresh_token"] = exchange.provider_refresh_token
    return json_response(content, headers=grant_headers(exchange.grant))


async def _id_token(core: AuthCore, request: Request) -> Response:
    body = await request.body()
    wanted = IdTokenRequest(
        id_token=body.text("id_token"),
        access_token=body.text("access_token"),
        nonce=body.text("nonce"),
        provider=body.text("provider"),
        client_id=body.text("client_id"),
        issuer=body.text("issuer"),
        audience=request.audience(),
    )
    check_id_token_request(wanted)
    if body.flag("link_identity"):
        if header(request.scope, "authorization") is None:
            raise OAuthRefusal("invalid request", "Linking requires a valid user access token in Authorization")
        signed_in = await signed_in_user(core, request.bearer)
        wanted = replace(wanted, linking_target=signed_in.user.id)
    grant = await sign_in_with_id_token(core, wanted, request.facts, SessionTerms(core.settings.jwt_expiry_s))
    return json_response(session_body(grant), headers=grant_headers(grant))


_GRANTS: dict[str, Endpoint] = {
    "id_token": _id_token,
    "password": _password,
    "refresh_token": _refresh_token,
    "pkce": _pkce,
    "web3": grant_web3,
}
