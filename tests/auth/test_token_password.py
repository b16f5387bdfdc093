"""POST /token?grant_type=password: who gets in, in which order the rules are asked, and what stays the same in time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import threading
import time
from collections import Counter
from typing import Any
from uuid import uuid4

import argon2
import bcrypt
import pytest

from isobase_services.auth import rehash_stand_ins
from isobase_services.auth.passwords import MAX_QUEUED_PER_WORKER
from tests.auth.conftest import FAST_BCRYPT_COST, PASSWORD, AuthServer, StartAuth, until_done

EMAIL = "alice@example.com"


def stand_in(password: str) -> str:
    """A hash as the embedded server's crypt() makes it."""
    salt = "00112233445566778899aabbccddeeff"
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), bytes.fromhex(salt), 50).hex()
    return f"$isobase$v1$50${salt}${digest}"


async def seed_user(auth: AuthServer, password_hash: str | None, email: str = EMAIL) -> str:
    """Insert a user as a seed file does, token columns null; returns the id."""
    user_id = uuid4()
    await auth.database.execute(
        """
        insert into auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at,
          raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
        values ('00000000-0000-0000-0000-000000000000', $1, 'authenticated', 'authenticated', $2, $3, now(),
          '{"provider": "email", "providers": ["email"]}', '{}', now(), now())
        """,
        user_id,
        email,
        password_hash,
    )
    return str(user_id)


async def test_sign_in_answers_a_session_with_weak_password_null(auth: AuthServer) -> None:
    first = await auth.sign_up()
    answer = await auth.sign_in(email="ALICE@example.com")
    session = answer.json()
    assert answer.status_code == 200
    assert session["weak_password"] is None
    assert session["user"]["id"] == first["user"]["id"]
    assert session["refresh_token"] != first["refresh_token"]
    assert await auth.count("sessions") == 2
    assert await auth.count("audit_log_entries", "payload->>'action' = 'login'") == 2


async def test_password_that_became_too_weak_signs_in_and_is_reported(start_auth: StartAuth) -> None:
    async with start_auth(minimum_password_length=60) as auth:
        await seed_user(auth, bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode())
        answer = await auth.sign_in()
        assert answer.status_code == 200
        assert answer.json()["weak_password"] == {
            "message": "Password should be at least 60 characters.",
            "reasons": ["length"],
        }


@pytest.mark.parametrize(
    ("query", "body", "status", "code", "message"),
    [
        pytest.param("", {}, 400, "invalid_credentials", "unsupported_grant_type", id="no grant type"),
        pytest.param("?grant_type=magic", {}, 400, "invalid_credentials", "unsupported_grant_type", id="unknown grant"),
        pytest.param("?grant_type=password", {}, 400, "validation_failed", "missing email or phone", id="nobody"),
        pytest.param(
            "?grant_type=password",
            {"email": EMAIL, "phone": "1", "password": "x"},
            400,
            "validation_failed",
            "Only an email address or phone number should be provided on login.",
            id="both",
        ),
        pytest.param(
            "?grant_type=password",
            {"phone": "15551234567", "password": "x"},
            422,
            "phone_provider_disabled",
            "Phone logins are disabled",
            id="phone off",
        ),
        pytest.param(
            "?grant_type=password",
            {"email": EMAIL, "password": "wrong password"},
            400,
            "invalid_credentials",
            "Invalid login credentials",
            id="wrong password",
        ),
        pytest.param(
            "?grant_type=password",
            {"email": EMAIL, "password": None},
            400,
            "invalid_credentials",
            "Invalid login credentials",
            id="null password",
        ),
        pytest.param(
            "?grant_type=password",
            {"email": "bob@example.com", "password": PASSWORD},
            400,
            "invalid_credentials",
            "Invalid login credentials",
            id="unknown user",
        ),
    ],
)
async def test_sign_in_is_refused(
    auth: AuthServer, query: str, body: dict[str, Any], status: int, code: str, message: str
) -> None:
    await auth.sign_up()
    answer = await auth.client.post(f"/token{query}", json=body)
    assert (answer.status_code, answer.json()) == (status, {"code": status, "error_code": code, "msg": message})
    assert await auth.count("sessions") == 1


async def test_email_provider_that_is_off_signs_nobody_in(start_auth: StartAuth) -> None:
    async with start_auth(email_enable_signup=False) as auth:
        answer = await auth.sign_in()
        assert (answer.status_code, answer.json()["error_code"]) == (422, "email_provider_disabled")


async def test_banned_user_is_refused_until_the_ban_ends(auth: AuthServer) -> None:
    await auth.sign_up()
    await auth.database.execute("update auth.users set banned_until = now() + interval '1 hour'")
    answer = await auth.sign_in()
    assert (answer.status_code, answer.json()["error_code"]) == (400, "user_banned")
    await auth.database.execute("update auth.users set banned_until = now() - interval '1 second'")
    assert (await auth.sign_in()).status_code == 200


async def test_user_of_another_audience_is_not_found(auth: AuthServer) -> None:
    await auth.sign_up()
    answer = await auth.client.post(
        "/token?grant_type=password", json={"email": EMAIL, "password": PASSWORD}, headers={"x-jwt-aud": "other"}
    )
    assert answer.json()["error_code"] == "invalid_credentials"


def firebase_scrypt(password: str) -> str:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    salt, separator, signer = b"saltsalt", b"\x01", b"k" * 64
    key = hashlib.scrypt(password.encode(), salt=salt + separator, n=16, r=8, p=1, dklen=32)
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    digest = encryptor.update(signer) + encryptor.finalize()
    texts = [base64.b64encode(part).decode() for part in (separator, signer, salt, digest)]
    return f"$fbscrypt$v=1,n=4,r=8,p=1,ss={texts[0]},sk={texts[1]}${texts[2]}${texts[3]}"


def argon2_hash(kind: argon2.Type) -> str:
    return argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1, type=kind).hash(PASSWORD)


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(), id="bcrypt 2b"),
        pytest.param(bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5, prefix=b"2a")).decode(), id="bcrypt 2a"),
        pytest.param(
            bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"), id="bcrypt 2y"
        ),
        pytest.param(argon2_hash(argon2.Type.ID), id="argon2id"),
        pytest.param(argon2_hash(argon2.Type.I), id="argon2i"),
        pytest.param(firebase_scrypt(PASSWORD), id="firebase scrypt"),
        pytest.param(stand_in(PASSWORD), id="stand-in"),
    ],
)
async def test_hash_of_every_known_format_signs_its_owner_in_and_nobody_else(auth: AuthServer, stored: str) -> None:
    await seed_user(auth, stored)
    assert (await auth.sign_in(password=f"{PASSWORD}!")).json()["error_code"] == "invalid_credentials"
    answer = await auth.sign_in()
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(None, id="null"),
        pytest.param("", id="empty"),
        pytest.param("plain", id="clear text"),
        pytest.param("$2b$04$short", id="cut bcrypt"),
        pytest.param("$argon2id$v=19$m=999999999,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g", id="argon2 with too much memory"),
        pytest.param("$isobase$v1$5000$zz$zz", id="broken stand-in"),
    ],
)
async def test_user_without_a_usable_hash_is_refused_as_a_wrong_password_is(
    auth: AuthServer, stored: str | None
) -> None:
    await seed_user(auth, stored)
    for password in (PASSWORD, "", "plain"):
        answer = await auth.sign_in(password=password)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid_credentials")


async def test_password_over_72_bytes_never_matches_by_its_first_72(auth: AuthServer) -> None:
    await auth.sign_up(password="a" * 72)
    assert (await auth.sign_in(password="a" * 72)).status_code == 200
    assert (await auth.sign_in(password="a" * 73)).json()["error_code"] == "invalid_credentials"


async def test_sign_in_with_a_stand_in_hash_leaves_bcrypt_behind(auth: AuthServer) -> None:
    await seed_user(auth, stand_in(PASSWORD))
    assert (await auth.sign_in()).status_code == 200
    stored = await auth.database.fetchval("select encrypted_password from auth.users")
    assert bcrypt.checkpw(PASSWORD.encode(), stored.encode())
    assert (await auth.sign_in()).status_code == 200


async def test_sign_ins_at_once_with_a_stand_in_hash_all_succeed(auth: AuthServer) -> None:
    await seed_user(auth, stand_in(PASSWORD))
    answers = await asyncio.gather(*(auth.sign_in() for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert await auth.count("sessions") == 8


async def test_rehash_puts_bcrypt_over_every_stand_in_and_the_owners_still_get_in(auth: AuthServer) -> None:
    await seed_user(auth, stand_in("alice's password"))
    await seed_user(auth, stand_in("bob's password"), "bob@example.com")
    plain = bcrypt.hashpw(b"plain", bcrypt.gensalt(4)).decode()
    await seed_user(auth, plain, "carol@example.com")
    assert await rehash_stand_ins(auth.database, cost=FAST_BCRYPT_COST) == 2
    assert await rehash_stand_ins(auth.database, cost=FAST_BCRYPT_COST) == 0
    assert await auth.count("users", "encrypted_password like '$isobase$v1b$50$%$$2b$04$%'") == 2
    assert await auth.count("users", "encrypted_password = $1", plain) == 1
    assert (await auth.sign_in(password="bob's password")).status_code == 400
    assert (await auth.sign_in(password="alice's password")).status_code == 200
    assert await auth.count("users", "encrypted_password like '$isobase$%'") == 1


async def test_seed_with_crypt_on_the_embedded_server_signs_in(auth: AuthServer) -> None:
    has_crypt = await auth.database.fetchval("select to_regprocedure('extensions.crypt(text, text)') is not null")
    if not has_crypt:
        pytest.skip("this PostgreSQL has no crypt() in schema extensions")
    stored = await auth.database.fetchval("select extensions.crypt($1, extensions.gen_salt('bf'))", PASSWORD)
    await seed_user(auth, stored)
    assert (await auth.sign_in()).status_code == 200


async def test_password_that_changed_while_it_was_verified_opens_no_session(auth: AuthServer) -> None:
    await auth.sign_up()
    old_hash = await auth.database.fetchval("select encrypted_password from auth.users")
    transaction = auth.database.transaction()
    await transaction.start()
    # The row is changed but not committed: the sign-in reads the old hash, verifies it, and then waits for the row.
    await auth.database.execute("update auth.users set encrypted_password = $1", f"{old_hash[:-1]}x")
    sign_in = asyncio.create_task(auth.sign_in())
    await asyncio.sleep(0.3)
    assert not sign_in.done()
    await transaction.commit()
    answer = await sign_in
    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid_credentials")
    assert await auth.count("sessions") == 1


async def test_unknown_user_costs_as_much_time_as_a_wrong_password(start_auth: StartAuth) -> None:
    async with start_auth(bcrypt_cost=9) as auth:
        await auth.sign_up()
        await seed_user(auth, None, "bob@example.com")

        async def seconds(email: str) -> float:
            started_s = time.perf_counter()
            assert (await auth.sign_in(email, "wrong password")).status_code == 400
            return time.perf_counter() - started_s

        # The fastest of each, asked in turns, until a busy machine no longer decides: an answer that hashes nothing stays
        # far below half for ever.
        fastest_s = dict.fromkeys((EMAIL, "nobody@example.com", "bob@example.com"), math.inf)
        for turn in range(50):
            for email, before_s in fastest_s.items():
                fastest_s[email] = min(before_s, await seconds(email))
            if turn >= 3 and min(fastest_s.values()) > fastest_s[EMAIL] / 2:
                return
        raise AssertionError(fastest_s)


async def test_more_sign_ins_than_can_be_hashed_in_time_are_refused_not_queued_without_end(
    start_auth: StartAuth, held_hashes: threading.Event
) -> None:
    async with start_auth(password_hash_workers=1) as auth:
        await auth.sign_up()
        tries = [asyncio.create_task(auth.sign_in()) for _ in range(MAX_QUEUED_PER_WORKER + 28)]
        await until_done(tries, 28)
        held_hashes.set()
        answers = await asyncio.gather(*tries)
        assert Counter(answer.status_code for answer in answers) == {200: MAX_QUEUED_PER_WORKER, 504: 28}
        refused = next(answer for answer in answers if answer.status_code == 504)
        assert refused.json()["error_code"] == "request_timeout"
        assert (await auth.sign_in()).status_code == 200
