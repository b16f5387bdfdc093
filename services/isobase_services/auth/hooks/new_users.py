"""The hooks around a new user: one may refuse them before they exist, one is told after they do.

Whoever creates a user by what a client asks for calls ``may_create`` before the transaction and ``was_created`` after it;
upstream leaves users out that an administrator creates. Source: supabase/auth internal/api/hooks.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isobase_services.auth.models import NO_TIME, ClientFacts, User
from isobase_services.auth.user_json import user_body

if TYPE_CHECKING:
    from isobase_services.auth.hooks import Hooks
    from isobase_services.auth.store.users import NewUser

__all__ = ["may_create", "was_created"]


async def may_create(hooks: Hooks, user: NewUser, facts: ClientFacts) -> None:
    """Ask the project whether the user may come into being; raises what its hook answers, or its failure."""
    if hooks.is_enabled("before_user_created"):
        await hooks.run("before_user_created", {"user": user_body(_unborn(user))}, facts)


async def was_created(hooks: Hooks, user: User, facts: ClientFacts) -> None:
    """Tell the project about a user who now exists. Raises the hook's failure; the user stays."""
    if hooks.is_enabled("after_user_created"):
        await hooks.run("after_user_created", {"user": user_body(user)}, facts)


def _unborn(user: NewUser) -> User:
    return User(
        id=user.id,
        aud=user.aud,
        role="",
        email=user.email,
        phone=user.phone,
        is_anonymous=user.is_anonymous,
        app_metadata=user.app_metadata,
        user_metadata=user.user_metadata,
        created_at=NO_TIME,
        updated_at=NO_TIME,
    )
