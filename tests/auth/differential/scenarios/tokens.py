"""POST /token: the password, refresh, PKCE and id-token grants."""

from __future__ import annotations

from tests.auth.differential.asking import PASSWORD, Asking
from tests.auth.differential.scenarios.registry import scenario


@scenario("autoconfirm", "confirming", "closed")
def sign_in_wrongly(auth: Asking) -> None:
    auth.sign_up()
    auth.admin("POST", "/admin/users", {"email": "bob@example.com"})
    auth.admin("POST", "/admin/users", {"email": "carol@example.com", "password": PASSWORD, "email_confirm": True})
    for body in (
        None,
        b"{",
        {},
        {"email": "alice@example.com"},
        {"password": PASSWORD},
        {"email": "alice@example.com", "password": ""},
        {"email": "alice@example.com", "password": None},
        {"email": "alice@example.com", "password": "wrong"},
        {"email": "alice@example.com", "password": "x" * 80},
        {"email": "nobody@example.com", "password": PASSWORD},
        {"email": "no address", "password": PASSWORD},
        {"email": "bob@example.com", "password": ""},
        {"email": "bob@example.com", "password": PASSWORD},
        {"email": "carol@example.com", "password": PASSWORD},
        {"phone": "15551230001", "password": PASSWORD},
        {"phone": "x", "password": PASSWORD},
        {"phone": "15551230001", "email": "alice@example.com", "password": PASSWORD},
        {"phone": "", "email": "alice@example.com", "password": PASSWORD},
        {"email": ["alice@example.com"], "password": PASSWORD},
        {"email": "ALICE@EXAMPLE.COM", "password": PASSWORD},
        {"email": " alice@example.com", "password": PASSWORD},
    ):
        auth.ask("POST", "/token?grant_type=password", body)
    auth.ask(
        "POST", "/token?grant_type=password", {"email": "alice@example.com", "password": "x"}, version="2024-01-01"
    )


@scenario("autoconfirm")
def wrong_grants(auth: Asking) -> None:
    body = {"email": "alice@example.com", "password": PASSWORD}
    auth.sign_up()
    for query in ("", "?", "?grant_type=", "?grant_type=nonsense", "?grant_type=Password", "?GRANT_TYPE=password"):
        auth.ask("POST", f"/token{query}", body)
    auth.ask("POST", "/token?grant_type=password&grant_type=refresh_token", body)
    auth.ask("POST", "/token?grant_type=refresh_token&grant_type=password", body)
    auth.ask("POST", "/token?grant_type=authorization_code", body)
    auth.ask("POST", "/token?grant_type=web3", {"chain": "solana"})
    auth.ask("POST", "/token?grant_type=web3", b"")
    auth.ask("GET", "/token?grant_type=password")


@scenario("autoconfirm", "strict", "asymmetric")
def refresh_wrongly(auth: Asking) -> None:
    for body in (
        None,
        b"x",
        {},
        {"refresh_token": None},
        {"refresh_token": ""},
        {"refresh_token": 5},
        {"refresh_token": "x"},
        {"refresh_token": "abcdefghijkl"},
        {"refresh_token": "ABCDEFGHIJKL"},
        {"refresh_token": "abcdefghij01"},
        {"refresh_token": "abcdefghijk-"},
        {"refresh_token": "abcdefghijklm"},
        {"refresh_token": "x" * 80},
        {"refresh_token": "abcdefghijkl "},
        {"refresh_token": "é" * 12},
    ):
        auth.ask("POST", "/token?grant_type=refresh_token", body)


@scenario("autoconfirm", "strict")
def refresh_and_reuse(auth: Asking) -> None:
    session = auth.sign_up(password="Correct horse 1")
    first = auth.refresh(session.refresh_token)
    auth.refresh(session.refresh_token)
    second = auth.refresh(first.refresh_token)
    auth.refresh(session.refresh_token)
    auth.refresh(first.refresh_token)
    auth.refresh(second.refresh_token)
    auth.user(second.token)
    auth.run("update auth.refresh_tokens set updated_at = updated_at - interval '1 hour'")
    auth.ask("GET", "/health")
    auth.refresh(session.refresh_token)
    auth.refresh(second.refresh_token)


@scenario("autoconfirm")
def refresh_of_what_has_ended(auth: Asking) -> None:
    session = auth.sign_up()
    auth.run("update auth.sessions set not_after = now() - interval '1 minute'")
    auth.refresh(session.refresh_token)
    auth.user(session.token, "ended")
    auth.run("update auth.sessions set not_after = null")
    auth.admin("PUT", f"/admin/users/{session.user_id}", {"ban_duration": "1h"})
    auth.refresh(session.refresh_token)
    auth.user(session.token)
    auth.sign_in()
    auth.admin("PUT", f"/admin/users/{session.user_id}", {"ban_duration": "none"})
    auth.refresh(session.refresh_token)
    auth.run("delete from auth.sessions")
    auth.refresh(session.refresh_token)
    auth.user(session.token)


@scenario("autoconfirm")
def exchange_codes_wrongly(auth: Asking) -> None:
    for body in (
        None,
        b"x",
        {},
        {"auth_code": "x"},
        {"code_verifier": "x"},
        {"auth_code": None, "code_verifier": "x"},
        {"auth_code": "x", "code_verifier": "x"},
        {"auth_code": "6f2a9f9e-0000-4000-8000-000000000000", "code_verifier": "x"},
        {"auth_code": 5, "code_verifier": "x"},
    ):
        auth.ask("POST", "/token?grant_type=pkce", body)
        auth.ask("POST", "/token?grant_type=pkce", body, version="2024-01-01")


@scenario("autoconfirm")
def id_tokens_wrongly(auth: Asking) -> None:
    for body in (
        None,
        b"x",
        {},
        {"id_token": "x"},
        {"provider": "google"},
        {"provider": "google", "id_token": "x"},
        {"provider": "google", "id_token": "a.b.c"},
        {"provider": "nonsense", "id_token": "x"},
        {"provider": "apple", "id_token": "x"},
        {"provider": "github", "id_token": "x"},
        {"client_id": "x", "id_token": "x"},
        {"client_id": "x", "issuer": "https://issuer.example.com", "id_token": "x"},
        {"provider": "google", "id_token": "x", "link_identity": True},
        {"provider": 5, "id_token": "x"},
    ):
        auth.ask("POST", "/token?grant_type=id_token", body)
        auth.ask("POST", "/token?grant_type=id_token", body, version="2024-01-01")
