"""Auth as an OAuth server: a program asks, a user answers, tokens, grants; and what goes wrong on the way."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.auth.differential.asking import Answer, Asking
from tests.auth.differential.scenarios.admin_users import NOBODY
from tests.auth.differential.scenarios.registry import scenario

CALLBACK = "https://app.example.com/callback?b=2&a=1"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def register(auth: Asking, **fields: object) -> Answer:
    """Register a program."""
    content = {"client_name": "App", "redirect_uris": [CALLBACK], **fields}
    return auth.admin("POST", "/admin/oauth/clients", content)


def begin(auth: Asking, app: Answer, **changes: str | None) -> Answer:
    """Begin as a browser does."""
    query = {
        "client_id": app.text("client_id"),
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "scope": "email profile",
        "state": "a state",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    given = {name: value for name, value in query.items() if value is not None}
    return auth.ask("GET", f"/oauth/authorize?{urlencode(given)}")


def id_in(answer: Answer) -> str:
    """The id that the consent page gets."""
    return parse_qs(urlsplit(answer.location).query).get("authorization_id", ["none"])[0]


def code_in(answer: Answer) -> str:
    """The code that the program gets."""
    return parse_qs(urlsplit(answer.text("redirect_url")).query).get("code", ["none"])[0]


def look(auth: Asking, token: str, authorization_id: str, **headers: str) -> Answer:
    """What the consent page asks."""
    return auth.ask("GET", f"/oauth/authorizations/{authorization_id}", token=token, headers=headers)


def consent(auth: Asking, token: str, authorization_id: str, body: object) -> Answer:
    """What the consent page sends."""
    return auth.ask("POST", f"/oauth/authorizations/{authorization_id}/consent", body, token=token)


def basic(app: Answer) -> dict[str, str]:
    """The program's credentials."""
    pair = f"{app.text('client_id')}:{app.text('client_secret')}"
    return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def exchange(auth: Asking, app: Answer, **fields: str) -> Answer:
    """Send the token endpoint a JSON body."""
    return auth.ask("POST", "/oauth/token", fields, headers=basic(app))


def code_of(auth: Asking, token: str, app: Answer, **changes: str | None) -> str:
    """A code that the user has approved."""
    authorization_id = id_in(begin(auth, app, **changes))
    look(auth, token, authorization_id)
    return code_in(consent(auth, token, authorization_id, {"action": "approve"}))


@scenario("oauth_server")
def a_program_gets_tokens_and_loses_them(auth: Asking) -> None:
    session, app = auth.sign_up(data={"name": "Alice", "avatar_url": "https://a.example/a.png"}), register(auth)
    code = code_of(auth, session.token, app, scope="email profile phone")
    sent = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    tokens = exchange(auth, app, **sent)
    exchange(auth, app, **sent)
    auth.ask("GET", "/oauth/userinfo", token=tokens.token)
    auth.ask("GET", "/oauth/userinfo", token=session.token)
    auth.user(tokens.token)
    auth.refresh(tokens.refresh_token)
    refreshed = exchange(auth, app, grant_type="refresh_token", refresh_token=tokens.refresh_token)
    exchange(auth, app, grant_type="refresh_token", refresh_token=session.refresh_token)
    exchange(auth, register(auth), grant_type="refresh_token", refresh_token=refreshed.refresh_token)
    auth.ask("GET", "/user/oauth/grants", token=session.token)
    begun = begin(auth, app, scope="email")
    look(auth, session.token, id_in(begun))
    auth.ask("DELETE", "/user/oauth/grants", token=session.token)
    auth.ask("DELETE", "/user/oauth/grants?client_id=app", token=session.token)
    auth.ask("DELETE", f"/user/oauth/grants?client_id={NOBODY}", token=session.token)
    auth.ask("DELETE", f"/user/oauth/grants?client_id={app.text('client_id')}", token=session.token)
    auth.ask("DELETE", f"/user/oauth/grants?client_id={app.text('client_id')}", token=session.token)
    auth.ask("GET", "/user/oauth/grants", token=session.token)
    auth.user(tokens.token)
    exchange(auth, app, grant_type="refresh_token", refresh_token=refreshed.refresh_token)


@scenario("oauth_server")
def users_answer_for_themselves(auth: Asking) -> None:
    session, stranger, app = auth.sign_up(), auth.sign_up("bob@example.com"), register(auth)
    authorization_id = id_in(begin(auth, app))
    consent(auth, session.token, authorization_id, {"action": "approve"})
    look(auth, session.token, authorization_id, origin="https://evil.example.net")
    look(auth, session.token, authorization_id, origin="http://127.0.0.1:3000")
    look(auth, stranger.token, authorization_id)
    consent(auth, stranger.token, authorization_id, {"action": "approve"})
    for body in (None, {}, {"action": "perhaps"}, b"no json"):
        consent(auth, session.token, authorization_id, body)
    consent(auth, session.token, authorization_id, {"action": "deny"})
    consent(auth, session.token, authorization_id, {"action": "approve"})
    look(auth, session.token, authorization_id)
    look(auth, session.token, "unknown")
    consent(auth, session.token, "unknown", {"action": "approve"})
    auth.ask("GET", f"/oauth/authorizations/{authorization_id}")
    auth.ask("GET", "/oauth/authorizations/")
    auth.ask("GET", "/user/oauth/grants")
    late = id_in(begin(auth, app))
    auth.run(
        "update auth.oauth_authorizations set created_at = now() - interval '1 day', expires_at = now() - interval '1 h'"
    )
    look(auth, session.token, late)
    consent(auth, session.token, late, {"action": "approve"})


@scenario("oauth_server")
def what_a_program_asks_must_be_right(auth: Asking) -> None:
    app = register(auth)
    wrong: tuple[dict[str, str | None], ...] = (
        {"client_id": None},
        {"client_id": "app"},
        {"client_id": NOBODY},
        {"redirect_uri": None},
        {"redirect_uri": "https://app.example.com/other"},
        {"response_type": "token"},
        {"response_type": None},
        {"scope": None},
        {"scope": " "},
        {"scope": "email  profile"},
        {"scope": "email admin"},
        {"state": None},
        {"code_challenge": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "md5"},
        {"code_challenge_method": "plain"},
        {"code_challenge": "short"},
        {"code_challenge": "c" * 129},
        {"resource": "api"},
        {"resource": "https://api.example.com"},
        {"resource": "https://api.example.com/#f"},
        {"resource": "https://api.example.com/?q=1"},
        {"nonce": "once"},
    )
    for changes in wrong:
        begin(auth, app, **changes)


@scenario("oauth_server")
def programs_show_who_they_are(auth: Asking) -> None:
    session = auth.sign_up()
    app, public = register(auth), register(auth, token_endpoint_auth_method="none")
    by_body = register(auth, token_endpoint_auth_method="client_secret_post")
    once = register(auth, grant_types=["authorization_code"])
    auth.ask("POST", "/oauth/token")
    auth.ask("POST", "/oauth/token", {})
    auth.ask("POST", "/oauth/token", b"no json", headers={"content-type": "application/json"})
    auth.ask("POST", "/oauth/token", {}, headers={"authorization": "Basic ***"})
    auth.ask("POST", "/oauth/token", {}, headers={"authorization": "Basic YWJj"})
    auth.ask("POST", "/oauth/token", {"client_id": "app"})
    auth.ask("POST", "/oauth/token", {"client_id": NOBODY})
    auth.ask("POST", "/oauth/token", {"client_id": app.text("client_id")})
    auth.ask("POST", "/oauth/token", {"client_id": public.text("client_id"), "client_secret": "x"})
    auth.ask("POST", "/oauth/token", {"client_id": public.text("client_id")})
    auth.ask("POST", "/oauth/token", {"client_id": by_body.text("client_id"), "client_secret": "x"})
    exchange(auth, app)
    exchange(auth, app, grant_type="password")
    exchange(auth, app, grant_type="authorization_code")
    exchange(auth, app, grant_type="authorization_code", code=NOBODY)
    exchange(auth, app, grant_type="refresh_token")
    exchange(auth, app, grant_type="refresh_token", refresh_token="none")
    exchange(auth, once, grant_type="refresh_token", refresh_token="none")
    code = code_of(auth, session.token, app, resource="https://api.example.com")
    sent = {"grant_type": "authorization_code", "code": code}
    exchange(auth, app, **sent)
    exchange(auth, app, **sent, code_verifier="w" * 64)
    exchange(auth, app, **sent, code_verifier=VERIFIER, redirect_uri="https://app.example.com")
    exchange(auth, app, **sent, code_verifier=VERIFIER, resource="https://other.example.com")
    exchange(auth, register(auth), **sent, code_verifier=VERIFIER)
    form = urlencode(
        {**sent, "code_verifier": VERIFIER, "redirect_uri": CALLBACK, "resource": "https://api.example.com"}
    )
    headers = {**basic(app), "content-type": "application/x-www-form-urlencoded"}
    auth.ask("POST", "/oauth/token", form.encode(), headers=headers)
