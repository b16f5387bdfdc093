"""POST /auth/signup, signin, send-otp, verify-otp, refresh, signout. Source: contracts auth section 5.

Access tokens and sessions live as the settings ``auth.simple_...`` say; everything else is the core's.
"""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from isobase_platform.errors import DatabaseError, IsobaseError
from isobase_platform.http.errors import ErrorBoundary, render_simple
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, WeakPassword, log_database_error
from isobase_services.auth.flows.access import signed_in_user
from isobase_services.auth.flows.logout import LogoutScope, log_out
from isobase_services.auth.flows.signup import SignupRequest, sign_up
from isobase_services.auth.flows.simple_otp import send_simple_code, verify_simple_code
from isobase_services.auth.flows.token_password import PasswordRequest, sign_in_with_password
from isobase_services.auth.flows.token_refresh import refresh_session
from isobase_services.auth.models import AUTHENTICATED_AUDIENCE, Grant, SessionTerms, User
from isobase_services.auth.redirects import redirect_target
from isobase_services.auth.request import Request
from isobase_services.auth.routing import Route, Router
from isobase_services.auth.simple.bodies import (
    RefreshBody,
    SendOtpBody,
    SentAnswer,
    SessionAnswer,
    SigninBody,
    SignoutBody,
    SignupBody,
    VerifyOtpBody,
    read_model,
)
from isobase_services.auth.simple.checks import CHECKS

__all__ = ["simple_app"]

_STATUSES: dict[str, int] = {
    ErrorCode.INVALID_CREDENTIALS: 401,
    ErrorCode.REFRESH_TOKEN_NOT_FOUND: 401,
    ErrorCode.REFRESH_TOKEN_ALREADY_USED: 401,
    ErrorCode.SESSION_NOT_FOUND: 401,
    ErrorCode.SESSION_EXPIRED: 401,
    ErrorCode.BAD_JWT: 401,
    ErrorCode.OTP_EXPIRED: 401,
    ErrorCode.USER_NOT_FOUND: 401,
    ErrorCode.USER_BANNED: 403,
    ErrorCode.EMAIL_NOT_CONFIRMED: 403,
    ErrorCode.SIGNUP_DISABLED: 403,
    ErrorCode.EMAIL_PROVIDER_DISABLED: 403,
    ErrorCode.USER_ALREADY_EXISTS: 409,
}
"""Where this face's statuses differ from GoTrue's: here 401 means "sign in again", 409 "taken"."""


def simple_app(core: AuthCore) -> ASGIApp:
    """The ASGI app of the mount ``/auth``."""
    routes = (
        Route("POST", "/signup", _post_signup),
        Route("POST", "/signin", _post_signin),
        Route("POST", "/send-otp", _post_send_otp),
        Route("POST", "/verify-otp", _post_verify_otp),
        Route("POST", "/refresh", _post_refresh),
        Route("POST", "/signout", _post_signout),
    )
    return ErrorBoundary(Router(core, routes, {}, CHECKS), _render_error)


async def _post_signup(core: AuthCore, request: Request) -> Response:
    body = read_model(SignupBody, await request.raw_body())
    wanted = SignupRequest(
        email=body.email,
        phone="",
        password=body.password.get_secret_value(),
        data=body.data or {},
        channel="",
        code_challenge="",
        code_challenge_method="",
        audience=AUTHENTICATED_AUDIENCE,
        redirect_to=redirect_target(request, core.settings),
    )
    return _answer(await sign_up(core, wanted, request.facts, await _terms(core)), status=201)


async def _post_signin(core: AuthCore, request: Request) -> Response:
    body = read_model(SigninBody, await request.raw_body())
    wanted = PasswordRequest(
        email=body.email,
        phone="",
        password=body.password.get_secret_value(),
        audience=AUTHENTICATED_AUDIENCE,
    )
    return _answer((await sign_in_with_password(core, wanted, request.facts, await _terms(core))).grant)


async def _post_send_otp(core: AuthCore, request: Request) -> Response:
    body = read_model(SendOtpBody, await request.raw_body())
    target = redirect_target(request, core.settings)
    await send_simple_code(core, body.email, body.data or {}, target, request.facts)
    answer = SentAnswer(expires_in=min(core.settings.simple_otp_s, core.settings.email.otp_expiry_s))
    return Response(answer.model_dump_json(), media_type="application/json")


async def _post_verify_otp(core: AuthCore, request: Request) -> Response:
    body = read_model(VerifyOtpBody, await request.raw_body())
    code = body.code.get_secret_value()
    return _answer(await verify_simple_code(core, body.email, code, request.facts, await _terms(core)))


async def _post_refresh(core: AuthCore, request: Request) -> Response:
    body = read_model(RefreshBody, await request.raw_body())
    return _answer(
        await refresh_session(core, body.refresh_token.get_secret_value(), request.facts, await _terms(core))
    )


async def _post_signout(core: AuthCore, request: Request) -> Response:
    signed_in = await signed_in_user(core, request.bearer)
    body = read_model(SignoutBody, await request.raw_body() or b"{}")
    await log_out(core, signed_in, LogoutScope(body.scope))
    return Response(status_code=204)


async def _terms(core: AuthCore) -> SessionTerms:
    settings = core.settings
    await core.platform.key_keeper.need_pair(settings.simple_signing_algorithm)
    return SessionTerms(settings.simple_access_token_s, settings.simple_session_s, of_simple_face=True)


def _answer(result: Grant | User, status: int = 200) -> Response:
    return Response(SessionAnswer.of(result).model_dump_json(), status_code=status, media_type="application/json")


def _render_error(error: IsobaseError, scope: Scope) -> Response:
    if isinstance(error, AuthError):
        reasons = ", ".join(error.reasons) if isinstance(error, WeakPassword) else None
        status = _STATUSES.get(error.code, error.status)
        error = IsobaseError(error.message, code=error.code, status=status, details=reasons)
    elif isinstance(error, DatabaseError):
        log_database_error(error)
        error = IsobaseError("An unexpected error happened")
    return render_simple(error, scope)
