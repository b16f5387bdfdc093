"""POST /signup."""

from __future__ import annotations

from tests.auth.differential.asking import PASSWORD, Asking
from tests.auth.differential.scenarios.registry import scenario


@scenario("autoconfirm", "confirming", "asymmetric")
def sign_up_in_and_out(auth: Asking) -> None:
    session = auth.sign_up(data={"full_name": "Alice", "none": None})
    auth.user(session.token)
    signed_in = auth.sign_in()
    refreshed = auth.refresh(signed_in.refresh_token)
    auth.refresh(signed_in.refresh_token)
    auth.refresh(refreshed.refresh_token)
    auth.ask("POST", "/logout", token=signed_in.token)
    auth.user(session.token)


@scenario("autoconfirm", "confirming")
def sign_up_with_an_address_that_is_taken(auth: Asking) -> None:
    auth.sign_up()
    auth.sign_up(password="another password", data={"a": 1})
    auth.sign_up("ALICE@example.com")
    auth.sign_in("Alice@Example.com")
    auth.sign_in(password="another password")


@scenario("autoconfirm", "confirming")
def sign_up_wrongly(auth: Asking) -> None:
    for body in (
        None,
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b"null",
        b'"text"',
        b"{} trailing",
        b'{"email":"a@example.com"} {}',
        b'{"email":"a@example.com","email":"b@example.com","password":"123456"}',
        b"email=a@example.com&password=123456",
        {},
        {"email": None, "password": None},
        {"email": "alice@example.com"},
        {"email": "alice@example.com", "password": ""},
        {"email": "alice@example.com", "password": None},
        {"email": "alice@example.com", "password": "12345"},
        {"email": "alice@example.com", "password": 123456},
        {"email": 5, "password": "123456"},
        {"email": "alice@example.com", "password": "x" * 73},
        {"email": "alice@example.com", "password": "é" * 37},
        {"email": "no address", "password": "123456"},
        {"email": "@example.com", "password": "123456"},
        {"email": "a@b", "password": "123456"},
        {"email": "a" * 250 + "@example.com", "password": "123456"},
        {"email": " alice@example.com ", "password": "123456"},
        {"email": "alice@example.com", "password": "123456", "data": "text"},
        {"email": "alice@example.com", "password": "123456", "data": [1]},
        {"email": "alice@example.com", "phone": "15551234567", "password": "123456"},
        {"phone": "15551234567", "password": "123456"},
        {"phone": "nonsense", "password": "123456"},
        {"phone": "+1 555 123 4567", "password": "123456", "channel": "pigeon"},
        {"password": "123456"},
        {"email": "alice@example.com", "password": "123456", "code_challenge": "x"},
        {"email": "alice@example.com", "password": "123456", "code_challenge": "x" * 43},
        {"email": "alice@example.com", "password": "123456", "code_challenge_method": "s256"},
        {"email": "alice@example.com", "password": "123456", "code_challenge": "x", "code_challenge_method": "s256"},
        {
            "email": "alice@example.com",
            "password": "123456",
            "code_challenge": "x" * 42 + "!",
            "code_challenge_method": "s256",
        },
        {"email": "bob@example.com", "password": PASSWORD, "unknown": {"a": 1}, "gotrue_meta_security": {}},
    ):
        auth.fresh()
        auth.ask("POST", "/signup", body)
        auth.fresh()
        auth.ask("POST", "/signup", body, version="2024-01-01")


@scenario("autoconfirm", "confirming_open", "confirming", "asymmetric")
def sign_up_anonymously(auth: Asking) -> None:
    session = auth.ask("POST", "/signup", {})
    auth.user(session.token)
    auth.ask("POST", "/signup", {"data": {"a": {"b": [1, None, "c"]}}})
    auth.ask("POST", "/signup", {"email": None, "phone": "", "data": None})
    auth.ask("POST", "/signup", b"")
    auth.refresh(session.refresh_token)
    auth.ask("PUT", "/user", {"password": "another password"}, token=session.token)
    auth.ask("PUT", "/user", {"data": {"a": 1}}, token=session.token)
    auth.ask("POST", "/factors", {"factor_type": "totp"}, token=session.token)
    auth.ask("PUT", "/user", {"email": "alice@example.com"}, token=session.token)
    auth.mails_sent()
    auth.user(session.token)
    auth.ask("POST", "/logout", token=session.token)


@scenario("autoconfirm", "confirming_open")
def sign_up_with_a_phone(auth: Asking) -> None:
    body = {"phone": "+15551230001", "password": PASSWORD, "data": {"name": "Alice"}}
    auth.ask("POST", "/signup", body)
    auth.ask("POST", "/signup", body)
    auth.ask("POST", "/signup", {**body, "channel": "whatsapp"})
    auth.ask("POST", "/signup", {**body, "channel": "sms", "password": "other password"})
    auth.ask("POST", "/token?grant_type=password", {"phone": "15551230001", "password": PASSWORD})
    auth.ask("POST", "/verify", {"phone": "+15551230001", "token": "000000", "type": "sms"})
    auth.ask("POST", "/otp", {"phone": "15551230001"})
    session = auth.ask("POST", "/verify", {"phone": "+1 5551230001", "token": "123456", "type": "sms"})
    auth.user(session.token)
    auth.ask("POST", "/signup", body)
    auth.ask("POST", "/token?grant_type=password", {"phone": "+1 555 123 0001", "password": "wrong"})


@scenario("autoconfirm", "confirming")
def data_of_a_sign_up(auth: Asking) -> None:
    for data in (
        {"sub": "mine", "email": "bob@example.com", "email_verified": True, "phone_verified": "yes", "role": "admin"},
        {"a": None},
        {"": 1, "ü": "ü", "<b>": "&"},
        {"a": {"b": {"c": [1, 2.5, 1e30, -0.0, True, None]}}},
        {"n": 12345678901234567890, "m": 1.0, "k": 1e2},
        {},
        None,
    ):
        auth.fresh()
        auth.sign_up(data=data)


@scenario("confirming")
def sign_up_again_before_and_after_confirming(auth: Asking) -> None:
    auth.sign_up(data={"a": 1})
    auth.mails_sent()
    auth.sign_in()
    auth.sign_up(password="another password", data={"b": 2})
    auth.mails_sent()
    auth.sign_in(password="another password")
    mail = auth.mail_to("alice@example.com", count=2)
    auth.ask("GET", mail.path)
    auth.sign_up(password="another password", data={"c": 2})
    auth.mails_sent()


@scenario("confirming")
def sign_up_with_pkce(auth: Asking) -> None:
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    auth.sign_up(code_challenge=challenge, code_challenge_method="S256")
    auth.mails_sent()
    mail = auth.mail_to("alice@example.com")
    answer = auth.ask("GET", mail.path)
    code = answer.location.partition("code=")[2]
    auth.ask("POST", "/token?grant_type=pkce", {"auth_code": code, "code_verifier": "wrong"})
    auth.ask("POST", "/token?grant_type=pkce", {"auth_code": code, "code_verifier": verifier})
    auth.ask("POST", "/token?grant_type=pkce", {"auth_code": code, "code_verifier": verifier})
