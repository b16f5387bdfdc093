"""The configurations in which scenarios run: name -> GoTrue's variables, on top of ``servers.BASE``."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CONFIGURATIONS"]


_TEST_OTP = {
    "GOTRUE_EXTERNAL_PHONE_ENABLED": "true",
    "GOTRUE_SMS_PROVIDER": "twilio",
    "GOTRUE_SMS_TWILIO_ACCOUNT_SID": "AC0",
    "GOTRUE_SMS_TWILIO_AUTH_TOKEN": "none",
    "GOTRUE_SMS_TWILIO_MESSAGE_SERVICE_SID": "MG0",
    "GOTRUE_SMS_TEST_OTP": "15551230001:123456,15551230002:234567",
}
_OPEN = {
    **_TEST_OTP,
    "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED": "true",
    "GOTRUE_SECURITY_MANUAL_LINKING_ENABLED": "true",
    "GOTRUE_MFA_PHONE_ENROLL_ENABLED": "true",
    "GOTRUE_MFA_PHONE_VERIFY_ENABLED": "true",
    "GOTRUE_EXTERNAL_GITHUB_ENABLED": "true",
    "GOTRUE_EXTERNAL_GITHUB_CLIENT_ID": "github-client",
    "GOTRUE_EXTERNAL_GITHUB_SECRET": "none",
    "GOTRUE_EXTERNAL_GITHUB_REDIRECT_URI": "http://auth.example.com:8000/callback",
    "GOTRUE_EXTERNAL_GOOGLE_ENABLED": "true",
    "GOTRUE_EXTERNAL_GOOGLE_CLIENT_ID": "google-client",
    "GOTRUE_EXTERNAL_GOOGLE_SECRET": "none",
    "GOTRUE_EXTERNAL_GOOGLE_REDIRECT_URI": "http://auth.example.com:8000/callback",
}
CONFIGURATIONS: Mapping[str, Mapping[str, str]] = {
    # Codes and links by mail, everything that is off by default off.
    "confirming": {},
    # The same with every feature on, so that codes, links and factors can be followed to their end.
    "confirming_open": {**_OPEN, "GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL": "10"},
    "autoconfirm": {
        **_OPEN,
        "GOTRUE_MAILER_AUTOCONFIRM": "true",
        "GOTRUE_SMS_AUTOCONFIRM": "true",
        "GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL": "10",
    },
    "strict": {
        **_TEST_OTP,
        "GOTRUE_MAILER_AUTOCONFIRM": "true",
        "GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED": "false",
        "GOTRUE_PASSWORD_MIN_LENGTH": "8",
        "GOTRUE_PASSWORD_REQUIRED_CHARACTERS": "abcdefghijklmnopqrstuvwxyz:ABCDEFGHIJKLMNOPQRSTUVWXYZ:0123456789",
        "GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_REAUTHENTICATION": "true",
        "GOTRUE_SMTP_MAX_FREQUENCY": "60s",
    },
    "closed": {
        "GOTRUE_DISABLE_SIGNUP": "true",
        "GOTRUE_EXTERNAL_EMAIL_ENABLED": "false",
        "GOTRUE_EXTERNAL_PHONE_ENABLED": "false",
        "GOTRUE_MFA_TOTP_ENROLL_ENABLED": "false",
        "GOTRUE_MFA_TOTP_VERIFY_ENABLED": "false",
    },
}
