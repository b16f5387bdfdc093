"""The variables of mail and text messages. See ``options``."""

from __future__ import annotations

from isobase_platform.config_gotrue import converters
from isobase_platform.config_gotrue.converters import Converter
from isobase_platform.config_gotrue.options import Option, simple_options

__all__ = ["MESSAGES"]

_NOTICES = (
    *("password_changed", "email_changed", "phone_changed", "identity_linked", "identity_unlinked"),
    *("mfa_factor_enrolled", "mfa_factor_unenrolled"),
)
_PROVIDERS: dict[str, dict[str, tuple[str, Converter]]] = {
    "twilio": {
        "ACCOUNT_SID": ("account_sid", converters.text),
        "AUTH_TOKEN": ("auth_token", converters.text),
        "MESSAGE_SERVICE_SID": ("message_service_sid", converters.text),
        "CONTENT_SID": ("content_sid", converters.text),
    },
    "twilio_verify": {
        "ACCOUNT_SID": ("account_sid", converters.text),
        "AUTH_TOKEN": ("auth_token", converters.text),
        "MESSAGE_SERVICE_SID": ("message_service_sid", converters.text),
    },
    "messagebird": {
        "ACCESS_KEY": ("access_key", converters.text),
        "ORIGINATOR": ("originator", converters.text),
    },
    "textlocal": {
        "API_KEY": ("api_key", converters.text),
        "SENDER": ("sender", converters.text),
    },
    "vonage": {
        "API_KEY": ("api_key", converters.text),
        "API_SECRET": ("api_secret", converters.text),
        "FROM": ("sender", converters.text),
    },
}


def _notice(name: str) -> Option:
    variable = f"GOTRUE_MAILER_NOTIFICATIONS_{name.upper()}_ENABLED"
    return Option(variable, converters.flag, f"auth.email.notification.{name}.enabled")


_ACTIONS = ("invite", "confirmation", "recovery", "magic_link", "email_change", "reauthentication")


def _words(variable: str, field: str) -> tuple[Option, ...]:
    """One structure of subjects or of templates: a variable for each kind of mail."""
    prefix = f"GOTRUE_MAILER_{variable}_"
    return (
        *(
            Option(f"{prefix}{name.upper()}", converters.text, f"auth.email.template.{name}.{field}")
            for name in _ACTIONS
        ),
        *(
            Option(f"{prefix}{name.upper()}_NOTIFICATION", converters.text, f"auth.email.notification.{name}.{field}")
            for name in _NOTICES
        ),
    )


_MAIL: tuple[Option, ...] = (
    *_words("SUBJECTS", "subject"),
    *_words("TEMPLATES", "content_url"),
    Option("GOTRUE_MAILER_OTP_EXP", converters.code_life_s(86_400), "auth.email.otp_expiry_s", 86_400),
    Option("GOTRUE_MAILER_OTP_LENGTH", converters.code_length, "auth.email.otp_length"),
    Option("GOTRUE_SMTP_MAX_FREQUENCY", converters.pause_s, "auth.email.max_frequency_s", 60.0),
    Option("GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED", converters.flag, "auth.email.double_confirm_changes"),
    Option(
        "GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_REAUTHENTICATION", converters.flag, "auth.email.secure_password_change"
    ),
    Option("GOTRUE_EXTERNAL_EMAIL_MAGIC_LINK_ENABLED", converters.flag, "auth.email.magic_link_enabled"),
    *(
        Option(f"GOTRUE_MAILER_URLPATHS_{name.upper()}", converters.text, f"auth.email.links.{name}")
        for name in ("confirmation", "invite", "recovery", "email_change")
    ),
    *simple_options(
        "GOTRUE_SMTP_",
        "auth.email.smtp",
        {
            "HOST": ("host", converters.text),
            "PORT": ("port", converters.port),
            "USER": ("user", converters.text),
            "PASS": ("password", converters.text),
            "ADMIN_EMAIL": ("admin_email", converters.text),
            "SENDER_NAME": ("sender_name", converters.text),
            "HEADERS": ("headers", converters.mail_headers),
        },
    ),
)
_TEXT_MESSAGES: tuple[Option, ...] = (
    Option("GOTRUE_SMS_OTP_EXP", converters.code_life_s(60), "auth.sms.otp_expiry_s", 60),
    Option("GOTRUE_SMS_OTP_LENGTH", converters.code_length, "auth.sms.otp_length"),
    Option("GOTRUE_SMS_MAX_FREQUENCY", converters.pause_s, "auth.sms.max_frequency_s", 60.0),
    Option("GOTRUE_SMS_TEMPLATE", converters.text, "auth.sms.template"),
    Option("GOTRUE_SMS_TEST_OTP", converters.test_codes, "auth.sms.test_otp"),
    Option("GOTRUE_SMS_TEST_OTP_VALID_UNTIL", converters.text, "auth.sms.test_otp_valid_until"),
    Option("GOTRUE_SMS_PROVIDER", converters.sms_provider, "auth.sms"),
    *(
        option
        for provider, fields in _PROVIDERS.items()
        for option in simple_options(f"GOTRUE_SMS_{provider.upper()}_", f"auth.sms.{provider}", fields)
    ),
)

MESSAGES: tuple[Option, ...] = (*_MAIL, *(_notice(name) for name in _NOTICES), *_TEXT_MESSAGES)
