"""What a hook's settings say about where it is: a PostgreSQL function or a URL. Read once, at start.

Source: supabase/auth internal/conf/configuration.go (ValidateExtensibilityPoint).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from isobase_platform.config_auth.hook import HookPoint
from isobase_platform.errors import ConfigurationError
from isobase_platform.sql import quote_identifier

__all__ = ["FunctionTarget", "HttpTarget", "Target", "read_target"]

_SQL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,62}")
_SECRET = re.compile(r"v1,whsec_([A-Za-z0-9+/=]{32,88})")
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1", "host.docker.internal"})
"""The hosts that may be called without TLS."""


@dataclass(slots=True, frozen=True)
class FunctionTarget:
    """A function of the database, as quoted SQL text."""

    uri: str
    function: str


@dataclass(slots=True, frozen=True)
class HttpTarget:
    """A URL with the keys that sign what is sent there."""

    uri: str
    keys: tuple[bytes, ...] = field(repr=False)


Target = FunctionTarget | HttpTarget


def read_target(name: str, point: HookPoint) -> Target:
    """The target of the hook ``name``. Raises ``ConfigurationError`` for a URI or secret that cannot be used.

    The message never repeats a secret.
    """
    parts = urlsplit(point.uri)
    match parts.scheme:
        case "pg-functions":
            return _function(name, point.uri, parts.path)
        case "https":
            pass
        case "http":
            if parts.hostname not in _LOCAL_HOSTS:
                raise _wrong(name, "http is for this machine only (localhost, 127.0.0.1, ::1); use https")
        case _:
            raise _wrong(name, "the uri must begin with pg-functions:// or https://")
    if not parts.hostname:
        raise _wrong(name, "the uri names no host")
    return HttpTarget(point.uri, _keys(name, point.secrets.get_secret_value()))


def _function(name: str, uri: str, path: str) -> FunctionTarget:
    parts = path.split("/")
    if len(parts) != 3 or not all(_SQL_NAME.fullmatch(part) for part in parts[1:]):
        raise _wrong(name, "the uri must be pg-functions://DATABASE/SCHEMA/FUNCTION")
    return FunctionTarget(uri, f"{quote_identifier(parts[1])}.{quote_identifier(parts[2])}")


def _keys(name: str, secrets: str) -> tuple[bytes, ...]:
    keys = []
    for secret in filter(None, secrets.split("|")):
        match = _SECRET.fullmatch(secret)
        try:
            if match is None:
                raise ValueError
            keys.append(base64.b64decode(match[1], validate=True))
        except (ValueError, binascii.Error):
            raise _wrong(name, "secrets must each be v1,whsec_ and 32 to 88 characters of base64") from None
    if not keys:
        # Upstream's command line asks for one too: nobody else could tell our calls from a stranger's.
        raise _wrong(name, "a hook over HTTP needs secrets")
    return tuple(keys)


def _wrong(name: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"auth.hook.{name}: {reason}")
