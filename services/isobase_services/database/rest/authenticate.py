"""Who calls: a request's bearer token becomes a role with its claims, or a refusal.

Source: PostgREST v14 docs, references/auth; ``Auth.hs`` and ``Auth/Jwt.hs`` for the order of refusals.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.types import Scope

from isobase_platform.caller import Caller, Claims
from isobase_platform.claim_path import parse_claim_path
from isobase_platform.config import RestSettings
from isobase_platform.errors import TokenError, TokenRefusal
from isobase_platform.http.request import request_facts
from isobase_platform.jwk_set import parse_jwt_secret
from isobase_platform.tokens import TokenVerifier
from isobase_services.database.query.errors import RequestError
from isobase_services.database.rest.errors import CALLER_IS_KNOWN, given_token

__all__ = ["JWT_LEEWAY_S", "Authenticator", "create_authenticator"]

JWT_LEEWAY_S = 30
"""PostgREST forgives this much clock difference."""

MAX_KNOWN_TOKENS = 1000
"""Tokens whose role is remembered; they are all forgotten when there are more."""

_NOBODY = Claims({}, "{}")


class Authenticator:
    """Reads callers off requests. One per state of the settings: build it with ``create_authenticator``.

    ``verifier`` is None where no secret is configured: then any token is refused (500 PGRST300), and none is needed.
    """

    def __init__(self, settings: RestSettings, verifier: TokenVerifier | None) -> None:
        self.verifier = verifier
        self._anon = settings.anon_role
        self._audience = settings.jwt_aud
        self._role_path = parse_claim_path(settings.jwt_role_claim_key)
        # Token -> its verified claims, and what they come to. It counts as long as the verifier gives these very claims.
        self._known: dict[str | None, tuple[Claims, str, Claims]] = {}

    def caller(self, scope: Scope) -> Caller:
        """The caller of a request: the anonymous role without a bearer token.

        Raises ``TokenError`` for a token that does not verify or is for another audience, and PGRST302 (401) where there
        is neither a role in a token nor an anonymous one. As upstream, the claims that SQL sees always name the role.
        """
        token = given_token(scope)
        verified = _NOBODY if token is None else self._verified(token)
        known = self._known.get(token)
        if known is None or known[0] is not verified:
            known = (verified, *self._identified(verified))
            if len(self._known) >= MAX_KNOWN_TOKENS:
                self._known.clear()
            self._known[token] = known
        _, role, claims = known
        scope[CALLER_IS_KNOWN] = role != self._anon
        return Caller(role=role, claims=claims, request=request_facts(scope))

    def _identified(self, claims: Claims) -> tuple[str, Claims]:
        """The role that verified claims stand for, and the claims with it. Raises as ``caller``."""
        self._check_audience(claims.raw.get("aud"))
        found = self._role_path.find(claims.raw)
        role = self._anon if found is None else _role_name(found[0])
        if not role:
            error = RequestError("Anonymous access is disabled", code="PGRST302", status=401)
            error.headers = (("www-authenticate", "Bearer"),)
            raise error
        return role, claims if claims.role == role else Claims.from_payload({**claims.raw, "role": role})

    def _verified(self, token: str) -> Claims:
        if self.verifier is None:
            raise RequestError("Server lacks JWT secret", code="PGRST300", status=500)
        if token == "":
            raise TokenError("The token is empty", TokenRefusal.MALFORMED)
        return self.verifier.verify(token, leeway_s=JWT_LEEWAY_S)

    def _check_audience(self, audience: object) -> None:
        """A token may name no audience; one that it names must be ours, where we have one. An empty list names none."""
        if audience is None:
            return
        members = audience if isinstance(audience, list) else [audience]
        if not all(isinstance(member, str) for member in members):
            raise TokenError("The JWT 'aud' claim must be a string or an array of strings", TokenRefusal.CLAIMS)
        if self._audience is not None and members and self._audience not in members:
            raise TokenError("JWT not in audience", TokenRefusal.CLAIMS)


def create_authenticator(
    settings: RestSettings, project_verifier: Callable[[int], TokenVerifier] | None
) -> Authenticator:
    """The authenticator of ``settings``; without a secret among them it takes the tokens that the project accepts.

    ``project_verifier`` makes their verifier, given how many tokens it may remember. Raises ``ConfigurationError`` for a
    secret that cannot be used.
    """
    cache_size = settings.jwt_cache_max_entries
    if settings.jwt_secret is not None:
        keys = parse_jwt_secret(settings.jwt_secret.get_secret_value(), is_base64=settings.jwt_secret_is_base64)
        return Authenticator(settings, TokenVerifier(keys, cache_size=cache_size))
    return Authenticator(settings, None if project_verifier is None else project_verifier(cache_size))


def _role_name(value: object) -> str:
    """The role; a claim that is no string names a role by its JSON text, which hardly exists."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
