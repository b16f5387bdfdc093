"""The variables that every server is configured with, and which of Isobase's settings each one is.

``options_features`` has those of single features. Source: supabase/auth internal/conf/configuration.go, where a name is the
path of structures, in capitals, behind ``GOTRUE_``; ``ApplyDefaults`` there, and the tags, have the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from isobase_platform.config_gotrue import converters
from isobase_platform.config_gotrue.converters import Converter

__all__ = ["GENERAL", "Default", "Option", "simple_options"]


class Default(Enum):
    """What holds where a variable is not set, beside a value."""

    OURS = "ours"
    """The setting's own default, which is upstream's too."""
    REQUIRED = "required"
    """Nothing: the server does not start without it."""


@dataclass(slots=True, frozen=True)
class Option:
    """One variable. ``target`` is the path of the setting, as in ``Settings``; ``default`` is in the setting's own form."""

    name: str
    convert: Converter
    target: str
    default: object = Default.OURS
    aliases: tuple[str, ...] = ()
    """Other names of the variable; the first that is set counts."""


def simple_options(prefix: str, target: str, fields: dict[str, tuple[str, Converter]]) -> tuple[Option, ...]:
    """The options of one structure: ``fields`` has the rest of the variable's name, then the field and its converter."""
    return tuple(Option(f"{prefix}{name}", convert, f"{target}.{field}") for name, (field, convert) in fields.items())


GENERAL: tuple[Option, ...] = (
    Option("GOTRUE_API_HOST", converters.text, "host", "0.0.0.0"),  # noqa: S104  upstream's default: every address
    Option("PORT", converters.port, "port", 8081, aliases=("GOTRUE_API_PORT",)),
    Option("API_EXTERNAL_URL", converters.url, "auth.external_url", Default.REQUIRED),
    Option(
        "GOTRUE_DB_DATABASE_URL", converters.database_url, "database.url", Default.REQUIRED, aliases=("DATABASE_URL",)
    ),
    Option("GOTRUE_DB_MAX_POOL_SIZE", converters.number, "database.service_pool_max_size"),
    Option("GOTRUE_DB_CONN_MAX_IDLE_TIME", converters.duration_s, "database.pool_max_idle_s"),
    Option("GOTRUE_DB_CONN_MAX_LIFETIME", converters.duration_s, "database.pool_max_life_s"),
    Option("GOTRUE_LOG_LEVEL", converters.text, "log_level"),
    Option("GOTRUE_SITE_URL", converters.text, "auth.site_url", Default.REQUIRED),
    Option("GOTRUE_URI_ALLOW_LIST", converters.texts, "auth.additional_redirect_urls", ()),
    Option("GOTRUE_JWT_SECRET", converters.text, "jwt_secret", Default.REQUIRED),
    Option("GOTRUE_JWT_KEYS", converters.jwks, "jwt_keys"),
    Option("GOTRUE_JWT_EXP", converters.token_life_s, "auth.jwt_expiry_s", 3600),
    Option("GOTRUE_JWT_AUD", converters.text, "auth.jwt_audience", ""),
    Option("GOTRUE_JWT_ISSUER", converters.text, "auth.jwt_issuer", ""),
    Option("GOTRUE_JWT_DEFAULT_GROUP_NAME", converters.text, "auth.jwt_default_role", ""),
    Option("GOTRUE_JWT_ADMIN_ROLES", converters.texts, "auth.jwt_admin_roles"),
    Option("GOTRUE_DISABLE_SIGNUP", converters.inverted_flag, "auth.enable_signup", True),
    Option("GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED", converters.flag, "auth.enable_anonymous_sign_ins", False),
    Option("GOTRUE_EXTERNAL_EMAIL_ENABLED", converters.flag, "auth.email_enable_signup", True),
    Option("GOTRUE_EXTERNAL_PHONE_ENABLED", converters.flag, "auth.phone_enable_signup", False),
    Option("GOTRUE_MAILER_AUTOCONFIRM", converters.inverted_flag, "auth.email_enable_confirmations", True),
    Option("GOTRUE_SMS_AUTOCONFIRM", converters.inverted_flag, "auth.phone_enable_confirmations", True),
    Option(
        "GOTRUE_SECURITY_REFRESH_TOKEN_ROTATION_ENABLED",
        converters.flag,
        "auth.enable_refresh_token_rotation",
        True,
    ),
    Option(
        "GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL",
        converters.number,
        "auth.refresh_token_reuse_interval_s",
        0,
    ),
    Option("GOTRUE_PASSWORD_MIN_LENGTH", converters.password_length, "auth.minimum_password_length"),
    Option(
        "GOTRUE_PASSWORD_REQUIRED_CHARACTERS",
        converters.character_sets,
        "auth.password_required_characters",
    ),
)
"""Server, database, tokens, and the switches of sign-up and sign-in."""
