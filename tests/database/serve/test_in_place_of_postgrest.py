"""What a client and an operator of PostgREST find when they run ``isobase serve database`` in its place."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.database.serve.conftest import (
    ANSWER_TIMEOUT_S,
    DATABASE,
    LOGIN,
    SECRET,
    START_TIMEOUT_S,
    Place,
    Program,
    bearer,
)


def test_tables_are_served_at_the_root_without_any_key(program: Program) -> None:
    answer = program.http.get("/items?id=lte.2&select=name")
    assert (answer.status_code, answer.json()) == (200, [{"name": "item 1"}, {"name": "item 2"}])
    assert program.http.get("/rest/v1/items").status_code == 404


def test_the_database_is_left_without_anything_of_isobase(program: Program, place: Place) -> None:
    rows = place.server.execute("select nspname from pg_namespace where nspname !~ '^pg_'", database=DATABASE)
    assert {name for (name,) in rows} == {"api", "other", "public", "information_schema"}


def test_statements_run_as_the_user_of_the_uri_that_became_the_callers_role(program: Program) -> None:
    assert program.http.get("/secrets").status_code == 401
    assert program.http.get("/secrets", headers=bearer(role="serve_author")).status_code == 200
    foreign = program.http.get("/secrets", headers=bearer("another-secret-of-thirty-two-bytes!", role="serve_author"))
    assert (foreign.status_code, foreign.json()["code"]) == (401, "PGRST301")
    assert program.http.get("/items", headers=bearer(role="supabase_admin")).status_code in {401, 403}


def test_app_settings_are_seen_by_functions(program: Program) -> None:
    assert program.http.get("/rpc/setting?name=app.settings.region").json() == "north"


def test_roles_and_functions_choose_their_isolation_level(program: Program) -> None:
    path = "/rpc/setting?name=transaction_isolation"
    assert program.http.get(path).json() == "read committed"
    assert program.http.get(path, headers=bearer(role="serve_strict")).json() == "repeatable read"
    assert program.http.get("/rpc/strict").json() == "serializable"


def test_allowed_origins_may_read_and_others_may_not(program: Program) -> None:
    def asked(origin: str) -> httpx.Response:
        headers = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "X-A, X-B",
        }
        return program.http.options("/items", headers=headers)

    allowed = asked("http://two.example")
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "http://two.example"
    assert allowed.headers["access-control-allow-credentials"] == "true"
    assert allowed.headers["access-control-allow-headers"].startswith("Authorization, X-A, X-B")
    assert allowed.headers["access-control-max-age"] == "86400"
    assert "access-control-allow-credentials" not in asked("http://three.example").headers
    read = program.http.get("/items", headers={"origin": "http://one.example"})
    assert "Content-Range" in read.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in program.http.get("/items").headers


def test_the_trace_header_is_repeated_on_answers_and_errors(program: Program) -> None:
    assert program.http.get("/items", headers={"x-trace": "t-1"}).headers["x-trace"] == "t-1"
    assert program.http.get("/nothing", headers={"x-trace": "t-2"}).headers["x-trace"] == "t-2"


def test_requests_are_logged_in_one_line_each_with_their_error_and_no_query(program: Program) -> None:
    program.http.get("/nowhere?name=eq.private")
    lines = [line for line in program.wait_until_told("/nowhere").splitlines() if "/nowhere" in line]
    assert len(lines) == 1
    assert '"status": 404' in lines[0]
    assert '"error": "PGRST205"' in lines[0]
    assert "private" not in program.log.read_text()
    assert SECRET not in program.log.read_text()


def test_the_admin_server_tells_life_readiness_cache_and_metrics(program: Program) -> None:
    program.http.get("/items", headers=bearer(role="serve_anon"))
    assert program.admin("/live").status_code == 200
    assert program.admin("/ready").status_code == 200
    assert "items" in program.admin("/schema_cache").text
    assert program.admin("/config").status_code == 404
    metrics = program.admin("/metrics").text
    for name in (
        'pgrst_schema_cache_loads_total{status="SUCCESS"}',
        "pgrst_schema_cache_query_time_seconds",
        "pgrst_db_pool_max 10.0",
        "pgrst_db_pool_available",
        "pgrst_db_pool_waiting 0.0",
        "pgrst_db_pool_timeouts_total 0.0",
        "pgrst_jwt_cache_requests_total",
    ):
        assert name in metrics


@pytest.mark.parametrize("message", ["", ", 'reload schema'"])
def test_a_notice_reloads_the_schema_cache(program: Program, place: Place, message: str) -> None:
    name = f"table_{len(message)}"
    place.execute(f"create table api.{name} (id int); grant select on api.{name} to serve_anon; notify pgrst{message}")
    program.eventually(f"/{name}", 200)


def test_a_signal_reloads_the_schema_cache(program: Program, place: Place) -> None:
    place.execute("create table api.by_signal (id int); grant select on api.by_signal to serve_anon")
    assert program.http.get("/by_signal").json()["code"] == "PGRST205"
    program.process.send_signal(signal.SIGUSR1)
    program.eventually("/by_signal", 200)


def test_settings_of_the_login_role_win_and_a_wrong_one_changes_nothing(program: Program, place: Place) -> None:
    try:
        place.execute(f"alter role {LOGIN} set pgrst.db_max_rows = '2'; notify pgrst, 'reload config'")
        program.eventually_rows("/items", 2)
        place.execute(f"alter role {LOGIN} in database {DATABASE} set pgrst.db_max_rows = '1'")
        place.execute("notify pgrst, 'reload config'")
        program.eventually_rows("/items", 1)
        place.execute(f"alter role {LOGIN} set pgrst.db_tx_end = 'never'; notify pgrst, 'reload config'")
        program.wait_until_told("Invalid transaction termination")
        assert len(program.http.get("/items").json()) == 1
    finally:
        place.execute(f"alter role {LOGIN} reset all; alter role {LOGIN} in database {DATABASE} reset all")
        place.execute("notify pgrst, 'reload config'")
    program.eventually_rows("/items", 5)


def test_a_pre_config_function_gives_settings(place: Place) -> None:
    with place.serving(db_pre_config="public.pre_config") as program:
        assert program.http.get("/things").status_code == 200
        assert program.http.get("/items").status_code == 404
    with place.serving(db_pre_config="public.pre_config", db_config="false") as program:
        assert program.http.get("/items").status_code == 200


def test_the_configuration_file_is_read_again_on_a_signal(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "postgrest.conf"
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    file.write_text(f'jwt-secret = "@{secret}" # behind @\napp.settings.color = "red"\n')
    with place.serving(str(file), jwt_secret=f"@{secret}", db_config="false") as program:
        assert program.http.get("/rpc/setting?name=app.settings.color").json() == "red"
        assert program.http.get("/secrets", headers=bearer(role="serve_author")).status_code == 200
        file.write_text('app.settings.color = "blue"\n')
        secret.write_text(SECRET[::-1])
        program.process.send_signal(signal.SIGUSR2)
        program.eventually("/rpc/setting?name=app.settings.color", 200, "blue")
        assert program.http.get("/secrets", headers=bearer(role="serve_author")).status_code == 401


def test_a_database_that_is_not_there_yet_is_answered_503_and_then_served(place: Place) -> None:
    late = place.server.dsn("served_late", LOGIN)
    with place.serving(wait=False, db_uri=late, db_schemas="public") as program:
        program.wait_until("/ready", 503)
        answer = program.http.get("/anything")
        assert (answer.status_code, answer.json()["code"]) == (503, "PGRST002")
        assert program.admin("/live").status_code == 200
        try:
            place.server.execute("create database served_late template template0")
            program.wait_until()
            assert program.http.get("/").status_code == 200
        finally:
            place.server.execute("drop database if exists served_late with (force)")


def test_starts_and_failures_are_told_at_every_log_level(place: Place) -> None:
    with place.serving(log_level="crit") as program:
        program.http.get("/nowhere")
        told = [json.loads(line) for line in program.wait_until_told("schema cache loaded").splitlines()]
        messages = [line["message"] for line in told]
        assert "request" not in messages
        assert {"API listening", "admin server listening", "schema cache loaded"} <= set(messages)
    with place.serving(wait=False, log_level="error", db_uri="postgresql://nobody@127.0.0.1:1/none") as program:
        program.wait_until("/ready", 503)
        program.wait_until_told("trying again")


def test_schemas_that_hold_nothing_are_told(place: Place) -> None:
    with place.serving(db_schemas="misspelt") as program:
        lines = [json.loads(line) for line in program.wait_until_told("hold no tables").splitlines()]
        [told] = {tuple(line["schemas"]) for line in lines if "hold no tables" in line["message"]}
        assert told == ("misspelt",)
        assert program.http.get("/items").status_code == 404


def test_a_taken_port_is_told_with_the_setting_that_chooses_it(place: Place, program: Program) -> None:
    for setting, port in (("server", program.port), ("admin-server", program.admin_port)):
        name = f"{setting}-port".replace("-", "_")
        ended = place.run("--workers", "1", server_host="127.0.0.1", **{"server_port": "0", name: str(port)})
        assert ended.returncode == 4
        assert f"{setting}-port" in ended.stderr
        assert "config.toml" not in ended.stderr


def test_a_refused_login_ends_the_command(place: Place) -> None:
    uri = place.uri.replace(LOGIN, "nobody_of_this_name")
    with place.serving(wait=False, db_uri=uri) as program:
        assert program.process.wait(START_TIMEOUT_S) == 7
        assert "the database cannot be used" in program.log.read_text()
        assert "postgres@" not in program.log.read_text()


def test_without_recovery_a_lost_database_ends_the_command(place: Place) -> None:
    with place.serving(db_pool_automatic_recovery="false") as program:
        # It listens only once it has loaded the schema cache, and the program of the other tests listens too.
        deadline_s, listening = time.monotonic() + START_TIMEOUT_S, "query like 'LISTEN%%' and client_port = any(%s)"
        while True:
            ports = [one.laddr.port for one in psutil.Process(program.process.pid).net_connections("tcp")]
            if place.server.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {listening}", ports):
                break
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        assert program.process.wait(START_TIMEOUT_S) == 7


def test_queries_are_logged_without_their_values(place: Place) -> None:
    with place.serving(log_query="true") as program:
        assert program.http.get("/items?name=eq.a-private-name").status_code == 200
        program.wait_until_told('"message": "query"')
    logged = [line for line in program.log.read_text().splitlines() if '"message": "query"' in line]
    assert len(logged) == 1
    assert "items" in logged[0]
    assert "a-private-name" not in program.log.read_text()


def test_a_unix_socket_is_served_and_removed(place: Place, project_dir: Path) -> None:
    path = project_dir / "api.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with place.serving(server_unix_socket=str(path), server_unix_socket_mode="600") as program:
        assert path.stat().st_mode & 0o777 == 0o600
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport, base_url="http://socket", timeout=ANSWER_TIMEOUT_S) as client:
            assert len(client.get("/items").json()) == 5
        assert program.admin("/live").status_code == 200
    assert not path.exists()


def test_a_function_may_answer_at_the_root_and_the_root_may_be_switched_off(place: Place) -> None:
    with place.serving(db_root_spec="at_root") as program:
        assert program.http.get("/").json() == {"root": True}
    with place.serving(openapi_mode="disabled") as program:
        answer = program.http.get("/")
        assert (answer.status_code, answer.json()["code"]) == (404, "PGRST126")


def test_the_description_names_the_proxy_and_the_tokens(place: Place) -> None:
    with place.serving(openapi_server_proxy_uri="https://api.example/v1", openapi_security_active="true") as program:
        document = program.http.get("/").json()
        assert (document["host"], document["basePath"], document["schemes"]) == ("api.example:443", "/v1", ["https"])
        assert document["security"] == [{"JWT": []}]


def test_without_secret_or_anonymous_role_the_requests_that_need_them_are_refused(place: Place) -> None:
    with place.serving(jwt_secret="", db_anon_role="") as program:
        anonymous = program.http.get("/items")
        assert (anonymous.status_code, anonymous.json()["code"]) == (401, "PGRST302")
        named = program.http.get("/items", headers=bearer(role="serve_anon"))
        assert (named.status_code, named.json()["code"]) == (500, "PGRST300")


def test_audience_and_role_path_are_those_of_the_settings(place: Place) -> None:
    with place.serving(jwt_aud="ours", jwt_role_claim_key='.app."the roles"[1]') as program:
        roles = {"app": {"the roles": ["x", "serve_author"]}}
        assert program.http.get("/secrets", headers=bearer(aud="ours", **roles)).status_code == 200
        assert program.http.get("/secrets", headers=bearer(aud=["theirs", "ours"], **roles)).status_code == 200
        assert program.http.get("/secrets", headers=bearer(**roles)).status_code == 200
        other = program.http.get("/secrets", headers=bearer(aud="theirs", **roles))
        assert (other.status_code, other.json()["code"]) == (401, "PGRST303")
        assert program.http.get("/secrets", headers=bearer(role="serve_author")).status_code == 401
