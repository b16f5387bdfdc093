"""``isobase serve auth`` with GoTrue's variables: a process on a database by URL, at the root, with nothing of a project."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import jwt
import pytest

from isobase_platform.config import DEFAULT_SECRET_KEY
from isobase_platform.tokens import role_token
from tests.plugins.ports import free_ports
from tests.plugins.stack import ISOBASE, TEMPLATE, DatabaseServer, clean_environment

SECRET = "37c304f8-51aa-419a-a1af-06154e63707a"
START_TIMEOUT_S = 60.0


@dataclass(slots=True, frozen=True)
class Served:
    """A running process: where it answers, and what it said."""

    client: httpx.Client
    log_path: Path


@contextlib.contextmanager
def serving(folder: Path, database_url: str) -> Iterator[Served]:
    (port,) = free_ports(1)
    environment = clean_environment() | {
        "GOTRUE_JWT_SECRET": SECRET,
        "GOTRUE_SITE_URL": "http://localhost:3000",
        "API_EXTERNAL_URL": f"http://localhost:{port}",
        "DATABASE_URL": database_url,
        "GOTRUE_API_HOST": "127.0.0.1",
        "PORT": str(port),
        "GOTRUE_DB_DRIVER": "postgres",
        "GOTRUE_MAILER_AUTOCONFIRM": "true",
        "GOTRUE_NO_SUCH_THING": "1",
        "ISOBASE_AUTH__BCRYPT_COST": "4",
    }
    log_path = folder / "log"
    with log_path.open("wb") as log:
        process = subprocess.Popen([str(ISOBASE), "serve", "auth"], stdout=log, stderr=log, cwd=folder, env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=START_TIMEOUT_S) as client:
            deadline_s = time.monotonic() + START_TIMEOUT_S
            while True:
                with contextlib.suppress(httpx.TransportError):
                    client.get("/health").raise_for_status()
                    break
                assert process.poll() is None, log_path.read_text()
                assert time.monotonic() < deadline_s, log_path.read_text()
                time.sleep(0.05)
            yield Served(client, log_path)
        assert list(folder.iterdir()) == [log_path]  # no data directory, no lock
    finally:
        process.terminate()
        code = process.wait(START_TIMEOUT_S)
    assert code == 0, log_path.read_text()


@pytest.fixture(scope="module")
def served(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    postgres.execute("create database in_place_of_gotrue")
    try:
        url = postgres.dsn("in_place_of_gotrue") + "?sslmode=disable&connect_timeout=60&search_path=auth"
        with serving(tmp_path_factory.mktemp("gotrue"), url) as running:
            yield running
    finally:
        postgres.execute("drop database in_place_of_gotrue with (force)")


def test_health_is_upstreams(served: Served) -> None:
    assert served.client.get("/health").json()["name"] == "GoTrue"


def test_users_and_tokens_have_upstreams_empty_audience_role_and_issuer(served: Served) -> None:
    answer = served.client.post("/signup", json={"email": "alice@example.com", "password": "correct horse"})
    assert answer.status_code == 200, answer.text
    session = answer.json()
    claims = jwt.decode(session["access_token"], SECRET, algorithms=["HS256"], options={"verify_aud": False})
    assert (claims["aud"], claims["role"]) == ("", "")
    assert "iss" not in claims
    user = served.client.get("/user", headers={"authorization": f"Bearer {session['access_token']}"})
    assert user.status_code == 200, user.text
    assert (user.json()["aud"], user.json()["role"]) == ("", "")
    signed_in = served.client.post(
        "/token?grant_type=password", json={"email": "alice@example.com", "password": "correct horse"}
    )
    assert signed_in.status_code == 200, signed_in.text


def test_a_service_role_token_of_the_secret_administers(served: Served) -> None:
    headers = {"authorization": f"Bearer {role_token(SECRET, 'service_role')}"}
    assert served.client.get("/admin/users", headers=headers).status_code == 200


def test_the_secret_key_of_local_stacks_opens_nothing(served: Served) -> None:
    answer = served.client.get("/admin/users", headers={"apikey": DEFAULT_SECRET_KEY})
    assert (answer.status_code, answer.json()["error_code"]) == (401, "no_authorization")


def test_an_unknown_name_is_told_once(served: Served) -> None:
    assert served.log_path.read_text().count("GOTRUE_NO_SUCH_THING") == 1


@pytest.mark.parametrize("flag", ["--workdir", "--data-dir"])
def test_flags_of_a_project_are_refused(flag: str, tmp_path: Path) -> None:
    environment = clean_environment() | {"GOTRUE_JWT_SECRET": SECRET}
    command = [str(ISOBASE), "serve", "auth", flag, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert ended.returncode == 5
    assert flag in ended.stderr


def test_a_start_without_what_is_needed_names_it(tmp_path: Path) -> None:
    environment = clean_environment() | {"GOTRUE_JWT_SECRET": SECRET}
    command = [str(ISOBASE), "serve", "auth"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert ended.returncode == 5
    assert "GOTRUE_SITE_URL is not set" in ended.stderr
    assert SECRET not in ended.stderr


def test_the_role_that_owns_auth_serves_a_database_whose_schema_is_there(
    postgres: DatabaseServer, tmp_path: Path
) -> None:
    postgres.execute(f"create database gotrue_by_role template {TEMPLATE}")
    try:
        with serving(tmp_path, postgres.dsn("gotrue_by_role", "supabase_auth_admin")) as running:
            credentials = {"email": "alice@example.com", "password": "correct horse"}
            assert running.client.post("/signup", json=credentials).status_code == 200
            for _ in range(2):
                answer = running.client.post("/otp", json={"email": "alice@example.com"})
            assert (answer.status_code, answer.json()["error_code"]) == (429, "over_email_send_rate_limit")
            wrong = {"type": "email", "email": "alice@example.com", "token": "000000"}
            assert running.client.post("/verify", json=wrong).status_code == 403
            assert running.client.post("/recover", json={"email": "bob@example.com"}).json() == {}
    finally:
        postgres.execute("drop database gotrue_by_role with (force)")


def test_a_database_without_the_schema_is_refused_to_a_role_that_may_not_make_it(
    postgres: DatabaseServer, tmp_path: Path
) -> None:
    postgres.execute("create database gotrue_empty")
    environment = clean_environment() | {
        "GOTRUE_JWT_SECRET": SECRET,
        "GOTRUE_SITE_URL": "http://localhost:3000",
        "API_EXTERNAL_URL": "http://localhost:9999",
        "DATABASE_URL": postgres.dsn("gotrue_empty", "supabase_auth_admin"),
        "PORT": "0",
    }
    try:
        command = [str(ISOBASE), "serve", "auth"]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    finally:
        postgres.execute("drop database gotrue_empty with (force)")
    assert ended.returncode == 5
    assert "the database lacks auth.users" in ended.stderr
