"""Auth as an OAuth server for other programs: asking for consent, answering, tokens, and what was granted.

Source: supabase/auth internal/api/oauthserver and middleware.go (requireOAuthClientAuth).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal, cast
from urllib.parse import parse_qsl

from starlette.responses import Response

from isobase_platform.http.request import header
from isobase_services.auth.core import AuthCore
from isobase_services.auth.counted_tokens import CountedToken
from isobase_services.auth.errors import AuthError, ErrorCode, OAuthRefusal, bad_request
from isobase_services.auth.flows import oauth_authorize
from isobase_services.auth.flows.access import SignedIn, signed_in_user
from isobase_services.auth.flows.oauth_authorize import AuthorizeRequest, Details
from isobase_services.auth.flows.oauth_clients import check_oauth_server_enabled
from isobase_services.auth.flows.oauth_token import (
    CodeRequest,
    Credentials,
    authenticate_client,
    exchange_code,
    user_info,
)
from isobase_services.auth.flows.token_refresh import refresh_session
from isobase_services.auth.models import Grant, SessionTerms
from isobase_services.auth.redirects import is_allowed_redirect
from isobase_services.auth.request import Request, parse_body
from isobase_services.auth.tokens import is_refresh_token_shaped
from isobase_services.auth.v1.redirect_answers import redirect
from isobase_services.auth.v1.render import grant_headers, json_response, rfc3339

__all__ = [
    "delete_grant",
    "get_authorization",
    "get_authorize",
    "get_grants",
    "get_user_info",
    "post_consent",
    "post_token",
]


async def get_authorize(core: AuthCore, request: Request) -> Response:
    """Begin: 302 to the consent page, or back to the program with an error."""
    check_oauth_server_enabled(core)
    wanted = AuthorizeRequest(**{name: request.query(name) for name in AuthorizeRequest.__slots__})
    return redirect(await oauth_authorize.begin_authorization(core, wanted))


async def get_authorization(core: AuthCore, request: Request) -> Response:
    """What the consent page shows, or ``{"redirect_url"}`` where the user has consented before."""
    signed_in = await _user_of_page(core, request)
    found = await oauth_authorize.show_authorization(core, signed_in, request.path_params["authorization_id"])
    return json_response(_details_body(found) if isinstance(found, Details) else {"redirect_url": found})


async def post_consent(core: AuthCore, request: Request) -> Response:
    """The user's answer: ``{"action": "approve" or "deny"}``; 200 with where the browser goes."""
    signed_in = await _user_of_page(core, request)
    try:
        action = (await request.body()).text("action")
    except AuthError as error:
        raise bad_request(ErrorCode.BAD_JSON, "invalid JSON body") from error
    if action not in ("approve", "deny"):
        raise bad_request(ErrorCode.VALIDATION_FAILED, "action must be 'approve' or 'deny'")
    url = await oauth_authorize.answer_authorization(
        core, signed_in, request.path_params["authorization_id"], cast("Literal['approve', 'deny']", action)
    )
    return json_response({"redirect_url": url})


async def post_token(core: AuthCore, request: Request) -> Response:
    """A code, or a refresh token, for tokens. A program shows who it is by Basic or in the body, a form or JSON."""
    check_oauth_server_enabled(core)
    fields = await _fields(request)
    credentials = _credentials(request, fields)
    client = await authenticate_client(core, credentials) if credentials.client_id else None
    grant_type = fields.get("grant_type", "")
    if not grant_type:
        raise OAuthRefusal("invalid_request", "grant_type is required")
    if client is None:
        raise OAuthRefusal("invalid_client", "Client authentication required")
    if grant_type not in client.grant_types:
        raise OAuthRefusal("unsupported_grant_type", f"Client is not allowed to use grant type: {grant_type}")
    terms = SessionTerms(core.settings.jwt_expiry_s)
    if grant_type == "refresh_token":
        token = fields.get("refresh_token", "")
        if not token:
            raise OAuthRefusal("invalid_request", "refresh_token is required for refresh_token grant")
        if not is_refresh_token_shaped(token) and CountedToken.parse(token) is None:
            raise bad_request(ErrorCode.REFRESH_TOKEN_NOT_FOUND, "Invalid Refresh Token: Refresh Token Not Found")
        refreshed = await refresh_session(core, token, request.facts, terms, client_id=client.id)
        return _tokens(refreshed, is_refresh=True)
    wanted = CodeRequest(
        code=fields.get("code", ""),
        verifier=fields.get("code_verifier", ""),
        redirect_uri=fields.get("redirect_uri", ""),
        resource=fields.get("resource", ""),
    )
    exchanged = await exchange_code(core, client, wanted, request.facts, terms)
    return _tokens(exchanged.grant, exchanged.id_token)


async def get_user_info(core: AuthCore, request: Request) -> Response:
    """Who the user of a token is, as far as its scopes go."""
    check_oauth_server_enabled(core)
    signed_in = await signed_in_user(core, request.bearer)
    oauth = None if signed_in.session is None else signed_in.session.oauth
    return json_response(user_info(signed_in.user, None if oauth is None else oauth.scope.split()))


async def get_grants(core: AuthCore, request: Request) -> Response:
    """What the user has granted, newest first."""
    signed_in = await signed_in_user(core, request.bearer)
    check_oauth_server_enabled(core)
    return json_response(
        [
            {
                "client": _client_body(str(grant.client_id), grant.name, grant.uri, grant.logo_uri),
                "scopes": grant.scopes,
                "granted_at": rfc3339(grant.granted_at),
            }
            for grant in await oauth_authorize.list_grants(core, signed_in.user)
        ]
    )


async def delete_grant(core: AuthCore, request: Request) -> Response:
    """Revoke a grant: 204."""
    signed_in = await signed_in_user(core, request.bearer)
    check_oauth_server_enabled(core)
    await oauth_authorize.revoke_grant(core, signed_in, request.query("client_id"))
    return Response(status_code=204)


async def _user_of_page(core: AuthCore, request: Request) -> SignedIn:
    """The user of the consent page. Raises 400 for a page of another site."""
    check_oauth_server_enabled(core)
    signed_in = await signed_in_user(core, request.bearer)
    origin = header(request.scope, "origin")
    if origin and not is_allowed_redirect(origin, core.settings):
        raise bad_request(ErrorCode.VALIDATION_FAILED, "unauthorized request origin")
    return signed_in


async def _fields(request: Request) -> Mapping[str, str]:
    """The body's texts, from JSON or a form."""
    raw = await request.raw_body()
    if "application/json" in (header(request.scope, "content-type") or ""):
        try:
            return {name: value for name, value in parse_body(raw).items() if isinstance(value, str)}
        except AuthError:
            raise _unreadable("failed to parse JSON body") from None
    text = raw.decode("utf-8", "replace")
    return {name: value.replace("\x00", "") for name, value in reversed(parse_qsl(text, keep_blank_values=True))}


def _credentials(request: Request, fields: Mapping[str, str]) -> Credentials:
    given = header(request.scope, "authorization") or ""
    if given.startswith("Basic "):
        try:
            text = base64.b64decode(given.removeprefix("Basic "), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            raise _unreadable("invalid basic auth encoding") from None
        client_id, colon, secret = text.partition(":")
        if not colon:
            raise _unreadable("invalid basic auth format")
        return Credentials(client_id, secret, "client_secret_basic")
    client_id, secret = fields.get("client_id", ""), fields.get("client_secret", "")
    if not client_id:
        raise _unreadable("client_id is required")
    return Credentials(client_id, secret, "client_secret_post" if secret else "none")


def _unreadable(reason: str) -> AuthError:
    return bad_request(ErrorCode.INVALID_CREDENTIALS, f"Invalid client credentials: {reason}")


def _tokens(grant: Grant, id_token: str = "", *, is_refresh: bool = False) -> Response:
    """The answer of RFC 6749 section 5.1, without the user."""
    body: dict[str, Any] = {
        "access_token": grant.access_token,
        "token_type": "bearer",
        "expires_in": grant.expires_in_s,
        "refresh_token": grant.refresh_token,
    }
    if id_token:
        body["id_token"] = id_token
    headers = {**grant_headers(grant), "cache-control": "no-store"}
    if is_refresh and not grant.is_reuse:
        headers["sb-auth-refresh-token-reuse"] = "false"
    return json_response(body, headers=headers)


def _details_body(details: Details) -> dict[str, Any]:
    authorization, client, user = details.authorization, details.client, details.user
    return {
        "authorization_id": authorization.authorization_id,
        "redirect_uri": authorization.redirect_uri,
        "client": _client_body(str(client.id), client.name, client.uri, client.logo_uri),
        "user": {"id": str(user.id), **({"email": user.email} if user.email else {})},
        "scope": authorization.scope,
    }


def _client_body(client_id: str, name: str, uri: str, logo_uri: str) -> dict[str, str]:
    optional = {"name": name, "uri": uri, "logo_uri": logo_uri}
    return {"id": client_id, **{key: value for key, value in optional.items() if value}}
