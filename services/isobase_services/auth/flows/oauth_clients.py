"""Clients of auth as an OAuth server: registering, changing and deleting them.

Source: supabase/auth internal/api/oauthserver (service.go, client_auth.go, handlers.go); RFC 7591.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request, forbidden, not_found
from isobase_services.auth.store import oauth_clients
from isobase_services.auth.store.oauth_clients import AuthMethod, ClientType, OAuthClient, RegistrationType
from isobase_services.auth.urls import parse_url

__all__ = [
    "ClientChanges",
    "ClientRequest",
    "change_client",
    "check_oauth_server_enabled",
    "delete_client",
    "get_client",
    "list_clients",
    "regenerate_secret",
    "register_client",
    "secret_digest",
]

MAX_REDIRECT_URIS = 10
MAX_NAME_CHARS = 1024
MAX_URI_CHARS = 2048
SECRET_BYTES = 32
GRANT_TYPES = ("authorization_code", "refresh_token")
_AUTH_METHODS: dict[str, tuple[str, ...]] = {
    "public": ("none",),
    "confidential": ("client_secret_basic", "client_secret_post"),
}
_ALL_AUTH_METHODS = ("none", "client_secret_basic", "client_secret_post")
_SCRIPT_SCHEMES = frozenset({"javascript", "data", "file", "vbscript", "about", "blob"})
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(slots=True, frozen=True)
class ClientRequest:
    """What a new client shall be; absent texts and lists are empty."""

    redirect_uris: Sequence[str]
    grant_types: Sequence[str]
    client_type: str
    auth_method: str
    name: str
    uri: str
    logo_uri: str


@dataclass(slots=True, frozen=True)
class ClientChanges:
    """What of a client shall change; None leaves it."""

    redirect_uris: Sequence[str] | None
    grant_types: Sequence[str] | None
    auth_method: str | None
    name: str | None
    uri: str | None
    logo_uri: str | None

    @property
    def is_empty(self) -> bool:
        """True where nothing shall change."""
        given = (self.redirect_uris, self.grant_types, self.auth_method, self.name, self.uri, self.logo_uri)
        return all(value is None for value in given)


def check_oauth_server_enabled(core: AuthCore) -> None:
    """Raise 404 feature_disabled while auth is no OAuth server."""
    if not core.settings.oauth_server.enabled:
        raise not_found(ErrorCode.FEATURE_DISABLED, "OAuth server is disabled")


async def register_client(
    core: AuthCore, request: ClientRequest, registration_type: RegistrationType
) -> tuple[OAuthClient, str]:
    """Store a client; returns it and its secret, which is shown this once (empty for a public client).

    Raises 400 validation_failed, and 403 where programs may not register themselves.
    """
    check_oauth_server_enabled(core)
    if registration_type == "dynamic" and not core.settings.oauth_server.allow_dynamic_registration:
        raise forbidden(
            ErrorCode.OAUTH_DYNAMIC_CLIENT_REGISTRATION_DISABLED, "Dynamic client registration is not enabled"
        )
    try:
        client_type, auth_method = _check(request)
    except AuthError as error:
        # Upstream wraps the refusal of this one route in another, with the inner status before the words.
        raise bad_request(ErrorCode.VALIDATION_FAILED, f"{error.status}: {error.message}") from None
    secret, secret_hash = _new_secret() if client_type == "confidential" else ("", "")
    now = datetime.now(UTC)
    client = OAuthClient(
        id=uuid4(),
        secret_hash=secret_hash,
        registration_type=registration_type,
        redirect_uris=tuple(request.redirect_uris),
        grant_types=tuple(request.grant_types) or GRANT_TYPES,
        name=request.name,
        uri=request.uri,
        logo_uri=request.logo_uri,
        client_type=client_type,
        auth_method=auth_method,
        created_at=now,
        updated_at=now,
    )
    async with core.connection() as connection:
        return await oauth_clients.insert_client(connection, client), secret


async def list_clients(core: AuthCore) -> list[OAuthClient]:
    """All clients, newest first."""
    async with core.connection() as connection:
        return await oauth_clients.list_clients(connection)


async def get_client(core: AuthCore, client_id: str) -> OAuthClient:
    """The client. Raises 400 validation_failed for an id that is no UUID, 404 oauth_client_not_found."""
    try:
        parsed = UUID(client_id)
    except ValueError:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "invalid client_id format") from None
    async with core.connection() as connection:
        client = await oauth_clients.find_client(connection, parsed)
    if client is None:
        raise _gone()
    return client


async def change_client(core: AuthCore, client: OAuthClient, changes: ClientChanges) -> OAuthClient:
    """Change a client. Raises 400 validation_failed, also where nothing shall change."""
    if changes.is_empty:
        raise _invalid("No fields provided for update")
    if changes.redirect_uris is not None:
        _check_redirect_uris(changes.redirect_uris, is_new=False)
    if changes.grant_types is not None:
        _check_grant_types(changes.grant_types)
    _check_texts(changes.name or "", changes.uri or "", changes.logo_uri or "")
    auth_method = changes.auth_method
    if auth_method is not None:
        if auth_method not in _ALL_AUTH_METHODS:
            raise _invalid(f"invalid token_endpoint_auth_method: must be one of [{' '.join(_ALL_AUTH_METHODS)}]")
        valid = _AUTH_METHODS[client.client_type]
        if auth_method not in valid:
            raise _invalid(
                f"token_endpoint_auth_method '{auth_method}' is not valid for client_type '{client.client_type}'; "
                f"valid methods: [{' '.join(valid)}]"
            )
    changed = replace(
        client,
        redirect_uris=client.redirect_uris if changes.redirect_uris is None else tuple(changes.redirect_uris),
        grant_types=client.grant_types if changes.grant_types is None else tuple(changes.grant_types),
        name=client.name if changes.name is None else changes.name,
        uri=client.uri if changes.uri is None else changes.uri,
        logo_uri=client.logo_uri if changes.logo_uri is None else changes.logo_uri,
        auth_method=client.auth_method if auth_method is None else cast(AuthMethod, auth_method),
    )
    return await _store(core, changed)


async def regenerate_secret(core: AuthCore, client: OAuthClient) -> tuple[OAuthClient, str]:
    """Give a confidential client another secret; the old one is good no longer. Raises 400 for a public client."""
    if not client.is_confidential:
        raise _invalid("Cannot regenerate secret for public client")
    secret, secret_hash = _new_secret()
    return await _store(core, replace(client, secret_hash=secret_hash)), secret


async def delete_client(core: AuthCore, client: OAuthClient) -> None:
    """Delete the client; its sessions end."""
    async with core.connection() as connection:
        await oauth_clients.delete_client(connection, client.id)


def secret_digest(secret: str) -> str:
    """What is kept of a secret. It has 256 random bits, so that a plain hash is enough."""
    return base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()).rstrip(b"=").decode()


def _new_secret() -> tuple[str, str]:
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return secret, secret_digest(secret)


async def _store(core: AuthCore, client: OAuthClient) -> OAuthClient:
    async with core.connection() as connection:
        stored = await oauth_clients.update_client(connection, client)
    if stored is None:
        raise _gone()
    return stored


def _check(request: ClientRequest) -> tuple[ClientType, AuthMethod]:
    """The type and method of a new client. Raises 400 validation_failed."""
    _check_redirect_uris(request.redirect_uris, is_new=True)
    if request.grant_types:
        _check_grant_types(request.grant_types)
    _check_texts(request.name, request.uri, request.logo_uri)
    given_type, method = request.client_type, request.auth_method
    if given_type and given_type not in _AUTH_METHODS:
        raise _invalid("client_type must be 'public' or 'confidential'")
    if method and method not in _ALL_AUTH_METHODS:
        raise _invalid(f"token_endpoint_auth_method must be one of: [{' '.join(_ALL_AUTH_METHODS)}]")
    expected = "public" if method == "none" else "confidential"
    if given_type and method and given_type != expected:
        raise _invalid(
            f"400: client_type '{given_type}' is inconsistent with token_endpoint_auth_method '{method}' "
            f"(expected client_type '{expected}')"
        )
    client_type = given_type or expected
    return cast(ClientType, client_type), cast(AuthMethod, method or _AUTH_METHODS[client_type][0])


def _check_redirect_uris(uris: Sequence[str], *, is_new: bool) -> None:
    if not uris:
        raise _invalid("redirect_uris is required" if is_new else "redirect_uris cannot be empty")
    if len(uris) > MAX_REDIRECT_URIS:
        raise _invalid(f"redirect_uris cannot exceed {MAX_REDIRECT_URIS} items")
    for uri in uris:
        fault = _fault_of(uri)
        if fault:
            raise _invalid(f"invalid redirect_uri '{uri}': {fault}")


def _fault_of(uri: str) -> str:
    """What is wrong with a redirect URI, empty for nothing. OAuth 2.1 section 2.3."""
    if not uri:
        return "redirect URI cannot be empty"
    parsed = parse_url(uri)
    if parsed is None or "," in uri or len(uri) > MAX_URI_CHARS:
        # Commas separate the stored URIs, so that none can hold one.
        return "invalid URL format"
    if not parsed.scheme or not parsed.authority:
        return "must have scheme and host"
    if parsed.scheme in _SCRIPT_SCHEMES:
        return f"scheme '{parsed.scheme}' is not allowed for security reasons"
    if parsed.scheme == "http" and parsed.hostname not in _LOOPBACK_HOSTS:
        return "HTTP scheme only allowed for localhost"
    return "fragment not allowed in redirect URI" if uri.partition("#")[2] else ""


def _check_grant_types(grant_types: Sequence[str]) -> None:
    if not grant_types:
        raise _invalid("grant_types cannot be empty")
    if any(grant not in GRANT_TYPES for grant in grant_types):
        raise _invalid("grant_types must only contain 'authorization_code' and/or 'refresh_token'")


def _check_texts(name: str, uri: str, logo_uri: str) -> None:
    if len(name.encode()) > MAX_NAME_CHARS:
        raise _invalid(f"client_name cannot exceed {MAX_NAME_CHARS} characters")
    for field, value in (("client_uri", uri), ("logo_uri", logo_uri)):
        if len(value.encode()) > MAX_URI_CHARS:
            raise _invalid(f"{field} cannot exceed {MAX_URI_CHARS} characters")
        if value and not _is_request_uri(value):
            raise _invalid(f"{field} must be a valid URL")


def _is_request_uri(text: str) -> bool:
    """Whether it is absolute, or a path from the root."""
    try:
        return parse_url(text) is not None and (text.startswith("/") or bool(urlsplit(text).scheme))
    except ValueError:
        return False


def _invalid(message: str) -> AuthError:
    return bad_request(ErrorCode.VALIDATION_FAILED, message)


def _gone() -> AuthError:
    return not_found(ErrorCode.OAUTH_CLIENT_NOT_FOUND, "OAuth client not found")
