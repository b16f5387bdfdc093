"""Who a token speaks of: by the server's public keys, or by the server."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from isobase.auth import AsyncGoTrueClient
from isobase.auth._async import claims as claims_module
from isobase.auth.errors import AuthApiError, AuthInvalidJwtError
from isobase_platform.keys import generate_jwk
from tests.sdk.auth._async.tools import opened, signed_up
from tests.sdk.auth.conftest import AuthService


@pytest.mark.capability("auth.session.get_claims")
async def test_claims_are_verified_here_with_keys_that_are_kept(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        user = (await signed_up(client)).user
        calls = counted(client)
        for _ in range(3):
            found = await client.get_claims()
            assert found is not None
            assert found["claims"]["sub"] == user.id
            assert found["headers"]["alg"] == "ES256"
        assert calls == [".well-known/jwks.json"]


async def test_nobodys_claims_are_none(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        assert await client.get_claims() is None


@pytest.mark.capability("auth.session.get_user")
async def test_a_token_of_the_shared_secret_is_verified_by_the_server(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        session = await signed_up(client)
        claims = jwt.decode(session.access_token, options={"verify_signature": False})
        secret = auth_service.settings.jwt_secret.get_secret_value()
        calls = counted(client)
        found = await client.get_claims(jwt.encode(claims, secret, algorithm="HS256"))
        assert found is not None
        assert found["claims"]["sub"] == session.user.id
        assert calls == ["user"]
        with pytest.raises(AuthApiError):
            await client.get_claims(jwt.encode(claims, "another secret of thirty-two bytes", algorithm="HS256"))


async def test_a_token_that_has_ended_is_refused_unless_it_is_allowed(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        key = generate_jwk("ES256")
        token = signed({"sub": "s", "exp": int(time.time()) - 1}, key)
        with pytest.raises(AuthInvalidJwtError, match="JWT has expired"):
            await client.get_claims(token, {"keys": [public(key)]})
        found = await client.get_claims(token, {"keys": [public(key)]}, allow_expired=True)
        assert found is not None
        assert found["claims"]["sub"] == "s"
        with pytest.raises(AuthInvalidJwtError, match="no expiration time"):
            await client.get_claims(signed({"sub": "s"}, key), {"keys": [public(key)]})


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_keys_that_the_app_brings_are_used_without_the_server(algorithm: str) -> None:
    async with AsyncGoTrueClient(url="http://127.0.0.1:1") as client:
        key = generate_jwk(algorithm)
        token = signed({"sub": "s", "exp": int(time.time()) + 600}, key)
        found = await client.get_claims(token, {"keys": [public(key)]})
        assert found is not None
        assert found["claims"]["sub"] == "s"
        forged = generate_jwk(algorithm) | {"kid": key["kid"]}
        with pytest.raises(AuthInvalidJwtError, match="Invalid JWT signature"):
            await client.get_claims(token, {"keys": [public(forged)]})


async def test_a_token_does_not_choose_how_a_key_is_used() -> None:
    async with AsyncGoTrueClient(url="http://127.0.0.1:1") as client:
        key = generate_jwk("ES256")
        token = signed({"sub": "s", "exp": int(time.time()) + 600}, key)
        for wrong in ({"kty": "oct", "k": "c2VjcmV0"}, {"alg": "RS256"}):
            with pytest.raises(AuthInvalidJwtError):
                await client.get_claims(token, {"keys": [public(key) | wrong]})


async def test_a_token_before_its_time_is_refused() -> None:
    async with AsyncGoTrueClient(url="http://127.0.0.1:1") as client:
        key, now = generate_jwk("ES256"), int(time.time())
        for start, may_pass in ((now - 1, True), (now + 5, True), (now + 3600, False)):
            token = signed({"sub": "s", "exp": now + 7200, "nbf": start}, key)
            if may_pass:
                assert await client.get_claims(token, {"keys": [public(key)]}) is not None
            else:
                with pytest.raises(AuthInvalidJwtError, match="not valid yet"):
                    await client.get_claims(token, {"keys": [public(key)]}, allow_expired=True)


async def test_an_unknown_key_is_asked_for_once_and_not_at_every_call(
    auth_service: AuthService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims_module, "REFETCH_PAUSE_S", 300.0)
    async with opened(auth_service) as client:
        await signed_up(client)
        await client.get_claims()
        calls = counted(client)
        assert client._jwks_cached_at is not None
        client._jwks_cached_at -= 360  # as if six minutes had gone by
        stranger = signed({"sub": "s", "exp": int(time.time()) + 600}, generate_jwk("ES256"))
        for _ in range(5):
            with pytest.raises(AuthInvalidJwtError, match="No matching signing key"):
                await client.get_claims(stranger)
        assert calls == [".well-known/jwks.json"]
        assert await client.get_claims() is not None


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "e30.e30.", "x" * 100])
async def test_what_is_no_token_is_refused(token: str) -> None:
    async with AsyncGoTrueClient(url="http://127.0.0.1:1") as client:
        if not token:
            assert await client.get_claims(token) is None
            return
        with pytest.raises(AuthInvalidJwtError, match="Invalid JWT structure"):
            await client.get_claims(token)


def counted(client: AsyncGoTrueClient) -> list[str]:
    """The paths that the client asks for from now on."""
    calls: list[str] = []
    send = client._request

    async def request(method: Any, path: str, **arguments: Any) -> Any:
        calls.append(path)
        return await send(method, path, **arguments)

    client._request = request  # type: ignore[method-assign]
    return calls


def public(key: dict[str, Any]) -> Any:
    """The part of a key that is published."""
    return {name: value for name, value in key.items() if name not in {"d", "p", "q", "dp", "dq", "qi"}}


def signed(claims: dict[str, Any], key: dict[str, Any]) -> str:
    """A token by a key."""
    return jwt.encode(claims, jwt.PyJWK(key), algorithm=key["alg"], headers={"kid": key["kid"]})
