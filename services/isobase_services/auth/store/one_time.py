"""One-time tokens: ``auth.one_time_tokens``. Contracts auth 2.8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias
from uuid import UUID

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["OneTimeTokenType", "put_one_time_token"]

OneTimeTokenType: TypeAlias = Literal["confirmation_token", "email_change_token_new", "email_change_token_current"]


async def put_one_time_token(
    connection: Connection, user_id: UUID, token_type: OneTimeTokenType, token_hash: str, address: str
) -> None:
    """Store the hash of a code for ``address``; it takes the place of an earlier one of the same type."""
    await connection.execute(
        """
        insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to, created_at, updated_at)
        values (gen_random_uuid(), $1, $2::text::auth.one_time_token_type, $3, $4, now() at time zone 'utc',
          now() at time zone 'utc')
        on conflict (user_id, token_type) do update
          set id = excluded.id, token_hash = excluded.token_hash, relates_to = excluded.relates_to,
              created_at = excluded.created_at, updated_at = excluded.updated_at
        """,
        user_id,
        token_type,
        token_hash,
        address.lower(),
    )
