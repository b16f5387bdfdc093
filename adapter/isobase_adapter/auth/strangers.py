"""Somebody whom one side does not know yet, and the other does: found there by what they brought, and carried over.

A browser may have signed in at the other side a moment ago. When the side that is asked answers that it does not know a
session, a token or a code, the other side's database is asked for it; if it is there, its user is carried and the call
is made again. Nothing is learnt by asking: the answer of the second call is the same as if the user had always been
there.
"""

from __future__ import annotations

import json

import asyncpg
import httpx

from isobase_adapter.auth.calls import Hints
from isobase_adapter.auth.rows import Fetches
from isobase_adapter.http.bodies import content_of

__all__ = ["is_stranger", "made_the_code", "strangers_of"]

_UNKNOWN = frozenset(
    {
        "session_not_found",
        "user_not_found",
        "refresh_token_not_found",
        "refresh_token_already_used",
        "invalid_credentials",
        "otp_expired",
        "flow_state_not_found",
        "mfa_factor_not_found",
        "mfa_challenge_expired",
        "identity_not_found",
        "bad_jwt",
    }
)
"""Error codes that a side gives to whom it does not know; older releases of GoTrue give texts alone."""
_UNKNOWN_TEXTS = (
    "refresh token not found",
    "session_id claim in jwt does not exist",
    "invalid login credentials",
    "user from sub claim",
    "invalid flow state",
    "already used",
    "not issued by this server",
)

_BY_TOKEN = "select t.user_id::text from auth.refresh_tokens t where t.token = $1"  # noqa: S105  a statement
_BY_SESSION = "select s.user_id::text from auth.sessions s where s.id = $1::uuid"
_BY_CODE = "select f.user_id::text from auth.flow_state f where f.auth_code = $1 and f.user_id is not null"
_BY_HASH = "select t.user_id::text from auth.one_time_tokens t where t.token_hash = any(array[$1, 'pkce_' || $1])"
_BY_EMAIL = """
select u.id::text from auth.users u where u.email = lower($1)
union select t.user_id::text from auth.one_time_tokens t where t.relates_to = lower($1)"""
_BY_PHONE = """
select u.id::text from auth.users u where u.phone = ltrim($1, '+')
union select t.user_id::text from auth.one_time_tokens t where t.relates_to = ltrim($1, '+')"""
_SENT_CODE = "select 1 where isobase.sent_code_to($1)"
_BY_ID = "select u.id::text from auth.users u where u.id = $1::uuid"


def is_stranger(response: httpx.Response) -> bool:
    """Whether an answer says that the side does not know who or what was named."""
    if response.status_code not in (400, 401, 403, 404, 422):
        return False
    try:
        body = json.loads(content_of(response))
    except ValueError:
        return False
    if not isinstance(body, dict):
        return False
    code = body.get("error_code") or body.get("code") or response.headers.get("x-sb-error-code")
    if isinstance(code, str) and code in _UNKNOWN:
        return True
    text = str(body.get("msg") or body.get("error_description") or body.get("message") or "").lower()
    return any(part in text for part in _UNKNOWN_TEXTS)


async def strangers_of(database: Fetches, hints: Hints) -> set[str]:
    """Give the ids of the users at a side whom a request's hints name."""
    wanted = (
        (_BY_ID, hints.user),
        (_BY_TOKEN, hints.refresh_token),
        (_BY_SESSION, hints.counted_session),
        (_BY_CODE, hints.auth_code),
        (_BY_HASH, hints.token_hash),
        (_BY_EMAIL, hints.email),
        (_BY_PHONE, hints.phone),
    )
    found: set[str] = set()
    for statement, value in wanted:
        if value is not None:
            found |= {row[0] for row in await database.fetch(statement, value)}
    return found


async def made_the_code(database: Fetches, hints: Hints) -> bool:
    """Whether a side sent a code to the address of a request that no other side can check (Isobase salts what it keeps)."""
    address = hints.email or hints.phone
    if address is None:
        return False
    try:
        return bool(await database.fetch(_SENT_CODE, address))
    except (asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError):
        # GoTrue salts nothing: its codes are good wherever their rows are.
        return False
