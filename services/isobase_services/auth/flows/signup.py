"""Sign-up with e-mail or phone and password.

Order of the checks: contracts auth 2.7; supabase/auth internal/api/signup.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal
from uuid import UUID, uuid4

from isobase_platform.errors import DatabaseError
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import (
    AuthError,
    ErrorCode,
    bad_request,
    fail_with_database_error,
    is_address_taken,
    unprocessable,
)
from isobase_services.auth.flows.codes import (
    IssuedCode,
    check_channel,
    issue_email_code,
    issue_sms_code,
    post_code,
    send_sign_up_code,
)
from isobase_services.auth.flows.grants import issue_grant, start_session
from isobase_services.auth.flows.new_user import (
    NewAccount,
    add_identity,
    check_sign_ups,
    confirm_account,
    insert_account,
    provider_metadata,
    reload_user,
)
from isobase_services.auth.flows.password_strength import check_new_password
from isobase_services.auth.hooks.new_users import may_create, was_created
from isobase_services.auth.messages import Channel, EmailKind, EmailMessage, SmsKind
from isobase_services.auth.models import (
    ClientFacts,
    Grant,
    JsonObject,
    OpenSession,
    SessionTerms,
    User,
)
from isobase_services.auth.rules import check_pkce_pair, normal_email, normal_phone
from isobase_services.auth.store import audit, flow_state, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.flow_state import NewFlow

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["SignupRequest", "sign_up"]

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
    redirect_to: str = ""


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
    channel: Channel
    redirect_to: str


async def sign_up(core: AuthCore, request: SignupRequest, facts: ClientFacts, terms: SessionTerms) -> Grant | User:
    """Register a user. Returns a grant where the user is confirmed at once, else the bare user.

    Raises the refusals of contracts auth 2.7. Nothing is kept of a sign-up that fails.
    """
    plan = await _plan(core, request)
    for _ in range(MAX_ATTEMPTS):
        existing = await _find(core, plan)
        if existing is not None and (existing.aud != plan.audience or _is_confirmed(existing, plan)):
            return await _refuse_repeated(core, plan, existing)
        try:
            return await _register(core, plan, existing, facts, terms)
        except DatabaseError as error:
            if is_address_taken(error):
                continue
            fail_with_database_error("Database error saving new user", error)
    raise _already_registered()


async def _plan(core: AuthCore, request: SignupRequest) -> _SignupPlan:
    settings = core.settings
    check_sign_ups(core)
    if not request.password:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Signup requires a valid password")
    await check_new_password(core, request.password)
    if request.email and request.phone:
        raise bad_request(
            ErrorCode.VALIDATION_FAILED, "Only an email address or phone number should be provided on signup."
        )
    channel = check_channel(core, request.channel) if request.phone else "sms"
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
        channel=channel,
        redirect_to=request.redirect_to,
    )


def _is_confirmed(user: User, plan: _SignupPlan) -> bool:
    return user.is_email_confirmed if plan.provider == "email" else user.is_phone_confirmed


async def _find(core: AuthCore, plan: _SignupPlan) -> User | None:
    async with core.connection() as connection:
        # An address is one user's in all audiences. Whoever may choose the audience must not learn more by another one.
        if plan.provider == "email":
            found = await users.find_duplicate_email(connection, plan.address, plan.audience)
            return found or await users.find_in_any_audience(connection, email=plan.address)
        found = await users.find_by_phone(connection, plan.address, plan.audience)
        return found or await users.find_in_any_audience(connection, phone=plan.address)


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
        confirmation_sent_at=now,
        app_metadata=provider_metadata(plan.provider),
        user_metadata=plan.data,
        created_at=now,
        updated_at=now,
    )


async def _register(
    core: AuthCore, plan: _SignupPlan, existing: User | None, facts: ClientFacts, terms: SessionTerms
) -> Grant | User:
    password_hash, is_contested = "", False
    if existing is None:
        password_hash = await core.hasher.hash(plan.password)
    else:
        # Verified also where the answer does not depend on it: it must take as long as for a new user.
        is_contested = not (await core.hasher.verify(plan.password, existing.encrypted_password)).matches
        if plan.is_autoconfirmed and is_contested:
            # Upstream opens a session for whoever signs up again with the address of an unconfirmed user while no
            # confirmation is asked for; that would give away accounts that an administrator prepared.
            raise _already_registered()
    account = NewAccount(plan.provider, plan.address, plan.audience, plan.data, password_hash)
    if existing is None:
        await may_create(core.hooks, account.row, facts)
    issued, session = None, None
    async with core.transaction() as connection:
        if existing is None:
            await insert_account(core, connection, account)
        elif not any(item.provider == plan.provider for item in existing.identities):
            await add_identity(core, connection, account, existing.id, existing.email)
        user_id = account.id if existing is None else existing.id
        if plan.is_autoconfirmed:
            user = await confirm_account(core, connection, account, user_id)
            session = await _open_session(core, connection, plan, user, facts, terms)
            user = session.user
        else:
            user, issued = await _ask_for_confirmation(core, connection, plan, user_id, is_contested=is_contested)
    if issued is not None:
        await _send(core, issued, facts, is_new=existing is None)
    if existing is None:
        await was_created(core.hooks, user, facts)
    return user if session is None else await issue_grant(core, session)


async def _open_session(
    core: AuthCore, connection: Connection, plan: _SignupPlan, user: User, facts: ClientFacts, terms: SessionTerms
) -> OpenSession:
    entries = [
        Entry(user_actor(user), Action.USER_SIGNED_UP, _traits(plan)),
        Entry(user_actor(user), Action.LOGIN, {"provider": plan.provider}),
    ]
    session = await start_session(core, connection, user, method="password", facts=facts, terms=terms, entries=entries)
    if session is None:
        raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Database error granting user")
    return session


async def _ask_for_confirmation(
    core: AuthCore, connection: Connection, plan: _SignupPlan, user_id: UUID, *, is_contested: bool
) -> tuple[User, IssuedCode]:
    """Store a code and return the user as the caller is shown them, with the message to send."""
    user = await reload_user(connection, user_id)
    is_pkce = plan.challenge_method is not None
    if is_pkce:
        flow = NewFlow(
            provider_type=plan.provider,
            method="email/signup",
            user_id=user.id,
            challenge=plan.challenge,
            challenge_method=plan.challenge_method,
        )
        await flow_state.start_flow(connection, flow)
    entry = Entry(user_actor(user), Action.USER_CONFIRMATION_REQUESTED, {"provider": plan.provider})
    await audit.record(connection, entry)
    if plan.provider == "phone":
        issued = await issue_sms_code(
            core, connection, user, SmsKind.CONFIRMATION, plan.address,
            channel=plan.channel, resets_password=is_contested,
        )  # fmt: skip
    else:
        issued = await issue_email_code(
            core, connection, user, EmailKind.SIGNUP,
            redirect_to=plan.redirect_to, is_pkce=is_pkce, resets_password=is_contested,
        )  # fmt: skip
    asked = await reload_user(connection, user.id)
    shown = replace(asked, user_metadata={}, identities=()) if asked.invited_at is not None else asked
    return shown, issued


async def _send(core: AuthCore, issued: IssuedCode, facts: ClientFacts, *, is_new: bool) -> None:
    if isinstance(issued.message, EmailMessage):
        post_code(core, issued, facts)
    else:
        await send_sign_up_code(core, issued, facts, is_new=is_new)


def _traits(plan: _SignupPlan) -> JsonObject:
    return {"provider": plan.provider, "channel": "sms"} if plan.provider == "phone" else {"provider": plan.provider}


def _already_registered() -> AuthError:
    return unprocessable(ErrorCode.USER_ALREADY_EXISTS, "User already registered")
