"""GET and PUT /user, POST /logout, and what a bearer token is checked for."""

from __future__ import annotations

import time

import jwt

from tests.auth.differential.asking import PASSWORD, Asking, role_token
from tests.auth.differential.scenarios.registry import scenario
from tests.auth.differential.servers import SECRET


def signed(secret: str = SECRET, **claims: object) -> str:
    """A token of the shared secret for nobody in particular."""
    return jwt.encode(claims, secret, algorithm="HS256")


@scenario("autoconfirm", "asymmetric")
def bearer_tokens(auth: Asking) -> None:
    session = auth.sign_up()
    claims = jwt.decode(session.token, options={"verify_signature": False})
    now_s = int(time.time())
    nobody = "6f2a9f9e-0000-4000-8000-000000000000"
    for headers in (
        {},
        {"authorization": session.token},
        {"authorization": "Bearer"},
        {"authorization": f"bearer {session.token}"},
        {"authorization": f"BEARER {session.token}"},
        {"authorization": f"Bearer  {session.token}"},
        {"authorization": f"Bearer {session.token} x"},
        {"authorization": f"Basic {session.token}"},
        {"apikey": session.token},
        {"authorization": f"Bearer {session.token}", "x-jwt-aud": "other"},
        {"authorization": f"Bearer {session.token}", "x-jwt-aud": ""},
    ):
        auth.ask("GET", "/user", headers=headers)
    for token in (
        "x",
        "a.b.c",
        session.token[:-4],
        session.token + "x",
        role_token("anon"),
        role_token("service_role"),
        signed("another secret that is long enough", **claims),
        signed(**{**claims, "exp": now_s - 100}),
        signed(**{**claims, "nbf": now_s + 100}),
        signed(**{**claims, "sub": "not-a-uuid"}),
        signed(**{**claims, "sub": ""}),
        signed(**{**claims, "sub": nobody}),
        signed(**{**claims, "session_id": nobody}),
        signed(**{**claims, "session_id": "not-a-uuid"}),
        signed(**{**claims, "session_id": ""}),
        signed(**{**claims, "aud": "other"}),
        signed(**{**claims, "aud": ["authenticated", "other"]}),
        signed(**{**claims, "aud": ""}),
        signed(**{name: value for name, value in claims.items() if name != "aud"}),
        signed(**{name: value for name, value in claims.items() if name != "session_id"}),
        signed(**{name: value for name, value in claims.items() if name != "exp"}),
        signed(**{name: value for name, value in claims.items() if name != "role"}),
        signed(**{**claims, "role": "service_role"}),
        signed(**{**claims, "exp": "soon"}),
        "x.y.z",
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, SECRET + SECRET, algorithm="HS512"),
        jwt.encode(claims, SECRET, algorithm="HS256", headers={"kid": "unknown"}),
    ):
        auth.ask("GET", "/user", token=token)
        auth.ask("GET", "/admin/users", token=token, rows=False)
    future = signed(**{**claims, "iat": now_s + 100})
    auth.ask("GET", "/user", token=future, note="future")
    auth.ask("GET", "/admin/users", token=future, note="future")


@scenario("autoconfirm")
def read_ones_own_account(auth: Asking) -> None:
    session = auth.sign_up()
    auth.user(session.token)
    auth.ask("GET", "/user?x=1", token=session.token)
    auth.ask("GET", "/user/", token=session.token)
    auth.ask("GET", "/user", token=session.token, version="2024-01-01")
    auth.ask("POST", "/user", {}, token=session.token)
    auth.ask("DELETE", "/user", token=session.token)
    auth.ask("HEAD", "/user", token=session.token)
    auth.admin("DELETE", f"/admin/users/{session.user_id}")
    auth.user(session.token)


@scenario("autoconfirm", "strict", "confirming_open")
def change_ones_own_account_wrongly(auth: Asking) -> None:
    body: object
    auth.admin(
        "POST", "/admin/users", {"email": "alice@example.com", "password": "Correct horse 1", "email_confirm": True}
    )
    auth.admin(
        "POST",
        "/admin/users",
        {
            "email": "bob@example.com",
            "phone": "15551230002",
            "password": PASSWORD,
            "email_confirm": True,
            "phone_confirm": True,
        },
    )
    session = auth.sign_in(password="Correct horse 1")
    for body in (
        None,
        b"",
        b"x",
        b"[]",
        {},
        {"email": ""},
        {"email": None, "password": None, "data": None, "phone": None},
        {"email": "no address"},
        {"email": "alice@example.com"},
        {"email": "ALICE@example.com"},
        {"email": "bob@example.com"},
        {"email": "Bob@Example.com"},
        {"phone": "x"},
        {"phone": "15551230002"},
        {"phone": "+1 555 123 0002"},
        {"phone": "15551230001", "channel": "pigeon"},
        {"phone": "15551230001", "channel": "whatsapp"},
        {"password": ""},
        {"password": "12345"},
        {"password": "x" * 73},
        {"password": "Correct horse 1"},
        {"password": "new password", "nonce": "123456"},
        {"password": "New password 2", "nonce": "123456"},
        {"password": 5},
        {"data": "x"},
        {"data": [1]},
        {"data": 5},
        {"app_metadata": {"a": 1}},
        {"app_metadata": {}},
        {"app_metadata": None},
        {"app_metadata": "x"},
        {"current_password": "x"},
        {"nonce": "x"},
        {"unknown": 1},
        {"role": "admin"},
    ):
        auth.ask("PUT", "/user", body, token=session.token)
    auth.ask("PUT", "/user", {"password": "12345"}, token=session.token, version="2024-01-01")
    auth.ask("PUT", "/user", {"data": {"a": 1}})
    pair = {"code_challenge": "x", "code_challenge_method": "s256"}
    auth.ask("PUT", "/user", {"email": "carol@example.com", **pair}, token=session.token, note="pair")


@scenario("autoconfirm", "confirming_open")
def change_metadata_and_password(auth: Asking) -> None:
    auth.admin(
        "POST",
        "/admin/users",
        {"email": "alice@example.com", "password": PASSWORD, "email_confirm": True, "user_metadata": {"z": 0}},
    )
    session = auth.sign_in()
    other = auth.sign_in()
    for data in (
        {"a": 1, "b": {"c": 1, "d": 2}},
        {"b": {"e": 1}},
        {"a": None},
        {"email": "x", "email_verified": False},
        {},
    ):
        auth.ask("PUT", "/user", {"data": data}, token=session.token)
    auth.ask("PUT", "/user", {"password": "another password"}, token=session.token)
    auth.user(session.token)
    auth.user(other.token)
    auth.refresh(other.refresh_token)
    auth.refresh(session.refresh_token)
    auth.sign_in()
    auth.sign_in(password="another password")


@scenario("autoconfirm", "asymmetric")
def log_out(auth: Asking) -> None:
    for query in ("", "?scope=global", "?scope=local", "?scope=others", "?scope=", "?scope=nonsense", "?scope=Local"):
        auth.fresh()
        first = auth.sign_up()
        second = auth.sign_in()
        auth.ask("POST", f"/logout{query}", token=first.token)
        auth.user(first.token)
        auth.user(second.token)
        auth.refresh(first.refresh_token)
        auth.refresh(second.refresh_token)
    auth.ask("POST", "/logout")
    auth.ask("POST", "/logout", token=auth.admin_token)
    auth.ask("GET", "/logout", token=first.token)
    auth.ask("POST", "/logout", {"scope": "local"}, token=second.token)
