"""Sign-up with e-mail or phone and password.

Order of the checks: contracts auth 2.7; supabase/auth internal/api/signup.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal
from uuid import UUID, uuid4

from isobase_platform.errors import DatabaseError
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request, fail_with_database_error, unprocessable
from isobase_services.auth.flows.grants import issue_grant, start_session
from isobase_services.auth.hooks.new_users import may_create, was_created
from isobase_services.auth.mail import request_confirmation
from isobase_services.auth.models import (
    ClientFacts,
    Grant,
    JsonObject,
    OpenSession,
    SessionTerms,
    User,
)
from isobase_services.auth.rules import check_password_strength, check_pkce_pair, normal_email, normal_phone
from isobase_services.auth.store import audit, flow_state, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.flow_state import NewFlow
from isobase_services.auth.store.users import NewUser, UserChanges, UserColumn

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["SignupRequest", "sign_up"]

INVALID_CHANNEL = (
    "Invalid channel, supported values are 'sms' or 'whatsapp'. 'whatsapp' is only supported if Twilio or Twilio Verify "
    "is used as the provider."
)
MAX_ATTEMPTS = 2
"""A second look after somebody else took the address between our look-up and our insert."""


@dataclass(slots=True, frozen=True)
class SignupRequest:
    """What the caller asks for. One of ``email`` and ``phone`` is given; absent texts are empty."""

    email: str
    phone: str
    password: str = field(repr=False)
    data: JsonObject
    channel: str
    code_challenge: str
    code_challenge_method: str
    audience: str


@dataclass(slots=True, frozen=True)
class _SignupPlan:
    """A request that passed every rule that needs no database."""

    provider: Literal["email", "phone"]
    address: str
    password: str = field(repr=False)
    data: JsonObject
    audience: str
    is_autoconfirmed: bool
    challenge: str
    challenge_method: str | None


async def sign_up(core: AuthCore, request: SignupRequest, facts: ClientFacts, terms: SessionTerms) -> Grant | User:
    """Register a user. Returns a grant where the user is confirmed at once, else the bare user.

    Raises the refusals of contracts auth 2.7. Nothing is kept of a sign-up that fails.
    """
    plan = _plan(core, request)
    for _ in range(MAX_ATTEMPTS):
        existing = await _find(core, plan)
        if existing is not None and _is_confirmed(existing, plan):
            return await _refuse_repeated(core, plan, existing)
        try:
            return await _register(core, plan, existing, facts, terms)
        except DatabaseError as error:
            if error.is_unique_violation and error.table == "users" and error.schema == "auth":
                continue
            fail_with_database_error("Database error saving new user", error)
    raise _already_registered()


def _plan(core: AuthCore, request: SignupRequest) -> _SignupPlan:
    settings = core.settings
    if not settings.enable_signup:
        raise unprocessable(ErrorCode.SIGNUP_DISABLED, "Signups not allowed for this instance")
    if not request.password:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Signup requires a valid password")
    check_password_strength(request.password, settings)
    if request.email and request.phone:
        raise bad_request(
            ErrorCode.VALIDATION_FAILED, "Only an email address or phone number should be provided on signup."
        )
    if request.phone and (request.channel or "sms") != "sms":
        raise bad_request(ErrorCode.VALIDATION_FAILED, INVALID_CHANNEL)
    if request.phone and request.code_challenge:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "PKCE not supported for phone signups")
    challenge_method = check_pkce_pair(request.code_challenge, request.code_challenge_method)
    if request.email:
        if not settings.email_enable_signup:
            raise bad_request(ErrorCode.EMAIL_PROVIDER_DISABLED, "Email signups are disabled")
        address = normal_email(request.email)
    else:
        if not settings.phone_enable_signup:
            raise bad_request(ErrorCode.PHONE_PROVIDER_DISABLED, "Phone signups are disabled")
        address = normal_phone(request.phone)
    needs_confirmation = settings.email_enable_confirmations if request.email else settings.phone_enable_confirmations
    return _SignupPlan(
        provider="email" if request.email else "phone",
        address=address,
        password=request.password,
        data=request.data,
        audience=request.audience,
        is_autoconfirmed=not needs_confirmation,
        challenge=request.code_challenge,
        challenge_method=challenge_method,
    )


def _is_confirmed(user: User, plan: _SignupPlan) -> bool:
    return user.is_email_confirmed if plan.provider == "email" else user.is_phone_confirmed


async def _find(core: AuthCore, plan: _SignupPlan) -> User | None:
    async with core.connection() as connection:
        if plan.provider == "email":
            return await users.find_duplicate_email(connection, plan.address, plan.audience)
        return await users.find_by_phone(connection, plan.address, plan.audience)


async def _refuse_repeated(core: AuthCore, plan: _SignupPlan, existing: User) -> User:
    # Where a new user would be hashed, an existing one costs the same time: the answer below must not be told apart.
    await core.hasher.spend(plan.password)
    async with core.connection() as connection:
        entry = Entry(user_actor(existing), Action.USER_REPEATED_SIGNUP, {"provider": plan.provider})
        await audit.record(connection, entry)
    settings = core.settings
    if not settings.email_enable_confirmations or not settings.phone_enable_confirmations:
        raise _already_registered()
    now = core.now()
    return User(
        id=uuid4(),
        aud=plan.audience,
        role="",
        email=plan.address if plan.provider == "email" else "",
        phone=plan.address if plan.provider == "phone" else "",
        encrypted_password=None,
        is_sso_user=False,
        is_anonymous=False,
        email_confirmed_at=None,
        phone_confirmed_at=None,
        confirmed_at=None,
        invited_at=None,
        confirmation_sent_at=now,
        recovery_sent_at=None,
        email_change="",
        email_change_sent_at=None,
        phone_change="",
        phone_change_sent_at=None,
        reauthentication_sent_at=None,
        last_sign_in_at=None,
        app_metadata=_provider_metadata(plan),
        user_metadata=plan.data,
        created_at=now,
        updated_at=now,
        banned_until=None,
        deleted_at=None,
        identities=(),
        factors=(),
    )


def _provider_metadata(plan: _SignupPlan) -> JsonObject:
    return {"provider": plan.provider, "providers": [plan.provider]}


async def _register(
    core: AuthCore, plan: _SignupPlan, existing: User | None, facts: ClientFacts, terms: SessionTerms
) -> Grant | User:
    new_user = None
    if existing is None:
        new_user = await _new_user(core, plan)
        await may_create(core.hooks, new_user, facts)
    elif plan.is_autoconfirmed:
        await _check_same_password(core, plan, existing)
    async with core.transaction() as connection:
        user_id = await _insert_or_complete(core, connection, plan, existing, new_user)
        if plan.is_autoconfirmed:
            user, session = await _confirm_and_open(core, connection, plan, user_id, facts, terms)
        else:
            user, session = await _ask_for_confirmation(core, connection, plan, user_id), None
    if new_user is not None:
        await was_created(core.hooks, user, facts)
    return user if session is None else await issue_grant(core, session)


async def _insert_or_complete(
    core: AuthCore, connection: Connection, plan: _SignupPlan, existing: User | None, new_user: NewUser | None
) -> UUID:
    if new_user is not None:
        return await _insert(core, connection, plan, new_user)
    assert existing is not None  # one of the two
    if not any(item.provider == plan.provider for item in existing.identities):
        await _add_identity(core, connection, plan, existing.id, existing.email)
    return existing.id


async def _confirm_and_open(
    core: AuthCore,
    connection: Connection,
    plan: _SignupPlan,
    user_id: UUID,
    facts: ClientFacts,
    terms: SessionTerms,
) -> tuple[User, OpenSession]:
    user = await _confirm(core, connection, plan, user_id)
    entries = [
        Entry(user_actor(user), Action.USER_SIGNED_UP, _traits(plan)),
        Entry(user_actor(user), Action.LOGIN, {"provider": plan.provider}),
    ]
    session = await start_session(core, connection, user, method="password", facts=facts, terms=terms, entries=entries)
    if session is None:
        raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Database error granting user")
    return session.user, session


async def _check_same_password(core: AuthCore, plan: _SignupPlan, existing: User) -> None:
    """Let only who knows the password in where nothing else proves that the account is theirs.

    Upstream opens a session for whoever signs up again with the address of an unconfirmed user while no confirmation is
    asked for; that would give away accounts that an administrator prepared.
    """
    if not (await core.hasher.verify(plan.password, existing.encrypted_password)).matches:
        raise _already_registered()


async def _new_user(core: AuthCore, plan: _SignupPlan) -> NewUser:
    return NewUser(
        id=uuid4(),
        aud=plan.audience,
        email=plan.address if plan.provider == "email" else "",
        phone=plan.address if plan.provider == "phone" else "",
        encrypted_password=await core.hasher.hash(plan.password),
        app_metadata=_provider_metadata(plan),
        user_metadata=plan.data,
    )


async def _insert(core: AuthCore, connection: Connection, plan: _SignupPlan, new_user: NewUser) -> UUID:
    email = await users.insert_user(connection, new_user)
    if email is None:
        raise _vanished()
    await _add_identity(core, connection, plan, new_user.id, email)
    return new_user.id


async def _add_identity(core: AuthCore, connection: Connection, plan: _SignupPlan, user_id: UUID, email: str) -> None:
    verified = {"email_verified": False, "phone_verified": False}
    claims = {"sub": str(user_id), **({"email": email} if email else {}), **verified}
    # An identity's e-mail reserves the address, so it is never taken from what the caller says about themself.
    given = {name: value for name, value in plan.data.items() if name != "email"}
    await users.insert_identity(connection, user_id, plan.provider, {**given, **claims})
    changes = UserChanges(
        {"role": core.settings.jwt_default_role},
        app_metadata=_provider_metadata(plan),
        user_metadata={**plan.data, **claims},
        replace_user_metadata=True,
    )
    await users.update_user(connection, user_id, changes)


async def _ask_for_confirmation(core: AuthCore, connection: Connection, plan: _SignupPlan, user_id: UUID) -> User:
    user = await _reload(connection, user_id)
    if plan.provider == "phone":
        # As upstream without an SMS provider; none can be configured in this version.
        raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Unable to get SMS provider")
    if plan.challenge_method is not None:
        flow = NewFlow(
            provider_type=plan.provider,
            method="email/signup",
            user_id=user.id,
            challenge=plan.challenge,
            challenge_method=plan.challenge_method,
        )
        await flow_state.start_flow(connection, flow)
    await request_confirmation(connection, user, is_pkce=plan.challenge_method is not None, now=core.now())
    entry = Entry(user_actor(user), Action.USER_CONFIRMATION_REQUESTED, {"provider": plan.provider})
    await audit.record(connection, entry)
    asked = await _reload(connection, user.id)
    return replace(asked, user_metadata={}, identities=()) if asked.invited_at is not None else asked


async def _confirm(core: AuthCore, connection: Connection, plan: _SignupPlan, user_id: UUID) -> User:
    """Confirm by an update of its own: projects have triggers that wait for ``email_confirmed_at`` to be set."""
    confirmed_at: UserColumn = "email_confirmed_at" if plan.provider == "email" else "phone_confirmed_at"
    changes = UserChanges(
        {confirmed_at: core.now(), "confirmation_token": ""},
        user_metadata={"email_verified": True} if plan.provider == "email" else None,
    )
    await users.update_user(connection, user_id, changes)
    await users.clear_one_time_tokens(connection, user_id)
    # A project's triggers may have changed the row.
    return await _reload(connection, user_id)


async def _reload(connection: Connection, user_id: UUID) -> User:
    user = await users.find_by_id(connection, user_id)
    if user is None:
        raise _vanished()
    return user


def _traits(plan: _SignupPlan) -> JsonObject:
    return {"provider": plan.provider, "channel": "sms"} if plan.provider == "phone" else {"provider": plan.provider}


def _vanished() -> AuthError:
    return AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Database error loading user after sign-up")


def _already_registered() -> AuthError:
    return unprocessable(ErrorCode.USER_ALREADY_EXISTS, "User already registered")
