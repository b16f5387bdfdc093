"""Routes of what Isobase does not have: SAML, web3 and providers kept in the database.

They answer as an upstream on which they are switched off: the clients know these answers.
Source: supabase/auth internal/api/api.go and middleware.go; contracts auth §1, rows C.
"""

from __future__ import annotations

from starlette.responses import Response

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, not_found, unprocessable
from isobase_services.auth.flows.access import admin_of
from isobase_services.auth.flows.oauth_clients import check_oauth_server_enabled
from isobase_services.auth.request import Request

__all__ = ["grant_web3", "guard_oauth_server", "refuse_custom_providers", "refuse_saml"]


async def refuse_saml(core: AuthCore, request: Request) -> Response:
    """404 saml_provider_disabled, before the body is read."""
    raise not_found(ErrorCode.SAML_PROVIDER_DISABLED, "SAML 2.0 is disabled")


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
