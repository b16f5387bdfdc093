"""The Supabase face: GoTrue's routes, bodies and errors over the flows."""

from __future__ import annotations

from starlette.types import ASGIApp

from isobase_platform.http.errors import ErrorBoundary
from isobase_services.auth.core import AuthCore
from isobase_services.auth.flows.access import admin_of, signed_in_user
from isobase_services.auth.request import Request
from isobase_services.auth.routing import Route, Router
from isobase_services.auth.v1 import (
    admin_audit,
    admin_links,
    admin_users,
    disabled,
    external,
    factors,
    info,
    logout,
    oauth_clients,
    oauth_server,
    otp,
    passkeys,
    signup,
    token,
    user,
    verify,
)
from isobase_services.auth.v1.checks import CHECKS
from isobase_services.auth.v1.render import render_error

__all__ = ["gotrue_app"]

ROUTES = (
    Route("GET", "/health", info.get_health),
    Route("GET", "/settings", info.get_settings),
    Route("GET", "/.well-known/jwks.json", info.get_jwks),
    Route("GET", "/.well-known/openid-configuration", info.get_openid_configuration),
    Route("GET", "/.well-known/oauth-authorization-server", info.get_authorization_server),
    Route("POST", "/signup", signup.post_signup, takes_slash=True),
    Route("POST", "/token", token.post_token),
    Route("POST", "/logout", logout.post_logout),
    Route("POST", "/otp", otp.post_otp),
    Route("POST", "/magiclink", otp.post_magiclink),
    Route("POST", "/recover", otp.post_recover),
    Route("POST", "/resend", otp.post_resend),
    Route("GET", "/verify", verify.get_verify, takes_slash=True),
    Route("POST", "/verify", verify.post_verify, takes_slash=True),
    Route("GET", "/reauthenticate", otp.get_reauthenticate, takes_slash=True),
    Route("POST", "/invite", admin_links.post_invite),
    Route("POST", "/admin/generate_link", admin_links.post_generate_link),
    Route("GET", "/user", user.get_user, takes_slash=True),
    Route("PUT", "/user", user.put_user, takes_slash=True),
    Route("GET", "/admin/audit", admin_audit.get_audit, takes_slash=True),
    Route("GET", "/authorize", external.get_authorize),
    Route("GET", "/callback", external.get_callback, takes_slash=True),
    Route("POST", "/callback", external.post_callback, takes_slash=True),
    Route("GET", "/user/identities/authorize", external.get_identity_authorize),
    Route("DELETE", "/user/identities/{identity_id}", external.delete_identity),
    Route("GET", "/admin/users", admin_users.get_users, takes_slash=True),
    Route("POST", "/admin/users", admin_users.post_users, takes_slash=True),
    Route("GET", "/admin/users/{user_id}", admin_users.get_user, takes_slash=True),
    Route("PUT", "/admin/users/{user_id}", admin_users.put_user, takes_slash=True),
    Route("DELETE", "/admin/users/{user_id}", admin_users.delete_user, takes_slash=True),
    Route("POST", "/factors", factors.post_factors, takes_slash=True),
    Route("POST", "/factors/{factor_id}/challenge", factors.post_challenge),
    Route("POST", "/factors/{factor_id}/verify", factors.post_verify),
    Route("DELETE", "/factors/{factor_id}", factors.delete_factor, takes_slash=True),
    Route("POST", "/passkeys/authentication/options", passkeys.post_authentication_options),
    Route("POST", "/passkeys/authentication/verify", passkeys.post_authentication_verify),
    Route("POST", "/passkeys/registration/options", passkeys.post_registration_options),
    Route("POST", "/passkeys/registration/verify", passkeys.post_registration_verify),
    Route("GET", "/passkeys", passkeys.get_passkeys, takes_slash=True),
    Route("PATCH", "/passkeys/{passkey_id}", passkeys.patch_passkey, takes_slash=True),
    Route("DELETE", "/passkeys/{passkey_id}", passkeys.delete_passkey, takes_slash=True),
    Route("GET", "/admin/users/{user_id}/passkeys", passkeys.get_user_passkeys, takes_slash=True),
    Route("DELETE", "/admin/users/{user_id}/passkeys/{passkey_id}", passkeys.delete_user_passkey, takes_slash=True),
    Route("GET", "/admin/users/{user_id}/factors", factors.get_user_factors, takes_slash=True),
    Route("PUT", "/admin/users/{user_id}/factors/{factor_id}", factors.put_user_factor, takes_slash=True),
    Route("DELETE", "/admin/users/{user_id}/factors/{factor_id}", factors.delete_user_factor, takes_slash=True),
    Route("GET", "/admin/oauth/clients", oauth_clients.get_clients, takes_slash=True),
    Route("POST", "/admin/oauth/clients", oauth_clients.post_client, takes_slash=True),
    Route("GET", "/admin/oauth/clients/{client_id}", oauth_clients.get_client, takes_slash=True),
    Route("PUT", "/admin/oauth/clients/{client_id}", oauth_clients.put_client, takes_slash=True),
    Route("DELETE", "/admin/oauth/clients/{client_id}", oauth_clients.delete_client, takes_slash=True),
    Route("POST", "/admin/oauth/clients/{client_id}/regenerate_secret", oauth_clients.post_regenerate_secret),
    Route("POST", "/oauth/clients/register", oauth_clients.post_dynamic_client),
    Route("GET", "/oauth/authorize", oauth_server.get_authorize),
    Route("GET", "/oauth/authorizations/{authorization_id}", oauth_server.get_authorization),
    Route("POST", "/oauth/authorizations/{authorization_id}/consent", oauth_server.post_consent),
    Route("POST", "/oauth/token", oauth_server.post_token),
    Route("GET", "/oauth/userinfo", oauth_server.get_user_info),
    Route("GET", "/user/oauth/grants", oauth_server.get_grants, takes_slash=True),
    Route("DELETE", "/user/oauth/grants", oauth_server.delete_grant, takes_slash=True),
    Route("POST", "/sso", disabled.refuse_saml, takes_slash=True),
    Route("GET", "/sso/saml/metadata", disabled.refuse_saml),
    Route("POST", "/sso/saml/acs", disabled.refuse_saml),
    Route("GET", "/admin/sso/providers", disabled.get_sso_providers, takes_slash=True),
    Route("POST", "/admin/sso/providers", disabled.post_sso_provider, takes_slash=True),
    *(
        Route(method, "/admin/sso/providers/{idp_id}", disabled.refuse_sso_provider, takes_slash=True)
        for method in ("GET", "PUT", "DELETE")
    ),
    *(
        Route("GET", f"/scim/v2/{name}", disabled.refuse_scim)
        for name in ("ServiceProviderConfig", "ResourceTypes", "Schemas")
    ),
    *(
        Route(method, path, disabled.refuse_custom_providers, takes_slash=True)
        for path, methods in {
            "/admin/custom-providers": ("GET", "POST"),
            "/admin/custom-providers/{identifier}": ("GET", "PUT", "DELETE"),
        }.items()
        for method in methods
    ),
)


async def _guard_user(core: AuthCore, request: Request) -> None:
    await signed_in_user(core, request.bearer)


async def _guard_admin(core: AuthCore, request: Request) -> None:
    await admin_of(core, request.bearer)


def gotrue_app(core: AuthCore) -> ASGIApp:
    """The ASGI app of the mount ``/auth/v1``; it also serves at the root, as upstream does."""
    guards = {
        "/user": _guard_user,
        "/user/identities": external.guard_identities,
        "/user/oauth": disabled.guard_oauth_server,
        "/factors": factors.guard_factors,
        "/factors/{factor_id}": factors.guard_factor,
        "/passkeys": passkeys.guard_passkeys,
        "/admin": _guard_admin,
        "/admin/users/{user_id}": admin_users.guard_one_user,
        "/admin/users/{user_id}/factors/{factor_id}": factors.guard_user_factor,
        "/oauth": disabled.guard_oauth_server,
        "/sso": disabled.refuse_saml,
    }
    router = Router(core, ROUTES, guards, CHECKS)
    return ErrorBoundary(router, render_error)
