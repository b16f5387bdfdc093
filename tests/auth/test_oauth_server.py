"""Auth as an OAuth server: a program asks, a user answers, the program gets tokens, the user takes the grant back."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
import pytest_asyncio
from pydantic import SecretStr

from isobase_platform.config import Settings
from isobase_platform.config_auth.oauth_server import OAuthServerSettings
from isobase_platform.keys import generate_jwk
from tests.auth.conftest import AuthServer, StartAuth, bearer, running_auth, with_auth

CALLBACK = "https://app.example.com/callback?from=isobase"
STATE = "state of the app"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


@pytest_asyncio.fixture
async def server(start_auth: StartAuth) -> AsyncIterator[AuthServer]:
    """Auth as an OAuth server without clients."""
    async with start_auth(oauth_server=OAuthServerSettings(enabled=True)) as auth:
        await auth.database.execute("delete from auth.oauth_clients")
        yield auth


async def register(auth: AuthServer, **fields: Any) -> dict[str, Any]:
    """Register a program."""
    content = {"client_name": "App", "redirect_uris": [CALLBACK], **fields}
    answer = await auth.client.post("/admin/oauth/clients", json=content, headers=auth.service_headers)
    assert answer.status_code == 201, answer.text
    client: dict[str, Any] = answer.json()
    return client


async def begin(auth: AuthServer, app: dict[str, Any], **changes: str | None) -> httpx.Response:
    """Send the browser to /oauth/authorize."""
    query = {
        "client_id": app["client_id"],
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "scope": "email profile",
        "state": STATE,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return await auth.client.get(
        "/oauth/authorize", params={name: value for name, value in query.items() if value is not None}
    )


def query_of(url: str) -> dict[str, str]:
    """The query of a URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def asked(auth: AuthServer, app: dict[str, Any], **changes: str | None) -> str:
    """The id of a new request."""
    answer = await begin(auth, app, **changes)
    assert answer.status_code == 302, answer.text
    return query_of(answer.headers["location"])["authorization_id"]


async def look(auth: AuthServer, session: dict[str, Any], authorization_id: str, **headers: str) -> httpx.Response:
    """What the consent page asks."""
    return await auth.client.get(f"/oauth/authorizations/{authorization_id}", headers={**bearer(session), **headers})


async def answer(auth: AuthServer, session: dict[str, Any], authorization_id: str, action: str) -> httpx.Response:
    """What the consent page sends."""
    return await auth.client.post(
        f"/oauth/authorizations/{authorization_id}/consent", json={"action": action}, headers=bearer(session)
    )


async def approved_code(auth: AuthServer, session: dict[str, Any], app: dict[str, Any], **changes: str | None) -> str:
    """A code that the user has approved."""
    authorization_id = await asked(auth, app, **changes)
    assert (await look(auth, session, authorization_id)).status_code == 200
    response = await answer(auth, session, authorization_id, "approve")
    assert response.status_code == 200, response.text
    return query_of(response.json()["redirect_url"])["code"]


async def exchange(auth: AuthServer, app: dict[str, Any], **fields: str) -> httpx.Response:
    """Send a form to the token endpoint, with the program's credentials by Basic."""
    return await auth.client.post("/oauth/token", data=fields, auth=(app["client_id"], app["client_secret"]))


async def tokens_of(auth: AuthServer, session: dict[str, Any], app: dict[str, Any], **changes: str) -> dict[str, Any]:
    """The tokens of a program that the user has approved."""
    code = await approved_code(auth, session, app, **changes)
    response = await exchange(auth, app, grant_type="authorization_code", code=code, code_verifier=VERIFIER)
    assert response.status_code == 200, response.text
    tokens: dict[str, Any] = response.json()
    return tokens


async def test_an_approved_program_gets_tokens_that_say_whose_they_are(server: AuthServer) -> None:
    session, app = await server.sign_up(), await register(server, client_uri="https://app.example.com")
    begun = await begin(server, app)
    page = begun.headers["location"]
    assert page.startswith("http://127.0.0.1:3000/oauth/consent?authorization_id=")
    authorization_id = query_of(page)["authorization_id"]
    assert (await look(server, session, authorization_id)).json() == {
        "authorization_id": authorization_id,
        "redirect_uri": CALLBACK,
        "client": {"id": app["client_id"], "name": "App", "uri": "https://app.example.com"},
        "user": {"id": session["user"]["id"], "email": "alice@example.com"},
        "scope": "email profile",
    }
    target = (await answer(server, session, authorization_id, "approve")).json()["redirect_url"]
    assert target.startswith("https://app.example.com/callback?")
    fields = query_of(target)
    assert (fields["from"], fields["state"]) == ("isobase", STATE)
    tokens = (
        await exchange(
            server,
            app,
            grant_type="authorization_code",
            code=fields["code"],
            code_verifier=VERIFIER,
            redirect_uri=CALLBACK,
        )
    ).json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token"}
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    assert (claims["client_id"], claims["scope"], claims["sub"]) == (
        app["client_id"],
        "email profile",
        session["user"]["id"],
    )
    assert [use["method"] for use in claims["amr"]] == ["oauth_provider/authorization_code"]
    info = (await server.client.get("/oauth/userinfo", headers=bearer(tokens))).json()
    assert info.items() >= {"sub": claims["sub"], "email": "alice@example.com", "name": "alice@example.com"}.items()
    assert "phone" not in info


async def test_a_users_own_token_gives_userinfo_the_subject_alone(server: AuthServer) -> None:
    session = await server.sign_up()
    info = await server.client.get("/oauth/userinfo", headers=bearer(session))
    assert info.json() == {"sub": session["user"]["id"]}


async def test_a_code_is_good_once_also_when_it_comes_twice_at_a_time(server: AuthServer) -> None:
    session, app = await server.sign_up(), await register(server)
    code = await approved_code(server, session, app)
    sent = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    answers = await asyncio.gather(*(exchange(server, app, **sent) for _ in range(5)))
    assert sorted(one.status_code for one in answers) == [200, 400, 400, 400, 400]
    assert {one.json()["error"] for one in answers if one.status_code == 400} == {"invalid_grant"}
    assert await server.count("sessions", "oauth_client_id is not null") == 1


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"code_verifier": "w" * 64}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_grant"),
        ({"code": "00000000-0000-4000-8000-000000000000"}, "invalid_grant"),
        ({"code": ""}, "invalid_request"),
        ({"redirect_uri": "https://evil.example.com"}, "invalid_grant"),
        ({"resource": "https://api.example.com"}, "invalid_grant"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
async def test_a_code_with_the_wrong_beside_it_is_refused_and_stays_good(
    server: AuthServer, fields: dict[str, str], error: str
) -> None:
    session, app = await server.sign_up(), await register(server)
    code = await approved_code(server, session, app)
    good = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    refused = await exchange(server, app, **{**good, **fields})
    assert (refused.status_code, refused.json()["error"]) == (400, error)
    assert (await exchange(server, app, **good)).status_code == 200


async def test_another_programs_code_is_refused(server: AuthServer) -> None:
    session, app, other = await server.sign_up(), await register(server), await register(server)
    code = await approved_code(server, session, app)
    refused = await exchange(server, other, grant_type="authorization_code", code=code, code_verifier=VERIFIER)
    assert refused.json() == {
        "error": "invalid_grant",
        "error_description": "Authorization code was not issued for this client",
    }


async def test_a_program_that_cannot_show_who_it_is_gets_nothing(server: AuthServer) -> None:
    app, public = await register(server), await register(server, token_endpoint_auth_method="none")

    async def tried(**how: Any) -> tuple[int, str]:
        response = await server.client.post("/oauth/token", **how)
        return response.status_code, response.json()["error_code"]

    refused = (400, "invalid_credentials")
    assert await tried(data={}) == refused
    assert await tried(data={}, auth=(app["client_id"], secrets.token_urlsafe(32))) == refused
    assert await tried(data={}, auth=("nobody", "x")) == refused
    assert await tried(headers={"authorization": "Basic ***"}) == refused
    in_body = {"client_id": app["client_id"], "client_secret": app["client_secret"]}
    assert await tried(data=in_body) == refused, "registered for Basic"
    assert await tried(data={"client_id": app["client_id"]}) == refused, "without its secret"
    assert await tried(json={"client_id": public["client_id"], "client_secret": "x"}) == refused


async def test_a_public_program_needs_its_verifier_alone(server: AuthServer) -> None:
    session, app = await server.sign_up(), await register(server, token_endpoint_auth_method="none")
    code = await approved_code(server, session, app, code_challenge=VERIFIER, code_challenge_method="plain")
    sent = {
        "grant_type": "authorization_code",
        "client_id": app["client_id"],
        "code": code,
        "code_verifier": VERIFIER,
    }
    assert (await server.client.post("/oauth/token", json=sent)).status_code == 200


async def test_a_programs_session_is_refreshed_by_it_alone(server: AuthServer) -> None:
    session, app, other = await server.sign_up(), await register(server), await register(server)
    tokens = await tokens_of(server, session, app)
    sent = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert (await server.refresh(tokens["refresh_token"])).json() == {
        "error": "invalid_client",
        "error_description": "Client authentication required for OAuth session",
    }
    assert (await exchange(server, other, **sent)).json()["error"] == "invalid_client"
    refreshed = await exchange(server, app, **sent)
    assert refreshed.status_code == 200
    claims = jwt.decode(refreshed.json()["access_token"], options={"verify_signature": False})
    assert (claims["client_id"], claims["scope"]) == (app["client_id"], "email profile")
    own = await exchange(server, app, grant_type="refresh_token", refresh_token=session["refresh_token"])
    assert own.json()["error"] == "invalid_client", "a user's own session is no program's"
    assert (await server.refresh(session["refresh_token"])).status_code == 200


async def test_who_has_consented_is_not_asked_again_for_as_much_or_less(server: AuthServer) -> None:
    session, app = await server.sign_up(), await register(server)
    await approved_code(server, session, app)
    again = await look(server, session, await asked(server, app, scope="email"))
    assert set(again.json()) == {"redirect_url"}
    assert "code" in query_of(again.json()["redirect_url"])
    more = await look(server, session, await asked(server, app, scope="email phone"))
    assert more.json()["scope"] == "email phone"


async def test_a_denied_request_goes_back_with_an_error_and_cannot_be_approved(server: AuthServer) -> None:
    session, app = await server.sign_up(), await register(server)
    authorization_id = await asked(server, app)
    await look(server, session, authorization_id)
    denied = await answer(server, session, authorization_id, "deny")
    assert query_of(denied.json()["redirect_url"]) == {
        "from": "isobase",
        "error": "access_denied",
        "error_description": "User denied the request",
        "state": STATE,
    }
    again = await answer(server, session, authorization_id, "approve")
    assert (again.status_code, again.json()["error_code"]) == (400, "validation_failed")
    assert await server.count("oauth_consents") == 0


async def test_nobody_answers_for_another_user_nor_unseen(server: AuthServer) -> None:
    session, app = await server.sign_up(), await register(server)
    stranger = await server.sign_up("mallory@example.com")
    authorization_id = await asked(server, app)
    unseen = await answer(server, session, authorization_id, "approve")
    assert (unseen.status_code, unseen.json()["error_code"]) == (404, "oauth_authorization_not_found")
    assert (await look(server, session, authorization_id)).status_code == 200
    assert (await look(server, stranger, authorization_id)).status_code == 404
    assert (await answer(server, stranger, authorization_id, "approve")).status_code == 404
    assert (await answer(server, session, authorization_id, "perhaps")).status_code == 400
    assert (await answer(server, session, authorization_id, "approve")).status_code == 200


async def test_a_program_cannot_answer_with_the_token_it_was_given(server: AuthServer) -> None:
    session, app = await server.sign_up(), await register(server)
    tokens = await tokens_of(server, session, app)
    authorization_id = await asked(server, app, scope="openid email profile phone")
    assert (await look(server, tokens, authorization_id)).status_code == 403
    assert (await answer(server, tokens, authorization_id, "approve")).status_code == 403
    revoked = await server.client.delete(
        "/user/oauth/grants", params={"client_id": app["client_id"]}, headers=bearer(tokens)
    )
    assert revoked.status_code == 403


async def test_a_request_that_is_too_old_is_gone(server: AuthServer) -> None:
    session, app = await server.sign_up(), await register(server)
    authorization_id, code = await asked(server, app), await approved_code(server, session, app)
    await server.database.execute(
        "update auth.oauth_authorizations set created_at = now() - interval '1 hour', expires_at = now() - interval '1 s'"
    )
    assert (await look(server, session, authorization_id)).status_code == 404
    assert await server.count("oauth_authorizations", "status = 'expired'") == 1
    late = await exchange(server, app, grant_type="authorization_code", code=code, code_verifier=VERIFIER)
    assert late.json()["error_description"] == "Authorization code has expired"


async def test_grants_are_listed_and_taken_back_with_the_programs_sessions(server: AuthServer) -> None:
    session, app = await server.sign_up(), await register(server)
    tokens = await tokens_of(server, session, app)
    (grant,) = (await server.client.get("/user/oauth/grants", headers=bearer(session))).json()
    assert grant["client"] == {"id": app["client_id"], "name": "App"}
    assert grant["scopes"] == ["email", "profile"]

    async def revoke(**params: str) -> httpx.Response:
        return await server.client.delete("/user/oauth/grants", params=params, headers=bearer(session))

    assert (await revoke()).status_code == 400
    assert (await revoke(client_id="app")).status_code == 400
    assert (await revoke(client_id=app["client_id"])).status_code == 204
    assert (await revoke(client_id=app["client_id"])).json()["error_code"] == "oauth_consent_not_found"
    assert (await server.client.get("/user/oauth/grants", headers=bearer(session))).json() == []
    assert (await server.client.get("/user", headers=bearer(tokens))).status_code == 403
    assert (await server.client.get("/user", headers=bearer(session))).status_code == 200
    ended = await exchange(server, app, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert ended.status_code == 400
    assert (await look(server, session, await asked(server, app))).json()["scope"] == "email profile", "asked again"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"client_id": None}, 400, "validation_failed"),
        ({"redirect_uri": None}, 400, "validation_failed"),
        ({"redirect_uri": "https://evil.example.com"}, 400, "validation_failed"),
        ({"client_id": "app"}, 400, "oauth_client_not_found"),
        ({"client_id": "00000000-0000-4000-8000-000000000000"}, 400, "oauth_client_not_found"),
    ],
)
async def test_what_cannot_be_trusted_is_not_followed(
    server: AuthServer, changes: dict[str, str | None], status: int, code: str
) -> None:
    refused = await begin(server, await register(server), **changes)
    assert (refused.status_code, refused.json()["error_code"]) == (status, code)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"response_type": "token"}, "only response_type=code is supported"),
        ({"scope": "email admin"}, "unsupported scope: admin"),
        ({"scope": " "}, "scope parameter cannot be empty"),
        ({"code_challenge": None}, "PKCE flow requires both code_challenge and code_challenge_method"),
        ({"code_challenge_method": "md5"}, "code_challenge_method must be 'S256' or 'plain'"),
        ({"code_challenge": "short"}, "code_challenge must be between 43 and 128 characters"),
        ({"resource": "api"}, "resource must be an absolute URI"),
        ({"resource": "https://a.example/#x"}, "resource must not include a fragment component"),
        ({"nonce": "n" * 300}, "nonce cannot exceed 255 characters"),
    ],
)
async def test_a_programs_mistake_goes_back_to_it(
    server: AuthServer, changes: dict[str, str | None], words: str
) -> None:
    response = await begin(server, await register(server), **changes)
    assert response.status_code == 302
    fields = query_of(response.headers["location"])
    assert (fields["error"], fields["error_description"], fields["state"]) == ("invalid_request", words, STATE)
    assert await server.count("oauth_authorizations") == 0


async def test_a_page_of_another_site_learns_nothing(server: AuthServer) -> None:
    session, app = await server.sign_up(), await register(server)
    authorization_id = await asked(server, app)
    refused = await look(server, session, authorization_id, origin="https://evil.example.com")
    assert (refused.status_code, refused.json()["msg"]) == (400, "unauthorized request origin")
    allowed = await look(server, session, authorization_id, origin="http://127.0.0.1:3000")
    assert allowed.status_code == 200


async def test_openid_gives_an_id_token_where_the_project_signs_with_a_pair(
    auth_database: Settings, start_auth: StartAuth
) -> None:
    pair = generate_jwk("ES256")
    settings = with_auth(auth_database, oauth_server=OAuthServerSettings(enabled=True))
    keys = SecretStr(json.dumps([pair]))
    async with running_auth(settings.model_copy(update={"jwt_keys": keys})) as auth:
        session, app = await auth.sign_up(), await register(auth)
        tokens = await tokens_of(auth, session, app, scope="openid email phone", nonce="once")
        jwks = (await auth.client.get("/.well-known/jwks.json")).json()
        key = next(key for key in jwt.PyJWKSet.from_dict(jwks).keys if key.key_id == pair["kid"])
        claims = jwt.decode(tokens["id_token"], key, algorithms=["ES256"], audience=app["client_id"])
    assert (
        claims.items()
        >= {
            "sub": session["user"]["id"],
            "nonce": "once",
            "email": "alice@example.com",
            "email_verified": True,
            "phone_number_verified": False,
            "client_id": app["client_id"],
        }.items()
    )
    assert claims["exp"] - claims["iat"] == 3600
    assert "name" not in claims


async def test_openid_without_a_pair_gives_no_id_token(server: AuthServer) -> None:
    session, app = await server.sign_up(), await register(server)
    assert "id_token" not in await tokens_of(server, session, app, scope="openid")


async def test_the_routes_are_there_only_while_the_server_is_on(start_auth: StartAuth) -> None:
    async with start_auth() as auth:
        session = await auth.sign_up()
        for method, path in (
            ("GET", "/oauth/authorize"),
            ("GET", "/oauth/authorizations/x"),
            ("POST", "/oauth/authorizations/x/consent"),
            ("POST", "/oauth/token"),
            ("GET", "/oauth/userinfo"),
            ("GET", "/user/oauth/grants"),
            ("DELETE", "/user/oauth/grants"),
        ):
            response = await auth.client.request(method, path, headers=bearer(session))
            assert (response.status_code, response.json()["error_code"]) == (404, "feature_disabled"), path
