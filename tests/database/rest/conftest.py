"""The data API on a real server for the whole session, over one database whose rows are laid out anew before each test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest

from isobase_platform.config import RestSettings, Settings
from isobase_platform.runtime import Platform
from isobase_platform.tokens import TokenIssuer
from tests.database.threaded import threaded
from tests.plugins.stack import TEMPLATE, DatabaseServer, give_time, settings_for

ALICE = "11111111-1111-4111-8111-111111111111"
BOB = "22222222-2222-4222-8222-222222222222"
DATABASE_NAME = "data_api"
REQUEST_TIMEOUT_S = 60.0
RELOAD_TIMEOUT_S = 60.0
MAX_ROWS = 50
MAX_BODY_BYTES = 256 * 1024

ROWS = f"""
truncate public.notes, public.people, public.teams, public.members, public.tasks, public.passports, public.tree,
  public.keyless, public."odd table", public.forbidden restart identity cascade;
insert into public.people values (1, 'Ann'), (2, 'Ben'), (3, 'Cid');
insert into public.teams values (1, 'Red'), (2, 'Blue');
insert into public.members values (1, 1, '2026-01-01'), (2, 1, '2026-02-01'), (1, 2, '2026-03-01');
insert into public.tasks (name, team_id, lead_id, helper_id)
  values ('dig', 1, 1, 2), ('fill', 1, 2, null), ('rest', null, null, 1);
insert into public.passports values (1, 'P-1');
insert into public.tree values (1, null, 'root'), (2, 1, 'left'), (3, 1, 'right');
insert into public.keyless values ('a', 1);
insert into public."odd table" values (1, 'quoted', 'dotted', 'ümlaut', 'ess', 'arr');
insert into public.notes (owner, title, is_public, tags, meta, raw, code, mood, size, spot, span) values
  ('{ALICE}', 'first', false, '{{x,y}}', '{{"a": {{"b": 1}}, "list": [1, 2]}}', '{{"k": "v"}}', 'abc', 'wild', 5, '(1,2)',
   '[1,5)'),
  ('{ALICE}', 'second', true, '{{y}}', '{{"a": {{"b": 2}}}}', null, null, 'calm', null, null, null),
  ('{BOB}', 'third', false, '{{}}', null, null, 'xyz', null, 9, null, '[7,9)');
"""


@dataclass(slots=True, frozen=True)
class Api:
    """A client of the running data API, and its database's owner."""

    http: httpx.Client
    issuer: TokenIssuer
    settings: Settings
    database: DatabaseServer
    platform: Platform

    def token(self, **claims: object) -> str:
        """A token that this server accepts."""
        return self.issuer.sign_with_secret({"exp": int(time.time()) + 3600, **claims})

    def user(self, user_id: str) -> dict[str, str]:
        """The headers of a signed-in user."""
        return {"authorization": f"Bearer {self.token(role='authenticated', sub=user_id)}"}

    @property
    def alice(self) -> dict[str, str]:
        """Alice's headers."""
        return self.user(ALICE)

    @property
    def bob(self) -> dict[str, str]:
        """Bob's headers."""
        return self.user(BOB)

    @property
    def service(self) -> dict[str, str]:
        """The headers of service_role."""
        return {"apikey": self.settings.service_role_token}

    def call(
        self, method: str, path: str, *, who: dict[str, str] | None = None, prefer: str | None = None, **given: Any
    ) -> httpx.Response:
        """One request; ``who`` None is service_role, whom no policy holds back."""
        headers = dict(self.service if who is None else who) | dict(given.pop("headers", {}))
        if prefer is not None:
            headers["prefer"] = prefer
        return self.http.request(method, path, headers=headers, **given)

    def get(self, path: str, **given: Any) -> httpx.Response:
        """GET."""
        return self.call("GET", path, **given)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """What the database holds, as its owner sees it."""
        return self.database.execute(sql, database=DATABASE_NAME)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error in PostgREST's shape; fails for any other shape."""
    body = answer.json()
    assert set(body) == {"code", "details", "hint", "message"}, body
    assert "Traceback" not in answer.text
    return answer.status_code, body["code"]


@pytest.fixture(scope="session")
def rest_settings(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of the database that all tests here share."""
    postgres.execute(f"create database {DATABASE_NAME} template {TEMPLATE} owner postgres")
    connection = psycopg2.connect(postgres.dsn(DATABASE_NAME, "postgres"))
    with connection, connection.cursor() as cursor:
        for part in sorted(Path(__file__).parent.glob("fixture*.sql")):
            cursor.execute(part.read_text())
    connection.close()
    give_time(postgres, DATABASE_NAME)
    settings = settings_for(postgres.dsn(DATABASE_NAME), tmp_path_factory.mktemp("rest"))
    rest = RestSettings(max_rows=MAX_ROWS, max_body_bytes=MAX_BODY_BYTES, tx_end="commit-allow-override")
    yield settings.model_copy(update={"rest": rest})
    postgres.execute(f"drop database {DATABASE_NAME} with (force)")


@pytest.fixture(scope="session")
def served(rest_settings: Settings, postgres: DatabaseServer) -> Iterator[Api]:
    """The server and a client of it, for the session."""
    with (
        threaded(rest_settings) as server,
        httpx.Client(base_url=f"{server.url}/rest/v1", timeout=REQUEST_TIMEOUT_S) as client,
    ):
        yield Api(client, server.platform.issuer, rest_settings, postgres, server.platform)


@pytest.fixture(scope="session")
def served_open(rest_settings: Settings, postgres: DatabaseServer) -> Iterator[Api]:
    """A second server of the same database, which shows plans and how long it took, and aggregates."""
    opened = {"plan_enabled": True, "server_timing_enabled": True, "aggregates_enabled": True}
    rest = rest_settings.rest.model_copy(update=opened)
    settings = rest_settings.model_copy(update={"rest": rest})
    with (
        threaded(settings) as server,
        httpx.Client(base_url=f"{server.url}/rest/v1", timeout=REQUEST_TIMEOUT_S) as client,
    ):
        yield Api(client, server.platform.issuer, settings, postgres, server.platform)


@pytest.fixture
def open_api(served_open: Api) -> Api:
    """The data API with plans, timings and aggregates, with the rows of ``ROWS`` and no others."""
    served_open.database.execute(ROWS, database=DATABASE_NAME)
    return served_open


@pytest.fixture
def api(served: Api) -> Api:
    """The data API with the rows of ``ROWS`` and no others."""
    served.database.execute(ROWS, database=DATABASE_NAME)
    return served
