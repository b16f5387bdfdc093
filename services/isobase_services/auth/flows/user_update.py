"""A user changes their own account. Source: contracts auth §1, 2.6, 2.11; supabase/auth internal/api/user.go."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
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
from isobase_services.auth.flows.access import SignedIn
from isobase_services.auth.flows.codes import IssuedCode, check_channel, issue_sms_code, send_code
from isobase_services.auth.flows.confirm import DUPLICATE_EMAIL, DUPLICATE_PHONE
from isobase_services.auth.flows.email_change import request_email_change, take_email
from isobase_services.auth.flows.notices import tell_of_changes
from isobase_services.auth.flows.password_strength import check_new_password
from isobase_services.auth.flows.phone_change import take_phone
from isobase_services.auth.flows.reauthenticate import check_nonce
from isobase_services.auth.messages import Channel, SmsKind
from isobase_services.auth.models import ClientFacts, JsonObject, User
from isobase_services.auth.rules import check_pkce_pair, normal_email, normal_phone
from isobase_services.auth.store import audit, flow_state, sessions, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.flow_state import NewFlow
from isobase_services.auth.store.users import UserChanges, UserColumn

if TYPE_CHECKING:
    from uuid import UUID

    from isobase_platform.pool import Connection

__all__ = [
    "DUPLICATE_EMAIL",
    "DUPLICATE_PHONE",
    "PENDING_TOKEN_COLUMNS",
    "UserUpdate",
    "set_password",
    "update_own_user",
]

MAX_USER_METADATA_BYTES = 1 << 20
"""Of a user's metadata in all, as JSON. A request holds no more, but each is merged into what is there, and all of it is read
with every request of the user and travels in every token."""
RECENT_SIGN_IN_S = 24 * 3600
"""How long after signing in a password may be changed without a code, where codes are asked for."""

PENDING_TOKEN_COLUMNS: dict[UserColumn, object] = {
    "confirmation_token": "",
    "confirmation_sent_at": None,
    "recovery_token": "",
    "recovery_sent_at": None,
    "email_change_token_current": "",
    "email_change_token_new": "",
    "email_change_sent_at": None,
    "email_change": "",
    "email_change_confirm_status": 0,
    "phone_change_token": "",
    "phone_change_sent_at": None,
    "phone_change": "",
    "reauthentication_token": "",
    "reauthentication_sent_at": None,
}
"""What a password change takes back: it may mean that what was asked for under the old one is no longer wanted.

Upstream takes the codes back but leaves the address that they were for, so that /resend, which asks nobody who they are,
goes on with a change that a thief began.
"""


_RECOVERY_METHODS = frozenset({"otp", "magiclink", "recovery"})
"""How a session begins whose user may have forgotten the password."""


@dataclass(slots=True, frozen=True)
class UserUpdate:
    """What the user wants changed. Absent texts are empty; ``password`` and the two objects None when not given."""

    email: str
    phone: str
    password: str | None = field(repr=False)
    nonce: str = field(repr=False)
    current_password: str = field(repr=False)
    data: JsonObject | None
    app_metadata: JsonObject | None
    channel: str
    code_challenge: str
    code_challenge_method: str
    audience: str
    redirect_to: str = ""


@dataclass(slots=True, frozen=True)
class _UpdatePlan:
    new_email: str | None
    new_phone: str | None
    password: str | None = field(repr=False)
    data: JsonObject | None
    challenge: str
    challenge_method: str | None
    channel: Channel
    redirect_to: str


async def update_own_user(core: AuthCore, signed_in: SignedIn, request: UserUpdate, facts: ClientFacts) -> User:
    """Apply the changes in one transaction and return the user.

    A new password ends every other session. A new e-mail of a permanent user stays pending (``new_email``) until it is
    confirmed; an anonymous user's is taken at once where no confirmation is asked for. Raises what contracts auth §1
    lists for PUT /user.
    """
    plan = await _plan(core, signed_in, request)
    await _check_free(core, signed_in.user, plan, request.audience)
    await _check_reauthentication(core, signed_in, request)
    await _check_current_password(core, signed_in, request)
    password_hash = await _new_password_hash(core, signed_in.user, plan)
    user, session = signed_in.user, signed_in.session
    issued: list[IssuedCode | None] = []
    try:
        async with core.transaction() as connection:
            if password_hash is not None:
                kept_session = session.id if session is not None else None
                await set_password(connection, user.id, password_hash, kept_session)
                await audit.record(connection, Entry(user_actor(user), Action.USER_UPDATED_PASSWORD))
            if plan.data is not None:
                await users.update_user(connection, user.id, UserChanges(user_metadata=plan.data))
            if plan.new_email is not None:
                issued.append(await _change_email(core, connection, user, plan.new_email, plan))
            if plan.new_phone is not None:
                issued.append(await _change_phone(core, connection, user, plan.new_phone, plan.channel))
            updated = await users.find_by_id(connection, user.id)
            if plan.data is not None and updated is not None:
                _check_size(updated.user_metadata)
            # Under the name that they have now, as upstream.
            await audit.record(connection, Entry(user_actor(updated or user), Action.USER_MODIFIED))
    except DatabaseError as error:
        if is_address_taken(error):
            if plan.new_email is None:
                raise unprocessable(ErrorCode.PHONE_EXISTS, DUPLICATE_PHONE) from None
            raise unprocessable(ErrorCode.EMAIL_EXISTS, DUPLICATE_EMAIL) from None
        fail_with_database_error("Error updating user", error)
    if updated is None:
        raise forbidden(ErrorCode.USER_NOT_FOUND, "User from sub claim in JWT does not exist")
    tell_of_changes(core, user, updated, has_new_password=password_hash is not None)
    for code in issued:
        if code is not None:
            await send_code(core, code, facts)
    return updated


async def _plan(core: AuthCore, signed_in: SignedIn, request: UserUpdate) -> _UpdatePlan:
    user = signed_in.user
    email = normal_email(request.email) if request.email else ""
    phone = normal_phone(request.phone) if request.phone else ""
    channel = check_channel(core, request.channel) if phone else "sms"
    if request.password is not None:
        await check_new_password(core, request.password)
    if request.app_metadata is not None:
        raise forbidden(ErrorCode.NOT_ADMIN, "Updating app_metadata requires admin privileges")
    new_email = email if email and email != user.email else None
    new_phone = phone if phone and phone != user.phone else None
    is_sensitive = bool(request.password) or new_email is not None or new_phone is not None
    if is_sensitive and user.has_verified_factor and not signed_in.is_aal2:
        raise AuthError(
            401,
            ErrorCode.INSUFFICIENT_AAL,
            "AAL2 session is required to update email or password when MFA is enabled.",
        )
    if user.is_anonymous and request.password and not email and not phone:
        raise unprocessable(
            ErrorCode.VALIDATION_FAILED,
            "Updating password of an anonymous user without an email or phone is not allowed",
        )
    if user.is_sso_user and (is_sensitive or request.nonce):
        raise unprocessable(
            ErrorCode.USER_SSO_MANAGED,
            "Updating email, phone, password of a SSO account only possible via SSO",
        )
    return _UpdatePlan(
        new_email=new_email,
        new_phone=new_phone,
        password=request.password or None,
        data=request.data,
        challenge=request.code_challenge,
        challenge_method=check_pkce_pair(request.code_challenge, request.code_challenge_method),
        channel=channel,
        redirect_to=request.redirect_to,
    )


def _check_size(metadata: JsonObject) -> None:
    if len(json.dumps(metadata).encode()) > MAX_USER_METADATA_BYTES:
        raise bad_request(
            ErrorCode.VALIDATION_FAILED, f"User metadata cannot be larger than {MAX_USER_METADATA_BYTES} bytes"
        )


async def _check_free(core: AuthCore, user: User, plan: _UpdatePlan, audience: str) -> None:
    if plan.new_email is None and plan.new_phone is None:
        return
    async with core.connection() as connection:
        if plan.new_email is not None and await users.find_duplicate_email(
            connection, plan.new_email, audience, apart_from=user.id
        ):
            raise unprocessable(ErrorCode.EMAIL_EXISTS, DUPLICATE_EMAIL)
        if plan.new_phone is not None and await users.find_by_phone(connection, plan.new_phone, audience):
            raise unprocessable(ErrorCode.PHONE_EXISTS, DUPLICATE_PHONE)


async def _check_reauthentication(core: AuthCore, signed_in: SignedIn, request: UserUpdate) -> None:
    """Ask for the code of GET /reauthenticate where the project wants it and the session is no longer young."""
    if request.password is None or not core.settings.email.secure_password_change:
        return
    session = signed_in.session
    if session is not None and core.now() <= session.created_at + timedelta(seconds=RECENT_SIGN_IN_S):
        return
    if not request.nonce:
        raise bad_request(ErrorCode.REAUTHENTICATION_NEEDED, "Password update requires reauthentication")
    await check_nonce(core, signed_in.user, request.nonce)


async def _check_current_password(core: AuthCore, signed_in: SignedIn, request: UserUpdate) -> None:
    """Ask for the password that is to be changed, where the project wants it and the user did not just recover it."""
    user, session = signed_in.user, signed_in.session
    if not request.password or not user.has_password:
        return
    if not core.settings.security.update_password_require_current_password:
        return
    if session is not None and any(use.method in _RECOVERY_METHODS for use in session.methods):
        return
    message = "Current password required when setting new password."
    if not request.current_password:
        raise bad_request(ErrorCode.CURRENT_PASSWORD_REQUIRED, message)
    if not (await core.hasher.verify(request.current_password, user.encrypted_password)).matches:
        raise bad_request(ErrorCode.CURRENT_PASSWORD_INVALID, message)


async def _new_password_hash(core: AuthCore, user: User, plan: _UpdatePlan) -> str | None:
    if plan.password is None:
        return None
    if user.has_password and (await core.hasher.verify(plan.password, user.encrypted_password)).matches:
        raise unprocessable(ErrorCode.SAME_PASSWORD, "New password should be different from the old password.")
    return await core.hasher.hash(plan.password)


async def set_password(connection: Connection, user_id: UUID, password_hash: str, kept_session: UUID | None) -> None:
    """Store a new password hash, end all sessions but ``kept_session``, and take back what else is out.

    That is every code, link and change of address, and the auth codes of browsers that are on their way back.
    """
    changes = UserChanges({"encrypted_password": password_hash, **PENDING_TOKEN_COLUMNS})
    await users.update_user(connection, user_id, changes)
    await users.clear_one_time_tokens(connection, user_id)
    await flow_state.delete_flows_of(connection, user_id)
    if kept_session is None:
        await sessions.delete_sessions(connection, user_id)
    else:
        await sessions.delete_other_sessions(connection, user_id, kept_session)


async def _change_email(
    core: AuthCore, connection: Connection, user: User, email: str, plan: _UpdatePlan
) -> IssuedCode | None:
    """Begin the change and return the mail to send; None where an anonymous user takes the address at once."""
    if user.is_anonymous and not core.settings.email_enable_confirmations:
        await take_email(core, connection, user, email)
        return None
    if plan.challenge_method is not None:
        flow = NewFlow(
            provider_type="email_change",
            method="email_change",
            user_id=user.id,
            challenge=plan.challenge,
            challenge_method=plan.challenge_method,
        )
        await flow_state.start_flow(connection, flow)
    return await request_email_change(
        core, connection, user, email, is_pkce=plan.challenge_method is not None, redirect_to=plan.redirect_to
    )


async def _change_phone(
    core: AuthCore, connection: Connection, user: User, phone: str, channel: Channel
) -> IssuedCode | None:
    """Begin the change and return the text message to send; None where no confirmation is asked for."""
    if not core.settings.phone_enable_confirmations:
        await take_phone(core, connection, user, phone)
        return None
    return await issue_sms_code(core, connection, user, SmsKind.PHONE_CHANGE, phone, channel=channel)
