"""Codes and links: /otp, /magiclink, /recover, /resend, /verify, /reauthenticate, /admin/generate_link."""

from __future__ import annotations

from tests.auth.differential.asking import PASSWORD, Asking
from tests.auth.differential.scenarios.registry import scenario

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
ALICE = "alice@example.com"
HASH = "a" * 56


def confirmed(auth: Asking) -> None:
    """A confirmed alice."""
    auth.admin("POST", "/admin/users", {"email": ALICE, "password": PASSWORD, "email_confirm": True})


_WRONG: tuple[object, ...] = (
    None,
    b"x",
    b"[]",
    {},
    {"email": ""},
    {"email": "no address"},
    {"email": 5},
    {"email": ALICE, "phone": "15551230001"},
    {"phone": "x"},
    {"email": ALICE, "code_challenge": "x"},
    {"email": ALICE, "code_challenge": "x", "code_challenge_method": "s256"},
    {"email": ALICE, "code_challenge": CHALLENGE, "code_challenge_method": "md5"},
    {"email": ALICE, "data": "x"},
    {"email": ALICE, "create_user": "x"},
    {"email": ALICE, "channel": "pigeon"},
    {"phone": "15551230001", "channel": "pigeon"},
    {"email": "nobody@example.com", "create_user": False},
    {"phone": "15551230002", "create_user": False},
    {"email": "nobody@example.com", "create_user": None, "data": None, "code_challenge": None},
)


@scenario("autoconfirm", "confirming_open", "confirming", "closed")
def ask_for_codes_wrongly(auth: Asking) -> None:
    confirmed(auth)
    for path in ("/otp", "/magiclink", "/recover"):
        for body in _WRONG:
            auth.ask("POST", path, body)
        auth.ask("POST", path, {"email": "no address"}, version="2024-01-01")
        auth.ask("GET", path)
    auth.mails_sent()


@scenario("autoconfirm", "confirming_open", "closed", "strict")
def resend_wrongly(auth: Asking) -> None:
    confirmed(auth)
    auth.sign_up("bob@example.com", "Correct horse 1")
    for body in (
        None,
        b"x",
        {},
        {"type": "signup"},
        {"type": "signup", "email": ""},
        {"type": "signup", "email": ALICE},
        {"type": "signup", "email": "nobody@example.com"},
        {"type": "signup", "email": "bob@example.com"},
        {"type": "signup", "email": "no address"},
        {"type": "signup", "phone": "15551230001"},
        {"type": "email_change", "email": ALICE},
        {"type": "email_change", "phone": "15551230001"},
        {"type": "sms", "phone": "15551230001"},
        {"type": "sms", "phone": "x"},
        {"type": "sms", "email": ALICE},
        {"type": "phone_change", "phone": "15551230001"},
        {"type": "recovery", "email": ALICE},
        {"type": "magiclink", "email": ALICE},
        {"type": "nonsense", "email": ALICE},
        {"type": "", "email": ALICE},
        {"email": ALICE},
        {"type": "signup", "email": ALICE, "phone": "15551230001"},
        {"type": "signup", "email": "bob@example.com", "code_challenge": "x", "code_challenge_method": "s256"},
    ):
        auth.ask("POST", "/resend", body)
        auth.mails_sent()


@scenario("autoconfirm", "confirming_open", "closed")
def verify_wrongly(auth: Asking) -> None:
    confirmed(auth)
    for body in (
        None,
        b"x",
        {},
        {"type": "signup"},
        {"token": "123456"},
        {"token": "123456", "type": "signup"},
        {"token": "123456", "type": "nonsense", "email": ALICE},
        {"token": "123456", "type": "", "email": ALICE},
        {"token": "123456", "type": "signup", "email": ALICE},
        {"token": "123456", "type": "signup", "email": "nobody@example.com"},
        {"token": "123456", "type": "signup", "email": "no address"},
        {"token": "123456", "type": "signup", "email": ALICE, "phone": "15551230001"},
        {"token": "123456", "type": "email", "email": ALICE},
        {"token": "123456", "type": "magiclink", "email": ALICE},
        {"token": "123456", "type": "recovery", "email": ALICE},
        {"token": "123456", "type": "invite", "email": ALICE},
        {"token": "123456", "type": "email_change", "email": ALICE},
        {"token": "123456", "type": "sms", "email": ALICE},
        {"token": "123456", "type": "sms", "phone": "15551230009"},
        {"token": "123456", "type": "sms", "phone": "x"},
        {"token": "123456", "type": "phone_change", "phone": "15551230009"},
        {"token": "123456", "type": "signup", "phone": "15551230009"},
        {"token": "", "type": "signup", "email": ALICE},
        {"token": None, "type": "signup", "email": ALICE},
        {"token": 123456, "type": "signup", "email": ALICE},
        {"token": "12 34", "type": "signup", "email": ALICE},
        {"token_hash": HASH, "type": "signup"},
        {"token_hash": HASH, "type": "email"},
        {"token_hash": HASH, "type": "sms"},
        {"token_hash": HASH, "type": "phone_change"},
        {"token_hash": HASH, "type": "recovery"},
        {"token_hash": HASH, "type": "email_change"},
        {"token_hash": HASH, "type": "nonsense"},
        {"token_hash": HASH},
        {"token_hash": HASH, "type": "signup", "email": ALICE},
        {"token_hash": HASH, "type": "signup", "phone": "15551230001"},
        {"token_hash": HASH, "type": "signup", "redirect_to": "https://app.example.com/x"},
        {"token_hash": HASH, "type": "signup", "token": "123456"},
        {"token_hash": "", "type": "signup"},
        {"token_hash": "pkce_" + HASH, "type": "signup"},
    ):
        auth.ask("POST", "/verify", body)
        auth.ask("POST", "/verify", body, version="2024-01-01", rows=False)


@scenario("autoconfirm", "confirming_open")
def follow_links_wrongly(auth: Asking) -> None:
    for query in (
        "",
        "?token=x",
        "?type=signup",
        "?token=x&type=signup",
        "?token=x&type=nonsense",
        f"?token={HASH}&type=signup",
        f"?token={HASH}&type=signup&redirect_to=https://app.example.com/a?b=c",
        f"?token={HASH}&type=signup&redirect_to=https://evil.example.org/a",
        f"?token={HASH}&type=signup&redirect_to=myapp://x",
        f"?token={HASH}&type=signup&redirect_to=https://app.example.com/a%23frag",
        f"?token=pkce_{HASH}&type=signup",
        f"?token=pkce_{HASH}&type=recovery&redirect_to=https://app.example.com/a?b=c",
        f"?token={HASH}&type=recovery",
        f"?token={HASH}&type=invite",
        f"?token={HASH}&type=magiclink",
        f"?token={HASH}&type=email_change",
        f"?token={HASH}&type=email",
        f"?token={HASH}&type=sms",
        f"?token={HASH}&type=phone_change",
        f"?token_hash={HASH}&type=signup",
        "?token=&type=signup",
        f"?token={HASH}&type=",
    ):
        auth.ask("GET", f"/verify{query}")
        auth.ask("GET", f"/verify{query}", version="2024-01-01", rows=False)
    auth.ask("HEAD", f"/verify?token={HASH}&type=signup")
    auth.ask("GET", f"/verify?token={HASH}&type=signup", headers={"referer": "https://app.example.com/from"})
    auth.ask("GET", f"/verify?token={HASH}&type=signup", headers={"redirect_to": "https://app.example.com/from"})


@scenario("confirming_open", "autoconfirm", "confirming")
def generate_links(auth: Asking) -> None:
    for body in (
        None,
        b"x",
        {},
        {"type": "signup"},
        {"type": "signup", "email": ""},
        {"type": "signup", "email": "no address", "password": PASSWORD},
        {"type": "signup", "email": ALICE},
        {"type": "signup", "email": ALICE, "password": "123"},
        {"type": "signup", "email": ALICE, "password": PASSWORD},
        {"type": "signup", "email": ALICE, "password": PASSWORD, "data": {"a": 1}},
        {"type": "magiclink", "email": ALICE},
        {"type": "magiclink", "email": ALICE, "data": {"a": 1}},
        {"type": "recovery", "email": ALICE},
        {"type": "invite", "email": ALICE},
        {"type": "invite", "email": ALICE, "data": {"a": 1}},
        {"type": "email_change_current", "email": ALICE},
        {"type": "email_change_current", "email": ALICE, "new_email": "bob@example.com"},
        {"type": "email_change_new", "email": ALICE, "new_email": "bob@example.com"},
        {"type": "email_change_new", "email": ALICE, "new_email": "no address"},
        {"type": "email_change", "email": ALICE, "new_email": "bob@example.com"},
        {"type": "nonsense", "email": ALICE},
        {"type": "email", "email": ALICE},
        {"type": "reauthentication", "email": ALICE},
        {"email": ALICE},
        {"type": "magiclink", "email": ALICE, "redirect_to": "https://app.example.com/x?y=z"},
        {"type": "magiclink", "email": ALICE, "redirect_to": "https://evil.example.org/"},
        {"type": "magiclink", "email": ALICE, "redirect_to": 5},
    ):
        auth.fresh()
        auth.admin("POST", "/admin/generate_link", body)
        auth.fresh()
        confirmed(auth)
        auth.admin("POST", "/admin/generate_link", body)
    auth.admin(
        "POST", "/admin/generate_link?redirect_to=https://app.example.com/q", {"type": "recovery", "email": ALICE}
    )
    auth.ask("POST", "/admin/generate_link", {"type": "recovery", "email": ALICE})
    auth.admin("POST", "/admin/users", {"email": "bob@example.com"})
    auth.link("email_change_new", new_email="bob@example.com")
    auth.mails_sent()


@scenario("confirming_open", "autoconfirm")
def follow_generated_links(auth: Asking) -> None:
    for kind, fields in (
        ("signup", {"password": PASSWORD}),
        ("magiclink", {}),
        ("recovery", {}),
        ("invite", {"data": {"a": 1}}),
    ):
        for has_user in (False, True):
            for way in ("get", "hash", "code", "email code"):
                auth.fresh()
                if has_user:
                    auth.admin("POST", "/admin/users", {"email": ALICE, "password": PASSWORD})
                link = auth.link(kind, **fields, redirect_to="https://app.example.com/x?y=z")
                path = link.text("action_link").partition("8000")[2] or "/verify"
                if way == "get":
                    auth.ask("GET", path)
                    auth.ask("GET", path)
                elif way == "hash":
                    body = {"type": link.text("verification_type"), "token_hash": link.text("hashed_token")}
                    session = auth.ask("POST", "/verify", body)
                    auth.ask("POST", "/verify", body)
                    auth.user(session.token)
                    auth.refresh(session.refresh_token)
                else:
                    used = link.text("verification_type") if way == "code" else "email"
                    body = {"type": used, "email": "Alice@example.com", "token": link.text("email_otp")}
                    auth.ask("POST", "/verify", {**body, "type": "email_change"})
                    auth.ask("POST", "/verify", body)
                    auth.ask("POST", "/verify", body)


@scenario("confirming_open")
def expired_links(auth: Asking) -> None:
    auth.admin("POST", "/admin/users", {"email": ALICE, "password": PASSWORD})
    for kind, column in (
        ("recovery", "recovery_sent_at"),
        ("magiclink", "recovery_sent_at"),
        ("signup", "confirmation_sent_at"),
        ("invite", "confirmation_sent_at"),
    ):
        link = auth.link(kind, password=PASSWORD)
        auth.run(f"update auth.users set {column} = now() - interval '25 hours'")
        auth.ask("GET", link.text("action_link").partition("8000")[2] or "/verify")
        auth.ask("POST", "/verify", {"type": kind, "token_hash": link.text("hashed_token")})
        auth.ask("POST", "/verify", {"type": kind, "email": ALICE, "token": link.text("email_otp")})
    auth.run("update auth.users set banned_until = now() + interval '1 hour'")
    link = auth.link("recovery")
    auth.ask("GET", link.text("action_link").partition("8000")[2] or "/verify")
    auth.ask("POST", "/verify", {"type": "recovery", "token_hash": link.text("hashed_token")})


@scenario("confirming_open", "autoconfirm", "confirming")
def codes_by_mail(auth: Asking) -> None:
    for path in ("/otp", "/magiclink", "/recover"):
        for is_known in (False, True):
            for pair in ({}, {"code_challenge": CHALLENGE, "code_challenge_method": "s256"}):
                auth.fresh()
                auth.mails.empty()
                if is_known:
                    confirmed(auth)
                auth.ask(
                    "POST",
                    f"{path}?redirect_to=https://app.example.com/x",
                    {"email": "Alice@Example.com", "data": {"a": 1}, **pair},
                )
                if path == "/recover" and not is_known:
                    continue
                mail = auth.mail_to(ALICE)
                auth.mails_sent()
                answer = auth.ask("GET", mail.path)
                if pair:
                    code = answer.location.partition("code=")[2]
                    body = {"auth_code": code, "code_verifier": VERIFIER}
                    session = auth.ask("POST", "/token?grant_type=pkce", body)
                    auth.user(session.token)
                auth.ask("POST", path, {"email": ALICE, **pair})
                mail = auth.mail_to(ALICE, count=2)
                auth.mails_sent()
                auth.ask("POST", "/verify", {"email": ALICE, "token": mail.code, "type": "email"})


@scenario("confirming_open")
def resend_a_sign_up(auth: Asking) -> None:
    auth.sign_up()
    auth.ask("POST", "/resend", {"type": "signup", "email": ALICE})
    auth.mail_to(ALICE, count=2)
    auth.mails_sent()
    auth.ask(
        "POST",
        "/resend",
        {"type": "signup", "email": ALICE, "code_challenge": CHALLENGE, "code_challenge_method": "s256"},
    )
    mail = auth.mail_to(ALICE, count=3)
    auth.mails_sent()
    auth.ask("POST", "/verify", {"type": "signup", "email": ALICE, "token": mail.code})
    auth.ask("POST", "/resend", {"type": "signup", "email": ALICE})
    auth.mails_sent()


@scenario("strict")
def mails_too_often(auth: Asking) -> None:
    confirmed(auth)
    for path, body in (
        ("/recover", {"email": ALICE}),
        ("/recover", {"email": ALICE}),
        ("/otp", {"email": ALICE}),
        ("/magiclink", {"email": ALICE}),
        ("/otp", {"email": "nobody@example.com"}),
        ("/otp", {"email": "nobody@example.com"}),
    ):
        auth.ask("POST", path, body)
        auth.ask("POST", path, body, version="2024-01-01", rows=False)


@scenario("confirming_open", "autoconfirm")
def codes_by_phone(auth: Asking) -> None:
    phone = "15551230001"
    auth.ask("POST", "/otp", {"phone": f"+{phone}", "data": {"a": 1}})
    auth.ask("POST", "/verify", {"phone": phone, "token": "000000", "type": "sms"})
    session = auth.ask("POST", "/verify", {"phone": f"+{phone}", "token": "123456", "type": "sms"})
    auth.user(session.token)
    auth.ask("POST", "/otp", {"phone": phone, "create_user": False, "channel": "sms"})
    auth.ask("POST", "/otp", {"phone": phone, "channel": "whatsapp"})
    auth.ask("POST", "/resend", {"phone": phone, "type": "sms"})
    auth.ask("GET", "/reauthenticate", token=session.token)
    auth.ask("PUT", "/user", {"phone": "+15551230002"}, token=session.token)
    auth.ask("POST", "/resend", {"phone": "15551230002", "type": "phone_change"})
    auth.ask("POST", "/verify", {"phone": "15551230002", "token": "123456", "type": "phone_change"})
    changed = auth.ask("POST", "/verify", {"phone": "15551230002", "token": "234567", "type": "phone_change"})
    auth.user(changed.token)


@scenario("confirming_open", "strict")
def reauthenticate(auth: Asking) -> None:
    auth.admin("POST", "/admin/users", {"email": ALICE, "password": "Correct horse 1", "email_confirm": True})
    session = auth.sign_in(password="Correct horse 1")
    auth.ask("GET", "/reauthenticate", token=session.token)
    mail = auth.mail_to(ALICE)
    auth.mails_sent()
    auth.ask("GET", "/reauthenticate")
    auth.ask("POST", "/reauthenticate", token=session.token)
    auth.run("update auth.sessions set created_at = now() - interval '2 days'")
    auth.ask("PUT", "/user", {"password": "Another horse 2"}, token=session.token)
    auth.ask("PUT", "/user", {"password": "Another horse 2", "nonce": "x"}, token=session.token)
    auth.ask("PUT", "/user", {"password": "Another horse 2", "nonce": mail.code}, token=session.token)
    auth.ask("PUT", "/user", {"password": "Third horse 3", "nonce": mail.code}, token=session.token)
