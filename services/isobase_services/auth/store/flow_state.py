"""Rows of ``auth.flow_state``: code exchanges that are under way (PKCE), and states of OAuth sign-ins.

A row is good for one exchange. It is found by its auth code (the exchange), by its id (an OAuth provider comes back with it
as ``state``), or by user and method (a mail's link was followed). Contracts auth 2.10, 2.18; supabase/auth
internal/models/flow_state.go.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

if TYPE_CHECKING:
    import asyncpg

    from isobase_platform.pool import Connection

__all__ = [
    "FlowState",
    "NewFlow",
    "complete_flow",
    "delete_flow",
    "delete_flows_of",
    "find_flow",
    "find_flow_by_code",
    "issue_auth_code",
    "lock_flow",
    "start_flow",
    "take_flow",
]

_COLUMNS = """f.id, f.user_id, f.auth_code, f.code_challenge_method::text as code_challenge_method, f.code_challenge,
  f.provider_type, f.provider_access_token, f.provider_refresh_token, f.created_at, f.authentication_method,
  f.auth_code_issued_at, f.invite_token, f.referrer, f.oauth_client_state_id, f.linking_target_id, f.email_optional"""


@dataclass(slots=True, frozen=True)
class NewFlow:
    """What a flow begins with. ``challenge`` is empty for the implicit flow; the fields below it are OAuth's."""

    provider_type: str
    method: str
    """What ``amr`` will say: email/signup, magiclink, recovery, invite, email_change, oauth, ..."""
    user_id: UUID | None = None
    challenge: str = ""
    challenge_method: str | None = None
    """s256 or plain."""
    invite_token: str = field(default="", repr=False)
    referrer: str = ""
    oauth_client_state_id: UUID | None = None
    linking_target_id: UUID | None = None
    email_optional: bool = False
    id: UUID | None = None
    """Chosen beforehand, where something else must know it before the row is there."""


@dataclass(slots=True, frozen=True)
class FlowState:
    """A row; absent texts are empty."""

    id: UUID
    user_id: UUID | None
    auth_code: str = field(repr=False)
    challenge: str = field(repr=False)
    challenge_method: str
    provider_type: str
    provider_access_token: str = field(repr=False)
    provider_refresh_token: str = field(repr=False)
    created_at: datetime
    method: str
    auth_code_issued_at: datetime | None
    invite_token: str = field(repr=False)
    referrer: str
    oauth_client_state_id: UUID | None
    linking_target_id: UUID | None
    email_optional: bool

    @property
    def is_pkce(self) -> bool:
        """True where a code is exchanged in the end; false for the implicit flow."""
        return bool(self.challenge)

    def is_expired(self, now: datetime, life_s: float) -> bool:
        """Whether it is over: counted from its start, for a magic link from when its code was given out."""
        starts_at = self.created_at
        if self.method == "magiclink" and self.auth_code_issued_at is not None:
            starts_at = self.auth_code_issued_at
        return now > starts_at + timedelta(seconds=life_s)

    def accepts(self, verifier: str) -> bool:
        """Whether ``verifier`` is what the flow's challenge was made of."""
        given = verifier
        if self.challenge_method == "s256":
            digest = hashlib.sha256(verifier.encode("utf-8", "surrogatepass")).digest()
            given = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return self.is_pkce and hmac.compare_digest(self.challenge.encode(), given.encode("utf-8", "surrogatepass"))


async def start_flow(connection: Connection, flow: NewFlow) -> UUID:
    """Store a flow and return its id; with a challenge it gets its auth code at once, which nobody is told yet."""
    flow_id: UUID = await connection.fetchval(
        """
        insert into auth.flow_state (id, user_id, auth_code, code_challenge_method, code_challenge, provider_type,
          provider_access_token, provider_refresh_token, authentication_method, invite_token, referrer,
          oauth_client_state_id, linking_target_id, email_optional, created_at, updated_at)
        values (coalesce($12, gen_random_uuid()), $1, $2, $3::text::auth.code_challenge_method, nullif($4, ''), $5, '', '',
          $6, nullif($7, ''), nullif($8, ''), $9, $10, $11, statement_timestamp(), statement_timestamp())
        returning id
        """,
        flow.user_id,
        str(uuid4()) if flow.challenge else None,
        flow.challenge_method if flow.challenge else None,
        flow.challenge,
        flow.provider_type,
        flow.method,
        flow.invite_token,
        flow.referrer,
        flow.oauth_client_state_id,
        flow.linking_target_id,
        flow.email_optional,
        flow.id,
    )
    return flow_id


async def find_flow(connection: Connection, flow_id: UUID) -> FlowState | None:
    """The flow, or None."""
    return _flow(await connection.fetchrow(f"select {_COLUMNS} from auth.flow_state f where f.id = $1", flow_id))  # noqa: S608  constants


async def lock_flow(connection: Connection, flow_id: UUID) -> FlowState | None:
    """The flow, locked to the end of the transaction; None where there is none or somebody else is at it."""
    return _flow(
        await connection.fetchrow(
            f"select {_COLUMNS} from auth.flow_state f where f.id = $1 for update skip locked",  # noqa: S608  constants
            flow_id,
        )
    )


async def find_flow_by_code(connection: Connection, auth_code: str) -> FlowState | None:
    """The flow with the auth code whose user is known, or None. It may be expired."""
    return _flow(
        await connection.fetchrow(
            f"select {_COLUMNS} from auth.flow_state f where f.auth_code = $1 and f.user_id is not null",  # noqa: S608  constants
            auth_code,
        )
    )


async def take_flow(connection: Connection, flow_id: UUID) -> bool:
    """Remove the flow; of several callers at once only one is told True, and may go on."""
    return await connection.execute("delete from auth.flow_state where id = $1", flow_id) != "DELETE 0"


async def delete_flow(connection: Connection, flow_id: UUID) -> None:
    """Remove the flow, where it still is."""
    await take_flow(connection, flow_id)


async def delete_flows_of(connection: Connection, user_id: UUID) -> None:
    """Remove every flow whose end would sign this user in, or add an identity to them."""
    await connection.execute("delete from auth.flow_state where user_id = $1 or linking_target_id = $1", user_id)


async def issue_auth_code(connection: Connection, user_id: UUID, method: str) -> str | None:
    """The auth code of the user's newest PKCE flow by ``method``, which from now on is given out; None without one."""
    auth_code: str | None = await connection.fetchval(
        """
        update auth.flow_state set auth_code_issued_at = statement_timestamp(), updated_at = statement_timestamp()
         where id = (select f.id from auth.flow_state f
                      where f.user_id = $1 and f.authentication_method = $2
                      order by f.created_at desc limit 1)
           and code_challenge <> ''
        returning auth_code
        """,
        user_id,
        method,
    )
    return auth_code


async def complete_flow(
    connection: Connection, flow_id: UUID, user_id: UUID, *, access_token: str, refresh_token: str
) -> None:
    """Note whom an OAuth provider vouched for, and its tokens, until the code is exchanged."""
    await connection.execute(
        """
        update auth.flow_state
           set user_id = $2, provider_access_token = $3, provider_refresh_token = $4,
               auth_code_issued_at = statement_timestamp(), updated_at = statement_timestamp()
         where id = $1
        """,
        flow_id,
        user_id,
        access_token,
        refresh_token,
    )


def _flow(row: asyncpg.Record | None) -> FlowState | None:
    if row is None:
        return None
    return FlowState(
        id=row["id"],
        user_id=row["user_id"],
        auth_code=row["auth_code"] or "",
        challenge=row["code_challenge"] or "",
        challenge_method=row["code_challenge_method"] or "",
        provider_type=row["provider_type"],
        provider_access_token=row["provider_access_token"] or "",
        provider_refresh_token=row["provider_refresh_token"] or "",
        created_at=row["created_at"],
        method=row["authentication_method"],
        auth_code_issued_at=row["auth_code_issued_at"],
        invite_token=row["invite_token"] or "",
        referrer=row["referrer"] or "",
        oauth_client_state_id=row["oauth_client_state_id"],
        linking_target_id=row["linking_target_id"],
        email_optional=row["email_optional"],
    )
