"""Secrets at rest: AES-256-GCM under a key of their own, derived from a configured key and the id of the row.

A secret that was copied to another row does not open there. The form is upstream's, so that what it has encrypted can be read
here and the other way round: a JSON object with ``key_id``, ``alg``, ``data`` and ``nonce``. Source: supabase/auth
internal/crypto/crypto.go.
"""

from __future__ import annotations

import base64
import json
import secrets
from typing import TYPE_CHECKING, Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from isobase_platform.config_auth.db_encryption import KEY_BYTES, key_bytes
from isobase_services.auth.errors import AuthError, ErrorCode

if TYPE_CHECKING:
    from isobase_platform.config_auth.db_encryption import DbEncryptionSettings

__all__ = ["SecretBox"]

ALGORITHM = "aes-gcm-hkdf"
NONCE_BYTES = 12


class SecretBox:
    """Closes and opens secrets with the configured keys. Where encryption is off, secrets stay as they are."""

    def __init__(self, settings: DbEncryptionSettings) -> None:
        self._keys = {name: key_bytes(key) for name, key in settings.decryption_keys.items()}
        self._key_id = settings.encryption_key_id if settings.encrypt else None
        if self._key_id is not None:
            self._keys[self._key_id] = key_bytes(settings.encryption_key)

    def close(self, row_id: UUID, secret: str) -> str:
        """What is stored for ``secret`` in the row."""
        if self._key_id is None:
            return secret
        nonce = secrets.token_bytes(NONCE_BYTES)
        data = AESGCM(_derived(self._keys[self._key_id], row_id)).encrypt(nonce, secret.encode(), None)
        return json.dumps({"key_id": self._key_id, "alg": ALGORITHM, "data": _base64(data), "nonce": _base64(nonce)})

    def open(self, row_id: UUID, stored: str) -> str:
        """The secret of the row. Raises 500 where its key is not configured or it is not this row's."""
        sealed = _parsed(stored)
        if sealed is None:
            return stored
        key = self._keys.get(sealed["key_id"])
        if key is None:
            raise _unreadable()
        try:
            data, nonce = base64.b64decode(sealed["data"]), base64.b64decode(sealed["nonce"])
            return AESGCM(_derived(key, row_id)).decrypt(nonce, data, None).decode()
        except (InvalidTag, ValueError):
            raise _unreadable() from None

    def is_current(self, stored: str) -> bool:
        """Whether ``stored`` is as ``close`` would keep it now: under the current key, or as it is."""
        sealed = _parsed(stored)
        return self._key_id is None or (sealed is not None and sealed["key_id"] == self._key_id)


def _derived(key: bytes, row_id: UUID) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=str(row_id).encode()).derive(key)


def _parsed(stored: str) -> dict[str, str] | None:
    if not stored.startswith("{"):
        return None
    try:
        value: Any = json.loads(stored)
    except ValueError:
        return None
    if not isinstance(value, dict) or value.get("alg") != ALGORITHM:
        return None
    names = ("key_id", "data", "nonce")
    return {name: value[name] for name in names} if all(isinstance(value.get(name), str) for name in names) else None


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _unreadable() -> AuthError:
    return AuthError(500, ErrorCode.UNEXPECTED_FAILURE, "Database error verifying MFA TOTP secret")
