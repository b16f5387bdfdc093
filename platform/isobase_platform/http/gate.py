"""What the gateway makes of API keys before a service sees the request.

Source: the key handling of the Supabase command line's gateway (contracts/auth.md 0, storage.md 1.0): ``Authorization``
that is not an opaque key wins; else an opaque ``apikey`` is swapped for its role's token; else, where the mount's rule
says so, a JWT ``apikey`` becomes the bearer token.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.types import Scope

from isobase_platform.errors import IsobaseError
from isobase_platform.http.request import header
from isobase_platform.service import ApiKeyRule
from isobase_platform.tokens import ApiKeys

__all__ = ["MissingApiKey", "authorization_for", "with_authorization"]


class MissingApiKey(IsobaseError):
    """The gateway wants an API key and got none, or an opaque one that is not this project's."""

    default_code = "no_api_key"
    default_status = 401


def authorization_for(scope: Scope, rule: ApiKeyRule, keys: ApiKeys, *, is_required: bool) -> str | None:
    """The ``Authorization`` that the service shall see; None leaves the request's own.

    Raises ``MissingApiKey`` when ``is_required`` and neither header nor query brought a key (unless the rule makes keys
    optional), and for an opaque key that is not this project's.
    """
    if rule is ApiKeyRule.NONE:
        return None
    authorization = header(scope, "authorization")
    api_key = header(scope, "apikey") or _query_value(scope, "apikey")
    bearer = authorization[7:].strip() if authorization and authorization[:7].lower() == "bearer " else None
    if authorization and not (bearer is not None and keys.is_opaque(bearer)):
        return None
    opaque = bearer if bearer is not None else api_key
    if opaque is not None and keys.is_opaque(opaque):
        token = keys.token_for(opaque)
        # A client sends its opaque key in both headers; one unknown beside one known is refused all the same.
        if token is None:
            raise MissingApiKey("Unknown API key", code="unknown_api_key")
        return f"Bearer {token}"
    if api_key is None:
        if is_required and rule is not ApiKeyRule.OPTIONAL:
            raise MissingApiKey(
                "No API key found in request", hint="No `apikey` request header or url param was found."
            )
        return None
    return f"Bearer {api_key}" if rule in (ApiKeyRule.BEARER, ApiKeyRule.OPTIONAL) else None


def with_authorization(scope: Scope, authorization: str) -> Scope:
    """A copy of the scope whose only ``Authorization`` header is the given one."""
    headers = [(key, value) for key, value in scope["headers"] if key != b"authorization"]
    # A key out of the query string may hold any character; as UTF-8 it is no token of ours and is refused as such.
    headers.append((b"authorization", authorization.encode()))
    return {**scope, "headers": headers}


def _query_value(scope: Scope, name: str) -> str | None:
    query: bytes = scope.get("query_string", b"")
    if name.encode() not in query:
        return None
    for key, value in parse_qsl(query.decode("latin-1")):
        if key == name:
            return value
    return None
