"""POST /passkeys/registration/options and /verify: a signed-in user adds a passkey."""

from __future__ import annotations

import logging
from dataclasses import replace
from uuid import UUID, uuid4

from isobase_services.auth import ceremonies
from isobase_services.auth.ceremonies import CeremonyFailed
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, unprocessable
from isobase_services.auth.flows.access import SignedIn
from isobase_services.auth.flows.passkeys.challenges import PasskeyCeremony, failed, open_challenge, take_challenge
from isobase_services.auth.flows.passkeys.guard import check_may_register
from isobase_services.auth.passkey_names import passkey_name
from isobase_services.auth.store import audit, factors, webauthn
from isobase_services.auth.store.audit import Action, Entry, user_actor
from isobase_services.auth.store.webauthn import Passkey

__all__ = ["register_passkey", "registration_options"]

_log = logging.getLogger("isobase.auth")


async def registration_options(core: AuthCore, signed_in: SignedIn) -> PasskeyCeremony:
    """What the browser is asked to create.

    Raises 422 validation_failed for users of single sign-on, 403 insufficient_aal, 422 too_many_passkeys.
    """
    check_may_register(signed_in)
    user = signed_in.user
    async with core.connection() as connection:
        known = await webauthn.list_passkeys(connection, user.id)
    if len(known) >= core.settings.passkey.max_passkeys_per_user:
        raise _too_many()
    challenge = await open_challenge(core, "registration", user.id)
    options = ceremonies.creation_options(
        ceremonies.relying_party(core.settings),
        user,
        challenge.value,
        excluded=[replace(passkey.credential, transports=()) for passkey in known],
        is_discoverable=True,
        timeout_s=core.settings.webauthn.challenge_expiry_s,
    )
    return PasskeyCeremony(challenge.id, options, challenge.expires_at)


async def register_passkey(core: AuthCore, signed_in: SignedIn, challenge_id: UUID, answer: object) -> Passkey:
    """Check what the browser created and keep it.

    Raises as ``registration_options``; 400 webauthn_challenge_not_found, webauthn_challenge_expired,
    webauthn_verification_failed; 422 webauthn_credential_exists.
    """
    check_may_register(signed_in)
    user = signed_in.user
    challenge = await take_challenge(core, challenge_id, "registration", user.id)
    try:
        credential = await ceremonies.check_creation(ceremonies.relying_party(core.settings), answer, challenge)
    except CeremonyFailed as error:
        _log.info("passkey registration failed", extra={"reason": str(error)})
        raise failed(error) from None
    passkey_id, name = uuid4(), passkey_name(credential.aaguid)
    async with core.transaction() as connection:
        # One at a time, or two answers at once would both find the last place free.
        await factors.lock_user(connection, user.id)
        known = await webauthn.list_passkeys(connection, user.id)
        if len(known) >= core.settings.passkey.max_passkeys_per_user:
            raise _too_many()
        created_at = await webauthn.insert_passkey(connection, passkey_id, user.id, credential, name)
        if created_at is None:
            raise unprocessable(ErrorCode.WEBAUTHN_CREDENTIAL_EXISTS, "This credential is already registered")
        entry = Entry(user_actor(user), Action.PASSKEY_CREATED, {"passkey_id": str(passkey_id)})
        await audit.record(connection, entry)
    return Passkey(passkey_id, user.id, credential, name, created_at, None)


def _too_many() -> AuthError:
    return unprocessable(ErrorCode.TOO_MANY_PASSKEYS, "Maximum number of passkeys reached")
