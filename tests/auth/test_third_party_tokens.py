"""Tokens of other issuers at every door: the services take them, auth's own routes do not. The issuer is a Cognito user pool
of moto's server, with its own keys and groups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
import jwt
import psycopg2
import pytest
from moto.server import ThreadedMotoServer

from isobase_deploy.gateway import open_gateway
from isobase_platform.config import Settings
from isobase_platform.config_auth.third_party import ThirdPartyIssuer
from tests.plugins.issuer import running_issuer

REGION = "eu-central-1"
PASSWORD = "Correct-horse-7"


@dataclass(slots=True, frozen=True)
class UserPool:
    """A user pool with one app and one user."""

    pool_id: str
    client_id: str
    jwks_url: str
    id_token: str
    access_token: str


@pytest.fixture(scope="module")
def cognito() -> Iterator[str]:
    """The URL of a Cognito."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="module")
def pool(cognito: str) -> UserPool:
    """A pool where bob, who is in the group ``staff``, has signed in."""
    client = boto3.client(
        "cognito-idp",
        region_name=REGION,
        endpoint_url=cognito,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    pool_id = client.create_user_pool(PoolName="people")["UserPool"]["Id"]
    client_id = client.create_user_pool_client(UserPoolId=pool_id, ClientName="app")["UserPoolClient"]["ClientId"]
    client.admin_create_user(
        UserPoolId=pool_id, Username="bob", UserAttributes=[{"Name": "email", "Value": "bob@example.com"}]
    )
    client.admin_set_user_password(UserPoolId=pool_id, Username="bob", Password=PASSWORD, Permanent=True)
    client.create_group(GroupName="staff", UserPoolId=pool_id)
    client.admin_add_user_to_group(UserPoolId=pool_id, Username="bob", GroupName="staff")
    answer = client.admin_initiate_auth(
        UserPoolId=pool_id,
        ClientId=client_id,
        AuthFlow="ADMIN_NO_SRP_AUTH",
        AuthParameters={"USERNAME": "bob", "PASSWORD": PASSWORD},
    )["AuthenticationResult"]
    jwks_url = f"{cognito}/{pool_id}/.well-known/jwks.json"
    return UserPool(pool_id, client_id, jwks_url, answer["IdToken"], answer["AccessToken"])


def trusting(settings: Settings, name: str, **fields: Any) -> Settings:
    """The settings with one issuer trusted."""
    third_party = {name: ThirdPartyIssuer(enabled=True, **fields)}
    return settings.model_copy(update={"auth": settings.auth.model_copy(update={"third_party": third_party})})


def trusting_pool(settings: Settings, pool: UserPool, **fields: Any) -> Settings:
    """The settings with the pool trusted."""
    return trusting(
        settings,
        "aws_cognito",
        user_pool_id=pool.pool_id,
        user_pool_region=REGION,
        jwks_url=pool.jwks_url,
        audiences=(pool.client_id,),
        **fields,
    )


async def ask(settings: Settings, token: str, method: str, path: str, **fields: Any) -> httpx.Response:
    """One request with the token through the gateway."""
    async with open_gateway(settings, ["auth", "database", "storage"]) as gateway:
        assert gateway.app is not None
        transport = httpx.ASGITransport(app=gateway.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://isobase") as client:
            answer = await client.request(method, path, headers={"authorization": f"Bearer {token}"}, **fields)
        await gateway.drain(2.0)
        return answer


WHOAMI = """
create function public.whoami() returns json language sql stable as
$$ select json_build_object('role', current_user, 'sub', auth.jwt() ->> 'sub') $$;
create role staff_role nologin;
grant staff_role to authenticator;
grant authenticated to staff_role;
"""


@pytest.fixture
def whoami(database: Settings) -> Iterator[Settings]:
    """A database that tells a caller as whom it sees them, and has a role of the project's own."""
    with closing(psycopg2.connect(database.dsn())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(WHOAMI)
        yield database
        with connection.cursor() as cursor:
            # Roles are the whole server's.
            cursor.execute("drop owned by staff_role; drop role staff_role")


async def test_cognito_user_is_authenticated_in_the_data_api(whoami: Settings, pool: UserPool) -> None:
    for token in (pool.id_token, pool.access_token):
        answer = await ask(trusting_pool(whoami, pool), token, "GET", "/rest/v1/rpc/whoami")
        assert answer.status_code == 200, answer.text
        assert answer.json()["role"] == "authenticated"
        assert answer.json()["sub"]


async def test_cognito_group_gives_the_role_that_the_settings_map_it_to(whoami: Settings, pool: UserPool) -> None:
    settings = trusting_pool(whoami, pool, group_roles={"staff": "staff_role"})
    answer = await ask(settings, pool.access_token, "GET", "/rest/v1/rpc/whoami")
    assert (answer.status_code, answer.json()["role"]) == (200, "staff_role")


async def test_cognito_token_for_another_app_is_refused(whoami: Settings, pool: UserPool) -> None:
    settings = trusting_pool(whoami, pool).auth.third_party["aws_cognito"].model_copy(update={"audiences": ("other",)})
    given = trusting(whoami, "aws_cognito", **settings.model_dump(exclude={"enabled"}))
    assert (await ask(given, pool.id_token, "GET", "/rest/v1/rpc/whoami")).status_code == 401


async def test_storage_knows_the_user_of_another_issuer(whoami: Settings, pool: UserPool) -> None:
    answer = await ask(trusting_pool(whoami, pool), pool.id_token, "GET", "/storage/v1/bucket")
    assert (answer.status_code, answer.json()) == (200, [])
    assert (await ask(whoami, pool.id_token, "GET", "/storage/v1/bucket")).status_code == 400


async def test_auth_itself_refuses_the_token_of_another_issuer(whoami: Settings, pool: UserPool) -> None:
    answer = await ask(trusting_pool(whoami, pool), pool.id_token, "GET", "/auth/v1/user")
    assert (answer.status_code, answer.json()["error_code"]) == (403, "bad_jwt")


async def test_auth_takes_the_token_of_an_issuer_that_shares_its_users_while_the_session_is_there(
    whoami: Settings,
) -> None:
    async with running_issuer() as issuer, running_issuer() as stranger:
        third_party = {
            "supabase": ThirdPartyIssuer(enabled=True, issuer_url=issuer.url, shares_users=True),
            "acme": ThirdPartyIssuer(enabled=True, issuer_url=stranger.url),
        }
        settings = whoami.model_copy(update={"auth": whoami.auth.model_copy(update={"third_party": third_party})})
        with closing(psycopg2.connect(settings.dsn())) as connection, connection.cursor() as cursor:
            cursor.execute(
                "insert into auth.users (instance_id, id, aud, role, email) values"
                " ('00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'authenticated', 'authenticated', 'a@b.cc')"
                " returning id::text"
            )
            (user,) = cursor.fetchone() or ("",)
            cursor.execute(
                "insert into auth.sessions (id, user_id, aal, created_at) values (gen_random_uuid(), %s, 'aal1', now())"
                " returning id::text",
                (user,),
            )
            (session,) = cursor.fetchone() or ("",)
            connection.commit()
        claims = {"sub": user, "session_id": session, "role": "authenticated", "aud": "authenticated"}
        for path in ("/auth/v1/user", "/storage/v1/bucket", "/rest/v1/rpc/whoami"):
            assert (await ask(settings, issuer.sign(claims), "GET", path)).status_code == 200, path
        refused = {
            "another session": issuer.sign(claims | {"session_id": user}),
            "an issuer with users of its own": stranger.sign(claims),
            "a key that is not the issuer's": issuer.sign(claims, signed_by=stranger.jwk),
            "a role that it may not name": issuer.sign(claims | {"role": "service_role"}),
        }
        for why, token in refused.items():
            assert (await ask(settings, token, "GET", "/auth/v1/user")).status_code == 403, why
        assert (await ask(settings, issuer.sign(claims), "GET", "/auth/v1/admin/users")).status_code == 403
        # The secret that both believe stays good beside the issuer's keys.
        secret = settings.jwt_secret.get_secret_value()
        shared = jwt.encode(claims | {"iss": issuer.url, "exp": 4102444800}, secret, algorithm="HS256")
        assert (await ask(settings, shared, "GET", "/auth/v1/user")).status_code == 200


async def test_token_of_another_issuer_opens_no_administration(whoami: Settings) -> None:
    async with running_issuer() as issuer:
        settings = trusting(whoami, "acme", issuer_url=issuer.url, privileged_roles=("service_role",))
        token = issuer.sign({"role": "service_role"})
        assert (await ask(settings, token, "GET", "/auth/v1/admin/users")).status_code == 403
        assert (await ask(settings, token, "GET", "/rest/v1/rpc/whoami")).json()["role"] == "service_role"


async def test_issuer_that_no_setting_names_is_refused_and_never_asked(whoami: Settings, pool: UserPool) -> None:
    async with running_issuer() as rogue:
        token = rogue.sign({"role": "authenticated"})
        answer = await ask(trusting_pool(whoami, pool), token, "GET", "/rest/v1/rpc/whoami")
        assert (answer.status_code, rogue.requests) == (401, {})
