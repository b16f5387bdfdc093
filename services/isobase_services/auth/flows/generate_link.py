"""Links that an administrator sends by means of their own: nothing is mailed here, and no waiting time holds.

Source: supabase/auth internal/api/mail.go adminGenerateLink; contracts auth 2.15.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

from isobase_platform.errors import DatabaseError
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import (
    AuthError,
    ErrorCode,
    bad_request,
    fail_with_database_error,
    is_address_taken,
    not_found,
    unprocessable,
)
from isobase_services.auth.flows.access import Admin
from isobase_services.auth.flows.codes import store_code
from isobase_services.auth.flows.confirm import DUPLICATE_EMAIL
from isobase_services.auth.flows.doors import has_doors
from isobase_services.auth.flows.email_change import store_change_code
from isobase_services.auth.flows.invite import record_invitation
from isobase_services.auth.flows.new_user import NewAccount, insert_account, reload_user
from isobase_services.auth.flows.password_strength import check_new_password
from isobase_services.auth.hooks.new_users import may_create, was_created
from isobase_services.auth.links import LinkType, action_link
from isobase_services.auth.models import ClientFacts, JsonObject, User
from isobase_services.auth.rules import normal_email
from isobase_services.auth.store import audit, users
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.users import UserChanges
from isobase_services.auth.tokens import OneTimeCode, new_one_time_code

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["GeneratedLink", "GeneratedType", "LinkOrder", "generate_link"]

GeneratedType: TypeAlias = Literal[
    "signup", "magiclink", "recovery", "invite", "email_change_current", "email_change_new"
]


@dataclass(slots=True, frozen=True)
class LinkOrder:
    """What kind of link, for whom. ``password`` counts for a sign-up of somebody new, ``new_email`` for a change."""

    type: str
    email: str
    new_email: str
    password: str = field(repr=False)
    data: JsonObject
    audience: str
    redirect_to: str


@dataclass(slots=True, frozen=True)
class GeneratedLink:
    """The link with the code behind it. ``type`` is "signup" where a magic link was asked for somebody new."""

    user: User
    type: GeneratedType
    link: str = field(repr=False)
    code: str = field(repr=False)
    token_hash: str = field(repr=False)
    redirect_to: str


@dataclass(slots=True, frozen=True)
class _Plan:
    """``account`` is who is to be made, None for a user who is there."""

    type: GeneratedType
    user: User | None
    account: NewAccount | None
    new_email: str
    code: OneTimeCode = field(repr=False)
    resets_password: bool


async def generate_link(core: AuthCore, admin: Admin, order: LinkOrder, facts: ClientFacts) -> GeneratedLink:
    """Make a link, and the user it is for where signup, invite or magiclink name somebody new.

    Raises 400 validation_failed, 404 user_not_found, 422 email_exists and weak_password.
    """
    email = normal_email(order.email)
    async with core.connection() as connection:
        user = await users.find_by_email(connection, email, order.audience)
    plan = await _plan(core, order, email, user)
    if plan.account is not None:
        await may_create(core.hooks, plan.account.row, facts)
    try:
        async with core.transaction() as connection:
            made = await _execute(core, connection, admin, order, plan)
    except DatabaseError as error:
        if is_address_taken(error):
            raise _taken() from None
        fail_with_database_error("Database error saving new user", error)
    if plan.account is not None:
        await was_created(core.hooks, made, facts)
    is_change = plan.type in ("email_change_current", "email_change_new")
    link_type: LinkType = "email_change" if is_change else cast("LinkType", plan.type)
    return GeneratedLink(
        user=made,
        type=plan.type,
        link=action_link(core.platform.settings, link_type, plan.code.token_hash, order.redirect_to),
        code=plan.code.code,
        token_hash=plan.code.token_hash,
        redirect_to=order.redirect_to,
    )


async def _plan(core: AuthCore, order: LinkOrder, email: str, user: User | None) -> _Plan:
    if order.type not in get_args(GeneratedType):
        raise bad_request(ErrorCode.VALIDATION_FAILED, f"Invalid email action link type requested: {order.type}")
    link_type = cast("GeneratedType", order.type)
    if user is None and link_type in ("recovery", "email_change_current", "email_change_new"):
        raise not_found(ErrorCode.USER_NOT_FOUND, "User with this email not found")
    account, new_email, resets_password = None, "", False
    if user is None:
        # Upstream gives who is signed up by a magic link a random password; none does the same.
        password_hash = await _first_hash(core, order) if link_type == "signup" else ""
        link_type = "signup" if link_type == "magiclink" else link_type
        account = NewAccount("email", email, order.audience, order.data, password_hash, shows_claims=False)
    elif link_type in ("signup", "invite"):
        if user.is_email_confirmed:
            raise _taken()
        resets_password = has_doors(user) and not await _knows_password(core, order, user)
    if link_type in ("email_change_current", "email_change_new"):
        if link_type == "email_change_current" and not core.settings.email.double_confirm_changes:
            raise bad_request(
                ErrorCode.VALIDATION_FAILED, "Enable secure email change to generate link for current email"
            )
        new_email = normal_email(order.new_email)
    address = new_email if link_type == "email_change_new" else email
    code = new_one_time_code(address, digits=core.settings.email.otp_length)
    return _Plan(link_type, user, account, new_email, code, resets_password)


async def _first_hash(core: AuthCore, order: LinkOrder) -> str:
    if not order.password:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Signup requires a valid password")
    await check_new_password(core, order.password)
    return await core.hasher.hash(order.password)


async def _knows_password(core: AuthCore, order: LinkOrder, user: User) -> bool:
    return bool(order.password) and (await core.hasher.verify(order.password, user.encrypted_password)).matches


async def _execute(core: AuthCore, connection: Connection, admin: Admin, order: LinkOrder, plan: _Plan) -> User:
    user = plan.user
    if user is None:
        assert plan.account is not None  # one of the two
        await insert_account(core, connection, plan.account)
        user = await reload_user(connection, plan.account.id)
    match plan.type:
        case "magiclink" | "recovery":
            await audit.record(connection, Entry(user_actor(user), Action.USER_RECOVERY_REQUESTED))
            await store_code(core, connection, user, "recovery_token", plan.code, user.email)
        case "signup" | "invite":
            is_invite = plan.type == "invite"
            if is_invite:
                await record_invitation(connection, admin, user)
            elif plan.user is not None:
                await users.update_user(connection, user.id, UserChanges(user_metadata=order.data))
            await store_code(
                core, connection, user, "confirmation_token", plan.code, user.email,
                is_invite=is_invite, resets_password=plan.resets_password,
            )  # fmt: skip
        case _:
            if await users.find_duplicate_email(connection, plan.new_email, user.aud, apart_from=user.id):
                raise _taken()
            await store_change_code(
                core, connection, user, plan.new_email, plan.code, is_to_new=plan.type == "email_change_new"
            )
    return await reload_user(connection, user.id)


def _taken() -> AuthError:
    return unprocessable(ErrorCode.EMAIL_EXISTS, DUPLICATE_EMAIL)
