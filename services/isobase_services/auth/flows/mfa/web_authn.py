"""WebAuthn credentials as second factors: the question of a challenge, the proof of an answer.

Credentials are kept in the form of upstream's library (go-webauthn), so that factors enrolled there go on working here.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from uuid import UUID

from isobase_services.auth import ceremonies
from isobase_services.auth.ceremonies import CeremonyFailed, Credential, MalformedAnswer
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request, unprocessable
from isobase_services.auth.flows.mfa.step_up import Proof
from isobase_services.auth.models import Factor, JsonObject, User
from isobase_services.auth.store import factors
from isobase_services.auth.store.factors import OpenChallenge

__all__ = ["Ceremony", "WebAuthnAnswer", "check_web_authn", "read_answer", "web_authn_question"]

Ceremony: TypeAlias = Literal["create", "request"]

_log = logging.getLogger("isobase.auth")


@dataclass(slots=True, frozen=True)
class WebAuthnAnswer:
    """What the browser did, and its answer."""

    ceremony: Ceremony
    response: JsonObject = field(repr=False)


def ceremony_of(factor: Factor) -> Ceremony:
    """An unverified factor has no credential yet and creates one; a verified one uses its own."""
    return "request" if factor.is_verified else "create"


async def web_authn_question(core: AuthCore, user: User, factor: Factor) -> tuple[JsonObject, JsonObject]:
    """(What the browser is asked, what to keep with the challenge).

    Raises 422 mfa_verification_failed for a verified factor whose credential is not there.
    """
    async with core.connection() as connection:
        stored = await factors.web_authn_credentials(connection, user.id)
    known = _readable(stored)
    party, challenge, ceremony = (
        ceremonies.relying_party(core.settings),
        ceremonies.new_challenge(),
        ceremony_of(factor),
    )
    timeout_s = core.settings.mfa.challenge_expiry_s
    if ceremony == "create":
        options = ceremonies.creation_options(
            party, user, challenge, excluded=list(known.values()), is_discoverable=False, timeout_s=timeout_s
        )
    else:
        own = known.get(factor.id)
        if own is None:
            raise _failed()
        options = ceremonies.request_options(party, challenge, allowed=[own], timeout_s=timeout_s)
    question = {"type": ceremony, "credential_options": {"publicKey": options}}
    kept = {
        "challenge": ceremonies.to_base64url(challenge),
        "rpId": party.id,
        "user_id": base64.b64encode(ceremonies.user_handle(user.id)).decode(),
        "userVerification": "",
        "ceremony": ceremony,
    }
    return question, kept


async def check_web_authn(
    core: AuthCore, user: User, factor: Factor, challenge: OpenChallenge, answer: WebAuthnAnswer
) -> Proof:
    """Check what the browser answered.

    The challenge says what was asked for. An answer of the other type is refused: upstream lets a new credential, made for
    the challenge of a verified factor, pass for that factor. Raises 400 validation_failed, 422 mfa_verification_failed.
    """
    ceremony, response = answer.ceremony, answer.response
    kept = challenge.session_data
    if kept.get("ceremony", ceremony_of(factor)) != ceremony or ceremony != ceremony_of(factor):
        raise _failed()
    party = ceremonies.relying_party(core.settings)
    try:
        asked = ceremonies.from_base64url(kept.get("challenge"))
        if ceremony == "create":
            credential = await ceremonies.check_creation(party, response, asked)
        else:
            if challenge.credential is None or ceremonies.user_id_of(response) not in (None, user.id):
                raise CeremonyFailed("the answer is not for this factor")
            own = from_stored(challenge.credential)
            credential = await ceremonies.check_assertion(party, response, asked, own)
    except MalformedAnswer:
        raise _malformed() from None
    except CeremonyFailed as error:
        _log.info("webauthn factor not verified", extra={"reason": str(error)})
        raise _failed() from None
    return Proof(
        challenge.id,
        credential=to_stored(credential),
        aaguid=str(credential.aaguid or ""),
        challenge_data=_account_of(factor, challenge, ceremony, response),
    )


def from_stored(item: JsonObject) -> Credential:
    """A credential from the JSON of go-webauthn, whose bytes are base64. Raises ``CeremonyFailed``."""
    try:
        flags, authenticator = item.get("flags") or {}, item.get("authenticator") or {}
        aaguid = base64.b64decode(authenticator.get("AAGUID") or "")
        return Credential(
            id=base64.b64decode(item["id"]),
            public_key=base64.b64decode(item["publicKey"]),
            sign_count=int(authenticator.get("signCount") or 0),
            aaguid=UUID(bytes=aaguid) if len(aaguid) == 16 else None,
            transports=tuple(item.get("transport") or ()),
            attestation_type=str(item.get("attestationType") or ""),
            is_backup_eligible=bool(flags.get("backupEligible")),
            is_backed_up=bool(flags.get("backupState")),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CeremonyFailed("the stored credential cannot be read") from None


def to_stored(credential: Credential) -> JsonObject:
    """The JSON of go-webauthn for a credential."""
    aaguid = credential.aaguid.bytes if credential.aaguid is not None else b""
    return {
        "id": base64.b64encode(credential.id).decode(),
        "publicKey": base64.b64encode(credential.public_key).decode(),
        "attestationType": credential.attestation_type,
        "transport": list(credential.transports),
        "flags": {
            "userPresent": True,
            "backupEligible": credential.is_backup_eligible,
            "backupState": credential.is_backed_up,
        },
        "authenticator": {
            "AAGUID": base64.b64encode(aaguid).decode(),
            "signCount": credential.sign_count,
            "cloneWarning": False,
        },
    }


def _readable(stored: Mapping[UUID, JsonObject]) -> dict[UUID, Credential]:
    """The credentials that can be read; one that cannot neither signs in nor keeps its authenticator out."""
    known: dict[UUID, Credential] = {}
    for factor_id, item in stored.items():
        try:
            known[factor_id] = from_stored(item)
        except CeremonyFailed as error:
            _log.warning("a factor's credential cannot be read", extra={"factor": str(factor_id), "reason": str(error)})
    return known


def read_answer(answer: JsonObject | None) -> WebAuthnAnswer:
    """The ``webauthn`` object of a verification. Raises 400 validation_failed."""
    if answer is None:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "WebAuthn config required")
    ceremony, response = answer.get("type"), answer.get("credential_response")
    if ceremony != "create" and ceremony != "request":
        raise bad_request(ErrorCode.VALIDATION_FAILED, "WebAuthn type must be create or request")
    if response is None:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "credential_response required")
    if not isinstance(response, dict):
        raise _malformed()
    return WebAuthnAnswer(ceremony, response)


def _account_of(factor: Factor, challenge: OpenChallenge, ceremony: Ceremony, response: JsonObject) -> JsonObject:
    """``last_webauthn_challenge_data`` of the factor; of the answer only what names the credential."""
    named = {name: response[name] for name in ("id", "rawId", "type") if isinstance(response.get(name), str)}
    return {
        "challenge": {
            "challenge_id": str(challenge.id),
            "factor_id": str(factor.id),
            "created_at": challenge.created_at.isoformat().replace("+00:00", "Z"),
            "ip_address": challenge.ip,
        },
        "type": ceremony,
        "credential_response": named,
    }


def _malformed() -> AuthError:
    return bad_request(ErrorCode.VALIDATION_FAILED, "Invalid credential_response")


def _failed() -> AuthError:
    return unprocessable(ErrorCode.MFA_VERIFICATION_FAILED, "Failed to validate WebAuthn MFA response")
