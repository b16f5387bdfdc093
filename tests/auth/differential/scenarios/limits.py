"""Ends of sessions, the current password, and how often one address may ask."""

from __future__ import annotations

from tests.auth.differential.asking import PASSWORD, Asking
from tests.auth.differential.scenarios.registry import scenario


@scenario("limited")
def one_session_per_user(auth: Asking) -> None:
    first = auth.sign_up()
    second = auth.sign_in()
    auth.refresh(first.refresh_token)
    refreshed = auth.refresh(second.refresh_token)
    auth.user(refreshed.token)


@scenario("limited")
def sessions_that_end_by_time(auth: Asking) -> None:
    session = auth.sign_up()
    auth.run("update auth.sessions set created_at = now() - interval '25 hours'")
    auth.refresh(session.refresh_token)
    auth.fresh()
    session = auth.sign_up()
    auth.run("update auth.sessions set created_at = now() - interval '23 hours'")
    auth.run("update auth.refresh_tokens set updated_at = now() - interval '1 hour'")
    refreshed = auth.refresh(session.refresh_token)
    auth.run(
        "update auth.sessions set refreshed_at = (now() at time zone 'utc') - interval '3 hours',"
        " created_at = now() - interval '4 hours'"
    )
    auth.run("update auth.refresh_tokens set updated_at = now() - interval '3 hours'")
    auth.refresh(refreshed.refresh_token)


@scenario("limited")
def the_current_password(auth: Asking) -> None:
    session = auth.sign_up()
    new = {"password": "another password"}
    auth.ask("PUT", "/user", new, token=session.token)
    auth.ask("PUT", "/user", {**new, "current_password": ""}, token=session.token)
    auth.ask("PUT", "/user", {**new, "current_password": "wrong"}, token=session.token)
    auth.ask("PUT", "/user", {**new, "current_password": PASSWORD}, token=session.token)
    link = auth.link("recovery")
    body = {"type": "recovery", "token_hash": link.text("hashed_token")}
    recovered = auth.ask("POST", "/verify", body)
    auth.ask("PUT", "/user", {"password": "third password"}, token=recovered.token)


@scenario("limited")
def too_many_requests_of_an_address(auth: Asking) -> None:
    for path, body in (
        ("/verify", {"type": "signup", "token": "123456", "email": "alice@example.com"}),
        ("/token?grant_type=refresh_token", {"refresh_token": "x"}),
        ("/otp", {"email": "no address"}),
        ("/signup", {"email": "no address", "password": "x"}),
        ("/signup", {}),
        ("/recover", {"email": "no address"}),
    ):
        for address in ("198.51.100.1", "198.51.100.1, 10.0.0.1", "198.51.100.2"):
            for _ in range(16):
                auth.ask("POST", path, body, headers={"x-client-address": address}, rows=False)
        auth.ask("POST", path, body, headers={"x-client-address": "198.51.100.1"}, version="2024-01-01", rows=False)
