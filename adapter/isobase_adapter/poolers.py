"""What stands between a client and Supabase's database."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["POOLER_PORT", "is_transaction_pooler"]

POOLER_PORT = 6543
"""Where Supabase's poolers (Supavisor, PgBouncer) listen in transaction mode."""


def is_transaction_pooler(dsn: str) -> bool:
    """Whether a URL leads to a pooler in transaction mode: nothing of a session outlives a transaction there, neither
    prepared statements nor settings.

    See supabase.com/docs/guides/database/connecting-to-postgres.
    """
    return urlsplit(dsn).port == POOLER_PORT
