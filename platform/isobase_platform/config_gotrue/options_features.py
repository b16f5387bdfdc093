"""The variables of single features: factors, sessions, limits, keys of the database, hooks. See ``options``."""

from __future__ import annotations

from isobase_platform.config_gotrue import converters
from isobase_platform.config_gotrue.options import Option, simple_options

__all__ = ["FEATURES"]

_HOOKS = (
    *("mfa_verification_attempt", "password_verification_attempt", "custom_access_token"),
    *("send_email", "send_sms", "before_user_created", "after_user_created"),
)


def _hook(name: str) -> tuple[Option, ...]:
    variable, target = f"GOTRUE_HOOK_{name.upper()}", f"auth.hook.{name}"
    return (
        Option(f"{variable}_ENABLED", converters.flag, f"{target}.enabled"),
        Option(f"{variable}_URI", converters.text, f"{target}.uri"),
        Option(f"{variable}_SECRETS", converters.text, f"{target}.secrets"),
    )


_FACTORS: tuple[Option, ...] = (
    *simple_options(
        "GOTRUE_MFA_",
        "auth.mfa",
        {
            "CHALLENGE_EXPIRY_DURATION": ("challenge_expiry_s", converters.at_least(300)),
            "FACTOR_EXPIRY_DURATION": ("factor_expiry_s", converters.at_least(300)),
            "MAX_ENROLLED_FACTORS": ("max_enrolled_factors", converters.rounded),
            "MAX_VERIFIED_FACTORS": ("max_verified_factors", converters.number),
            "TOTP_ENROLL_ENABLED": ("totp.enroll_enabled", converters.flag),
            "TOTP_VERIFY_ENABLED": ("totp.verify_enabled", converters.flag),
            "PHONE_ENROLL_ENABLED": ("phone.enroll_enabled", converters.flag),
            "PHONE_VERIFY_ENABLED": ("phone.verify_enabled", converters.flag),
            "PHONE_OTP_LENGTH": ("phone.otp_length", converters.code_length),
            "PHONE_TEMPLATE": ("phone.template", converters.text),
            "PHONE_MAX_FREQUENCY": ("phone.max_frequency_s", converters.pause_s),
            "WEB_AUTHN_ENROLL_ENABLED": ("web_authn.enroll_enabled", converters.flag),
            "WEB_AUTHN_VERIFY_ENABLED": ("web_authn.verify_enabled", converters.flag),
        },
    ),
    Option("GOTRUE_PASSKEY_ENABLED", converters.flag, "auth.passkey.enabled"),
    Option("GOTRUE_PASSKEY_MAX_PASSKEYS_PER_USER", converters.number, "auth.passkey.max_passkeys_per_user"),
    *simple_options(
        "GOTRUE_SECURITY_DB_ENCRYPTION_",
        "auth.db_encryption",
        {
            "ENCRYPT": ("encrypt", converters.flag),
            "ENCRYPTION_KEY_ID": ("encryption_key_id", converters.text),
            "ENCRYPTION_KEY": ("encryption_key", converters.text),
            "DECRYPTION_KEYS": ("decryption_keys", converters.pairs),
        },
    ),
    *simple_options(
        "GOTRUE_WEBAUTHN_",
        "auth.webauthn",
        {
            "RP_ID": ("rp_id", converters.text),
            "RP_DISPLAY_NAME": ("rp_display_name", converters.text),
            "RP_ORIGINS": ("rp_origins", converters.texts),
            "CHALLENGE_EXPIRY_DURATION": ("challenge_expiry_s", converters.at_least(1)),
        },
    ),
)
_LIMITS: tuple[Option, ...] = (
    Option("GOTRUE_RATE_LIMIT_HEADER", converters.text, "forwarded_header"),
    *simple_options(
        "GOTRUE_RATE_LIMIT_",
        "auth.rate_limit",
        {
            "EMAIL_SENT": ("email_sent", converters.per_hour),
            "SMS_SENT": ("sms_sent", converters.per_hour),
            "ANONYMOUS_USERS": ("anonymous_users", converters.rounded),
            "OTP": ("sign_in_sign_ups", converters.rounded),
            "TOKEN_REFRESH": ("token_refresh", converters.rounded),
            "VERIFY": ("token_verifications", converters.rounded),
            "WEB3": ("web3", converters.rounded),
            "PASSKEY": ("passkey", converters.rounded),
            "O_AUTH_DYNAMIC_CLIENT_REGISTER": ("dynamic_client_registration", converters.rounded),
        },
    ),
    Option("GOTRUE_MFA_RATE_LIMIT_CHALLENGE_AND_VERIFY", converters.rounded, "auth.rate_limit.mfa"),
    *simple_options(
        "GOTRUE_SECURITY_CAPTCHA_",
        "auth.captcha",
        {
            "ENABLED": ("enabled", converters.flag),
            "PROVIDER": ("provider", converters.text),
            "SECRET": ("secret", converters.text),
            "TIMEOUT": ("timeout_s", converters.duration_s),
        },
    ),
)

_SESSIONS = simple_options(
    "GOTRUE_SESSIONS_",
    "auth.sessions",
    {
        "TIMEBOX": ("timebox_s", converters.duration_s),
        "INACTIVITY_TIMEOUT": ("inactivity_timeout_s", converters.duration_s),
        "ALLOW_LOW_AAL": ("low_aal_s", converters.duration_s),
        "SINGLE_PER_USER": ("single_per_user", converters.flag),
        "TAGS": ("tags", converters.texts),
    },
)

_UPKEEP = (
    Option("GOTRUE_AUDIT_LOG_DISABLE_POSTGRES", converters.inverted_flag, "auth.audit.database_enabled"),
    Option("GOTRUE_DB_CLEANUP_ENABLED", converters.flag, "auth.housekeeping.enabled"),
)
_PASSWORDS = (
    Option(
        "GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_CURRENT_PASSWORD",
        converters.flag,
        "auth.security.update_password_require_current_password",
    ),
    Option("GOTRUE_PASSWORD_HIBP_ENABLED", converters.flag, "auth.security.pwned_passwords.enabled"),
    Option("GOTRUE_PASSWORD_HIBP_FAIL_CLOSED", converters.flag, "auth.security.pwned_passwords.fail_closed"),
)

_OAUTH_SERVER = simple_options(
    "GOTRUE_OAUTH_SERVER_",
    "auth.oauth_server",
    {
        "ENABLED": ("enabled", converters.flag),
        "ALLOW_DYNAMIC_REGISTRATION": ("allow_dynamic_registration", converters.flag),
        "AUTHORIZATION_PATH": ("authorization_url_path", converters.text),
        "AUTHORIZATION_TTL": ("authorization_ttl_s", converters.duration_s),
        "DEFAULT_SCOPE": ("default_scope", converters.text),
    },
)

FEATURES: tuple[Option, ...] = (
    *_FACTORS,
    *_LIMITS,
    *_SESSIONS,
    Option("GOTRUE_EXTERNAL_FLOW_STATE_EXPIRY_DURATION", converters.at_least(300), "auth.flow_state_expiry_s"),
    *_PASSWORDS,
    *_UPKEEP,
    *_OAUTH_SERVER,
    *(option for name in _HOOKS for option in _hook(name)),
)
