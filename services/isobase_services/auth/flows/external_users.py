"""Who a profile of another provider becomes: a user that is there, a new one, or nobody.

The rules, which are upstream's but where a comment says so (supabase/auth internal/models/linking.go and
internal/api/external.go; contracts auth 2.13): an identity that is known is its user; a proven e-mail joins the user who has
it; what is not proven joins nobody. When a proven address joins an account that was never confirmed, whatever else opens
that account goes: it may have been made by somebody who waited for the owner of the address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar
from uuid import UUID, uuid4

from isobase_platform.errors import DatabaseError
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, fail_with_database_error, forbidden, unprocessable
from isobase_services.auth.flows.codes import IssuedCode, issue_email_code
from isobase_services.auth.flows.doors import close_other_doors
from isobase_services.auth.flows.new_user import check_sign_ups, provider_metadata, reload_user
from isobase_services.auth.hooks.new_users import may_create
from isobase_services.auth.messages import EmailKind
from isobase_services.auth.models import ClientFacts, User
from isobase_services.auth.providers.profile import Profile
from isobase_services.auth.store import audit, identities, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.users import NewUser, UserChanges

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = [
    "ExternalUser",
    "Settled",
    "ask_before_creation",
    "confirm_user",
    "confirmation_sent",
    "linked_entry",
    "settle",
    "with_second_look",
]

MAX_ATTEMPTS = 2

Result = TypeVar("Result")


@dataclass(slots=True, frozen=True)
class ExternalUser:
    """A user at ``provider`` who wants in."""

    provider: str
    profile: Profile
    email_optional: bool
    audience: str


@dataclass(slots=True, frozen=True)
class Settled:
    """The user, and whether they are new. ``refusal``: to be raised once what was stored is committed."""

    user: User
    is_new: bool = False
    refusal: AuthError | None = None
    mail: IssuedCode | None = None
    """To be posted once what was stored is committed."""


@dataclass(slots=True, frozen=True)
class _Decision:
    """``create`` a user with ``email`` (empty for none), ``link`` to the user, or it ``exists`` as the identity."""

    kind: Literal["create", "link", "exists"]
    user_id: UUID | None = None
    identity_id: UUID | None = None
    email: str = ""
    is_email_verified: bool = False


async def ask_before_creation(core: AuthCore, external: ExternalUser, facts: ClientFacts) -> None:
    """Ask the project's hook, where there is one, whether a user may be created, if one would be.

    Call it before the transaction: no connection may wait for a hook.
    """
    if not core.hooks.is_enabled("before_user_created"):
        return
    async with core.connection() as connection:
        decision = await _decide(connection, external)
    if decision.kind == "create":
        await may_create(core.hooks, _new_user(external, decision), facts)


async def settle(core: AuthCore, connection: Connection, external: ExternalUser) -> Settled:
    """Find or make the user, within the caller's transaction.

    Raises 422 signup_disabled, 403 user_banned, 500 for an address that two accounts share. An address that must be proven
    first is a ``refusal``: the account and its confirmation stay.
    """
    decision = await _decide(connection, external)
    match decision.kind:
        case "create":
            user, identity_id = await _create(core, connection, external, decision)
        case "link":
            user, identity_id = await _link(connection, external, decision)
        case "exists":
            user, identity_id = await _refresh(connection, external, decision)
    is_new = decision.kind == "create"
    if user.is_banned(core.now()):
        raise forbidden(ErrorCode.USER_BANNED, "User is banned")
    if user.is_email_confirmed or (external.email_optional and not decision.email):
        await audit.record(connection, Entry(user_actor(user), Action.LOGIN, {"provider": external.provider}))
        return Settled(user, is_new)
    await close_other_doors(connection, user, kept=identity_id, metadata=external.profile.identity_data)
    if decision.is_email_verified or not core.settings.email_enable_confirmations:
        entry = Entry(user_actor(user), Action.USER_SIGNED_UP, {"provider": external.provider})
        await audit.record(connection, entry)
        return Settled(await confirm_user(core, connection, user.id), is_new)
    stripped = await reload_user(connection, user.id)
    if not decision.email:
        return Settled(stripped, is_new, _unverified(external.provider, "Verify the email", "in order to sign in"))
    mail = await issue_email_code(core, connection, stripped, EmailKind.SIGNUP)
    return Settled(stripped, is_new, confirmation_sent(external.provider), mail)


async def with_second_look(core: AuthCore, execute: Callable[[Connection], Awaitable[Result]]) -> Result:
    """What ``execute`` gives in a transaction; once more where somebody made the same user after its look-up.

    Raises 500 for any other refusal of the database.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            async with core.transaction() as connection:
                return await execute(connection)
        except DatabaseError as error:
            if error.is_unique_violation and error.schema == "auth" and attempt < MAX_ATTEMPTS:
                continue
            fail_with_database_error("Database error saving new user", error)
    raise AssertionError("unreachable")


async def confirm_user(core: AuthCore, connection: Connection, user_id: UUID) -> User:
    """Note that the e-mail address is proven, take back what else is out to prove it, and return the user."""
    changes = UserChanges(
        {"email_confirmed_at": core.now(), "confirmation_token": ""}, user_metadata={"email_verified": True}
    )
    await users.update_user(connection, user_id, changes)
    await users.clear_one_time_tokens(connection, user_id)
    return await reload_user(connection, user_id)


def linked_entry(user: User, identity_id: UUID, external: ExternalUser) -> Entry:
    """The log's line for an identity that joined a user."""
    traits = {
        "identity_id": str(identity_id),
        "provider": external.provider,
        "provider_id": external.profile.subject,
    }
    return Entry(user_actor(user), Action.IDENTITY_LINKED, traits)


async def _decide(connection: Connection, external: ExternalUser) -> _Decision:
    profile = external.profile
    chosen = next((email for email in profile.emails if email.is_primary), None)
    address = chosen.address.lower() if chosen is not None else ""
    is_verified = chosen is not None and chosen.is_verified
    proven = {email.address.lower() for email in profile.emails if email.is_verified}
    known = await identities.find_identity(connection, external.provider, profile.subject)
    if known is not None:
        user = await users.find_by_id(connection, known[1])
        email = user.email if user is not None else ""
        # What the provider has proven must be the account's own address. Upstream lets any proven one confirm it, so that
        # who claims a stranger's address first and proves their own afterwards would have the stranger's confirmed.
        return _Decision("exists", known[1], known[0], email, email.lower() in proven if email else is_verified)
    # Upstream takes unproven addresses for proven ones while no confirmation is asked for, and joins by them. Here they
    # never join: a provider that does not check addresses would open any account.
    owners = await identities.find_owners(connection, proven) if proven else []
    if len(owners) > 1:
        raise AuthError(
            500,
            ErrorCode.UNEXPECTED_FAILURE,
            "Multiple accounts with the same email address in the same linking domain detected: default",
        )
    if owners:
        return _Decision("link", owners[0], email=address, is_email_verified=is_verified)
    if address and not is_verified and await users.find_duplicate_email(connection, address, external.audience):
        # Somebody has the address: the new user does without it.
        address = ""
    return _Decision("create", email=address, is_email_verified=is_verified)


def _new_user(external: ExternalUser, decision: _Decision) -> NewUser:
    return NewUser(
        id=uuid4(),
        aud=external.audience,
        email=decision.email,
        phone="",
        encrypted_password="",
        app_metadata=provider_metadata(external.provider),
        user_metadata=external.profile.identity_data,
    )


async def _create(
    core: AuthCore, connection: Connection, external: ExternalUser, decision: _Decision
) -> tuple[User, UUID]:
    check_sign_ups(core)
    new_user = _new_user(external, decision)
    await users.insert_user(connection, new_user)
    await users.update_user(connection, new_user.id, UserChanges({"role": core.settings.jwt_default_role}))
    identity_id = await identities.add_identity(
        connection, new_user.id, external.provider, external.profile.identity_data
    )
    return await reload_user(connection, new_user.id), identity_id


async def _link(connection: Connection, external: ExternalUser, decision: _Decision) -> tuple[User, UUID]:
    assert decision.user_id is not None
    data = external.profile.identity_data
    identity_id = await identities.add_identity(connection, decision.user_id, external.provider, data)
    await users.update_user(connection, decision.user_id, UserChanges(user_metadata=data))
    await users.set_providers(connection, decision.user_id)
    user = await reload_user(connection, decision.user_id)
    await audit.record(connection, linked_entry(user, identity_id, external))
    return user, identity_id


async def _refresh(connection: Connection, external: ExternalUser, decision: _Decision) -> tuple[User, UUID]:
    assert decision.user_id is not None
    assert decision.identity_id is not None
    data = external.profile.identity_data
    await identities.refresh_identity(connection, decision.identity_id, data)
    await users.update_user(connection, decision.user_id, UserChanges(user_metadata=data))
    await users.set_providers(connection, decision.user_id)
    return await reload_user(connection, decision.user_id), decision.identity_id


def confirmation_sent(provider: str, code: ErrorCode = ErrorCode.PROVIDER_EMAIL_NEEDS_VERIFICATION) -> AuthError:
    """What is answered where an address must be proven first and a mail is on its way."""
    return unprocessable(
        code, f"Unverified email with {provider}. A confirmation email has been sent to your {provider} email"
    )


def _unverified(provider: str, what: str, why: str) -> AuthError:
    return unprocessable(
        ErrorCode.PROVIDER_EMAIL_NEEDS_VERIFICATION,
        f"Unverified email with {provider}. {what} with {provider} {why}",
    )
