"""Two stacks for the adapter's tests: the Supabase project that an app leaves, and the Isobase that it goes to.

The first is an Isobase on its Supabase face, or a real project where SUPABASE_TEST_URL, SUPABASE_TEST_KEY,
SUPABASE_TEST_SERVICE_ROLE_KEY and SUPABASE_TEST_DB_URL name one (SUPABASE_TEST_JWT_SECRET for its tokens). Each has a
PostgreSQL, an object store and api keys of its own; both believe the same JWT secret. Both carry the sample app's schema
(``shop.sql``).
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg2
from psycopg2 import sql

from isobase_platform.tokens import role_token
from tests.plugins.process import IsobaseProcess
from tests.plugins.scratch import scratch_root
from tests.plugins.wire_proxy import WireProxy, wire_proxy

__all__ = [
    "BUCKETS",
    "PASSWORD",
    "TABLES",
    "Pair",
    "Proxies",
    "SideStack",
    "User",
    "processes_of",
    "proxied",
    "real_supabase",
    "running_pair",
]

SHOP = Path(__file__).with_name("shop.sql")
TABLES = (
    "public.notes",
    "public.orders",
    "public.order_lines",
    "public.audit_log",
    "public.kinds",
    "public.lines_without_key",
    "shop.stock",
)
"""The sample app's tables; all but ``public.lines_without_key`` have a primary key."""
BUCKETS = ("avatars", "papers")
PASSWORD = "a fine long passphrase"
JWT_SECRET = "a-secret-that-both-sides-of-a-move-share-for-as-long-as-it-lasts"
KEY_EXPIRY_S = {"supabase": 1_983_812_996, "isobase": 2_000_000_000}
"""When the sides' keys end: another time for each, so that each side has keys of its own."""
FORGET_MOVE = """
do $$
declare
  tables text;
begin
  select string_agg(format('%I.%I', schemaname, tablename), ', ') into tables from pg_tables
    where schemaname = 'isobase' and (tablename like 'migration%'
      or tablename in ('flags', 'flag_history', 'writers', 'mismatches', 'outbox'))
    and tablename not in ('migrations', 'migration_state');
  if tables is not null then
    execute 'truncate ' || tables || ' restart identity cascade';
  end if;
end $$
"""
# Without fsync: no machine fails here, and a process that is killed leaves to the operating system what it wrote.
CONFIG = """
project_id = "{side}"
[api]
schemas = ["public", "shop"]
[studio]
enabled = false
[db.settings]
max_connections = 400
fsync = "off"
full_page_writes = "off"
[auth]
jwt_secret = "{secret}"
anon_key = "{anon}"
service_role_key = "{service_role}"
site_url = "http://127.0.0.1:3000"
enable_signup = true
minimum_password_length = 6
enable_anonymous_sign_ins = true
enable_manual_linking = true
[auth.email]
enable_signup = true
enable_confirmations = false
[auth.mfa.totp]
enroll_enabled = true
verify_enabled = true
[auth.rate_limit]
anonymous_users = 100000
sign_in_sign_ups = 100000
token_refresh = 100000
token_verifications = 100000
email_sent = 100000
"""


@dataclass(slots=True, frozen=True)
class SideStack:
    """One side. ``admin_dsn`` is the superuser's, ``db_url`` that of ``postgres``, as an operator has it.

    ``process`` is None for a real project.
    """

    url: str
    anon_key: str = field(repr=False)
    service_role_key: str = field(repr=False)
    db_url: str = field(repr=False)
    admin_dsn: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    process: IsobaseProcess | None = None
    mailbox_url: str = ""

    def query(self, statement: str, *args: object) -> list[tuple[Any, ...]]:
        """Run one statement as superuser, outside a transaction; returns its rows."""
        with closing(psycopg2.connect(self.admin_dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, args or None)
                return list(cursor.fetchall()) if cursor.description is not None else []

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of ``schema.table`` as ``to_jsonb`` gives them, in the order of their text."""
        name = sql.SQL(".").join(map(sql.Identifier, table.split(".", 1)))
        with closing(psycopg2.connect(self.admin_dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("select to_jsonb(t) from {} t order by t::text").format(name))
            return [row for (row,) in cursor.fetchall()]


@dataclass(slots=True, frozen=True)
class User:
    """Somebody who signed up at one side."""

    id: str
    email: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


@dataclass(slots=True, frozen=True)
class Pair:
    """Both sides."""

    supabase: SideStack
    isobase: SideStack

    def environment(self) -> dict[str, str]:
        """The variables that an app in the middle of a move has."""
        return {
            "SUPABASE_URL": self.supabase.url,
            "SUPABASE_KEY": self.supabase.anon_key,
            "SUPABASE_SERVICE_ROLE_KEY": self.supabase.service_role_key,
            "SUPABASE_DB_URL": self.supabase.db_url,
            "ISOBASE_URL": self.isobase.url,
            "ISOBASE_KEY": self.isobase.anon_key,
            "ISOBASE_SERVICE_ROLE_KEY": self.isobase.service_role_key,
            "ISOBASE_DB_URL": self.isobase.db_url,
        }

    def sign_up(self, email: str | None = None, *, at: SideStack | None = None) -> User:
        """A new user with ``PASSWORD``, at Supabase unless ``at`` says otherwise."""
        side = at or self.supabase
        address = email or f"user-{uuid.uuid4().hex[:12]}@example.com"
        answer = httpx.post(
            f"{side.url}/auth/v1/signup",
            headers={"apikey": side.anon_key},
            json={"email": address, "password": PASSWORD},
            timeout=30,
        ).raise_for_status()
        body = answer.json()
        return User(body["user"]["id"], address, body["access_token"], body["refresh_token"])

    def differing(self, tables: Sequence[str] = TABLES) -> dict[str, list[dict[str, Any]]]:
        """The rows that only one side has, by table; empty when both sides are equal."""
        found: dict[str, list[dict[str, Any]]] = {}
        for table in tables:
            ours, theirs = self.supabase.rows(table), self.isobase.rows(table)
            only = [{"only": "supabase"} | row for row in ours if row not in theirs]
            only += [{"only": "isobase"} | row for row in theirs if row not in ours]
            if only or len(ours) != len(theirs):
                found[table] = only
        return found

    def forget_move(self) -> None:
        """No flag, writer, outbox item, mismatch or event is left: both sides are as before a move."""
        self.isobase.query(FORGET_MOVE)

    def clear(self) -> None:
        """No row, user or object of the sample app is left on either side, and no trace of a move."""
        self.forget_move()
        for side in (self.supabase, self.isobase):
            objects = side.query(
                f"truncate {', '.join(TABLES)} restart identity cascade; delete from auth.users;"
                " select bucket_id, array_agg(name) from storage.objects group by bucket_id"
            )
            _delete_objects(side, objects)


def _delete_objects(side: SideStack, objects: Sequence[tuple[str, list[str]]]) -> None:
    for bucket, names in objects:
        httpx.request(
            "DELETE",
            f"{side.url}/storage/v1/object/{bucket}",
            headers={"apikey": side.service_role_key, "authorization": f"Bearer {side.service_role_key}"},
            json={"prefixes": names},
            timeout=30,
        ).raise_for_status()


def real_supabase() -> SideStack | None:
    """The real project that the environment names, or None."""
    given = os.environ
    if "SUPABASE_TEST_URL" not in given:
        return None
    return SideStack(
        url=given["SUPABASE_TEST_URL"],
        anon_key=given["SUPABASE_TEST_KEY"],
        service_role_key=given["SUPABASE_TEST_SERVICE_ROLE_KEY"],
        db_url=given["SUPABASE_TEST_DB_URL"],
        admin_dsn=given["SUPABASE_TEST_DB_URL"],
        jwt_secret=given.get("SUPABASE_TEST_JWT_SECRET", JWT_SECRET),
    )


def processes_of(*sides: SideStack) -> list[IsobaseProcess]:
    """The processes behind the sides that were started here."""
    return [side.process for side in sides if side.process is not None]


@contextmanager
def running_pair(
    *,
    has_schema_at_isobase: bool = True,
    more_config: str = "",
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[Mapping[str, IsobaseProcess]], None] = lambda processes: None,
) -> Iterator[Pair]:
    """Two running stacks, started side by side; the Isobase side is an empty project where a test copies to it.

    more_config: added to both sides' config.toml. environment: variables of both sides' processes.
    prepare: called with the sides' processes before they are started, to change what is in their folders.
    """
    with ExitStack() as open_parts:
        given = real_supabase()
        secret = given.jwt_secret if given is not None else JWT_SECRET
        starting = [
            _Starting(side, secret, open_parts, has_schema=has_schema, more_config=more_config, environment=environment)
            for side, has_schema in (("isobase", has_schema_at_isobase), ("supabase", True))
            if side == "isobase" or given is None
        ]
        prepare({one.side: one.process for one in starting})
        # One after the other: a start takes two seconds, and both at once make each wait for the other's initdb.
        # Supabase first, as Isobase may ask it for its keys.
        stacks = {one.side: one.stack(secret) for one in reversed(starting)}
        if given is not None:
            _prepare(given)
        yield Pair(supabase=given or stacks["supabase"], isobase=stacks["isobase"])


class _Starting:
    """A stack's folder and process; ended with ``open_parts``."""

    def __init__(
        self,
        side: str,
        secret: str,
        open_parts: ExitStack,
        *,
        has_schema: bool,
        more_config: str,
        environment: Mapping[str, str] | None,
    ) -> None:
        self.side = side
        name = open_parts.enter_context(tempfile.TemporaryDirectory(prefix=f"isobase-{side}-", dir=scratch_root()))
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "supabase" / "migrations").mkdir(parents=True)
        self.keys = {
            role: role_token(secret, role, issuer=side, expires_at_s=KEY_EXPIRY_S[side])
            for role in ("anon", "service_role")
        }
        (directory / "supabase" / "config.toml").write_text(
            CONFIG.format(side=side, secret=secret, **self.keys) + more_config
        )
        if has_schema:
            (directory / "supabase" / "migrations" / "20260101000000_shop.sql").write_text(SHOP.read_text())
        # Cheap hashes: many users sign in, and no one guesses here.
        self.process = IsobaseProcess(directory, environment={"ISOBASE_AUTH__BCRYPT_COST": "4", **(environment or {})})
        open_parts.callback(self.process.stop)

    def stack(self, secret: str) -> SideStack:
        """Start it."""
        started = self.process.start()
        return SideStack(
            url=started.url,
            anon_key=self.keys["anon"],
            service_role_key=self.keys["service_role"],
            db_url=started.db_url,
            admin_dsn=started.admin_dsn,
            jwt_secret=secret,
            process=self.process,
            mailbox_url=started.mailbox_url,
        )


def _prepare(given: SideStack) -> None:
    """Make the sample app's schema in a real project that has it not, and remove the objects and buckets of other tests."""
    if given.query("select to_regclass('shop.stock') is null")[0][0]:
        given.query(SHOP.read_text())
    _delete_objects(given, given.query("select bucket_id, array_agg(name) from storage.objects group by bucket_id"))
    for (bucket,) in given.query("select id from storage.buckets where id <> all(%s)", list(BUCKETS)):
        headers = {"apikey": given.service_role_key, "authorization": f"Bearer {given.service_role_key}"}
        url = f"{given.url}/storage/v1/bucket/{quote(bucket, safe='')}"
        httpx.request("DELETE", url, headers=headers, json={}, timeout=30).raise_for_status()


@dataclass(slots=True, frozen=True)
class Proxies:
    """A proxy before each server of a pair; ``pair`` has the proxies' addresses instead of the servers'."""

    pair: Pair
    supabase: WireProxy
    isobase: WireProxy
    supabase_database: WireProxy
    isobase_database: WireProxy

    def all(self) -> tuple[WireProxy, ...]:
        """Every proxy."""
        return (self.supabase, self.isobase, self.supabase_database, self.isobase_database)

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        for proxy in self.all():
            proxy.heals()


@contextmanager
def proxied(pair: Pair) -> Iterator[Proxies]:
    """The pair behind proxies that cut, delay and go silent: one before each API and each database."""
    with ExitStack() as open_parts:
        faces = [open_parts.enter_context(wire_proxy(side.url)) for side in (pair.supabase, pair.isobase)]
        databases = [open_parts.enter_context(wire_proxy(side.db_url)) for side in (pair.supabase, pair.isobase)]
        behind = [
            replace(side, url=face.url, db_url=_moved(side.db_url, database))
            for side, face, database in zip((pair.supabase, pair.isobase), faces, databases, strict=True)
        ]
        yield Proxies(Pair(*behind), *faces, *databases)


def _moved(dsn: str, proxy: WireProxy) -> str:
    head, _, tail = dsn.rpartition("@")
    return f"{head}@{proxy.url.removeprefix('http://')}/{tail.partition('/')[2]}"
