"""Mail that a flow owes a user.

Codes and links are stored so that they can be verified; no way to deliver them is configured in this version. That is said
once in the log, without the code, instead of pretending that a mail went out.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from isobase_services.auth.models import User
from isobase_services.auth.rules import check_send_frequency
from isobase_services.auth.store import one_time, users
from isobase_services.auth.store.users import UserChanges
from isobase_services.auth.tokens import new_one_time_code

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["request_confirmation", "request_email_change"]

MAIL_INTERVAL_S = 1.0
"""Least time between two mails of one kind to one user: ``max_frequency`` of the Supabase command line's defaults."""

_log = logging.getLogger("isobase.auth")
_announced: set[str] = set()


async def request_confirmation(connection: Connection, user: User, *, is_pkce: bool, now: datetime) -> None:
    """Store a confirmation code for the user's address. Raises 429 within ``MAIL_INTERVAL_S`` of the last one."""
    check_send_frequency(user.confirmation_sent_at, now, MAIL_INTERVAL_S)
    code = new_one_time_code(user.email, is_pkce=is_pkce)
    _owe("confirmation")
    await users.update_user(
        connection, user.id, UserChanges({"confirmation_token": code.token_hash, "confirmation_sent_at": now})
    )
    await one_time.put_one_time_token(connection, user.id, "confirmation_token", code.token_hash, user.email)


async def request_email_change(connection: Connection, user: User, email: str, *, is_pkce: bool, now: datetime) -> None:
    """Store codes for a change to ``email``: one for the new address and one for the current, where there is one.

    The address itself stays until both are confirmed. Raises 429 within ``MAIL_INTERVAL_S`` of the last request.
    """
    check_send_frequency(user.email_change_sent_at, now, MAIL_INTERVAL_S)
    to_new = new_one_time_code(email, is_pkce=is_pkce)
    to_current = new_one_time_code(user.email, is_pkce=is_pkce) if user.email else None
    _owe("email_change")
    changes = UserChanges(
        {
            "email_change": email,
            "email_change_token_new": to_new.token_hash,
            "email_change_token_current": to_current.token_hash if to_current else "",
            "email_change_sent_at": now,
            "email_change_confirm_status": 0,
        }
    )
    await users.update_user(connection, user.id, changes)
    await one_time.put_one_time_token(connection, user.id, "email_change_token_new", to_new.token_hash, email)
    if to_current is not None:
        await one_time.put_one_time_token(
            connection, user.id, "email_change_token_current", to_current.token_hash, user.email
        )


def _owe(kind: str) -> None:
    if kind not in _announced:
        _announced.add(kind)
        _log.warning("mail not configured: the message is not sent", extra={"kind": kind})
