"""The discovery document of an issuer. Source: OpenID Connect Discovery 1.0, sections 3 and 4.3; RFC 8414."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from isobase_platform.outbound import OutboundError

__all__ = ["WELL_KNOWN_PATH", "Discovery", "parse_discovery"]

WELL_KNOWN_PATH = "/.well-known/openid-configuration"
MAX_ENDPOINT_LENGTH_CHARS = 2048


@dataclass(slots=True, frozen=True)
class Discovery:
    """Where an issuer's endpoints are; empty for those that it has not."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    userinfo_endpoint: str = ""
    client_auth: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"
    """How a client proves itself at the token endpoint."""


def parse_discovery(document: object, issuer: str) -> Discovery:
    """Read a document that was fetched for ``issuer``.

    Raises ``OutboundError`` for one that names another issuer (it could vouch for tokens that are not its own), has no keys,
    or leaves https although its issuer is there.
    """
    if not isinstance(document, Mapping):
        raise OutboundError(f"the discovery document of {issuer} is no JSON object")
    named = document.get("issuer")
    if not isinstance(named, str) or named.rstrip("/") != issuer.rstrip("/"):
        raise OutboundError(f"the discovery document of {issuer} is another issuer's")
    found = Discovery(
        issuer=named,
        jwks_uri=_endpoint(document, "jwks_uri", issuer),
        authorization_endpoint=_endpoint(document, "authorization_endpoint", issuer),
        token_endpoint=_endpoint(document, "token_endpoint", issuer),
        userinfo_endpoint=_endpoint(document, "userinfo_endpoint", issuer),
        client_auth=_client_auth(document.get("token_endpoint_auth_methods_supported")),
    )
    if not found.jwks_uri:
        raise OutboundError(f"the discovery document of {issuer} names no keys")
    return found


def _client_auth(methods: object) -> Literal["client_secret_basic", "client_secret_post"]:
    # Basic is what an issuer has that names none.
    is_post_only = (
        isinstance(methods, list) and "client_secret_post" in methods and "client_secret_basic" not in methods
    )
    return "client_secret_post" if is_post_only else "client_secret_basic"


def _endpoint(document: Mapping[str, Any], name: str, issuer: str) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_ENDPOINT_LENGTH_CHARS:
        raise OutboundError(f"{name} in the discovery document of {issuer} is no URL")
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise OutboundError(f"{name} in the discovery document of {issuer} is no URL") from error
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and urlsplit(issuer).scheme == "http")
    if not is_safe or not parts.hostname:
        raise OutboundError(f"{name} in the discovery document of {issuer} does not use https")
    return value
