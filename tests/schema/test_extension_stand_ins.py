"""pgcrypto and uuid-ossp in schema extensions: against Python's hashlib, hmac and uuid, and what the stand-ins refuse."""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from pathlib import Path

import asyncpg
import pytest

from isobase_platform.extensions import INSTALLABLE_BY_PROJECT, write_extension_directory
from isobase_platform.schema import schema_files
from tests.plugins.stack import DatabaseServer
from tests.schema.conftest import Sessions

DECISION = Path(__file__).parents[2] / "docs" / "decisions" / "0005-pgcrypto-stand-in.md"
ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
# Around the block sizes of 64 and 128 bytes and their padding.
LENGTHS = (0, 1, 55, 56, 63, 64, 65, 111, 112, 119, 120, 127, 128, 129, 300)


@pytest.fixture(autouse=True)
def only_where_the_stand_ins_are(postgres: DatabaseServer) -> None:
    """The embedded server has the stand-ins; on any other the real extensions need no test of ours."""
    gaps = postgres.execute("select count(*) from isobase.extension_gaps()")
    if gaps != [(2,)]:
        pytest.skip("this server has the real pgcrypto and uuid-ossp")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_digest_and_hmac_equal_pythons(shared: Sessions, algorithm: str) -> None:
    async with shared.login() as owner:
        for length in LENGTHS:
            data = bytes(i * 7 % 256 for i in range(length))
            got = await owner.fetchval("select extensions.digest($1::bytea, $2)", data, algorithm)
            assert got == hashlib.new(algorithm, data).digest(), length
            for key in (b"", b"key", data):
                got = await owner.fetchval("select extensions.hmac($1::bytea, $2::bytea, $3)", data, key, algorithm)
                assert got == hmac.new(key, data, algorithm).digest(), (length, key)


async def test_text_is_hashed_as_its_utf8_bytes_and_null_stays_null(shared: Sessions) -> None:
    text = "pässwörd ☃ \\x41"
    async with shared.login("postgres") as postgres:
        got = await postgres.fetchrow(
            "select digest($1::text, 'SHA256'), hmac($1::text, $1::text, 'sha1'),"
            " digest(null::text, 'md5'), hmac('a', null, 'md5')",
            text,
        )
    assert tuple(got or ()) == (
        hashlib.sha256(text.encode()).digest(),
        hmac.new(text.encode(), text.encode(), "sha1").digest(),
        None,
        None,
    )


def _vectors() -> list[tuple[str, int, str, str]]:
    """password, rounds, salt, hash from the table of the decision record, which the auth service is written from."""
    rows = re.findall(r"^\| (.*?) \| (\d+) \| `([0-9a-f]{32})` \| `([0-9a-f]{64})` \|$", DECISION.read_text(), re.M)
    return [
        ("" if text == "(empty)" else text.strip("`"), int(rounds), salt, value) for text, rounds, salt, value in rows
    ]


def test_the_decision_record_has_vectors() -> None:
    assert len(_vectors()) == 5


@pytest.mark.parametrize(("password", "rounds", "salt", "expected"), _vectors())
async def test_crypt_gives_the_documented_hash(
    shared: Sessions, password: str, rounds: int, salt: str, expected: str
) -> None:
    assert hashlib.pbkdf2_hmac("sha256", password.encode(), bytes.fromhex(salt), rounds).hex() == expected
    setting = f"$isobase$v1${rounds}${salt}"
    async with shared.login("postgres") as postgres:
        assert await postgres.fetchval("select crypt($1, $2)", password, setting) == f"{setting}${expected}"


@pytest.mark.parametrize("password", ["", "p" * 64, "p" * 65, "p" * 200, "☃" * 30])
async def test_crypt_takes_passwords_of_any_length_whole(shared: Sessions, password: str) -> None:
    salt = "0f" * 16
    async with shared.login("postgres") as postgres:
        got = await postgres.fetchval("select crypt($1, $2)", password, f"$isobase$v1$100${salt}")
    assert got.rpartition("$")[2] == hashlib.pbkdf2_hmac("sha256", password.encode(), bytes.fromhex(salt), 100).hex()


async def test_a_stored_hash_equals_crypt_of_the_right_password_only(shared: Sessions) -> None:
    async with shared.login("postgres") as postgres:
        stored = await postgres.fetchval("select crypt('password123', gen_salt('bf'))")
        assert re.fullmatch(r"\$isobase\$v1\$5000\$[0-9a-f]{32}\$[0-9a-f]{64}", stored)
        check = "select $1 = crypt($2, $1)"
        assert await postgres.fetchval(check, stored, "password123") is True
        assert await postgres.fetchval(check, stored, "password124") is False
        assert await postgres.fetchval("select crypt('x', gen_salt('bf', 12)) <> crypt('x', gen_salt('bf', 12))")


@pytest.mark.parametrize(
    "arguments", ["'bf'", "'bf', 4", "'bf', 31", "'md5'", "'md5', 1000", "'xdes', 725", "'des'", "'des', 25"]
)
async def test_gen_salt_takes_what_pgcrypto_takes(shared: Sessions, arguments: str) -> None:
    async with shared.login("postgres") as postgres:
        assert (await postgres.fetchval(f"select gen_salt({arguments})")).startswith("$isobase$v1$5000$")


REFUSALS = [
    ("gen_salt('bf', 3)", "22023", "Incorrect number of rounds"),
    ("gen_salt('bf', 32)", "22023", "Incorrect number of rounds"),
    ("gen_salt('xdes', 726)", "22023", "Incorrect number of rounds"),
    ("gen_salt('rot13')", "22023", "Unknown salt algorithm"),
    ("digest('a', 'md4')", "22023", 'Cannot use "md4": No such hash algorithm'),
    ("hmac('a', 'b', 'md4')", "22023", 'Cannot use "md4": No such hash algorithm'),
    ("gen_random_bytes(0)", "39000", "Length not in range"),
    ("gen_random_bytes(1025)", "39000", "Length not in range"),
    ("crypt('p', '$2a$10$abcdefghijklmnopqrstuu')", "0A000", "cannot be used"),
    ("crypt('p', 'ab')", "0A000", "cannot be used"),
    ("crypt('p', '')", "0A000", "cannot be used"),
    ("crypt('p', '$isobase$v1$100001$" + "0" * 32 + "')", "0A000", "cannot be used"),
    ("crypt('p', '$isobase$v1$0$" + "0" * 32 + "')", "0A000", "cannot be used"),
    ("crypt('p', '$isobase$v1b$5000$" + "0" * 32 + "$2b$10$x')", "0A000", "cannot be used"),
    ("encrypt('a', 'b', 'aes')", "0A000", "not available"),
    ("pgp_sym_encrypt('a', 'b')", "0A000", "not available"),
    ("pgp_sym_decrypt('a'::bytea, 'b')", "0A000", "not available"),
    ("armor('a')", "0A000", "not available"),
]


@pytest.mark.parametrize(("expression", "sqlstate", "message"), REFUSALS, ids=[case[0][:40] for case in REFUSALS])
async def test_what_the_stand_in_cannot_do_is_an_error_and_not_a_wrong_answer(
    shared: Sessions, expression: str, sqlstate: str, message: str
) -> None:
    async with shared.login("postgres") as postgres:
        with pytest.raises(asyncpg.PostgresError) as refusal:
            await postgres.fetchval(f"select {expression}")
    assert refusal.value.sqlstate == sqlstate
    assert message in str(refusal.value)
    if sqlstate == "0A000":
        assert refusal.value.as_dict()["hint"]


async def test_random_bytes_have_the_asked_length_and_no_fixed_bits(shared: Sessions) -> None:
    async with shared.login("postgres") as postgres:
        for length in (1, 13, 14, 15, 28, 1024):
            assert len(await postgres.fetchval("select gen_random_bytes($1)", length)) == length
        samples = [row[0] for row in await postgres.fetch("select gen_random_bytes(64) from generate_series(1, 200)")]
        assert await postgres.fetchval("select extensions.gen_random_uuid() <> extensions.gen_random_uuid()")
    assert len(set(samples)) == 200
    # Each bit of each byte is seen as 0 and as 1: a UUID's version and variant bits are not among them.
    for place in range(64):
        every = any_of = samples[0][place]
        for sample in samples:
            every &= sample[place]
            any_of |= sample[place]
        assert (every, any_of) == (0, 255), place


async def test_uuids_of_names_equal_pythons(shared: Sessions) -> None:
    spaces = {
        "dns": uuid.NAMESPACE_DNS,
        "url": uuid.NAMESPACE_URL,
        "oid": uuid.NAMESPACE_OID,
        "x500": uuid.NAMESPACE_X500,
    }
    async with shared.login("postgres") as postgres:
        for name, space in spaces.items():
            for text in ("", "example.com", "ü" * 60):
                row = await postgres.fetchrow(
                    f"select uuid_ns_{name}(), uuid_generate_v3(uuid_ns_{name}(), $1),"
                    f" uuid_generate_v5(uuid_ns_{name}(), $1)",
                    text,
                )
                assert tuple(row or ()) == (space, uuid.uuid3(space, text), uuid.uuid5(space, text))
        assert await postgres.fetchval("select uuid_nil()") == uuid.UUID(int=0)


async def test_generated_uuids_have_their_version_and_differ(shared: Sessions) -> None:
    async with shared.login("postgres") as postgres:
        for function, version in (("uuid_generate_v1", 1), ("uuid_generate_v1mc", 1), ("uuid_generate_v4", 4)):
            made = [row[0] for row in await postgres.fetch(f"select {function}() from generate_series(1, 500)")]
            assert len(set(made)) == 500
            assert {value.version for value in made} == {version}
            assert {value.variant for value in made} == {uuid.RFC_4122}
            if version == 1:
                assert all(value.node >> 40 & 1 for value in made)
                now = await postgres.fetchval("select extract(epoch from clock_timestamp())::float8")
                assert abs((made[-1].time - 0x01B21DD213814000) / 1e7 - now) < 60


async def test_functions_work_whatever_the_search_path(shared: Sessions) -> None:
    async with shared.login("postgres") as postgres:
        await postgres.execute("set search_path to ''")
        await postgres.fetchval(
            "select extensions.uuid_generate_v5(extensions.uuid_ns_dns(), extensions.uuid_generate_v4()::text)::text"
            " || extensions.hmac('a', 'b', 'sha256')::text || extensions.crypt('a', extensions.gen_salt('bf'))"
        )


async def test_they_serve_generated_columns_and_defaults(sessions: Sessions) -> None:
    async with sessions.login("postgres") as postgres:
        await postgres.execute(
            "create table public.t (id uuid default uuid_generate_v4(), email text,"
            " hash text generated always as (encode(digest(lower(email), 'sha256'), 'hex')) stored)"
        )
        row = await postgres.fetchrow("insert into public.t (email) values ('A@example.com') returning id, hash")
    assert row is not None
    assert row["hash"] == hashlib.sha256(b"a@example.com").hexdigest()


async def test_postgres_may_drop_them_and_create_them_with_a_warning(sessions: Sessions) -> None:
    warnings: list[str] = []
    async with sessions.login("postgres") as postgres:
        postgres.add_log_listener(lambda _, message: warnings.append(f"{message.severity_en}: {message}"))
        await postgres.execute('create extension if not exists "uuid-ossp" with schema extensions')
        assert warnings == ['NOTICE: extension "uuid-ossp" already exists, skipping']
        warnings.clear()
        await postgres.execute("drop extension pgcrypto; create extension pgcrypto with schema public")
        assert [w for w in warnings if w.startswith("WARNING") and "missing: encrypt" in w]
        assert len(await postgres.fetchval("select public.digest('a', 'sha1')")) == 20
        warnings.clear()
        await postgres.execute('drop extension "uuid-ossp"; create extension "uuid-ossp" with schema extensions')
        assert [w for w in warnings if "stand-in" in w]
    async with sessions.login() as owner:
        # Where a project has put them is kept when the schema is applied again.
        await owner.execute(schema_files()[0].sql)
        assert (
            await owner.fetchval("select extnamespace::regnamespace::text from pg_extension where extname = 'pgcrypto'")
            == "public"
        )


async def test_gaps_are_named(shared: Sessions) -> None:
    async with shared.login() as owner:
        gaps = {row["extension"]: row["missing"] for row in await owner.fetch("select * from isobase.extension_gaps()")}
    assert set(gaps) == {"pgcrypto", "uuid-ossp"}
    assert "pgp_*" in gaps["pgcrypto"]


@pytest.mark.parametrize("extension", INSTALLABLE_BY_PROJECT)
async def test_postgres_installs_what_it_installs_on_supabase(shared: Sessions, extension: str) -> None:
    async with shared.rolled_back("postgres") as postgres:
        await postgres.execute(f"create extension {extension} with schema extensions cascade")


@pytest.mark.parametrize("extension", ["pg_net", "pg_cron", "pgjwt", "pg_graphql", "supabase_vault"])
async def test_an_extension_that_is_not_there_is_refused_by_name(shared: Sessions, extension: str) -> None:
    async with shared.login("postgres") as postgres:
        with pytest.raises(asyncpg.FeatureNotSupportedError, match=f'extension "{extension}" is not available'):
            await postgres.execute(f"create extension if not exists {extension}")


def test_the_extension_directory_is_written_once_and_again_alike(tmp_path: Path) -> None:
    share = tmp_path / "share"
    (share / "extension").mkdir(parents=True)
    (share / "extension" / "vector.control").write_text("comment = 'v'\ndefault_version = '1'\n")
    target = tmp_path / "with 'quote'" / "extensions"
    for _ in range(2):
        assert write_extension_directory(target, share) == target
        names = {path.name for path in (target / "extension").iterdir()}
        assert names == {
            "pgcrypto.control",
            "pgcrypto--1.3.sql",
            "uuid-ossp.control",
            "uuid-ossp--1.1.sql",
            "vector.control",
        }
        assert (target / "extension" / "vector.control").read_text() == (
            f"comment = 'v'\ndefault_version = '1'\ntrusted = true\ndirectory = '{share / 'extension'}'\n"
        )
