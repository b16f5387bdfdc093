"""The password grant. Source: contracts auth §1 and 2.6; supabase/auth internal/api/token.go."""

from __future__ import annotations

from dataclasses import dataclass, field

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, WeakPassword, bad_request, unprocessable
from isobase_services.auth.flows.grants import issue_grant, start_session
from isobase_services.auth.flows.password_strength import weakness_of_known_password
from isobase_services.auth.hooks.attempts import password_rejection
from isobase_services.auth.models import ClientFacts, Grant, OpenSession, SessionTerms, User
from isobase_services.auth.rules import trim_phone
from isobase_services.auth.store import sessions, users
from isobase_services.auth.store.audit import Action, Entry, user_actor

__all__ = ["PasswordRequest", "PasswordSignIn", "sign_in_with_password"]

MAX_ATTEMPTS = 3
"""The hash may change while it is verified: because the password did, or only its form, by another sign-in's upgrade."""


@dataclass(slots=True, frozen=True)
class PasswordRequest:
    """Who says they are whom; one of ``email`` and ``phone``."""

    email: str
    phone: str
    password: str = field(repr=False)
    audience: str


@dataclass(slots=True, frozen=True)
class PasswordSignIn:
    """The grant, and what is weak about a password that was right all the same."""

    grant: Grant
    weakness: WeakPassword | None


async def sign_in_with_password(
    core: AuthCore, request: PasswordRequest, facts: ClientFacts, terms: SessionTerms
) -> PasswordSignIn:
    """Open a session for the holder of the password.

    Raises 400 invalid_credentials for an unknown user, none or a wrong password, all after the time of one hash; 400
    user_banned before it; 400 email_not_confirmed or phone_not_confirmed after it; 422 when the provider is off.
    """
    _check(core, request)
    for _ in range(MAX_ATTEMPTS):
        user = await _find(core, request)
        if user is not None and user.has_password and user.is_banned(core.now()):
            raise bad_request(ErrorCode.USER_BANNED, "User is banned")
        stored = user.encrypted_password if user is not None else None
        verification = await core.hasher.verify(request.password, stored)
        if user is not None and user.has_password:
            await _ask_project(core, user, facts, is_valid=verification.matches)
        if user is None or not verification.matches:
            raise _invalid_credentials()
        _check_confirmed(request, user)
        new_hash = await core.hasher.hash(request.password) if verification.needs_new_hash else None
        session = await _open_session(core, request, user, facts, terms, new_hash)
        if session is not None:
            weakness = await weakness_of_known_password(core, request.password)
            return PasswordSignIn(await issue_grant(core, session), weakness)
    raise _invalid_credentials()


async def _ask_project(core: AuthCore, user: User, facts: ClientFacts, *, is_valid: bool) -> None:
    rejection = await password_rejection(core.hooks, user.id, facts, is_valid=is_valid)
    if rejection is None:
        return
    if rejection.ends_sessions:
        async with core.connection() as connection:
            await sessions.delete_sessions(connection, user.id)
    raise rejection.error


async def _find(core: AuthCore, request: PasswordRequest) -> User | None:
    async with core.connection() as connection:
        if request.email:
            return await users.find_by_email(connection, request.email, request.audience)
        return await users.find_by_phone(connection, trim_phone(request.phone), request.audience)


async def _open_session(
    core: AuthCore,
    request: PasswordRequest,
    user: User,
    facts: ClientFacts,
    terms: SessionTerms,
    new_hash: str | None,
) -> OpenSession | None:
    """The session; None where the stored hash is no longer the one that was verified."""
    entry = Entry(user_actor(user), Action.LOGIN, {"provider": "email" if request.email else "phone"})
    async with core.connection() as connection:
        return await start_session(
            core,
            connection,
            user,
            method="password",
            facts=facts,
            terms=terms,
            entries=[entry],
            seen_hash=user.encrypted_password,
            new_hash=new_hash,
        )


def _check(core: AuthCore, request: PasswordRequest) -> None:
    if request.email and request.phone:
        raise bad_request(
            ErrorCode.VALIDATION_FAILED, "Only an email address or phone number should be provided on login."
        )
    if request.email and not core.settings.email_enable_signup:
        raise unprocessable(ErrorCode.EMAIL_PROVIDER_DISABLED, "Email logins are disabled")
    if request.phone and not core.settings.phone_enable_signup:
        raise unprocessable(ErrorCode.PHONE_PROVIDER_DISABLED, "Phone logins are disabled")
    if not request.email and not request.phone:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "missing email or phone")


def _check_confirmed(request: PasswordRequest, user: User) -> None:
    if request.email and not user.is_email_confirmed:
        raise bad_request(ErrorCode.EMAIL_NOT_CONFIRMED, "Email not confirmed")
    if not request.email and not user.is_phone_confirmed:
        raise bad_request(ErrorCode.PHONE_NOT_CONFIRMED, "Phone not confirmed")


def _invalid_credentials() -> AuthError:
    return bad_request(ErrorCode.INVALID_CREDENTIALS, "Invalid login credentials")
