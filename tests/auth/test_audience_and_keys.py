"""Audience, roles and keys as settings: what a request, a token and the key set say when they are not Supabase's own."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from pydantic import SecretStr

from isobase_platform.config import Settings
from isobase_platform.config_auth.email import EmailSettings
from isobase_platform.config_auth.sms import SmsSettings
from isobase_platform.keys import generate_jwk
from isobase_platform.tokens import role_token
from tests.auth.conftest import PASSWORD, AuthServer, StartAuth, bearer, running_auth, with_auth

KNOWN = "alice@example.com"
PHONE = "4915112345678"
SYMMETRIC = {
    "kty": "oct",
    "k": base64.urlsafe_b64encode(b"k" * 32).rstrip(b"=").decode(),
    "kid": "12580317-221c-49b6-894a-f4473b8afe39",
    "key_ops": ["sign", "verify"],
    "alg": "HS256",
}


@pytest.mark.usefixtures("start_auth")
async def test_a_symmetric_key_signs_while_a_pair_only_verifies(auth_database: Settings) -> None:
    pair = generate_jwk("RS256") | {"key_ops": ["verify"]}
    keys = SecretStr(json.dumps([SYMMETRIC, pair]))
    async with running_auth(with_auth(auth_database).model_copy(update={"jwt_keys": keys})) as auth:
        session = await auth.sign_up()
        header = jwt.get_unverified_header(session["access_token"])
        assert (header["alg"], header["kid"]) == ("HS256", SYMMETRIC["kid"])
        published = (await auth.client.get("/.well-known/jwks.json")).json()["keys"]
        assert [key["kid"] for key in published] == [pair["kid"]]
        assert not {"d", "p", "q", "k"} & set(published[0])
        claims = jwt.decode(session["access_token"], options={"verify_signature": False})
        by_pair = jwt.encode(claims, jwt.PyJWK(pair), algorithm="RS256", headers={"kid": pair["kid"]})
        assert (await auth.client.get("/user", headers={"authorization": f"Bearer {by_pair}"})).status_code == 200
        # The shared secret goes on verifying tokens that name no key, such as a project's service_role token.
        assert (await auth.client.get("/admin/users", headers=auth.service_headers)).status_code == 200


async def test_discovery_names_the_issuer_and_where_its_keys_are(auth: AuthServer) -> None:
    answer = await auth.client.get("/.well-known/openid-configuration")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=600"
    session = await auth.sign_up()
    issuer = jwt.decode(session["access_token"], options={"verify_signature": False})["iss"]
    assert answer.json()["issuer"] == issuer
    assert answer.json()["jwks_uri"] == f"{issuer}/.well-known/jwks.json"


async def test_users_of_one_audience_are_strangers_to_another(auth: AuthServer) -> None:
    other = {"x-jwt-aud": "other"}
    answer = await auth.client.post("/signup", json={"email": "a@b.c", "password": PASSWORD}, headers=other)
    assert answer.json()["user"]["aud"] == "other"
    claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
    assert claims["aud"] == "other"
    assert (await auth.sign_in("a@b.c")).status_code == 400
    own = await auth.client.get("/user", headers=bearer(answer.json()))
    assert own.status_code == 200
    wrong = await auth.client.get("/user", headers=bearer(answer.json()) | {"x-jwt-aud": "authenticated"})
    assert (wrong.status_code, wrong.json()["error_code"]) == (400, "validation_failed")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/signup", {"email": KNOWN, "password": PASSWORD}),
        ("/otp", {"email": KNOWN}),
        ("/magiclink", {"email": KNOWN}),
        ("/signup", {"phone": PHONE, "password": PASSWORD}),
        ("/otp", {"phone": PHONE}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
async def test_another_audience_does_not_tell_whose_addresses_are_known(
    start_auth: StartAuth, path: str, body: dict[str, str]
) -> None:
    settings = {"email_enable_confirmations": True, "phone_enable_confirmations": True, "phone_enable_signup": True}
    sms, email = SmsSettings(test_otp={PHONE: "123456"}), EmailSettings(max_frequency_s=0)
    async with start_auth(sms=sms, email=email, **settings) as auth:
        made = await auth.client.post(
            "/admin/users",
            json={"email": KNOWN, "phone": PHONE, "email_confirm": True, "phone_confirm": True},
            headers=auth.service_headers,
        )
        assert made.status_code == 200
        answer = await auth.client.post(path, json=body, headers={"x-jwt-aud": "other"})
        assert answer.status_code == 200, answer.text
        if path == "/signup":
            assert answer.json()["id"] != made.json()["id"]
        else:
            assert answer.json() == {}
        assert await auth.count("users") == 1


async def test_audience_and_role_of_new_users_are_settings(start_auth: StartAuth) -> None:
    async with start_auth(jwt_audience="house", jwt_default_role="tenant", enable_anonymous_sign_ins=True) as auth:
        by_sign_up = (await auth.sign_up())["user"]
        anonymous = (await auth.client.post("/signup", json={})).json()["user"]
        by_admin = (
            await auth.client.post("/admin/users", json={"email": "bob@example.com"}, headers=auth.service_headers)
        ).json()
    for user in (by_sign_up, anonymous, by_admin):
        assert (user["aud"], user["role"]) == ("house", "tenant")


async def test_administrators_are_who_the_setting_says(start_auth: StartAuth) -> None:
    async with start_auth(jwt_admin_roles=("root",)) as auth:
        secret = auth.settings.jwt_secret.get_secret_value()
        root = {"authorization": f"Bearer {role_token(secret, 'root')}"}
        assert (await auth.client.get("/admin/users", headers=root)).status_code == 200
        refused = await auth.client.get("/admin/users", headers=auth.service_headers)
        assert (refused.status_code, refused.json()["error_code"]) == (403, "not_admin")


async def test_tokens_have_no_issuer_where_the_setting_is_empty(start_auth: StartAuth) -> None:
    async with start_auth(jwt_issuer="") as auth:
        session = await auth.sign_up()
        assert "iss" not in jwt.decode(session["access_token"], options={"verify_signature": False})
