"""One running Isobase for the contract's scenarios, laid out anew before each run of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from tests.plugins.scratch import scratch_root
from tests.plugins.stack import Stack, StackProcess
from tests.sdk.contract.kit import Place
from tests.sdk.functions.server import function_server

CONFIG = """
project_id = "contract"
[api]
schemas = ["public", "other"]
[auth]
enable_anonymous_sign_ins = true
enable_manual_linking = true
additional_redirect_urls = ["https://app.example/**"]
[auth.email]
enable_confirmations = false
max_frequency = "1ms"
[auth.rate_limit]
email_sent = 100000
anonymous_users = 100000
token_refresh = 100000
sign_in_sign_ups = 100000
token_verifications = 100000
[auth.mfa.totp]
enroll_enabled = true
verify_enabled = true
[auth.external.github]
enabled = true
client_id = "client"
secret = "secret"
"""
RESET = """
truncate public.authors, public.books, public.mine, public.shapes, other.books restart identity cascade;
insert into public.authors (name, born) values ('Ada', '1815-12-10'), ('Ben', null), ('Cid', '1950-01-01');
insert into public.books (title, author_id, price, tags, meta, pages, words) values
  ('First', 1, 9.5, '{new,short}', '{"lang": "en", "size": {"w": 1}}', '[1,10)', 'the cat sat on the mat'),
  ('Second, too', 1, 20, '{old}', '{"lang": "de"}', '[10,20)', 'a dog ran'),
  ('Third "x"', 2, null, '{}', null, null, null);
insert into other.books values (1, 'elsewhere');
insert into public.shapes values (1, '11111111-1111-4111-8111-111111111111', 12345678901234567890, 1.5, true, null, '\\xdead',
  '{1,2}', '1 day', '2026-01-02 03:04:05+00');
truncate auth.users cascade;
delete from auth.flow_state;
truncate storage.objects, storage.buckets cascade;
"""


UPSTREAM_URL = os.environ.get("SUPABASE_UPSTREAM_URL", "")


@dataclass(slots=True, frozen=True)
class Upstream:
    """A running Supabase, as ``make test-sdk-contract-upstream`` names it."""

    url: str
    anon_key: str
    service_role_key: str
    jwt_secret: str
    admin_dsn: str


@pytest.fixture(scope="session")
def contract_stack() -> Iterator[Stack | Upstream]:
    """The server."""
    if UPSTREAM_URL:
        names = ("ANON_KEY", "SERVICE_ROLE_KEY", "JWT_SECRET", "DATABASE_URL")
        yield Upstream(UPSTREAM_URL, *(os.environ[f"SUPABASE_UPSTREAM_{name}"] for name in names))
        return
    with running_contract() as stack:
        yield stack


@contextmanager
def running_contract() -> Iterator[Stack]:
    """An Isobase with the scenarios' schema."""
    with tempfile.TemporaryDirectory(prefix="isobase-contract-", dir=scratch_root()) as name:
        directory = Path(name)
        directory.chmod(0o755)
        supabase = directory / "supabase"
        (supabase / "migrations").mkdir(parents=True)
        (supabase / "config.toml").write_text(CONFIG)
        (supabase / "migrations" / "20260101000000_contract.sql").write_text(
            Path(__file__).with_name("schema.sql").read_text()
        )
        process = StackProcess(directory)
        try:
            yield process.start()
        finally:
            process.stop()


@pytest.fixture(scope="session")
def contract_place(contract_stack: Stack | Upstream) -> Iterator[Place]:
    """Where it is, and where functions are."""
    stack = contract_stack
    with function_server() as functions:
        base = functions.url.removesuffix("/functions/v1")
        yield Place(stack.url, stack.anon_key, stack.service_role_key, stack.jwt_secret, base)


@pytest.fixture(scope="session")
def reset(contract_stack: Stack | Upstream) -> Iterator[Callable[[], None]]:
    """Lay everything out anew."""
    with laid_out_by(contract_stack.admin_dsn) as lay_out:
        yield lay_out


@contextmanager
def laid_out_by(dsn: str) -> Iterator[Callable[[], None]]:
    """What lays a database out anew."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True

        def lay_out() -> None:
            with connection.cursor() as cursor:
                cursor.execute(RESET)

        yield lay_out
