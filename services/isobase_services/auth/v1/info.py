"""GET /health, /settings and what is /.well-known. Source: contracts auth §1 and 2.17; supabase/auth internal/api/jwks.go."""

from __future__ import annotations

from starlette.responses import Response

from isobase_platform import __version__
from isobase_services.auth.core import AuthCore
from isobase_services.auth.flows.oauth_clients import check_oauth_server_enabled
from isobase_services.auth.messages.sms import provider_name
from isobase_services.auth.request import Request
from isobase_services.auth.v1.render import json_response

__all__ = ["get_authorization_server", "get_health", "get_jwks", "get_openid_configuration", "get_settings"]

JWKS_MAX_AGE_S = 600
_EXTERNAL_PROVIDERS = (
    *("apple", "azure", "bitbucket", "discord", "facebook", "snapchat", "figma", "fly", "github", "gitlab", "google"),
    *("keycloak", "kakao", "linkedin", "linkedin_oidc", "notion", "spotify", "slack", "slack_oidc", "workos", "twitch"),
    "twitter",
)


_DISCOVERY: dict[str, list[str]] = {
    "scopes_supported": ["openid", "profile", "email", "phone", "offline_access"],
    "response_types_supported": ["code"],
    "response_modes_supported": ["query"],
    "grant_types_supported": ["authorization_code", "refresh_token"],
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256", "HS256", "ES256"],
    "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
    "claims_supported": [
        *("sub", "aud", "iss", "exp", "iat", "auth_time", "nonce", "email", "email_verified", "phone_number"),
        *("phone_number_verified", "name", "picture", "preferred_username", "updated_at"),
    ],
    "code_challenge_methods_supported": ["S256", "plain"],
}


async def get_health(core: AuthCore, request: Request) -> Response:
    """The upstream's name, because compose files and clients look for it; the version is ours."""
    return json_response(
        {
            "version": f"v{__version__}",
            "name": "GoTrue",
            "description": "GoTrue is a user registration and authentication API",
        }
    )


async def get_settings(core: AuthCore, request: Request) -> Response:
    """What is switched on."""
    settings = core.settings
    return json_response(
        {
            "external": {
                "anonymous_users": settings.enable_anonymous_sign_ins,
                **{name: core.providers.is_enabled(name) for name in _EXTERNAL_PROVIDERS},
                "email": settings.email_enable_signup,
                "phone": settings.phone_enable_signup,
                "zoom": core.providers.is_enabled("zoom"),
            },
            "disable_signup": not settings.enable_signup,
            "mailer_autoconfirm": not settings.email_enable_confirmations,
            "phone_autoconfirm": not settings.phone_enable_confirmations,
            "sms_provider": provider_name(settings.sms),
            "saml_enabled": False,
            "saml_private_key_next_configured": False,
            "passkeys_enabled": settings.passkey.enabled,
        }
    )


async def get_jwks(core: AuthCore, request: Request) -> Response:
    """The public keys that verify access tokens; a shared secret is never among them."""
    headers = {"cache-control": f"public, max-age={JWKS_MAX_AGE_S}"}
    return json_response(core.platform.keys.published_jwks, headers=headers)


async def get_openid_configuration(core: AuthCore, request: Request) -> Response:
    """Where verifiers of our tokens find the keys, and what upstream says beside; there whether or not OAuth is served."""
    place = core.token_issuer.rstrip("/")
    content = {
        "issuer": core.token_issuer,
        "authorization_endpoint": f"{place}/oauth/authorize",
        "token_endpoint": f"{place}/oauth/token",
        "jwks_uri": f"{place}/.well-known/jwks.json",
        "userinfo_endpoint": f"{place}/oauth/userinfo",
        **_DISCOVERY,
    }
    if core.settings.oauth_server.enabled and core.settings.oauth_server.allow_dynamic_registration:
        content["registration_endpoint"] = f"{place}/oauth/clients/register"
    return json_response(content, headers={"cache-control": f"public, max-age={JWKS_MAX_AGE_S}"})


async def get_authorization_server(core: AuthCore, request: Request) -> Response:
    """The same under OAuth's name (RFC 8414). 404 feature_disabled while auth is no OAuth server."""
    check_oauth_server_enabled(core)
    return await get_openid_configuration(core, request)
