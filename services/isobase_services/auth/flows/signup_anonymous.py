"""Sign-up without e-mail or phone. Source: contracts auth 2.13; supabase/auth internal/api/anonymous.go."""

from __future__ import annotations

from uuid import uuid4

from isobase_platform.errors import DatabaseError
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, fail_with_database_error, unprocessable
from isobase_services.auth.flows.grants import issue_grant, start_session
from isobase_services.auth.flows.new_user import check_sign_ups
from isobase_services.auth.hooks.new_users import may_create, was_created
from isobase_services.auth.models import ClientFacts, Grant, JsonObject, SessionTerms
from isobase_services.auth.store import users
from isobase_services.auth.store.users import NewUser, UserChanges

__all__ = ["sign_up_anonymously"]

_FAILURE = "Database error creating anonymous user"


async def sign_up_anonymously(
    core: AuthCore, data: JsonObject, audience: str, facts: ClientFacts, terms: SessionTerms
) -> Grant:
    """Register a user of no name and open a session.

    Raises 422 anonymous_provider_disabled or signup_disabled, in this order.
    """
    if not core.settings.enable_anonymous_sign_ins:
        raise unprocessable(ErrorCode.ANONYMOUS_PROVIDER_DISABLED, "Anonymous sign-ins are disabled")
    check_sign_ups(core)
    new_user = NewUser(
        id=uuid4(),
        aud=audience,
        email="",
        phone="",
        encrypted_password="",
        app_metadata={},
        user_metadata=data,
        is_anonymous=True,
    )
    await may_create(core.hooks, new_user, facts)
    try:
        async with core.transaction() as connection:
            await users.insert_user(connection, new_user)
            await users.update_user(connection, new_user.id, UserChanges({"role": core.settings.jwt_default_role}))
            user = await users.find_by_id(connection, new_user.id)
            if user is None:
                raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, _FAILURE)
            session = await start_session(core, connection, user, method="anonymous", facts=facts, terms=terms)
            if session is None:
                raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, _FAILURE)
    except DatabaseError as error:
        fail_with_database_error(_FAILURE, error)
    await was_created(core.hooks, user, facts)
    return await issue_grant(core, session)
