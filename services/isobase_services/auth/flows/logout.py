"""Signing out. Source: contracts auth 2.13; supabase/auth internal/api/logout.go."""

from __future__ import annotations

from enum import StrEnum

from isobase_services.auth.core import AuthCore
from isobase_services.auth.flows.access import SignedIn
from isobase_services.auth.store import audit, sessions
from isobase_services.auth.store.audit import Action, Entry, user_actor

__all__ = ["LogoutScope", "log_out"]


class LogoutScope(StrEnum):
    """Which sessions of the user end: all, the one of the token, all but that one."""

    GLOBAL = "global"
    LOCAL = "local"
    OTHERS = "others"


async def log_out(core: AuthCore, signed_in: SignedIn, scope: LogoutScope) -> None:
    """End sessions; their refresh tokens go with them. A token without a session ends all, whatever the scope."""
    user, session = signed_in.user, signed_in.session
    async with core.transaction() as connection:
        await audit.record(connection, Entry(user_actor(user), Action.LOGOUT))
        if session is None or scope is LogoutScope.GLOBAL:
            await sessions.delete_sessions(connection, user.id)
        elif scope is LogoutScope.LOCAL:
            await sessions.delete_session(connection, session.id)
        else:
            await sessions.delete_other_sessions(connection, user.id, session.id)
