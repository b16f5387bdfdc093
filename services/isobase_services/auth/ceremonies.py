"""WebAuthn ceremonies: what a browser is asked to create a credential or to use one, and checking what it answers.

Options are JSON as upstream writes them; answers are checked by py_webauthn, which is loaded on first use and runs in a
thread, because it verifies signatures and certificates. Neither touches the database. Source: W3C WebAuthn level 2;
supabase/auth internal/api/passkey_webauthn.go; contracts auth 2.16.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from isobase_services.auth.models import JsonObject, User

if TYPE_CHECKING:
    from isobase_platform.config import AuthSettings

__all__ = [
    "CeremonyFailed",
    "Credential",
    "MalformedAnswer",
    "RelyingParty",
    "assertion_of",
    "check_assertion",
    "check_creation",
    "check_form",
    "creation_options",
    "credential_id_of",
    "from_base64url",
    "new_challenge",
    "relying_party",
    "request_options",
    "to_base64url",
    "user_handle",
    "user_id_of",
]

CHALLENGE_BYTES = 32
ALGORITHMS = (-7, -36, -257, -258, -259, -37, -38, -39, -8)
"""COSE numbers of ES256, ES512, RS256 to RS512, PS256 to PS512 and EdDSA: upstream's list in its order, but for ES384."""


class CeremonyFailed(Exception):
    """The answer does not prove what it should. The text is for the log."""


class MalformedAnswer(CeremonyFailed):
    """What came is no answer of a browser's."""


@dataclass(slots=True, frozen=True)
class RelyingParty:
    """Who asks: the domain that credentials are bound to, the name that is shown, the pages that may ask."""

    id: str
    name: str
    origins: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Credential:
    """A public-key credential; ``sign_count`` as the authenticator gave it last."""

    id: bytes
    public_key: bytes = field(repr=False)
    sign_count: int
    aaguid: UUID | None
    transports: tuple[str, ...]
    attestation_type: str
    is_backup_eligible: bool
    is_backed_up: bool


def relying_party(settings: AuthSettings) -> RelyingParty:
    """The configured relying party; what is not configured follows from ``site_url``."""
    site = urlsplit(settings.site_url)
    party_id = settings.webauthn.rp_id or site.hostname or "localhost"
    return RelyingParty(
        id=party_id,
        name=settings.webauthn.rp_display_name or party_id,
        origins=settings.webauthn.rp_origins or (f"{site.scheme}://{site.netloc}",),
    )


def new_challenge() -> bytes:
    """Random bytes that an answer has to sign."""
    return secrets.token_bytes(CHALLENGE_BYTES)


def user_handle(user_id: UUID) -> bytes:
    """The user as authenticators know them: the text of the id, as upstream has it."""
    return str(user_id).encode()


def creation_options(
    party: RelyingParty,
    user: User,
    challenge: bytes,
    *,
    excluded: Sequence[Credential],
    is_discoverable: bool,
    timeout_s: float,
) -> JsonObject:
    """``PublicKeyCredentialCreationOptions`` in JSON; with ``is_discoverable`` the authenticator must keep the handle."""
    account = user.email or user.phone or str(user.id)
    name = user.user_metadata.get("name")
    options: dict[str, Any] = {
        "rp": {"name": party.name, "id": party.id},
        "user": {
            "name": account,
            "displayName": name if is_discoverable and isinstance(name, str) and name else account,
            "id": to_base64url(user_handle(user.id)),
        },
        "challenge": to_base64url(challenge),
        "pubKeyCredParams": [{"type": "public-key", "alg": algorithm} for algorithm in ALGORITHMS],
        "timeout": int(timeout_s * 1000),
        "authenticatorSelection": {},
    }
    if is_discoverable:
        options["authenticatorSelection"] = {"residentKey": "required", "userVerification": "preferred"}
        options["attestation"] = "none"
    if excluded:
        options["excludeCredentials"] = [_descriptor(credential) for credential in excluded]
    return options


def request_options(
    party: RelyingParty, challenge: bytes, *, allowed: Sequence[Credential], timeout_s: float
) -> JsonObject:
    """``PublicKeyCredentialRequestOptions`` in JSON; without ``allowed`` any credential of the relying party will do."""
    options: dict[str, Any] = {
        "challenge": to_base64url(challenge),
        "timeout": int(timeout_s * 1000),
        "rpId": party.id,
    }
    if allowed:
        options["allowCredentials"] = [_descriptor(credential) for credential in allowed]
    else:
        options["userVerification"] = "preferred"
    return options


def check_form(answer: object, *fields: str) -> JsonObject:
    """The answer, where it has the form of a browser's: an id and base64url ``fields`` of its ``response``.

    Raises ``MalformedAnswer``.
    """
    if not isinstance(answer, dict) or answer.get("type") != "public-key":
        raise MalformedAnswer("no public-key credential")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise MalformedAnswer("no response")
    for text in (answer.get("id"), answer.get("rawId"), *(response.get(name) for name in fields)):
        from_base64url(text)
    try:
        client_data = json.loads(from_base64url(response.get("clientDataJSON")))
    except ValueError:
        client_data = None
    if not isinstance(client_data, dict):
        raise MalformedAnswer("no client data")
    return answer


async def check_creation(party: RelyingParty, answer: object, challenge: bytes) -> Credential:
    """The new credential. Raises ``MalformedAnswer``, and ``CeremonyFailed`` for an answer to another question."""
    answer = check_form(answer, "clientDataJSON", "attestationObject")
    return await asyncio.to_thread(_check_creation, party, answer, challenge)


async def check_assertion(party: RelyingParty, answer: object, challenge: bytes, credential: Credential) -> Credential:
    """The credential with its new counter. Raises ``CeremonyFailed``, also for a counter that did not grow.

    A counter that stands still means that the authenticator was copied; upstream only notes it. One that is always zero,
    as those of synchronised passkeys are, says nothing.
    """
    return await asyncio.to_thread(_check_assertion, party, assertion_of(answer), challenge, credential)


def assertion_of(answer: object) -> JsonObject:
    """The answer, where it has the form of an assertion. Raises ``MalformedAnswer``."""
    return check_form(answer, "clientDataJSON", "authenticatorData", "signature")


def credential_id_of(answer: JsonObject) -> bytes:
    """The id of the credential that an answer is from. Raises ``CeremonyFailed``."""
    return from_base64url(answer.get("rawId"))


def user_id_of(answer: JsonObject) -> UUID | None:
    """The user in the handle of an assertion, None where it has none. Raises ``CeremonyFailed`` for one that is no user's."""
    response = answer.get("response")
    handle = response.get("userHandle") if isinstance(response, dict) else None
    if not handle:
        return None
    try:
        return UUID(from_base64url(handle).decode())
    except ValueError:
        raise CeremonyFailed("the user handle is no user's") from None


def to_base64url(raw: bytes) -> str:
    """Base64url without padding, as WebAuthn's JSON has it."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def from_base64url(text: object) -> bytes:
    """The bytes of a base64url text. Raises ``MalformedAnswer``."""
    if not isinstance(text, str) or not text:
        raise MalformedAnswer("a field that should hold base64url does not")
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise MalformedAnswer("a field that should hold base64url does not") from None


def _descriptor(credential: Credential) -> JsonObject:
    descriptor: dict[str, Any] = {"type": "public-key", "id": to_base64url(credential.id)}
    if credential.transports:
        descriptor["transports"] = list(credential.transports)
    return descriptor


def _check_creation(party: RelyingParty, answer: JsonObject, challenge: bytes) -> Credential:
    import webauthn
    from webauthn.helpers.cose import COSEAlgorithmIdentifier
    from webauthn.helpers.structs import AttestationFormat

    try:
        verified = webauthn.verify_registration_response(
            credential=dict(answer),
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=list(party.origins),
            supported_pub_key_algs=[COSEAlgorithmIdentifier(number) for number in ALGORITHMS],
        )
        aaguid = UUID(verified.aaguid)
        attestation_type = AttestationFormat(verified.fmt).value
        is_backup_eligible = verified.credential_device_type.value == "multi_device"
    except _failures() as error:
        raise CeremonyFailed(_reason(error)) from None
    return Credential(
        id=verified.credential_id,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        aaguid=aaguid,
        transports=_transports(answer),
        attestation_type=attestation_type,
        is_backup_eligible=is_backup_eligible,
        is_backed_up=verified.credential_backed_up,
    )


def _check_assertion(party: RelyingParty, answer: JsonObject, challenge: bytes, credential: Credential) -> Credential:
    import webauthn

    if credential_id_of(answer) != credential.id:
        raise CeremonyFailed("the answer is from another credential")
    try:
        verified = webauthn.verify_authentication_response(
            credential=dict(answer),
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=list(party.origins),
            credential_public_key=credential.public_key,
            credential_current_sign_count=credential.sign_count,
        )
    except _failures() as error:
        raise CeremonyFailed(_reason(error)) from None
    return replace(credential, sign_count=verified.new_sign_count, is_backed_up=verified.credential_backed_up)


def _transports(answer: JsonObject) -> tuple[str, ...]:
    response = answer.get("response")
    given = response.get("transports") if isinstance(response, dict) else None
    if not isinstance(given, list):
        return ()
    known = ("usb", "nfc", "ble", "smart-card", "hybrid", "internal", "cable")
    return tuple(name for name in known if name in given)


def _failures() -> tuple[type[Exception], ...]:
    """What the library lets through for input that it cannot read, beside its own errors."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from webauthn.helpers.exceptions import WebAuthnException

    return (
        WebAuthnException,
        InvalidSignature,
        UnsupportedAlgorithm,
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    )


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
