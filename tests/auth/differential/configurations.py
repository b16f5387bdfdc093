"""The configurations in which scenarios run: name -> GoTrue's variables, on top of ``servers.BASE``."""

from __future__ import annotations

import json
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

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


def _signing_keys() -> str:
    """An RSA key that signs and an EC key that only verifies, made anew for each run."""
    signing = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048), as_dict=True)
    verifying = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    return json.dumps(
        [
            {
                **signing,
                "kid": "638c54b8-28c2-4b12-9598-ba12ef610a29",
                "alg": "RS256",
                "use": "sig",
                "key_ops": ["sign", "verify"],
            },
            {
                **{name: value for name, value in verifying.items() if name != "d"},
                "kid": "9a0b1c2d-28c2-4b12-9598-ba12ef610a29",
                "alg": "ES256",
                "use": "sig",
                "key_ops": ["verify"],
            },
        ]
    )


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
    "limited": {
        "GOTRUE_MAILER_AUTOCONFIRM": "true",
        "GOTRUE_RATE_LIMIT_HEADER": "X-Client-Address",
        "GOTRUE_SESSIONS_INACTIVITY_TIMEOUT": "2h",
        "GOTRUE_SESSIONS_SINGLE_PER_USER": "true",
        "GOTRUE_SESSIONS_TIMEBOX": "24h",
        "GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_CURRENT_PASSWORD": "true",
    },
    "hooked": {
        "GOTRUE_MAILER_AUTOCONFIRM": "true",
        "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED": "true",
        **{
            f"GOTRUE_HOOK_{name}_{key}": value
            for name in ("CUSTOM_ACCESS_TOKEN", "PASSWORD_VERIFICATION_ATTEMPT", "BEFORE_USER_CREATED")
            for key, value in (("ENABLED", "true"), ("URI", f"pg-functions://postgres/public/{name.lower()}"))
        },
    },
    "asymmetric": {
        "GOTRUE_MAILER_AUTOCONFIRM": "true",
        "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED": "true",
        "GOTRUE_JWT_KEYS": _signing_keys(),
        "GOTRUE_JWT_ISSUER": "https://auth.example.com/auth/v1",
        "GOTRUE_JWT_EXP": "900",
    },
    "oauth_server": {
        "GOTRUE_MAILER_AUTOCONFIRM": "true",
        "GOTRUE_OAUTH_SERVER_ENABLED": "true",
        "GOTRUE_OAUTH_SERVER_AUTHORIZATION_PATH": "/oauth/consent",
    },
}
