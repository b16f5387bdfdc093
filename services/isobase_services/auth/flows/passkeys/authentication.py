"""POST /passkeys/authentication/options and /verify: signing in with a passkey alone."""

from __future__ import annotations

import logging
from uuid import UUID

from isobase_services.auth import ceremonies
from isobase_services.auth.ceremonies import CeremonyFailed, Credential
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, forbidden
from isobase_services.auth.flows.grants import issue_grant, start_session
from isobase_services.auth.flows.passkeys.challenges import PasskeyCeremony, failed, open_challenge, take_challenge
from isobase_services.auth.models import ClientFacts, Grant, SessionTerms, User
from isobase_services.auth.store import users, webauthn
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.webauthn import Passkey

__all__ = ["authentication_options", "sign_in_with_passkey"]

_log = logging.getLogger("isobase.auth")


async def authentication_options(core: AuthCore) -> PasskeyCeremony:
    """What the browser is asked: any passkey of this relying party. It names no user."""
    challenge = await open_challenge(core, "authentication", None)
    options = ceremonies.request_options(
        ceremonies.relying_party(core.settings),
        challenge.value,
        allowed=(),
        timeout_s=core.settings.webauthn.challenge_expiry_s,
    )
    return PasskeyCeremony(challenge.id, options, challenge.expires_at)


async def sign_in_with_passkey(
    core: AuthCore, challenge_id: UUID, answer: object, facts: ClientFacts, terms: SessionTerms
) -> Grant:
    """Check the assertion and open a session for the user in its handle.

    Raises 400 webauthn_challenge_not_found, webauthn_challenge_expired, webauthn_verification_failed; after the assertion
    is proven 403 email_not_confirmed, phone_not_confirmed, user_banned.
    """
    challenge = await take_challenge(core, challenge_id, "authentication", None)
    try:
        user, passkey, used = await _check(core, answer, challenge)
    except CeremonyFailed as error:
        _log.info("passkey sign-in failed", extra={"reason": str(error)})
        raise failed(error) from None
    _check_may_sign_in(core, user)
    entry = Entry(user_actor(user), Action.LOGIN, {"passkey_id": str(passkey.id)})
    async with core.transaction() as connection:
        if not await webauthn.note_use(connection, passkey, used):
            raise failed()
        opened = await start_session(
            core, connection, user, method="passkey", facts=facts, terms=terms, entries=[entry]
        )
        if opened is None:
            raise failed()
    return await issue_grant(core, opened)


async def _check(core: AuthCore, answer: object, challenge: bytes) -> tuple[User, Passkey, Credential]:
    assertion = ceremonies.assertion_of(answer)
    user_id = ceremonies.user_id_of(assertion)
    if user_id is None:
        raise CeremonyFailed("the assertion names no user")
    credential_id = ceremonies.credential_id_of(assertion)
    async with core.connection() as connection:
        user = await users.find_by_id(connection, user_id)
        passkey = await webauthn.find_passkey(connection, user_id, credential_id)
    if user is None or passkey is None:
        raise CeremonyFailed("no such passkey")
    party = ceremonies.relying_party(core.settings)
    return user, passkey, await ceremonies.check_assertion(party, assertion, challenge, passkey.credential)


def _check_may_sign_in(core: AuthCore, user: User) -> None:
    if user.email and user.confirmed_at is None:
        raise forbidden(ErrorCode.EMAIL_NOT_CONFIRMED, "Email not confirmed")
    if user.phone and not user.is_phone_confirmed:
        raise forbidden(ErrorCode.PHONE_NOT_CONFIRMED, "Phone not confirmed")
    if user.is_banned(core.now()):
        raise forbidden(ErrorCode.USER_BANNED, "User is banned")
