"""Routes of what Isobase does not have: SAML, web3 and providers kept in the database.

They answer as an upstream on which they are switched off: the clients know these answers.
Source: supabase/auth internal/api/api.go and middleware.go; contracts auth §1, rows C.
"""

from __future__ import annotations

from starlette.responses import Response

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, bad_request, not_found, unprocessable
from isobase_services.auth.flows.access import admin_of
from isobase_services.auth.flows.oauth_clients import check_oauth_server_enabled
from isobase_services.auth.request import Request
from isobase_services.auth.v1.render import json_response

__all__ = [
    "get_sso_providers",
    "grant_web3",
    "guard_oauth_server",
    "post_sso_provider",
    "refuse_custom_providers",
    "refuse_saml",
    "refuse_scim",
    "refuse_sso_provider",
]


async def refuse_saml(core: AuthCore, request: Request) -> Response:
    """404 saml_provider_disabled, before the body is read."""
    raise not_found(ErrorCode.SAML_PROVIDER_DISABLED, "SAML 2.0 is disabled")


async def get_sso_providers(core: AuthCore, request: Request) -> Response:
    """For an administrator: there is no SAML provider."""
    await admin_of(core, request.bearer)
    return json_response({"items": []})


async def post_sso_provider(core: AuthCore, request: Request) -> Response:
    """Raise 400 validation_failed for a type that upstream does not know either, 404 saml_provider_disabled for SAML."""
    await admin_of(core, request.bearer)
    if (await request.body()).text("type") != "saml":
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Only 'saml' supported for SSO provider type")
    raise not_found(ErrorCode.SAML_PROVIDER_DISABLED, "SAML 2.0 is disabled")


async def refuse_sso_provider(core: AuthCore, request: Request) -> Response:
    """404 sso_provider_not_found for an administrator, whichever one is asked for."""
    await admin_of(core, request.bearer)
    raise not_found(ErrorCode.SSO_PROVIDER_NOT_FOUND, "SSO Identity Provider not found")


async def refuse_scim(core: AuthCore, request: Request) -> Response:
    """404 feature_disabled."""
    raise not_found(ErrorCode.FEATURE_DISABLED, "SCIM server is disabled")


async def refuse_custom_providers(core: AuthCore, request: Request) -> Response:
    """404 feature_disabled for an administrator; others are turned away as everywhere under /admin."""
    await admin_of(core, request.bearer)
    raise not_found(ErrorCode.FEATURE_DISABLED, "Custom OAuth providers are disabled")


async def guard_oauth_server(core: AuthCore, request: Request) -> None:
    """Raise 404 feature_disabled for every route of the OAuth server while it is off."""
    check_oauth_server_enabled(core)


async def grant_web3(core: AuthCore, request: Request) -> Response:
    """422 web3_provider_disabled for ``grant_type=web3``."""
    raise unprocessable(ErrorCode.WEB3_PROVIDER_DISABLED, "Web3 provider is disabled")
