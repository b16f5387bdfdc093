"""/authorize, /callback, linking and unlinking, as far as no provider is asked."""

from __future__ import annotations

from tests.auth.differential.asking import Asking
from tests.auth.differential.scenarios.admin_users import NOBODY
from tests.auth.differential.scenarios.links import CHALLENGE
from tests.auth.differential.scenarios.registry import scenario


@scenario("autoconfirm", "confirming")
def authorize(auth: Asking) -> None:
    for query in (
        "",
        "?provider=",
        "?provider=nonsense",
        "?provider=apple",
        "?provider=email",
        "?provider=github",
        "?provider=GitHub",
        "?provider=github&redirect_to=https://app.example.com/x",
        "?provider=github&redirect_to=https://evil.example.org/x",
        "?provider=github&scopes=repo%20gist",
        "?provider=github&scopes=repo&prompt=consent&nonce=abc&client_id=evil&state=evil&redirect_uri=evil",
        f"?provider=github&code_challenge={CHALLENGE}&code_challenge_method=s256",
        f"?provider=github&code_challenge={CHALLENGE}",
        "?provider=github&code_challenge=x&code_challenge_method=s256",
        "?provider=github&code_challenge_method=s256",
        "?provider=github&invite_token=x",
        "?provider=github&skip_http_redirect=true",
    ):
        auth.ask("GET", f"/authorize{query}")
    auth.ask("GET", "/authorize?provider=nonsense", version="2024-01-01")
    auth.ask("POST", "/authorize?provider=github")


@scenario("autoconfirm")
def come_back_wrongly(auth: Asking) -> None:
    for query in (
        "",
        "?state=",
        "?state=x",
        f"?state={NOBODY}",
        f"?state={NOBODY}&code=x",
        "?code=x",
        "?error=access_denied",
        "?error=access_denied&error_description=No+thanks",
        f"?state={NOBODY}&error=access_denied&error_description=No",
        "?state=a.b.c",
    ):
        auth.ask("GET", f"/callback{query}")
    auth.ask("POST", "/callback", b"state=x&code=y", headers={"content-type": "application/x-www-form-urlencoded"})


@scenario("autoconfirm")
def denied_by_the_provider(auth: Asking) -> None:
    for pair in ("", f"&code_challenge={CHALLENGE}&code_challenge_method=s256"):
        answer = auth.ask("GET", f"/authorize?provider=github&redirect_to=https://app.example.com/x{pair}")
        state = answer.location.partition("state=")[2].partition("&")[0]
        auth.ask("GET", f"/callback?state={state}&error=access_denied&error_description=No+thanks")
        auth.ask("GET", f"/callback?state={state}")
        auth.run("update auth.flow_state set created_at = now() - interval '1 hour'")
        auth.ask("GET", f"/callback?state={state}&code=x")


@scenario("autoconfirm", "confirming")
def link_and_unlink(auth: Asking) -> None:
    auth.admin(
        "POST",
        "/admin/users",
        {
            "email": "alice@example.com",
            "phone": "15551230001",
            "password": "Correct horse 1",
            "email_confirm": True,
            "phone_confirm": True,
        },
    )
    session = auth.sign_in(password="Correct horse 1")
    auth.ask("GET", "/user/identities/authorize?provider=github", token=session.token)
    auth.ask("GET", "/user/identities/authorize?provider=github&skip_http_redirect=true", token=session.token)
    auth.ask("GET", "/user/identities/authorize?provider=nonsense", token=session.token)
    auth.ask("GET", "/user/identities/authorize", token=session.token)
    auth.ask("GET", "/user/identities/authorize?provider=github")
    auth.ask("DELETE", f"/user/identities/{NOBODY}", token=session.token)
    auth.ask("DELETE", "/user/identities/not-a-uuid", token=session.token)
    rows = auth.run("select id from auth.identities order by provider")
    for (identity_id,) in rows:
        auth.ask("DELETE", f"/user/identities/{identity_id}")
        auth.ask("DELETE", f"/user/identities/{identity_id}", token=session.token)
        auth.user(session.token)
