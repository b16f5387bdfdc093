"""Codes and links that come back: who they are from, whether they are good, what they change, and the session they open.

parse: ``VerifyRequest``; plan: ``_plan``; execute: find the code (a typed one costs a try), then in one transaction take
it and do what it is for (``confirm``, ``email_change``). Source: contracts auth 2.8, 2.9; supabase/auth
internal/api/verify.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isobase_platform.errors import DatabaseError
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import (
    AuthError,
    ErrorCode,
    bad_request,
    fail_with_database_error,
    forbidden,
    is_address_taken,
    unprocessable,
)
from isobase_services.auth.flows import confirm
from isobase_services.auth.flows.codes import is_right_code
from isobase_services.auth.flows.email_change import confirm_email_change
from isobase_services.auth.flows.grants import issue_grant, start_session
from isobase_services.auth.flows.notices import tell_of_changes
from isobase_services.auth.flows.phone_change import confirm_phone_change
from isobase_services.auth.models import ClientFacts, Grant, OpenSession, SessionTerms, User
from isobase_services.auth.rules import normal_email, normal_phone
from isobase_services.auth.store import audit, flow_state, one_time, users
from isobase_services.auth.store.audit import Entry
from isobase_services.auth.store.one_time import OneTimeTokenType, StoredCode
from isobase_services.auth.tokens import PKCE_PREFIX

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["AuthCode", "HalfConfirmed", "LinkRequest", "VerifyRequest", "follow_link", "verify_code"]

_BAD_CODE = "Token has expired or is invalid"
_BAD_LINK = "Email link is invalid or has expired"

_EMAIL_CHANGE: tuple[OneTimeTokenType, ...] = ("email_change_token_current", "email_change_token_new")
_EMAIL_TYPES: dict[str, tuple[OneTimeTokenType, ...]] = {
    "email": ("confirmation_token", "recovery_token"),
    "signup": ("confirmation_token",),
    "invite": ("confirmation_token",),
    "recovery": ("recovery_token",),
    "magiclink": ("recovery_token",),
    "email_change": _EMAIL_CHANGE,
}
_PHONE_TYPES: dict[str, tuple[OneTimeTokenType, ...]] = {
    "sms": ("confirmation_token",),
    "phone_change": ("phone_change_token",),
}
_FLOW_METHODS = {
    "signup": "email/signup",
    "invite": "invite",
    "recovery": "recovery",
    "magiclink": "magiclink",
    "email_change": "email_change",
}
"""The PKCE flow that a link of each type ends."""


@dataclass(slots=True, frozen=True)
class VerifyRequest:
    """A code typed for an address, or the hash out of a link posted by an app. Absent texts are empty.

    ``max_age_s``: how old the code may be at most, where a face is stricter than the project's settings.
    """

    type: str
    token: str = field(repr=False)
    token_hash: str = field(repr=False)
    email: str
    phone: str
    redirect_to: str
    audience: str
    max_age_s: float | None = None


@dataclass(slots=True, frozen=True)
class LinkRequest:
    """A link that was followed: its token is the hash."""

    type: str
    token: str = field(repr=False)

    @property
    def is_pkce(self) -> bool:
        """Whether an app waits to exchange a code."""
        return self.token.startswith(PKCE_PREFIX)


@dataclass(slots=True, frozen=True)
class HalfConfirmed:
    """The first of two addresses agreed to a change of e-mail."""

    message: str = "Confirmation link accepted. Please proceed to confirm link sent to the other email"


@dataclass(slots=True, frozen=True)
class AuthCode:
    """What a PKCE flow hands to the app."""

    code: str = field(repr=False)


@dataclass(slots=True, frozen=True)
class _CodePlan:
    """A typed code, with what it may be for. ``address`` is empty where the type does not go with it: nothing matches."""

    address: str
    code: str = field(repr=False)
    token_types: tuple[OneTimeTokenType, ...]


@dataclass(slots=True, frozen=True)
class _LinkPlan:
    token_hash: str = field(repr=False)
    token_types: tuple[OneTimeTokenType, ...]


async def verify_code(
    core: AuthCore, request: VerifyRequest, facts: ClientFacts, terms: SessionTerms
) -> Grant | HalfConfirmed:
    """Exchange a code, or a link's hash, for a session.

    Raises 403 otp_expired for whatever is not good, with one text for codes and one for hashes; 403 user_banned; 400
    validation_failed; 422 email_exists or phone_exists where the new address was taken meanwhile.
    """
    plan = _plan(request)
    stored = await _claim(core, request, plan) if isinstance(plan, _CodePlan) else await _look_up(core, plan)
    _check_age(core, stored, plan, request.max_age_s)
    outcome = await _act(core, stored, request.type, facts, terms, refusal=_refusal(plan))
    if isinstance(outcome, OpenSession):
        return await issue_grant(core, outcome)
    if isinstance(outcome, AuthCode):
        raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "A code was issued where none was asked for")
    return outcome


async def follow_link(
    core: AuthCore, request: LinkRequest, facts: ClientFacts, terms: SessionTerms
) -> Grant | AuthCode | HalfConfirmed:
    """As ``verify_code`` for a link that a browser followed; for PKCE the result is the code to exchange.

    Raises also 400 flow_state_not_found where the PKCE flow is gone; the link is then not spent.
    """
    if request.type not in _EMAIL_TYPES:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Invalid email verification type")
    plan = _LinkPlan(request.token, _EMAIL_TYPES[request.type])
    stored = await _look_up(core, plan)
    _check_age(core, stored, plan, None)
    outcome = await _act(core, stored, request.type, facts, terms, refusal=_refusal(plan), gives_code=request.is_pkce)
    return await issue_grant(core, outcome) if isinstance(outcome, OpenSession) else outcome


def _plan(request: VerifyRequest) -> _CodePlan | _LinkPlan:
    if not request.type:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Verify requires a verification type")
    if bool(request.token) == bool(request.token_hash):
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Verify requires either a token or a token hash")
    if request.token_hash:
        if request.email or request.phone or request.redirect_to:
            raise bad_request(ErrorCode.VALIDATION_FAILED, "Only the token_hash and type should be provided")
        if request.type not in _EMAIL_TYPES:
            raise bad_request(ErrorCode.VALIDATION_FAILED, "Invalid email verification type")
        return _LinkPlan(request.token_hash, _EMAIL_TYPES[request.type])
    if bool(request.email) == bool(request.phone):
        raise bad_request(
            ErrorCode.VALIDATION_FAILED, "Only an email address or phone number should be provided on verify"
        )
    if request.phone:
        phone = normal_phone(request.phone)
        return _CodePlan(
            phone if request.type in _PHONE_TYPES else "", request.token, _PHONE_TYPES.get(request.type, ())
        )
    try:
        email = normal_email(request.email)
    except AuthError:
        raise unprocessable(ErrorCode.VALIDATION_FAILED, "Invalid email format") from None
    return _CodePlan(email if request.type in _EMAIL_TYPES else "", request.token, _EMAIL_TYPES.get(request.type, ()))


async def _claim(core: AuthCore, request: VerifyRequest, plan: _CodePlan) -> StoredCode | None:
    """The code that was typed, after a try was counted; None where it is none of those that are out."""
    async with core.connection() as connection:
        candidates = await one_time.claim_try(connection, plan.address, plan.token_types, request.audience)
    found = None
    for stored in candidates:
        if await is_right_code(core, stored, plan.address, plan.code):
            found = stored
    return found


async def _look_up(core: AuthCore, plan: _LinkPlan) -> StoredCode | None:
    async with core.connection() as connection:
        candidates = await one_time.find_by_hash(connection, plan.token_hash, plan.token_types)
    return candidates[0] if candidates else None


def _check_age(core: AuthCore, stored: StoredCode | None, plan: _CodePlan | _LinkPlan, max_age_s: float | None) -> None:
    # One refusal for what is unknown, wrong, too old or guessed at too often.
    settings = core.settings
    is_by_phone = isinstance(plan, _CodePlan) and "@" not in plan.address
    life_s: float = settings.sms.otp_expiry_s if is_by_phone else settings.email.otp_expiry_s
    if max_age_s is not None:
        life_s = min(life_s, max_age_s)
    if stored is None or not stored.is_fresh(core.now(), life_s):
        raise _refusal(plan)


def _refusal(plan: _CodePlan | _LinkPlan) -> AuthError:
    return forbidden(ErrorCode.OTP_EXPIRED, _BAD_CODE if isinstance(plan, _CodePlan) else _BAD_LINK)


async def _act(
    core: AuthCore,
    stored: StoredCode | None,
    verify_type: str,
    facts: ClientFacts,
    terms: SessionTerms,
    *,
    refusal: AuthError,
    gives_code: bool = False,
) -> OpenSession | AuthCode | HalfConfirmed:
    """Take the code and do what it is for, in one transaction."""
    if stored is None:
        raise refusal
    try:
        async with core.transaction() as connection:
            # The user's row is locked first: what two links of one change do happens one after the other.
            user = await users.lock_by_id(connection, stored.user_id)
            # A change of address may have two halves; what else a code is for takes every other code back.
            take = one_time.take_code if verify_type == "email_change" else one_time.take_all
            if user is None or not await take(connection, stored):
                raise refusal
            if user.is_banned(core.now()):
                raise forbidden(ErrorCode.USER_BANNED, "User is banned")
            applied = await _apply(core, connection, user, stored, verify_type)
            if isinstance(applied, HalfConfirmed):
                return applied
            confirmed, entries = applied
            outcome: OpenSession | AuthCode | None
            if gives_code:
                await audit.record(connection, *entries)
                outcome = await _auth_code(connection, confirmed, _resolved(stored, verify_type))
            else:
                outcome = await start_session(
                    core, connection, confirmed, method="otp", facts=facts, terms=terms, entries=entries
                )
    except DatabaseError as error:
        if is_address_taken(error):
            raise _taken(stored) from None
        fail_with_database_error("Database error updating user", error)
    if outcome is None:
        raise refusal
    tell_of_changes(core, user, confirmed)
    return outcome


def _resolved(stored: StoredCode, verify_type: str) -> str:
    """What type ``email`` means for the code that it found."""
    if verify_type != "email":
        return verify_type
    return "signup" if stored.token_type == "confirmation_token" else "magiclink"  # noqa: S105  the name of a kind


async def _apply(
    core: AuthCore, connection: Connection, user: User, stored: StoredCode, verify_type: str
) -> tuple[User, list[Entry]] | HalfConfirmed:
    """The user as they are after it, and what the log shall say of it when the session is opened."""
    entries: list[Entry] = []
    match _resolved(stored, verify_type):
        case "signup" | "invite":
            entries.append(await confirm.confirm_signup(core, connection, user, resets_password=stored.resets_password))
        case "recovery" | "magiclink":
            entries.append(await confirm.recover(core, connection, user))
        case "email_change":
            if not await confirm_email_change(core, connection, user, stored):
                return HalfConfirmed()
        case "sms":
            entries.append(await confirm.confirm_phone(core, connection, user, resets_password=stored.resets_password))
        case _:
            await confirm_phone_change(core, connection, user)
    after = await confirm.reload_with_providers(connection, user, adds_identity=verify_type.endswith("_change"))
    return after, entries


async def _auth_code(connection: Connection, user: User, verify_type: str) -> AuthCode:
    code = await flow_state.issue_auth_code(connection, user.id, _FLOW_METHODS[verify_type])
    if code is None:
        raise bad_request(
            ErrorCode.FLOW_STATE_NOT_FOUND,
            "No associated flow state found. 422: No valid flow state found for user.",
        )
    return AuthCode(code)


def _taken(stored: StoredCode) -> AuthError:
    if stored.token_type == "phone_change_token":  # noqa: S105  the name of a kind
        return unprocessable(ErrorCode.PHONE_EXISTS, confirm.DUPLICATE_PHONE)
    return unprocessable(ErrorCode.EMAIL_EXISTS, confirm.DUPLICATE_EMAIL)
