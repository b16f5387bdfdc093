"""Secrets of authenticator apps at rest."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr, ValidationError

from isobase_platform.config_auth.db_encryption import DbEncryptionSettings
from isobase_services.auth.encryption import SecretBox
from isobase_services.auth.errors import AuthError
from tests.auth.conftest import StartAuth
from tests.auth.mfa import answer, code_now, enroll, enroll_verified, forget_used_codes

KEY_A = base64.urlsafe_b64encode(b"a" * 32).decode().rstrip("=")
KEY_B = base64.urlsafe_b64encode(b"b" * 32).decode().rstrip("=")
ROW = UUID("11111111-2222-3333-4444-555555555555")


def keys(current: str, key: str, **others: str) -> DbEncryptionSettings:
    """Settings that encrypt with ``key`` under the name ``current``."""
    return DbEncryptionSettings(
        encrypt=True,
        encryption_key_id=current,
        encryption_key=SecretStr(key),
        decryption_keys={name: SecretStr(value) for name, value in others.items()},
    )


def test_secret_opens_in_its_own_row_alone() -> None:
    box = SecretBox(keys("one", KEY_A))
    stored = box.close(ROW, "SECRET")
    assert "SECRET" not in stored
    assert set(json.loads(stored)) == {"key_id", "alg", "data", "nonce"}
    assert box.open(ROW, stored) == "SECRET"
    assert box.close(ROW, "SECRET") != stored
    with pytest.raises(AuthError):
        box.open(uuid4(), stored)


def test_what_upstream_encrypts_is_read() -> None:
    # Its key derivation, written out: HKDF of RFC 5869 with SHA-256, no salt, and the row's id.
    extracted = hmac.new(bytes(32), b"a" * 32, hashlib.sha256).digest()
    derived = hmac.new(extracted, str(ROW).encode() + b"\x01", hashlib.sha256).digest()
    sealed = {
        "key_id": "one",
        "alg": "aes-gcm-hkdf",
        "data": base64.b64encode(AESGCM(derived).encrypt(b"n" * 12, b"SECRET", None)).decode(),
        "nonce": base64.b64encode(b"n" * 12).decode(),
    }
    assert SecretBox(keys("one", KEY_A)).open(ROW, json.dumps(sealed)) == "SECRET"


def test_secret_without_its_key_does_not_open_and_clear_ones_stay_readable() -> None:
    stored = SecretBox(keys("one", KEY_A)).close(ROW, "SECRET")
    for box in (SecretBox(keys("two", KEY_B)), SecretBox(keys("one", KEY_B)), SecretBox(DbEncryptionSettings())):
        with pytest.raises(AuthError):
            box.open(ROW, stored)
    assert SecretBox(keys("two", KEY_B, one=KEY_A)).open(ROW, stored) == "SECRET"
    for clear in ("SECRET", "{not json", '{"alg": "other"}'):
        assert SecretBox(keys("one", KEY_A)).open(ROW, clear) == clear


@pytest.mark.parametrize(
    "given",
    [
        {"encrypt": True},
        {"encrypt": True, "encryption_key_id": "one"},
        {"encrypt": True, "encryption_key_id": "one", "encryption_key": "c2hvcnQ"},
        {"decryption_keys": {"one": "not base64 at all!"}},
    ],
)
def test_keys_that_cannot_be_used_are_refused_at_start_and_not_repeated(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refusal:
        DbEncryptionSettings(**given)
    (error,) = refusal.value.errors()
    assert "c2hvcnQ" not in error["msg"]


async def test_secrets_are_closed_in_the_database_and_move_to_a_new_key_when_used(start_auth: StartAuth) -> None:
    async def stored(auth: Any) -> str:
        secret: str = await auth.database.fetchval("select secret from auth.mfa_factors")
        return secret

    async with start_auth() as auth:
        session = await auth.sign_up()
        factor = await enroll(auth, session)
        assert await stored(auth) == factor["totp"]["secret"]
    secret = factor["totp"]["secret"]
    for current in (keys("one", KEY_A), keys("two", KEY_B, one=KEY_A)):
        async with start_auth(db_encryption=current) as auth:
            await forget_used_codes(auth)
            response = await answer(auth, session, factor["id"], code_now(secret))
            assert response.status_code == 200, response.text
            session = response.json()
            assert json.loads(await stored(auth))["key_id"] == current.encryption_key_id


async def test_new_secrets_are_closed_from_the_start(start_auth: StartAuth) -> None:
    async with start_auth(db_encryption=keys("one", KEY_A)) as auth:
        factor, _ = await enroll_verified(auth, await auth.sign_up())
        stored = await auth.database.fetchval("select secret from auth.mfa_factors")
        assert factor["totp"]["secret"] not in stored
