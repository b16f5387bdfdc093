"""/admin/users, /invite, /admin/audit."""

from __future__ import annotations

from tests.auth.differential.asking import PASSWORD, Asking
from tests.auth.differential.scenarios.registry import scenario

NOBODY = "6f2a9f9e-0000-4000-8000-000000000000"


@scenario("autoconfirm", "confirming_open")
def create_users(auth: Asking) -> None:
    body: object
    for body in (
        None,
        b"x",
        b"[]",
        {},
        {"email": ""},
        {"email": "alice@example.com"},
        {"email": "Alice@Example.com", "password": PASSWORD, "email_confirm": True},
        {"email": "alice@example.com", "password": ""},
        {"email": "alice@example.com", "password": "123"},
        {"email": "alice@example.com", "password": "x" * 73},
        {"email": "no address"},
        {"phone": "+15551230001", "phone_confirm": True},
        {"phone": "x"},
        {"email": "alice@example.com", "phone": "15551230001", "password": PASSWORD, "email_confirm": True},
        {"email": "alice@example.com", "user_metadata": {"a": 1}, "app_metadata": {"b": 2}},
        {"email": "alice@example.com", "app_metadata": {"provider": "x", "providers": ["y"], "c": None}},
        {"email": "alice@example.com", "user_metadata": {"email_verified": False}, "email_confirm": True},
        {"email": "alice@example.com", "user_metadata": None, "app_metadata": None},
        {"email": "alice@example.com", "user_metadata": "x"},
        {"email": "alice@example.com", "role": "editor", "aud": "other"},
        {"email": "alice@example.com", "role": "", "aud": ""},
        {"email": "alice@example.com", "role": " editor "},
        {"email": "alice@example.com", "ban_duration": "24h"},
        {"email": "alice@example.com", "ban_duration": "none"},
        {"email": "alice@example.com", "ban_duration": "1d"},
        {"email": "alice@example.com", "ban_duration": "-1h"},
        {"email": "alice@example.com", "ban_duration": "1.5h30m"},
        {"email": "alice@example.com", "ban_duration": ""},
        {"email": "alice@example.com", "ban_duration": 24},
        {"email": "alice@example.com", "id": NOBODY},
        {"email": "alice@example.com", "id": "not-a-uuid"},
        {"email": "alice@example.com", "id": "00000000-0000-0000-0000-000000000000"},
        {"email": "alice@example.com", "id": ""},
        {"email": "alice@example.com", "password_hash": "$2y$10$SXEz2HeT8PUIGQXo9yeUIem8KzNxgG0d7o/.eGj2rj8KbRgAuRVlq"},
        {"email": "alice@example.com", "password_hash": "nonsense"},
        {"email": "alice@example.com", "password_hash": "", "password": PASSWORD},
        {
            "email": "alice@example.com",
            "password": PASSWORD,
            "password_hash": "$2y$10$SXEz2HeT8PUIGQXo9yeUIem8KzNxgG0d7o/.eGj2rj8KbRgAuRVlq",
        },
        {
            "email": "alice@example.com",
            "password_hash": "$argon2id$v=19$m=32,t=3,p=2$SFVpOWJ0eXhjRzVkdGN1RQ$RXnb8rh7LaDcn07xsssqqulZYXOM/EUCEFMVcAcyYVk",
        },
        {"email": "alice@example.com", "email_confirm": "yes"},
        {"email": "alice@example.com", "email_confirm": None, "phone_confirm": None},
        {"email": "alice@example.com", "phone_confirm": True},
    ):
        auth.fresh()
        auth.admin("POST", "/admin/users", body)
    auth.fresh()
    auth.admin("POST", "/admin/users", {"email": "alice@example.com", "phone": "15551230001"})
    auth.admin("POST", "/admin/users", {"email": "ALICE@example.com"})
    auth.admin("POST", "/admin/users", {"phone": "+15551230001"})
    auth.admin("POST", "/admin/users", {"email": "bob@example.com", "phone": "+15551230001"})
    auth.ask("POST", "/admin/users", {"email": "carol@example.com"})
    auth.ask("POST", "/admin/users", {"email": "alice@example.com"}, token=auth.admin_token, version="2024-01-01")


@scenario("autoconfirm", "confirming_open")
def update_users(auth: Asking) -> None:
    body: object
    for body in (
        None,
        b"x",
        {},
        {"email": ""},
        {"email": "carol@example.com"},
        {"email": "Carol@Example.com", "email_confirm": True},
        {"email": "bob@example.com"},
        {"email": "no address"},
        {"phone": "15551230001"},
        {"phone": "15551230001", "phone_confirm": True},
        {"phone": "x"},
        {"password": "new password"},
        {"password": "123"},
        {"password": ""},
        {"password": "x" * 73},
        {"password": PASSWORD},
        {"password_hash": "$2y$10$SXEz2HeT8PUIGQXo9yeUIem8KzNxgG0d7o/.eGj2rj8KbRgAuRVlq"},
        {"password_hash": "nonsense"},
        {"email_confirm": True},
        {"email_confirm": False},
        {"phone_confirm": True},
        {"user_metadata": {"a": 2, "z": None}},
        {"user_metadata": {}},
        {"user_metadata": None},
        {"app_metadata": {"provider": None, "roles": ["x"]}},
        {"app_metadata": {}},
        {"role": "editor"},
        {"role": ""},
        {"aud": "other"},
        {"id": NOBODY},
        {"ban_duration": "24h"},
        {"ban_duration": "none"},
        {"ban_duration": "x"},
        {"nonsense": 1},
    ):
        auth.fresh()
        auth.admin("POST", "/admin/users", {"email": "bob@example.com"})
        alice = auth.admin(
            "POST",
            "/admin/users",
            {"email": "alice@example.com", "password": PASSWORD, "user_metadata": {"a": 1, "z": 0}},
        )
        auth.admin("PUT", f"/admin/users/{alice.user_id}", body)
    auth.admin("GET", f"/admin/users/{alice.user_id}")


@scenario("autoconfirm")
def users_that_are_not_there(auth: Asking) -> None:
    for user_id in (
        NOBODY,
        "not-a-uuid",
        "5",
        "00000000-0000-0000-0000-000000000000",
        NOBODY.upper(),
        NOBODY.replace("-", ""),
    ):
        for method in ("GET", "PUT", "DELETE", "POST", "PATCH"):
            auth.admin(method, f"/admin/users/{user_id}", {} if method == "PUT" else None)
        auth.admin("GET", f"/admin/users/{user_id}/factors")
        auth.admin("DELETE", f"/admin/users/{user_id}/factors/{NOBODY}")
        auth.ask("GET", f"/admin/users/{user_id}", token=auth.admin_token, version="2024-01-01")


@scenario("autoconfirm")
def delete_users(auth: Asking) -> None:
    for body in (
        None,
        {},
        {"should_soft_delete": True},
        {"should_soft_delete": False},
        {"should_soft_delete": "x"},
        b"x",
        b"",
    ):
        auth.fresh()
        session = auth.sign_up(data={"a": 1})
        auth.admin("DELETE", f"/admin/users/{session.user_id}", body)
        auth.admin("GET", f"/admin/users/{session.user_id}")
        auth.user(session.token)
        auth.sign_in()
        auth.admin("DELETE", f"/admin/users/{session.user_id}", body)


@scenario("autoconfirm")
def delete_a_user_softly(auth: Asking) -> None:
    auth.admin(
        "POST",
        "/admin/users",
        {"email": "alice@example.com", "phone": "15551230001", "password": PASSWORD, "email_confirm": True},
    )
    session = auth.sign_in()
    auth.ask("POST", "/factors", {"factor_type": "totp"}, token=session.token)
    auth.admin("DELETE", f"/admin/users/{session.user_id}", {"should_soft_delete": True})
    auth.admin("GET", "/admin/users")
    auth.sign_up()


@scenario("autoconfirm")
def list_users(auth: Asking) -> None:
    auth.admin("GET", "/admin/users")
    for number in range(7):
        auth.admin(
            "POST",
            "/admin/users",
            {"email": f"user{number}@example.com", "user_metadata": {"full_name": f"User {number}"}},
        )
    for query in (
        "",
        "?page=&per_page=",
        "?page=1",
        "?page=2&per_page=3",
        "?page=3&per_page=3",
        "?page=4&per_page=3",
        "?page=-1",
        "?page=0",
        "?page=x",
        "?per_page=0",
        "?per_page=-5",
        "?per_page=x",
        "?per_page=1000",
        "?per_page=2&page=2&x=y",
        "?per_page=18446744073709551615",
        "?page=99999999999999999999",
        "?filter=user3",
        "?filter=USER 3",
        "?filter=%25",
        "?filter=_ser3",
        "?sort=created_at asc",
        "?sort=created_at desc",
        "?sort=created_at",
        "?sort=email asc",
        "?sort=created_at asc,email desc",
        "?sort=nonsense",
        "?filter=user&sort=created_at asc&page=1&per_page=2",
        "?limit=2",
        "?cursor=x",
    ):
        auth.admin("GET", f"/admin/users{query}")
    auth.ask("GET", "/admin/users", token=auth.admin_token, headers={"x-jwt-aud": "other"})
    auth.ask("GET", "/admin/users")
    auth.ask("GET", "/admin/users", token=auth.sign_up().token)


@scenario("autoconfirm", "confirming")
def invite(auth: Asking) -> None:
    for body in (
        None,
        b"x",
        {},
        {"email": ""},
        {"email": "no address"},
        {"email": "alice@example.com"},
        {"email": "alice@example.com", "data": {"a": 1}},
        {"email": "ALICE@example.com", "data": None},
        {"email": "bob@example.com", "data": {"a": 1}, "redirect_to": "https://app.example.com/x"},
        {"email": "bob@example.com", "data": "x"},
    ):
        auth.admin("POST", "/invite", body)
        auth.mails_sent()
    auth.admin("POST", "/invite?redirect_to=https://app.example.com/welcome", {"email": "carol@example.com"})
    auth.admin("POST", "/admin/users", {"email": "dave@example.com", "email_confirm": True})
    auth.admin("POST", "/invite", {"email": "dave@example.com"})
    auth.ask("POST", "/invite", {"email": "erin@example.com"})
    mail = auth.mail_to("carol@example.com")
    auth.ask("GET", mail.path)
    auth.ask("GET", mail.path)


@scenario("confirming")
def sign_up_after_an_invitation(auth: Asking) -> None:
    auth.admin("POST", "/invite", {"email": "carol@example.com", "data": {"a": 1}})
    auth.mail_to("carol@example.com")
    auth.sign_up("carol@example.com")
    mail = auth.mail_to("carol@example.com", count=2)
    auth.ask("GET", mail.path)
    auth.ask("GET", mail.path)


@scenario("autoconfirm")
def audit_log(auth: Asking) -> None:
    session = auth.sign_up()
    auth.sign_in()
    auth.ask("POST", "/logout", token=session.token)
    for query in (
        "",
        "?page=1&per_page=2",
        "?page=2&per_page=2",
        "?page=x",
        "?query=action:login",
        "?query=author:alice",
        "?query=type:account",
        "?query=nonsense",
        "?query=nonsense:x",
        "?query=",
        "?query=action:",
    ):
        auth.admin("GET", f"/admin/audit{query}")
    auth.ask("GET", "/admin/audit")
