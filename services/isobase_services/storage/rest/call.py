"""One call of the Supabase face: who asks, for which bucket and key, with which body.

The order of checks is upstream's: body, then query, then the Authorization header's presence, then the token.
Source: contracts/storage.md 1.0 "Auth"; Fastify's request lifecycle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform.caller import ANON_ROLE, Caller, Claims
from isobase_platform.errors import TokenError
from isobase_platform.http.body import read_body
from isobase_platform.http.request import header, request_facts
from isobase_platform.strict_json import refuse_constant
from isobase_platform.tokens import TokenVerifier
from isobase_services.storage.core.database import Actor, role_of
from isobase_services.storage.errors import StorageError, refuse
from isobase_services.storage.paths import with_slashes
from isobase_services.storage.rest.schema import Object, validate, validation_error
from isobase_services.storage.signer import token_refusal_text

__all__ = ["Auth", "Call", "Endpoint", "EndpointApp"]

MAX_JSON_BODY_BYTES = 1024 * 1024
_BODYLESS = frozenset({"GET", "HEAD"})
_MEDIA_TYPE = re.compile(r"\s*[\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+\s*(;|$)", re.ASCII)
"""A media type as upstream's framework wants it; it does not look at the parameters."""
_BEARER = re.compile(r"^Bearer\s+", re.IGNORECASE)
_ANONYMOUS = Claims.from_payload({"role": ANON_ROLE})


class Auth(Enum):
    """What a route wants to know of its caller."""

    REQUIRED = auto()
    """A token that verifies. On a bare server a missing header is told apart from a token that does not verify."""
    VERIFIED = auto()
    """As REQUIRED, but a missing header is an empty token everywhere: upstream's route names no headers."""
    OPTIONAL = auto()
    """A token that does not verify, or none, makes the caller anonymous."""
    NONE = auto()
    """The header is not looked at; a signed URL or a public bucket decides."""


@dataclass(slots=True, frozen=True)
class Call:
    """A request on its way through an endpoint."""

    scope: Scope
    receive: Receive
    auth: Auth
    operation: str
    verifier: TokenVerifier
    roles: frozenset[str] | None = None

    @property
    def bucket(self) -> str:
        """The bucket's id in the path."""
        return with_slashes(self.scope["path_params"]["bucket"])

    @property
    def key(self) -> str:
        """The object's key in the path, decoded."""
        return with_slashes(self.scope["path_params"]["key"])

    def header(self, name: str) -> str | None:
        """The first header called ``name``, or None."""
        return header(self.scope, name)

    def flag(self, name: str) -> bool:
        """True where the header says exactly ``true``; spaces around a value are no part of it (RFC 9110, 5.5)."""
        return (self.header(name) or "").strip() == "true"

    def query(self) -> dict[str, Any]:
        """The query string: a text per name, or a list where the name is repeated."""
        raw = self.scope.get("query_string", b"").decode("latin-1")
        parsed = parse_qs(raw, keep_blank_values=True, errors="replace")
        return {name: values[0] if len(values) == 1 else values for name, values in parsed.items()}

    async def json_body(self, schema: Object) -> dict[str, Any]:
        """The known members of the JSON body, checked and coerced.

        Raises upstream's errors for a body that is too large, empty, no JSON, or does not fit.
        """
        content_type = self.header("content-type")
        raw = await read_body(self.scope, self.receive, MAX_JSON_BODY_BYTES)
        return validate(schema, _parse_body(raw, content_type), "body")

    async def skip_json_body(self) -> None:
        """Read a body that means nothing; an empty one is fine whatever its type says. Errors as ``json_body``."""
        raw = await read_body(self.scope, self.receive, MAX_JSON_BODY_BYTES)
        if raw:
            _parse_body(raw, self.header("content-type"))

    def actor(self) -> Actor:
        """Who asks, by the route's rule.

        Raises the validation error for a missing header on a bare server, AccessDenied for a token that is missing
        behind a gateway or does not verify, and for a role that is none of the route's.
        """
        if self.auth is Auth.NONE:
            return self._anonymous()
        authorization = self.header("authorization")
        if authorization is None and self.auth is Auth.REQUIRED and not self.scope.get("root_path"):
            raise validation_error("headers must have required property 'authorization'")
        token = _BEARER.sub("", authorization or "", count=1)
        try:
            claims = self.verifier.verify(token)
        except TokenError as error:
            if self.auth is Auth.OPTIONAL:
                return self._anonymous()
            raise refuse.access_denied(token_refusal_text(error)) from error
        role = role_of(claims)
        if self.roles is not None and role not in self.roles:
            raise refuse.role_refused("Access denied: Invalid role")
        return Actor(Caller(role, claims, request_facts(self.scope)), self.operation, token)

    def _anonymous(self) -> Actor:
        caller = Caller(ANON_ROLE, _ANONYMOUS, request_facts(self.scope))
        return Actor(caller, self.operation, is_authenticated=False)


Endpoint: TypeAlias = Callable[[Call], Awaitable[ASGIApp]]
"""Takes a call and returns its answer."""


class EndpointApp:
    """The ASGI app of one route.

    Parameters: ``handle`` answers a call; ``operation`` is what ``storage.operation()`` tells policies; ``roles`` are the
    only ones that the route serves (None: all).
    """

    def __init__(
        self,
        handle: Endpoint,
        auth: Auth,
        operation: str,
        verifier: TokenVerifier,
        *,
        roles: frozenset[str] | None = None,
    ) -> None:
        self._handle = handle
        self._auth = auth
        self._operation = operation
        self._verifier = verifier
        self._roles = roles

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises InvalidMimeType for a Content-Type that is none, before anything else is asked."""
        content_type = header(scope, "content-type")
        if content_type is not None and scope["method"] not in _BODYLESS and not _MEDIA_TYPE.match(content_type):
            raise refuse.invalid_mime_type_header()
        # Whoever reads the path from here on sees the slashes that it encodes.
        scope = {**scope, "path": with_slashes(scope["path"])}
        call = Call(scope, receive, self._auth, self._operation, self._verifier, self._roles)
        response = await self._handle(call)
        await response(scope, receive, send)


def _parse_body(raw: bytes, content_type: str | None) -> Any:
    media_type = (content_type or "").split(";")[0].strip().lower()
    if media_type == "text/plain":
        return raw.decode("utf-8", "replace")
    if media_type != "application/json":
        return None  # upstream reads no other body, and then misses its object
    if not raw:
        raise _framework_error("Body cannot be empty when content-type is set to 'application/json'")
    try:
        return _well_formed(json.loads(raw, parse_constant=refuse_constant))
    except (ValueError, RecursionError) as error:
        message = "Body is not valid JSON but content-type is set to 'application/json'"
        raise _framework_error(message) from error


def _well_formed(value: Any) -> Any:
    """The value with lone surrogates replaced, which JSON can spell and UTF-8 cannot."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_well_formed(item) for item in value]
    if isinstance(value, dict):
        return {_well_formed(name): _well_formed(item) for name, item in value.items()}
    return value


def _framework_error(message: str) -> StorageError:
    return refuse.invalid_request(message, label="FastifyError")
