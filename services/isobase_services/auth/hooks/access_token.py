"""The hook that changes the claims of access tokens.

The claims that say whose token it is and how long it lives stay as they were made: upstream lets a hook change them, and a
mistake in one then hands out tokens of other users or without an end. The same for ``session_id``, ``aal`` and ``amr``, which
decide over sign-out and second factors. Every other claim, ``role`` among them, is the hook's to set.
Source: supabase/auth internal/tokens/service.go (MinimumViableTokenSchema); contracts auth 2.19.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from isobase_services.auth.hooks.answers import failed
from isobase_services.auth.models import JsonObject, OpenSession

if TYPE_CHECKING:
    from isobase_services.auth.hooks import Hooks

__all__ = ["MAX_CLAIMS_BYTES", "checked_claims", "customised_claims"]

MAX_CLAIMS_BYTES = 32 * 1024
"""A token travels in a header with each request; servers and proxies refuse longer ones."""

_REQUIRED = ("aud", "exp", "iat", "sub", "email", "phone", "role", "aal", "session_id", "is_anonymous")
_KINDS: dict[str, tuple[type, ...]] = {
    "aud": (str, list),
    "exp": (int,),
    "jti": (str,),
    "iat": (int,),
    "iss": (str,),
    "nbf": (int,),
    "sub": (str,),
    "email": (str,),
    "phone": (str,),
    "app_metadata": (dict,),
    "user_metadata": (dict,),
    "role": (str,),
    "aal": (str,),
    "amr": (list,),
    "session_id": (str,),
    "client_id": (str,),
}
_KIND_NAMES = {str: "string", int: "integer", list: "array", dict: "object", bool: "boolean", float: "number"}
_KEPT = ("iss", "sub", "aud", "iat", "session_id", "aal", "amr", "is_anonymous", "client_id")


async def customised_claims(hooks: Hooks, session: OpenSession, claims: JsonObject) -> JsonObject:
    """The claims as the hook returns them, checked. Raises the hook's error, and 500 for claims that make no token."""
    given = {"user_id": str(session.user.id), "claims": claims, "authentication_method": session.method}
    answer = await hooks.run("custom_access_token", given, session.facts)
    if "claims" not in answer:
        raise failed("output claims field is missing")
    return checked_claims(claims, answer["claims"])


def checked_claims(made: JsonObject, returned: object) -> JsonObject:
    """``returned`` with the claims of ``made`` that a hook cannot change; raises 500 for what is no set of claims."""
    if not isinstance(returned, dict):
        raise failed("Error unmarshaling JSON output.")
    problems = [f"(root): {name} is required" for name in _REQUIRED if name not in returned]
    for name, kinds in _KINDS.items():
        if name in returned and not _is_of_kind(returned[name], kinds):
            wanted = "/".join(_KIND_NAMES[kind] for kind in kinds)
            problems.append(f"{name}: Invalid type. Expected: {wanted}, given: {_kind_name(returned[name])}")
    if problems:
        listed = "".join(f"- {problem}\n" for problem in problems)
        raise failed(f"output claims do not conform to the expected schema: \n{listed}")
    kept = {name: made[name] for name in _KEPT if name in made}
    invented = {name for name in _KEPT if name not in made}
    result = {name: value for name, value in returned.items() if name not in invented} | kept
    # A hook may shorten a token's life, never prolong it: a session's end would not be one.
    result["exp"] = min(int(returned["exp"]), made["exp"])
    if len(json.dumps(result, separators=(",", ":")).encode()) > MAX_CLAIMS_BYTES:
        raise failed(f"output claims are larger than {MAX_CLAIMS_BYTES} bytes")
    return result


def _is_of_kind(value: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _kind_name(value: object) -> str:
    return "null" if value is None else _KIND_NAMES.get(type(value), "object")
