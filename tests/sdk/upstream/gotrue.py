"""The real GoTrue for the tests of the auth client, set up as tests/sdk/auth/conftest.py sets Isobase's auth up."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from isobase_platform.keys import generate_jwk
from tests.auth.differential.servers import BASE, upstream_database
from tests.plugins.ports import free_ports
from tests.plugins.stack import DatabaseServer
from tests.sdk.upstream.gateway import running_gateway
from tests.sdk.upstream.servers import running_program

__all__ = ["MAIL_TEMPLATE", "running_gotrue"]

MAIL_TEMPLATE = "<p>{{ .ConfirmationURL }} {{ .Token }}</p>"
_KINDS = ("CONFIRMATION", "EMAIL_CHANGE", "INVITE", "MAGIC_LINK", "REAUTHENTICATION", "RECOVERY")
_ALL_ON = {
    "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED": "true",
    "GOTRUE_EXTERNAL_PHONE_ENABLED": "true",
    "GOTRUE_SECURITY_MANUAL_LINKING_ENABLED": "true",
    "GOTRUE_MAILER_AUTOCONFIRM": "true",
    "GOTRUE_MFA_PHONE_ENROLL_ENABLED": "true",
    "GOTRUE_MFA_PHONE_VERIFY_ENABLED": "true",
    "GOTRUE_MFA_PHONE_MAX_FREQUENCY": "1us",
    "GOTRUE_MFA_WEB_AUTHN_ENROLL_ENABLED": "true",
    "GOTRUE_MFA_WEB_AUTHN_VERIFY_ENABLED": "true",
    "GOTRUE_OAUTH_SERVER_ENABLED": "true",
    "GOTRUE_OAUTH_SERVER_ALLOW_DYNAMIC_REGISTRATION": "true",
    "GOTRUE_OAUTH_SERVER_AUTHORIZATION_PATH": "/oauth/consent",
    "GOTRUE_PASSKEY_ENABLED": "true",
    "GOTRUE_RATE_LIMIT_ANONYMOUS_USERS": "100000",
    "GOTRUE_RATE_LIMIT_OTP": "100000",
    "GOTRUE_RATE_LIMIT_TOKEN_REFRESH": "100000",
    "GOTRUE_RATE_LIMIT_VERIFY": "100000",
    "GOTRUE_WEBAUTHN_RP_DISPLAY_NAME": "Tests",
}


@contextmanager
def running_gotrue(
    binary: str, postgres: DatabaseServer, folder: Path, settings: Mapping[str, str], template_url: str
) -> Iterator[str]:
    """Run it on a database of its own; ``settings`` are what the running test decides. Gives the URL before ``/auth/v1``."""
    (port,) = free_ports(1)
    dsn = upstream_database(postgres, Path(binary), folder)
    with running_gateway({"/auth/v1": f"http://127.0.0.1:{port}"}) as url:
        signing_key = {**generate_jwk("ES256"), "use": "sig", "key_ops": ["sign", "verify"]}
        secret = base64.urlsafe_b64encode(settings["GOTRUE_JWT_SECRET"].encode()).rstrip(b"=").decode()
        shared = {"kty": "oct", "k": secret, "kid": "shared", "alg": "HS256", "use": "sig", "key_ops": ["verify"]}
        environment = {
            **BASE,
            **_ALL_ON,
            **{f"GOTRUE_MAILER_TEMPLATES_{kind}": template_url for kind in _KINDS},
            **settings,
            "API_EXTERNAL_URL": f"{url}/auth/v1",
            "DATABASE_URL": dsn,
            "GOTRUE_JWT_ISSUER": f"{url}/auth/v1",
            "GOTRUE_JWT_KEYS": json.dumps([signing_key, shared]),
            "PORT": str(port),
        }
        with running_program([binary], environment, f"http://127.0.0.1:{port}/health", folder):
            yield url
