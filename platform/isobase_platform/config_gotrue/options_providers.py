"""The variables of sign-in with other providers, ``GOTRUE_EXTERNAL_<NAME>_<FIELD>``. See ``options``."""

from __future__ import annotations

from isobase_platform.config_gotrue import converters
from isobase_platform.config_gotrue.options import Option, simple_options

__all__ = ["PROVIDERS"]

_NAMES = (
    *("apple", "azure", "bitbucket", "discord", "facebook", "figma", "fly", "github", "gitlab", "google", "kakao"),
    *("keycloak", "linkedin", "linkedin_oidc", "notion", "slack", "slack_oidc", "snapchat", "spotify", "twitch"),
    *("twitter", "vercel_marketplace", "workos", "x", "zoom"),
)


def _provider(name: str) -> tuple[Option, ...]:
    return simple_options(
        f"GOTRUE_EXTERNAL_{name.upper()}_",
        f"auth.external.{name}",
        {
            "ENABLED": ("enabled", converters.flag),
            "CLIENT_ID": ("client_id", converters.text),
            "SECRET": ("secret", converters.text),
            "REDIRECT_URI": ("redirect_uri", converters.text),
            "URL": ("url", converters.text),
            "SKIP_NONCE_CHECK": ("skip_nonce_check", converters.flag),
            "EMAIL_OPTIONAL": ("email_optional", converters.flag),
        },
    )


PROVIDERS: tuple[Option, ...] = (
    *(option for name in _NAMES for option in _provider(name)),
    Option("GOTRUE_EXTERNAL_IOS_BUNDLE_ID", converters.text, "auth.external_ios_bundle_id"),
    Option(
        "GOTRUE_EXTERNAL_ALLOWED_ID_TOKEN_ISSUERS",
        converters.texts,
        "auth.external_allowed_id_token_issuers",
    ),
    Option("GOTRUE_SECURITY_MANUAL_LINKING_ENABLED", converters.flag, "auth.enable_manual_linking"),
)
