"""Signing keys in the database: their way through the states, and how running processes come to know of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import jwt
import pytest
import pytest_asyncio
from pydantic import SecretStr

from isobase_platform import key_store
from isobase_platform.config import DEFAULT_JWT_SECRET, Settings
from isobase_platform.errors import BadRequest, ConfigurationError, NotFound, TokenError, TokenRefusal
from isobase_platform.key_keeper import CHANNEL
from isobase_platform.keys import generate_jwk
from isobase_platform.pool import Connection
from isobase_platform.runtime import Platform
from tests.plugins.patience import until
from tests.plugins.redis import RedisServer

WAIT_S = 60.0
Open: TypeAlias = Callable[[], Awaitable[Platform]]
Database: TypeAlias = Connection


@pytest_asyncio.fixture
async def owner(database: Settings) -> AsyncIterator[Database]:
    """The database as the owner sees it."""
    connection = await asyncpg.connect(database.dsn())
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def open_process(database: Settings) -> AsyncIterator[Open]:
    """Open what one server process has, with its keys loaded and watched."""
    async with AsyncExitStack() as stack:

        async def opened() -> Platform:
            platform: AbstractAsyncContextManager[Platform] = Platform.open(database)
            process = await stack.enter_async_context(platform)
            await process.key_keeper.start()
            return process

        yield opened


async def add(owner: Database, algorithm: str = "ES256") -> str:
    """Make a standby key; returns its id."""
    jwk = generate_jwk(algorithm)
    await key_store.add_standby(owner, jwk, DEFAULT_JWT_SECRET)
    kid: str = jwk["kid"]
    return kid


async def put_into_use(owner: Database, algorithm: str = "ES256") -> str:
    await add(owner, algorithm)
    return await key_store.rotate(owner, DEFAULT_JWT_SECRET, at_once=True)


async def revoke(owner: Database, kid: str, **options: Any) -> None:
    await key_store.revoke(
        owner, kid, **{"token_life_s": 3600, "of_settings": {}, "signing_kid_of_settings": None, **options}
    )


def header_of(token: str) -> bytes:
    return f"Bearer {token}".encode()


def kid_of(token: str) -> str | None:
    kid: str | None = jwt.get_unverified_header(token).get("kid")
    return kid


async def test_a_standby_key_is_published_and_believed_and_does_not_sign(owner: Database, open_process: Open) -> None:
    kid = await add(owner)
    process = await open_process()
    assert [key["kid"] for key in process.keys.published_jwks["keys"]] == [kid]
    assert process.keys.key_for(kid, "ES256") is not None
    assert kid_of(process.issuer.sign({"role": "authenticated"})) is None


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "HS256"])
async def test_a_rotated_key_signs_and_what_was_signed_before_verifies(
    owner: Database, open_process: Open, algorithm: str
) -> None:
    first = await put_into_use(owner, algorithm)
    process = await open_process()
    old = process.issuer.sign({"sub": "u1"})
    second = await put_into_use(owner)
    await process.key_keeper.look()
    assert kid_of(old) == first
    assert kid_of(process.issuer.sign({"sub": "u1"})) == second
    assert process.verifier.verify(old).sub == "u1"


async def test_shared_secrets_are_never_published(owner: Database, open_process: Open) -> None:
    await put_into_use(owner, "HS256")
    process = await open_process()
    assert process.keys.published_jwks == {"keys": []}
    assert await owner.fetchval("select public_jwk is null from isobase.signing_keys")


async def test_nothing_that_a_revoked_key_signed_is_believed_although_it_verified_before(
    owner: Database, open_process: Open
) -> None:
    first = await put_into_use(owner)
    process = await open_process()
    token = process.issuer.sign({"sub": "u1"})
    assert process.verifier.verify(token).sub == "u1"
    await put_into_use(owner)
    await revoke(owner, first, at_once=True)
    await process.key_keeper.look()
    with pytest.raises(TokenError) as caught:
        process.verifier.verify(token)
    assert caught.value.reason is TokenRefusal.UNKNOWN_KEY
    assert first not in {key["kid"] for key in process.keys.published_jwks["keys"]}
    assert await owner.fetchval("select sealed_jwk is null from isobase.signing_keys where kid = $1", first)


async def test_a_change_reaches_running_processes_by_itself(owner: Database, open_process: Open) -> None:
    one, other = await open_process(), await open_process()
    kid = await put_into_use(owner)
    await one.bus.publish(CHANNEL, b"")
    await until(lambda: one.keys.signing_key.kid == kid == other.keys.signing_key.kid)


async def test_a_process_starts_while_redis_is_away_and_hears_of_changes_once_it_is_back(
    owner: Database, database: Settings, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isobase_platform.key_keeper.LOOK_INTERVAL_WITHOUT_BUS_S", 0.1)
    settings = database.model_copy(update={"redis_url": SecretStr(redis_server.url)})
    redis_server.stop()
    async with Platform.open(settings) as process:
        await process.key_keeper.start()
        first = await put_into_use(owner)
        await until(lambda: process.keys.signing_key.kid == first)  # nobody could tell: it looks
        redis_server.start()
        async with asyncio.timeout(WAIT_S):
            while not await process.bus.ping() or not process.key_keeper.hears_changes:
                await asyncio.sleep(0.02)
        second = await put_into_use(owner)
        await process.bus.publish(CHANNEL, b"")
        await until(lambda: process.keys.signing_key.kid == second)


async def test_a_token_of_a_key_that_nobody_told_of_is_recognised_before_it_is_verified(
    owner: Database, open_process: Open
) -> None:
    signing, verifying = await open_process(), await open_process()
    await put_into_use(owner)
    await signing.key_keeper.look()
    token = signing.issuer.sign({"sub": "u1"})
    looking = [verifying.key_keeper.unknown_key(header_of(token)) for _ in range(20)]
    await asyncio.gather(*(one for one in looking if one is not None))
    assert verifying.verifier.verify(token).sub == "u1"
    assert verifying.key_keeper.unknown_key(header_of(token)) is None


async def test_made_up_key_ids_cause_one_look_and_no_other_for_the_same_id(owner: Database, open_process: Open) -> None:
    process = await open_process()
    token = jwt.encode({"sub": "u1"}, "x" * 32, algorithm="HS256", headers={"kid": "nobody's"})
    looking = process.key_keeper.unknown_key(header_of(token))
    assert looking is not None
    await looking
    assert process.key_keeper.unknown_key(header_of(token)) is None


@pytest.mark.parametrize("token", ["", "x", "e30", "bnVsbA", "W10", "é.é.é", "a" * 5000, "eyJraWQiOjF9.e30.x"])
async def test_what_names_no_key_causes_no_look(open_process: Open, token: str) -> None:
    process = await open_process()
    assert process.key_keeper.unknown_key(header_of(token)) is None


async def test_a_fresh_standby_key_is_not_put_into_use_before_caches_know_it(owner: Database) -> None:
    kid = await add(owner)
    with pytest.raises(BadRequest, match="caches may not know it"):
        await key_store.rotate(owner, DEFAULT_JWT_SECRET)
    await owner.execute("update isobase.signing_keys set created_at = now() - interval '20 minutes'")
    assert await key_store.rotate(owner, DEFAULT_JWT_SECRET) == kid


async def test_there_is_one_standby_key_at_most(owner: Database) -> None:
    await add(owner)
    with pytest.raises(BadRequest, match="standby key already"):
        await add(owner)


async def test_nothing_is_rotated_without_a_standby_key(owner: Database) -> None:
    with pytest.raises(BadRequest, match="no standby key"):
        await key_store.rotate(owner, DEFAULT_JWT_SECRET, at_once=True)


async def test_a_key_in_use_cannot_be_revoked(owner: Database) -> None:
    kid = await put_into_use(owner)
    with pytest.raises(BadRequest, match="in use"):
        await revoke(owner, kid, at_once=True)


async def test_a_key_whose_tokens_are_in_use_is_revoked_at_once_only_when_asked(owner: Database) -> None:
    kid = await put_into_use(owner)
    await put_into_use(owner)
    with pytest.raises(BadRequest, match="may be in use"):
        await revoke(owner, kid)
    await owner.execute("update isobase.signing_keys set changed_at = now() - interval '1 hour'")
    await revoke(owner, kid)


async def test_an_unknown_key_cannot_be_revoked(owner: Database) -> None:
    with pytest.raises(NotFound):
        await revoke(owner, "nobody's")


async def test_private_parts_do_not_lie_open(owner: Database) -> None:
    jwk = generate_jwk("ES256")
    await key_store.add_standby(owner, jwk, DEFAULT_JWT_SECRET)
    row = await owner.fetchrow("select public_jwk::text, sealed_jwk from isobase.signing_keys")
    assert row is not None
    assert jwk["d"] not in row["public_jwk"]
    assert jwk["d"].encode() not in row["sealed_jwk"]
    (stored,) = await key_store.read_keys(owner)
    assert jwk["d"] not in repr(key_store.held_keys([stored], DEFAULT_JWT_SECRET, {}))


async def test_keys_sealed_under_another_secret_are_neither_joined_nor_used(
    owner: Database, database: Settings
) -> None:
    await add(owner)
    other = "another-secret-of-more-than-thirty-two-bytes"
    with pytest.raises(ConfigurationError, match="another jwt_secret"):
        await key_store.rotate(owner, other, at_once=True)
    await key_store.rotate(owner, DEFAULT_JWT_SECRET, at_once=True)
    with pytest.raises(ConfigurationError, match="another jwt_secret"):
        await key_store.add_standby(owner, generate_jwk("ES256"), other)
    with pytest.raises(ConfigurationError, match="another jwt_secret"):
        key_store.held_keys(await key_store.read_keys(owner), other, {})


async def test_processes_that_need_a_pair_for_the_simple_face_at_once_make_one(
    owner: Database, open_process: Open
) -> None:
    processes = [await open_process() for _ in range(3)]
    await asyncio.gather(*(one.key_keeper.need_pair("ES256") for one in processes))
    tokens = [one.issuer.sign_for_simple_face({"sub": "u1"}) for one in processes]
    assert len({kid_of(token) for token in tokens}) == 1
    assert await owner.fetchval("select count(*) from isobase.signing_keys") == 1
    assert kid_of(processes[0].issuer.sign({"sub": "u1"})) is None
    assert all(one.verifier.verify(tokens[0]).sub == "u1" for one in processes)


async def test_a_pair_of_the_project_signs_for_the_simple_face_too(owner: Database, open_process: Open) -> None:
    process = await open_process()
    await process.key_keeper.need_pair("ES256")
    kid = await put_into_use(owner)
    await process.key_keeper.look()
    assert kid_of(process.issuer.sign_for_simple_face({"sub": "u1"})) == kid
    await process.key_keeper.need_pair("ES256")
    assert await owner.fetchval("select count(*) from isobase.signing_keys where status = 'in_use'") == 1


async def test_a_project_that_rotates_to_a_shared_secret_keeps_the_simple_faces_pair(
    owner: Database, open_process: Open
) -> None:
    process = await open_process()
    await process.key_keeper.need_pair("ES256")
    before = process.keys.simple_key
    kid = await put_into_use(owner, "HS256")
    await process.key_keeper.look()
    assert process.keys.simple_key == before
    assert process.keys.signing_key.kid == kid


async def test_the_last_reader_of_the_table_is_the_owner(owner: Database) -> None:
    for role in ("anon", "authenticated", "service_role", "postgres"):
        assert not await owner.fetchval("select has_table_privilege($1, 'isobase.signing_keys', 'select')", role)


async def test_a_key_of_the_jwk_file_can_be_revoked_once_it_signs_no_more(
    owner: Database, database: Settings, tmp_path: Path
) -> None:
    in_file = generate_jwk("ES256")
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([in_file]))
    kid = in_file["kid"]
    async with Platform.open(database.model_copy(update={"jwt_keys_file": path})) as process:
        await process.key_keeper.start()
        token = process.issuer.sign({"sub": "u1"})
        of_file = {"of_settings": process.keys.of_settings, "signing_kid_of_settings": kid}
        with pytest.raises(BadRequest, match="in use"):
            await revoke(owner, kid, **of_file)
        second = await put_into_use(owner)
        await process.key_keeper.look()
        assert process.verifier.verify(token).sub == "u1"
        assert kid_of(process.issuer.sign({"sub": "u1"})) == second
        await revoke(owner, kid, **of_file)
        await process.key_keeper.look()
        with pytest.raises(TokenError):
            process.verifier.verify(token)


async def test_a_process_that_cannot_read_the_keys_goes_on_with_those_that_it_has(
    owner: Database, open_process: Open
) -> None:
    kid = await put_into_use(owner)
    process = await open_process()
    await owner.execute("alter table isobase.signing_keys rename to hidden")
    await process.bus.publish(CHANNEL, b"")
    token = jwt.encode({"sub": "u1"}, "x" * 32, algorithm="HS256", headers={"kid": "nobody's"})
    looking = process.key_keeper.unknown_key(header_of(token))
    assert looking is not None
    await looking
    assert process.keys.signing_key.kid == kid


async def test_a_key_in_use_that_cannot_be_opened_keeps_a_process_from_starting(
    owner: Database, database: Settings
) -> None:
    await put_into_use(owner)
    other = database.model_copy(update={"jwt_secret": SecretStr("another-secret-of-more-than-thirty-two-bytes")})
    async with Platform.open(other) as process:
        with pytest.raises(ConfigurationError, match="another jwt_secret"):
            await process.key_keeper.start()
