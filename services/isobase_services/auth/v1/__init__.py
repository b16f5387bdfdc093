"""The Supabase face: GoTrue's routes, bodies and errors over the flows."""

from __future__ import annotations

from starlette.types import ASGIApp

from isobase_platform.http.errors import ErrorBoundary
from isobase_services.auth.core import AuthCore
from isobase_services.auth.flows.access import admin_of, signed_in_user
from isobase_services.auth.request import Request
from isobase_services.auth.routing import Route, Router
from isobase_services.auth.v1 import admin_users, factors, info, logout, signup, token, user
from isobase_services.auth.v1.checks import CHECKS
from isobase_services.auth.v1.render import render_error

__all__ = ["gotrue_app"]

ROUTES = (
    Route("GET", "/health", info.get_health),
    Route("GET", "/settings", info.get_settings),
    Route("GET", "/.well-known/jwks.json", info.get_jwks),
    Route("GET", "/.well-known/openid-configuration", info.get_openid_configuration),
    Route("POST", "/signup", signup.post_signup, takes_slash=True),
    Route("POST", "/token", token.post_token),
    Route("POST", "/logout", logout.post_logout),
    Route("GET", "/user", user.get_user, takes_slash=True),
    Route("PUT", "/user", user.put_user, takes_slash=True),
    Route("GET", "/admin/users", admin_users.get_users, takes_slash=True),
    Route("POST", "/admin/users", admin_users.post_users, takes_slash=True),
    Route("GET", "/admin/users/{user_id}", admin_users.get_user, takes_slash=True),
    Route("PUT", "/admin/users/{user_id}", admin_users.put_user, takes_slash=True),
    Route("DELETE", "/admin/users/{user_id}", admin_users.delete_user, takes_slash=True),
    Route("POST", "/factors", factors.post_factors, takes_slash=True),
    Route("POST", "/factors/{factor_id}/challenge", factors.post_challenge),
    Route("POST", "/factors/{factor_id}/verify", factors.post_verify),
    Route("DELETE", "/factors/{factor_id}", factors.delete_factor, takes_slash=True),
    Route("GET", "/admin/users/{user_id}/factors", factors.get_user_factors, takes_slash=True),
    Route("PUT", "/admin/users/{user_id}/factors/{factor_id}", factors.put_user_factor, takes_slash=True),
    Route("DELETE", "/admin/users/{user_id}/factors/{factor_id}", factors.delete_user_factor, takes_slash=True),
)


async def _guard_user(core: AuthCore, request: Request) -> None:
    await signed_in_user(core, request.bearer)


async def _guard_admin(core: AuthCore, request: Request) -> None:
    await admin_of(core, request.bearer)


def gotrue_app(core: AuthCore) -> ASGIApp:
    """The ASGI app of the mount ``/auth/v1``; it also serves at the root, as upstream does."""
    router = Router(
        core, ROUTES, {"/user": _guard_user, "/factors": factors.guard_factors, "/admin": _guard_admin}, CHECKS
    )
    return ErrorBoundary(router, render_error)
