"""/factors and what administrators do with them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

from tests.auth.differential.asking import Asking
from tests.auth.differential.scenarios.admin_users import NOBODY
from tests.auth.differential.scenarios.registry import scenario


def totp(secret: str, *, steps: int = 0) -> str:
    """The code of a TOTP secret (RFC 6238), some steps from now."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8)) if secret else b""
    digest = hmac.digest(key, (int(time.time()) // 30 + steps).to_bytes(8), hashlib.sha1)
    place = digest[-1] & 15
    return f"{(int.from_bytes(digest[place : place + 4]) & 0x7FFFFFFF) % 10**6:06d}"


@scenario("autoconfirm", "confirming", "closed")
def enroll_wrongly(auth: Asking) -> None:
    auth.admin(
        "POST", "/admin/users", {"email": "alice@example.com", "password": "Correct horse 1", "email_confirm": True}
    )
    session = auth.sign_in(password="Correct horse 1")
    if not session.token:
        session = auth.ask(
            "POST", "/verify", {"type": "magiclink", "token_hash": auth.link("magiclink").text("hashed_token")}
        )
    for body in (
        None,
        b"x",
        {},
        {"factor_type": ""},
        {"factor_type": "nonsense"},
        {"factor_type": "totp", "friendly_name": "x" * 300},
        {"factor_type": "totp", "friendly_name": 5},
        {"factor_type": "totp", "issuer": "bad:issuer", "friendly_name": "a"},
        {"factor_type": "phone", "friendly_name": "b"},
        {"factor_type": "phone", "phone": "x", "friendly_name": "c"},
        {"factor_type": "webauthn", "friendly_name": "d"},
        {"factor_type": "totp", "friendly_name": "e", "issuer": "example.com"},
        {"factor_type": "totp", "friendly_name": "e"},
    ):
        auth.ask("POST", "/factors", body, token=session.token)
    auth.ask("POST", "/factors", {"factor_type": "totp"})
    auth.ask("GET", "/factors", token=session.token)
    for factor in (NOBODY, "not-a-uuid"):
        auth.ask("POST", f"/factors/{factor}/challenge", token=session.token)
        auth.ask("POST", f"/factors/{factor}/verify", {"challenge_id": NOBODY, "code": "123456"}, token=session.token)
        auth.ask("DELETE", f"/factors/{factor}", token=session.token)
        auth.ask("POST", f"/factors/{factor}/challenge")
        auth.ask("GET", f"/factors/{factor}", token=session.token)


@scenario("autoconfirm")
def use_a_totp_factor(auth: Asking) -> None:
    session = auth.sign_up()
    other = auth.sign_in()
    enrolled = auth.ask("POST", "/factors", {"factor_type": "totp", "friendly_name": "phone"}, token=session.token)
    auth.user(session.token)
    path = f"/factors/{enrolled.text('id')}"
    secret = enrolled.text("totp", "secret")
    challenge = auth.ask("POST", f"{path}/challenge", token=session.token)
    wrong = f"{(int(totp(secret)) + 1) % 10**6:06d}"
    for body in (
        None,
        b"x",
        {},
        {"challenge_id": challenge.text("id")},
        {"challenge_id": "not-a-uuid", "code": "123456"},
        {"challenge_id": NOBODY, "code": "123456"},
        {"code": "123456"},
        {"challenge_id": challenge.text("id"), "code": ""},
        {"challenge_id": challenge.text("id"), "code": "12345"},
        {"challenge_id": challenge.text("id"), "code": wrong},
    ):
        auth.ask("POST", f"{path}/verify", body, token=session.token)
    challenge = auth.ask("POST", f"{path}/challenge", {}, token=session.token)
    verified = auth.ask(
        "POST", f"{path}/verify", {"challenge_id": challenge.text("id"), "code": totp(secret)}, token=session.token
    )
    auth.user(verified.token)
    auth.user(other.token)
    auth.ask(
        "POST", f"{path}/verify", {"challenge_id": challenge.text("id"), "code": totp(secret)}, token=verified.token
    )
    low = auth.sign_in()
    auth.ask("PUT", "/user", {"password": "another password"}, token=low.token)
    auth.ask("PUT", "/user", {"email": "bob@example.com"}, token=low.token)
    auth.ask("PUT", "/user", {"data": {"a": 1}}, token=low.token)
    auth.ask("POST", "/factors", {"factor_type": "totp", "friendly_name": "b"}, token=low.token)
    auth.ask("DELETE", path, token=low.token)
    auth.ask("POST", "/factors", {"factor_type": "totp", "friendly_name": "phone"}, token=verified.token)
    auth.ask("POST", "/factors", {"factor_type": "totp", "friendly_name": "b"}, token=verified.token)
    auth.ask("POST", "/factors", {"factor_type": "totp", "friendly_name": ""}, token=verified.token)
    auth.ask("POST", "/factors", {"factor_type": "totp"}, token=verified.token)
    auth.admin("GET", f"/admin/users/{session.user_id}/factors")
    auth.admin("GET", f"/admin/users/{session.user_id}")
    auth.admin("GET", "/admin/users")
    auth.ask("DELETE", path, token=verified.token)
    auth.user(verified.token)


@scenario("autoconfirm")
def challenges_that_expire(auth: Asking) -> None:
    session = auth.sign_up()
    enrolled = auth.ask("POST", "/factors", {"factor_type": "totp", "issuer": "Example"}, token=session.token)
    path = f"/factors/{enrolled.text('id')}"
    challenge = auth.ask("POST", f"{path}/challenge", token=session.token)
    auth.run("update auth.mfa_challenges set created_at = now() - interval '10 minutes'")
    body = {"challenge_id": challenge.text("id"), "code": totp(enrolled.text("totp", "secret"))}
    auth.ask("POST", f"{path}/verify", body, token=session.token)
    auth.ask("POST", f"{path}/verify", body, token=session.token)
    challenge = auth.ask("POST", f"{path}/challenge", token=session.token)
    auth.run("update auth.mfa_challenges set ip_address = '10.0.0.1'")
    auth.ask("POST", f"{path}/verify", {**body, "challenge_id": challenge.text("id")}, token=session.token)
    auth.ask("DELETE", path, token=session.token)
    auth.ask("DELETE", path, token=session.token)


@scenario("autoconfirm")
def phone_factors(auth: Asking) -> None:
    session = auth.sign_up()
    enrolled = auth.ask(
        "POST", "/factors", {"factor_type": "phone", "phone": "+15551230001", "friendly_name": "a"}, token=session.token
    )
    auth.ask(
        "POST", "/factors", {"factor_type": "phone", "phone": "15551230001", "friendly_name": "b"}, token=session.token
    )
    path = f"/factors/{enrolled.text('id')}"
    auth.admin("GET", f"/admin/users/{session.user_id}/factors")
    auth.ask("POST", f"{path}/challenge", {"channel": "pigeon"}, token=session.token)
    auth.admin("PUT", f"/admin/users/{session.user_id}/factors/{enrolled.text('id')}", {"friendly_name": "new"})
    auth.admin("PUT", f"/admin/users/{session.user_id}/factors/{enrolled.text('id')}", {"phone": "15551230002"})
    auth.admin("PUT", f"/admin/users/{session.user_id}/factors/{enrolled.text('id')}", {"phone": "x"})
    auth.admin("PUT", f"/admin/users/{session.user_id}/factors/{enrolled.text('id')}", {})
    auth.admin("PUT", f"/admin/users/{session.user_id}/factors/{enrolled.text('id')}", "x")
    auth.admin("DELETE", f"/admin/users/{session.user_id}/factors/{NOBODY}")
    auth.admin("DELETE", f"/admin/users/{session.user_id}/factors/{enrolled.text('id')}")
