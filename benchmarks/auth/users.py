"""Users, sessions and codes as rows, made in bulk before the load begins."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass

import asyncpg
import bcrypt
import jwt

from benchmarks.servers import JWT_SECRET

__all__ = ["CODE", "PASSWORD", "Person", "access_token", "make_users"]

PASSWORD = "correct horse battery"
CODE = "123456"
TOKEN_LIFE_S = 24 * 3600

_USERS = """
insert into auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data,
                        raw_user_meta_data, created_at, updated_at, recovery_token, recovery_sent_at,
                        confirmation_token, email_change_token_new, email_change)
select '00000000-0000-0000-0000-000000000000', id, 'authenticated', 'authenticated', email, $3, now(),
       '{"provider":"email","providers":["email"]}', '{"full_name":"Alice Example"}', now(), now(), code_hash,
       now(), '', '', ''
  from unnest($1::uuid[], $2::text[], $4::text[]) as given (id, email, code_hash)
"""
_IDENTITIES = """
insert into auth.identities (id, provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
select gen_random_uuid(), id::text, id, jsonb_build_object('sub', id, 'email', email), 'email', now(), now(), now()
  from unnest($1::uuid[], $2::text[]) as given (id, email)
"""
_CODES = """
insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to)
select gen_random_uuid(), id, 'recovery_token', code_hash, email
  from unnest($1::uuid[], $2::text[], $3::text[]) as given (id, email, code_hash)
"""
_SESSIONS = """
with opened as (
  insert into auth.sessions (id, user_id, created_at, updated_at, aal)
  select session_id, user_id, now(), now(), 'aal1' from unnest($1::uuid[], $2::uuid[]) as given (session_id, user_id)),
claimed as (
  insert into auth.mfa_amr_claims (id, session_id, created_at, updated_at, authentication_method)
  select gen_random_uuid(), session_id, now(), now(), 'password' from unnest($1::uuid[]) as given (session_id))
insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, session_id)
select '00000000-0000-0000-0000-000000000000', token, user_id, false, now(), now(), session_id
  from unnest($1::uuid[], $2::uuid[], $3::text[]) as given (session_id, user_id, token)
"""


@dataclass(slots=True, frozen=True)
class Person:
    """A user with a session."""

    id: uuid.UUID
    email: str
    session_id: uuid.UUID
    refresh_token: str


async def make_users(url: str, count: int, *, cost: int, name: str) -> list[Person]:
    """Make ``count`` confirmed users ``NAME-1@example.com``... with ``PASSWORD``, ``CODE`` and a session each."""
    people = [
        Person(uuid.uuid4(), f"{name}-{number}@example.com", uuid.uuid4(), uuid.uuid4().hex[:12])
        for number in range(count)
    ]
    ids, emails = [one.id for one in people], [one.email for one in people]
    hashes = [hashlib.sha224(f"{one.email}{CODE}".encode()).hexdigest() for one in people]
    password = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(cost)).decode()
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(_USERS, ids, emails, password, hashes)
            await connection.execute(_IDENTITIES, ids, emails)
            await connection.execute(_CODES, ids, emails, hashes)
            await connection.execute(
                _SESSIONS, [one.session_id for one in people], ids, [one.refresh_token for one in people]
            )
        await connection.execute("analyze auth.users; analyze auth.sessions; analyze auth.refresh_tokens")
    finally:
        await connection.close()
    return people


def access_token(person: Person) -> str:
    """A token as the server gives it."""
    now_s = int(time.time())
    claims = {
        "sub": str(person.id),
        "aud": "authenticated",
        "role": "authenticated",
        "email": person.email,
        "session_id": str(person.session_id),
        "iat": now_s,
        "exp": now_s + TOKEN_LIFE_S,
    }
    return jwt.encode(claims, JWT_SECRET, algorithm="HS256")
