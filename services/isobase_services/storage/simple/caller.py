"""Who calls the simple face: a signed-in user, or the service for what needs no user."""

from __future__ import annotations

import uuid

from starlette.requests import Request

from isobase_platform.caller import ANON_ROLE, Caller
from isobase_platform.errors import Forbidden, NotFound, TokenError, TokenRefusal
from isobase_platform.http.request import bearer_token, request_facts
from isobase_platform.tokens import TokenVerifier
from isobase_services.storage.core.database import Actor, role_of

__all__ = ["actor_of", "path_id", "user_of"]


def actor_of(request: Request, verifier: TokenVerifier, operation: str) -> Actor:
    """The caller by his bearer token; ``operation`` is what policies are told.

    Raises ``TokenError`` (401) where there is no token, it does not verify, or it is no user's.
    """
    token = bearer_token(request.scope)
    if token is None:
        raise TokenError("Sign in first: no bearer token was sent", TokenRefusal.MALFORMED)
    claims = verifier.verify(token)
    role = role_of(claims)
    if role == ANON_ROLE:
        raise TokenError("Sign in first: the token is no user's", TokenRefusal.CLAIMS)
    return Actor(Caller(role, claims, request_facts(request.scope)), operation, token)


def user_of(actor: Actor) -> str:
    """The user's id. Raises 403 ``user_required`` for a token without one, such as the service's."""
    user_id = actor.owner_id
    if user_id is None:
        raise Forbidden("Only a signed-in user can upload", code="user_required")
    return user_id


def path_id(request: Request, name: str, *, message: str, code: str) -> uuid.UUID:
    """The UUID ``name`` of the path; what is none names nothing: 404 with ``message`` and ``code``."""
    try:
        return uuid.UUID(request.path_params[name])
    except ValueError as error:
        raise NotFound(message, code=code) from error
