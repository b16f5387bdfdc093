"""GET /health, /settings, /.well-known/jwks.json. Source: contracts auth §1 and 2.17."""

from __future__ import annotations

from starlette.responses import Response

from isobase_platform import __version__
from isobase_services.auth.core import AuthCore
from isobase_services.auth.request import Request
from isobase_services.auth.v1.render import json_response

__all__ = ["get_health", "get_jwks", "get_settings"]

JWKS_MAX_AGE_S = 600
_EXTERNAL_PROVIDERS = (
    *("apple", "azure", "bitbucket", "discord", "facebook", "snapchat", "figma", "fly", "github", "gitlab", "google"),
    *("keycloak", "kakao", "linkedin", "linkedin_oidc", "notion", "spotify", "slack", "slack_oidc", "workos", "twitch"),
    "twitter",
)


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
    """What is switched on. External providers are all off: none can be configured in this version."""
    settings = core.settings
    return json_response(
        {
            "external": {
                "anonymous_users": settings.enable_anonymous_sign_ins,
                **dict.fromkeys(_EXTERNAL_PROVIDERS, False),
                "email": settings.email_enable_signup,
                "phone": settings.phone_enable_signup,
                "zoom": False,
            },
            "disable_signup": not settings.enable_signup,
            "mailer_autoconfirm": not settings.email_enable_confirmations,
            "phone_autoconfirm": not settings.phone_enable_confirmations,
            "sms_provider": "",
            "saml_enabled": False,
            "saml_private_key_next_configured": False,
            "passkeys_enabled": False,
        }
    )


async def get_jwks(core: AuthCore, request: Request) -> Response:
    """The public keys that verify access tokens; a shared secret is never among them."""
    headers = {"cache-control": f"public, max-age={JWKS_MAX_AGE_S}"}
    return json_response(core.platform.keys.published_jwks, headers=headers)
