"""Encryption of secrets that auth keeps in the database. Source: supabase/auth internal/conf."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Self

from pydantic import Field, SecretStr, model_validator

from isobase_platform.config_group import SettingsGroup

__all__ = ["DbEncryptionSettings", "key_bytes"]

KEY_BYTES = 32


class DbEncryptionSettings(SettingsGroup):
    """Encryption of the secrets of authenticator apps in the database."""

    encrypt: bool = False
    """Whether new secrets are encrypted; old ones are when they are used next."""
    encryption_key_id: str = ""
    """The name of the key that new secrets are encrypted with."""
    encryption_key: SecretStr = SecretStr("")
    """That key: 32 bytes in base64url."""
    decryption_keys: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Further keys by name, for secrets that were encrypted with them."""

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.encrypt and not self.encryption_key_id:
            raise ValueError("encryption_key_id must be set to encrypt")
        keys = dict(self.decryption_keys)
        if self.encrypt:
            keys[self.encryption_key_id] = self.encryption_key
        for name, key in keys.items():
            if len(key_bytes(key)) != KEY_BYTES:
                raise ValueError(f"the key {name} must be {KEY_BYTES} bytes in base64url")
        return self


def key_bytes(key: SecretStr) -> bytes:
    """The bytes of a key, none for a text that is not base64url."""
    text = key.get_secret_value().rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
