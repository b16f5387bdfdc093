"""A program exchanges its code for tokens and refreshes them, and reads who the user is.

Source: supabase/auth internal/api/oauthserver (handlers.go, client_auth.go, auth.go), internal/tokens/service.go
(GenerateIDToken); OpenID Connect Core sections 2 and 5.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, OAuthRefusal, bad_request
from isobase_services.auth.flows.grants import issue_grant, start_session
from isobase_services.auth.flows.oauth_clients import secret_digest
from isobase_services.auth.models import ClientFacts, Grant, JsonObject, OAuthTerms, SessionTerms, User
from isobase_services.auth.store import oauth_authorizations, oauth_clients, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.oauth_authorizations import Authorization
from isobase_services.auth.store.oauth_clients import AuthMethod, OAuthClient

__all__ = ["CodeRequest", "Credentials", "Exchanged", "authenticate_client", "exchange_code", "user_info"]

METHOD = "oauth_provider/authorization_code"
ID_TOKEN_S = 3600


@dataclass(slots=True, frozen=True)
class Credentials:
    """Who a program says it is, and how it said so."""

    client_id: str
    secret: str = field(repr=False)
    method: AuthMethod


@dataclass(slots=True, frozen=True)
class CodeRequest:
    """What comes with a code; absent texts are empty."""

    code: str = field(repr=False)
    verifier: str = field(repr=False)
    redirect_uri: str
    resource: str


@dataclass(slots=True, frozen=True)
class Exchanged:
    """The tokens; ``id_token`` is empty where none was asked for, or none can be signed."""

    grant: Grant
    id_token: str = field(repr=False)


async def authenticate_client(core: AuthCore, credentials: Credentials) -> OAuthClient:
    """The program, which has shown that it is the one. Raises 400 invalid_credentials."""
    try:
        client_id = UUID(credentials.client_id)
    except ValueError:
        raise _no_client("Invalid client_id format") from None
    async with core.connection() as connection:
        client = await oauth_clients.find_client(connection, client_id)
    if client is None:
        raise _no_client("Invalid client credentials")
    if credentials.method != client.auth_method:
        raise _no_client(
            f"invalid authentication method: client is registered for '{client.auth_method}' but "
            f"'{credentials.method}' was used"
        )
    if client.is_confidential and not hmac.compare_digest(secret_digest(credentials.secret), client.secret_hash):
        raise _no_client("invalid client credentials")
    return client


async def exchange_code(
    core: AuthCore, client: OAuthClient, request: CodeRequest, facts: ClientFacts, terms: SessionTerms
) -> Exchanged:
    """Open a session of the program for the user who approved. Raises OAuth's invalid_request, invalid_grant."""
    if not request.code:
        raise OAuthRefusal("invalid_request", "code is required for authorization_code grant")
    async with core.connection() as connection:
        authorization = await oauth_authorizations.find_by_code(connection, request.code)
        if authorization is None:
            raise OAuthRefusal("invalid_grant", "Invalid authorization code")
        _check(core, client, authorization, request)
        assert authorization.user_id is not None  # an approved one has its user
        user = await users.find_by_id(connection, authorization.user_id)
    if user is None:
        raise OAuthRefusal("invalid_grant", "User not found for authorization code")
    if user.is_banned(core.now()):
        raise OAuthRefusal("access_denied", "User is banned")
    entry = Entry(
        user_actor(user),
        Action.LOGIN,
        {"provider_type": "oauth_provider_authorization_code", "client_id": str(client.id)},
    )
    async with core.transaction() as connection:
        if not await oauth_authorizations.take_authorization(connection, authorization.id):
            raise OAuthRefusal("invalid_grant", "Invalid authorization code")
        session = await start_session(
            core,
            connection,
            user,
            method=METHOD,
            facts=facts,
            terms=terms,
            entries=[entry],
            oauth=OAuthTerms(client.id, authorization.scope),
        )
    if session is None:
        raise OAuthRefusal("invalid_grant", "User not found for authorization code")
    return Exchanged(await issue_grant(core, session), _id_token(core, client, authorization, session.user))


def user_info(user: User, scopes: list[str] | None) -> JsonObject:
    """What a program may read of the user; ``scopes`` None for a session that is no program's."""
    granted = frozenset(scopes or ())
    info: dict[str, Any] = {"sub": str(user.id)}
    if "email" in granted:
        if user.email:
            info["email"] = user.email
        if user.email_confirmed_at is not None:
            info["email_verified"] = True
    if "profile" in granted:
        info |= _profile(user)
        info["user_metadata"] = user.user_metadata
    if "phone" in granted:
        if user.phone:
            info["phone"] = user.phone
        if user.phone_confirmed_at is not None:
            info["phone_verified"] = True
    return info


def _check(core: AuthCore, client: OAuthClient, authorization: Authorization, request: CodeRequest) -> None:
    if core.now() > authorization.expires_at:
        raise OAuthRefusal("invalid_grant", "Authorization code has expired")
    if authorization.client_id != client.id:
        raise OAuthRefusal("invalid_grant", "Authorization code was not issued for this client")
    if request.resource and request.resource != authorization.resource:
        raise OAuthRefusal("invalid_grant", "Authorization code resource does not match the resource parameter")
    if request.redirect_uri and request.redirect_uri != authorization.redirect_uri:
        raise OAuthRefusal("invalid_grant", "Invalid redirect_uri")
    if not request.verifier:
        raise OAuthRefusal(
            "invalid_grant", "PKCE verification failed: code_verifier is required when PKCE challenge is present"
        )
    if not authorization.accepts(request.verifier):
        raise OAuthRefusal(
            "invalid_grant",
            "PKCE verification failed: code challenge does not match previously saved code verifier",
        )


def _id_token(core: AuthCore, client: OAuthClient, authorization: Authorization, user: User) -> str:
    """Sign who the user is, for the scope ``openid``.

    Empty where the project signs with a shared secret, which no program may hold; upstream answers 500 then.
    """
    granted = frozenset(authorization.scopes)
    if "openid" not in granted or core.platform.keys.signing_key.public_jwk is None:
        return ""
    now_s = int(core.now().timestamp())
    signed_in_at = user.last_sign_in_at or core.now()
    claims: dict[str, Any] = {
        "iss": core.token_issuer,
        "sub": str(user.id),
        "aud": str(client.id),
        "exp": now_s + ID_TOKEN_S,
        "iat": now_s,
        "auth_time": int(signed_in_at.timestamp()),
        "client_id": str(client.id),
    }
    if authorization.nonce:
        claims["nonce"] = authorization.nonce
    if "email" in granted:
        claims |= {"email": user.email, "email_verified": user.email_confirmed_at is not None}
    if "phone" in granted:
        claims |= {"phone_number": user.phone, "phone_number_verified": user.phone_confirmed_at is not None}
    if "profile" in granted:
        claims |= _profile(user)
    return core.platform.issuer.sign(claims)


def _profile(user: User) -> JsonObject:
    """The claims of the scope ``profile``, as far as the user's metadata have them."""
    found = {
        "name": _text(user, "name") or user.email,
        "picture": _text(user, "picture") or _text(user, "avatar_url"),
        "preferred_username": _text(user, "preferred_username") or _text(user, "username"),
    }
    profile: dict[str, Any] = {name: value for name, value in found.items() if value}
    profile["updated_at"] = int(user.updated_at.timestamp())
    return profile


def _text(user: User, name: str) -> str:
    value = user.user_metadata.get(name)
    return value if isinstance(value, str) else ""


def _no_client(message: str) -> AuthError:
    return bad_request(ErrorCode.INVALID_CREDENTIALS, message)
