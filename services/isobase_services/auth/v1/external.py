"""GET /authorize, GET and POST /callback, and a user's own identities. Contracts auth §1, 2.13, 2.18."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from starlette.responses import Response

from isobase_platform.errors import IsobaseError
from isobase_platform.http.request import header
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, OAuthRefusal, forbidden, not_found
from isobase_services.auth.flows.access import SignedIn, first_audience, signed_in_user
from isobase_services.auth.flows.authorize import AuthorizeRequest, Started, start_sign_in
from isobase_services.auth.flows.callback import CallbackRequest, Landed, find_flow, finish_sign_in
from isobase_services.auth.flows.identities import check_manual_linking, unlink_identity
from isobase_services.auth.links import code_redirect, grant_redirect
from isobase_services.auth.models import SessionTerms
from isobase_services.auth.providers.base import RESERVED_PARAMETERS
from isobase_services.auth.redirects import redirect_target
from isobase_services.auth.request import Request
from isobase_services.auth.store.flow_state import FlowState
from isobase_services.auth.v1.redirect_answers import error_landing, error_site, redirect
from isobase_services.auth.v1.render import json_response

__all__ = [
    "delete_identity",
    "get_authorize",
    "get_callback",
    "get_identity_authorize",
    "guard_identities",
    "post_callback",
]

_OWN_PARAMETERS = frozenset({"provider", "scopes", *RESERVED_PARAMETERS})
_COOKIE_PREFIX = "sb-flow-"

_log = logging.getLogger("isobase.auth.providers")


async def get_authorize(core: AuthCore, request: Request) -> Response:
    """Send the browser to a provider: 302. Errors are JSON."""
    started = await start_sign_in(core, _wanted(core, request, is_browser=_comes_back_here(core, request)))
    answer = redirect(started.url)
    if started.mark:
        _set_mark(core, answer, started)
    return answer


async def get_identity_authorize(core: AuthCore, request: Request) -> Response:
    """Begin to link an identity to the signed-in user: 302, or ``{url}`` where ``skip_http_redirect=true``."""
    signed_in = await signed_in_user(core, request.bearer)
    check_manual_linking(core)
    started = await start_sign_in(core, _wanted(core, request, linking=signed_in))
    if request.query("skip_http_redirect") == "true":
        return json_response({"url": started.url})
    return redirect(started.url)


async def delete_identity(core: AuthCore, request: Request) -> Response:
    """Take an identity from the signed-in user: 200 with an empty object."""
    signed_in = await signed_in_user(core, request.bearer)
    check_manual_linking(core)
    try:
        identity_id = UUID(request.path_params["identity_id"])
    except ValueError:
        raise not_found(ErrorCode.VALIDATION_FAILED, "identity_id must be an UUID") from None
    audience = first_audience(signed_in.claims)
    if not audience or request.audience(audience) != audience:
        raise forbidden(ErrorCode.UNEXPECTED_AUDIENCE, "Token audience doesn't match request audience")
    await unlink_identity(core, signed_in, identity_id)
    return json_response({})


async def guard_identities(core: AuthCore, request: Request) -> None:
    """Raise 404 manual_linking_disabled for every path of /user/identities while linking is off."""
    check_manual_linking(core)


async def get_callback(core: AuthCore, request: Request) -> Response:
    """The browser is back: 302 to the app. A state that is not good leads to the site, by 303."""
    return await _land(core, request, dict(request.query_items()))


async def post_callback(core: AuthCore, request: Request) -> Response:
    """As ``get_callback``, with the fields in a form, as Apple sends them."""
    raw = (await request.raw_body()).decode("utf-8", "replace")
    form = {name: value.replace("\x00", "") for name, value in parse_qsl(raw, keep_blank_values=True)}
    return await _land(core, request, {**dict(request.query_items()), **form})


async def _land(core: AuthCore, request: Request, params: Mapping[str, str]) -> Response:
    try:
        flow = await find_flow(core, params.get("state", ""))
    except IsobaseError as error:
        _log_refusal(error)
        return redirect(error_site(core.settings.site_url, error), status=303)
    target = flow.referrer or core.settings.site_url
    wanted = CallbackRequest(
        params=params,
        mark=_mark_of(request, flow),
        audience=request.audience(),
        facts=request.facts,
        terms=SessionTerms(core.settings.jwt_expiry_s),
    )
    try:
        landed = await finish_sign_in(core, flow, wanted)
    except IsobaseError as error:
        _log_refusal(error)
        return _without_mark(core, flow, redirect(error_landing(target, error)))
    return _without_mark(core, flow, redirect(_landing(target, landed)))


def _landing(target: str, landed: Landed) -> str:
    if landed.grant is None:
        return code_redirect(target, landed.auth_code)
    tokens = {"provider_token": landed.provider_token}
    if landed.provider_refresh_token:
        tokens["provider_refresh_token"] = landed.provider_refresh_token
    return grant_redirect(target, landed.grant, tokens)


def _wanted(
    core: AuthCore, request: Request, *, linking: SignedIn | None = None, is_browser: bool = False
) -> AuthorizeRequest:
    extra = {
        "provider" if name == "workos_provider" else name: value
        for name, value in reversed(request.query_items())
        if name.lower() not in _OWN_PARAMETERS
    }
    return AuthorizeRequest(
        provider=request.query("provider"),
        scopes=request.query("scopes"),
        invite_token=request.query("invite_token"),
        code_challenge=request.query("code_challenge"),
        code_challenge_method=request.query("code_challenge_method"),
        redirect_to=redirect_target(request, core.settings),
        extra=extra,
        linking_target=linking.user.id if linking is not None else None,
        is_browser=is_browser,
    )


def _comes_back_here(core: AuthCore, request: Request) -> bool:
    """Whether the callback has the host that the browser asked now: only then it brings our cookie back."""
    given = core.providers.settings_of(request.query("provider"))
    callback = (given.redirect_uri if given is not None else "") or f"{core.platform.settings.auth_url}/callback"
    try:
        host = urlsplit(f"//{header(request.scope, 'host') or ''}").hostname
        return host is not None and host == urlsplit(callback).hostname
    except ValueError:
        return False


def _set_mark(core: AuthCore, answer: Response, started: Started) -> None:
    answer.set_cookie(
        _COOKIE_PREFIX + started.flow_id.hex,
        started.mark,
        max_age=int(core.settings.flow_state_expiry_s),
        httponly=True,
        samesite="lax",
        secure=core.platform.settings.auth_url.startswith("https://"),
    )


def _mark_of(request: Request, flow: FlowState) -> str:
    name = _COOKIE_PREFIX + flow.id.hex
    pairs = (part.strip().partition("=") for part in (header(request.scope, "cookie") or "").split(";"))
    return next((value for key, _, value in pairs if key == name), "")


def _without_mark(core: AuthCore, flow: FlowState, answer: Response) -> Response:
    if not flow.is_pkce and flow.oauth_client_state_id is not None:
        answer.delete_cookie(_COOKIE_PREFIX + flow.id.hex)
    return answer


def _log_refusal(error: IsobaseError) -> None:
    """The browser is led away, so that no error boundary sees what went wrong."""
    is_own = isinstance(error, AuthError | OAuthRefusal)
    if error.status >= 500 or not is_own:
        _log.error("sign-in with a provider failed", extra={"code": error.code, "reason": error.message})
