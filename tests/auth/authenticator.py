"""A WebAuthn authenticator in software: what a browser and a security key answer, and what a dishonest one might."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["Authenticator", "decoded", "encoded"]

USER_PRESENT, USER_VERIFIED, HAS_CREDENTIAL = 0x01, 0x04, 0x40


def encoded(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decoded(text: str) -> bytes:
    """The bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Authenticator:
    """One credential on a P-256 key. ``sign_count`` grows with each use unless ``counts`` is false."""

    def __init__(
        self,
        rp_id: str = "localhost",
        origin: str = "http://localhost:5173",
        *,
        aaguid: bytes = bytes(16),
        counts: bool = True,
        flags: int = USER_PRESENT | USER_VERIFIED,
    ) -> None:
        self.rp_id, self.origin, self.aaguid, self.flags = rp_id, origin, aaguid, flags
        self.credential_id = secrets.token_bytes(32)
        self.sign_count = 0
        self._counts = counts
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.user_handle = b""

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """The answer of ``navigator.credentials.create``."""
        self.user_handle = decoded(options["user"]["id"])
        numbers = self._key.public_key().public_numbers()
        key = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})
        credential = self.aaguid + len(self.credential_id).to_bytes(2, "big") + self.credential_id + key
        data = self._authenticator_data(self.flags | HAS_CREDENTIAL) + credential
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._answer(
            {
                "clientDataJSON": encoded(self._client_data("webauthn.create", options["challenge"])),
                "attestationObject": encoded(attestation),
                "transports": ["usb", "made-up"],
            }
        )

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """The answer of ``navigator.credentials.get``."""
        if self._counts:
            self.sign_count += 1
        client_data = self._client_data("webauthn.get", options["challenge"])
        data = self._authenticator_data(self.flags)
        signature = self._key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(
            {
                "clientDataJSON": encoded(client_data),
                "authenticatorData": encoded(data),
                "signature": encoded(signature),
                "userHandle": encoded(self.user_handle),
            }
        )

    def _answer(self, response: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": encoded(self.credential_id),
            "rawId": encoded(self.credential_id),
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {},
            "authenticatorAttachment": "cross-platform",
        }

    def _authenticator_data(self, flags: int) -> bytes:
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.sign_count.to_bytes(4, "big")

    def _client_data(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}).encode()
