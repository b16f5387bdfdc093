"""Changing the e-mail address, with one or two confirmations."""

from __future__ import annotations

from tests.auth.differential.asking import Asking
from tests.auth.differential.scenarios.links import ALICE, CHALLENGE, VERIFIER
from tests.auth.differential.scenarios.registry import scenario

BOB = "bob@example.com"
STRONG = "Correct horse 1"


@scenario("confirming_open", "autoconfirm", "strict")
def change_an_address(auth: Asking) -> None:
    for pair in ({}, {"code_challenge": CHALLENGE, "code_challenge_method": "s256"}):
        for way in ("links", "codes", "hashes"):
            for order in ((ALICE, BOB), (BOB, ALICE)):
                auth.fresh()
                auth.mails.empty()
                auth.admin("POST", "/admin/users", {"email": ALICE, "password": STRONG, "email_confirm": True})
                session = auth.sign_in(password=STRONG)
                change = {"email": "Bob@example.com", **pair}
                auth.ask("PUT", "/user?redirect_to=https://app.example.com/x", change, token=session.token)
                auth.mail_to(BOB)
                auth.mails_sent()
                for address in order:
                    if not auth.mails.to(auth.side.name, address):
                        continue
                    mail = auth.mail_to(address)
                    if way == "links":
                        answer = auth.ask("GET", mail.path)
                        if "code=" in answer.location:
                            code = answer.location.partition("code=")[2]
                            auth.ask("POST", "/token?grant_type=pkce", {"auth_code": code, "code_verifier": VERIFIER})
                    elif way == "codes":
                        auth.ask("POST", "/verify", {"type": "email_change", "email": address, "token": mail.code})
                    else:
                        auth.ask("POST", "/verify", {"type": "email_change", "token_hash": mail.token_hash})
                    auth.user(session.token)
                auth.sign_in(BOB, STRONG)


@scenario("confirming_open", "strict")
def change_an_address_again(auth: Asking) -> None:
    auth.admin("POST", "/admin/users", {"email": ALICE, "password": STRONG, "email_confirm": True})
    session = auth.sign_in(password=STRONG)
    auth.ask("PUT", "/user", {"email": BOB}, token=session.token)
    auth.mail_to(BOB)
    auth.ask("PUT", "/user", {"email": "carol@example.com"}, token=session.token)
    auth.mail_to("carol@example.com")
    auth.mails_sent()
    auth.ask("POST", "/resend", {"type": "email_change", "email": ALICE})
    auth.ask("POST", "/resend", {"type": "email_change", "email": "carol@example.com"})
    auth.mail_to("carol@example.com", count=2)
    auth.mails_sent()
    auth.ask("PUT", "/user", {"email": ALICE}, token=session.token)
    auth.user(session.token)


@scenario("confirming_open", "autoconfirm")
def change_an_address_by_generated_links(auth: Asking) -> None:
    auth.admin("POST", "/admin/users", {"email": ALICE, "password": STRONG, "email_confirm": True})
    current = auth.link("email_change_current", new_email=BOB)
    auth.ask("GET", current.text("action_link").partition("8000")[2] or "/verify")
    new = auth.link("email_change_new", new_email=BOB)
    auth.ask("GET", new.text("action_link").partition("8000")[2] or "/verify")


@scenario("confirming_open")
def make_an_anonymous_user_permanent(auth: Asking) -> None:
    session = auth.ask("POST", "/signup", {})
    auth.ask("PUT", "/user", {"email": ALICE}, token=session.token)
    mail = auth.mail_to(ALICE)
    auth.mails_sent()
    auth.ask("GET", mail.path)
    auth.user(session.token)
    auth.ask("PUT", "/user", {"password": STRONG}, token=session.token)
    auth.sign_in(password=STRONG)
    session = auth.ask("POST", "/signup", {})
    auth.ask("PUT", "/user", {"phone": "15551230001"}, token=session.token)
    auth.ask("POST", "/verify", {"phone": "15551230001", "token": "123456", "type": "phone_change"})
    auth.user(session.token)
