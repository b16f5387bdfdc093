"""``isobase keys generate``: fresh secrets for production, as lines for an environment file."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import time

from isobase_deploy.cli.exit_codes import ExitCode
from isobase_platform.errors import ConfigurationError
from isobase_platform.keys import base64url, generate_jwk
from isobase_platform.tokens import role_token

__all__ = ["generate"]

KEY_LIFE_S = 10 * 365 * 24 * 3600
"""anon and service_role keys live in clients; they end when the secret is changed."""


def generate(parsed: argparse.Namespace) -> int:
    """Print the settings that production refuses the defaults of; with --signing-key also write a JWK file."""
    if (parsed.signing_key is None) != (parsed.out is None):
        raise ConfigurationError("--signing-key and --out go together")
    lines: dict[str, str] = {}
    if parsed.signing_key is not None:
        try:
            # Created for its owner alone and never over an existing key, which tokens may still hang on.
            descriptor = os.open(parsed.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise ConfigurationError(f"{parsed.out} exists already; it is not overwritten") from error
        except OSError as error:
            raise ConfigurationError(f"cannot write {parsed.out}: {error.strerror}") from error
        with os.fdopen(descriptor, "w") as file:
            json.dump([generate_jwk(parsed.signing_key)], file, indent=2)
        lines["ISOBASE_JWT_KEYS_FILE"] = str(parsed.out.absolute())
    secret = secrets.token_urlsafe(48)
    expires_at_s = int(time.time()) + KEY_LIFE_S
    lines |= {
        "ISOBASE_JWT_SECRET": secret,
        "ISOBASE_ANON_KEY": role_token(secret, "anon", issuer="isobase", expires_at_s=expires_at_s),
        "ISOBASE_SERVICE_ROLE_KEY": role_token(secret, "service_role", issuer="isobase", expires_at_s=expires_at_s),
        "ISOBASE_PUBLISHABLE_KEY": _opaque_key("sb_publishable_"),
        "ISOBASE_SECRET_KEY": _opaque_key("sb_secret_"),
        "ISOBASE_STORAGE__S3_ACCESS_KEY_ID": secrets.token_hex(16),
        "ISOBASE_STORAGE__S3_SECRET_ACCESS_KEY": secrets.token_hex(32),
    }
    for name, value in lines.items():
        print(f"{name}={value}")  # noqa: T201  the command's answer
    return ExitCode.OK


def _opaque_key(prefix: str) -> str:
    """A key of upstream's form: 128 random bits and eight characters that tell a mistyped key from a wrong one."""
    body = prefix + base64url(secrets.token_bytes(16))
    return f"{body}_{base64url(hashlib.sha256(body.encode()).digest())[:8]}"
