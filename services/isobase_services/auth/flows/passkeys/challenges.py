"""Challenges of passkey ceremonies: each is stored, given out once and taken back once, within its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from isobase_services.auth.ceremonies import (
    CeremonyFailed,
    MalformedAnswer,
    from_base64url,
    new_challenge,
    relying_party,
    to_base64url,
)
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request
from isobase_services.auth.models import JsonObject
from isobase_services.auth.store import webauthn
from isobase_services.auth.store.webauthn import ChallengeType

__all__ = ["NewChallenge", "PasskeyCeremony", "failed", "open_challenge", "take_challenge"]


@dataclass(slots=True, frozen=True)
class NewChallenge:
    """A stored challenge."""

    id: UUID
    value: bytes = field(repr=False)
    expires_at: datetime


@dataclass(slots=True, frozen=True)
class PasskeyCeremony:
    """What a browser is asked, under which id, and until when it can answer."""

    challenge_id: UUID
    options: JsonObject = field(repr=False)
    expires_at: datetime


async def open_challenge(core: AuthCore, challenge_type: ChallengeType, user_id: UUID | None) -> NewChallenge:
    """Store a fresh challenge, for ``user_id`` or, with None, for anybody."""
    challenge_id, value = uuid4(), new_challenge()
    expires_at = core.now() + timedelta(seconds=core.settings.webauthn.challenge_expiry_s)
    data = {
        "challenge": to_base64url(value),
        "rpId": relying_party(core.settings).id,
        "userVerification": "preferred",
    }
    async with core.connection() as connection:
        await webauthn.insert_challenge(connection, challenge_id, user_id, challenge_type, data, expires_at)
    return NewChallenge(challenge_id, value, expires_at)


async def take_challenge(
    core: AuthCore, challenge_id: UUID, challenge_type: ChallengeType, user_id: UUID | None
) -> bytes:
    """The value of a challenge, which is gone then whatever comes of the answer.

    Raises 400 webauthn_challenge_not_found, webauthn_challenge_expired.
    """
    async with core.connection() as connection:
        taken = await webauthn.take_challenge(connection, challenge_id, user_id, challenge_type)
    if taken is None:
        raise bad_request(ErrorCode.WEBAUTHN_CHALLENGE_NOT_FOUND, "Challenge not found or already used")
    data, expires_at = taken
    if core.now() > expires_at:
        raise bad_request(ErrorCode.WEBAUTHN_CHALLENGE_EXPIRED, "Challenge has expired")
    return from_base64url(data["challenge"])


def failed(error: CeremonyFailed | None = None) -> AuthError:
    """The refusal of an answer that proves nothing: the same for an unknown user, an unknown key and a bad signature."""
    if isinstance(error, MalformedAnswer):
        return bad_request(ErrorCode.WEBAUTHN_VERIFICATION_FAILED, "Invalid credential response")
    return bad_request(ErrorCode.WEBAUTHN_VERIFICATION_FAILED, "Credential verification failed")
