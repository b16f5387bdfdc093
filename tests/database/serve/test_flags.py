"""Flags that print something and end, and settings that are refused at start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.database.serve.conftest import LOGIN, SECRET, Place, Program


def test_the_configuration_in_force_is_printed_and_reads_back_the_same(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "postgrest.conf"
    file.write_text('max-rows = 7\ndb-extra-search-path = ""\napp.settings.a = "x \\"y\\""\nserver-port = 4000\n')
    place.execute(f"alter role {LOGIN} set pgrst.openapi_mode = 'ignore-privileges'")
    try:
        first = place.run("--dump-config", str(file), server_port="4001")
    finally:
        place.execute(f"alter role {LOGIN} reset all")
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    for line in (
        "db-max-rows = 7",
        'db-extra-search-path = ""',
        "server-port = 4001",
        'openapi-mode = "ignore-privileges"',
        'app.settings.a = "x \\"y\\""',
        'jwt-role-claim-key = ".\\"role\\""',
        f'jwt-secret = "{SECRET}"',
    ):
        assert line in lines
    file.write_text(first.stdout)
    assert place.run(str(file), "--dump-config").stdout == first.stdout


def test_the_schema_cache_is_printed_as_json(place: Place) -> None:
    printed = place.run("--dump-schema")
    assert printed.returncode == 0, printed.stderr
    assert "items" in {relation["name"] for relation in json.loads(printed.stdout)["relations"]}


def test_the_example_is_a_configuration_file_of_the_defaults(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "example.conf"
    file.write_text(place.run("--example").stdout)
    assert 'db-schemas = "public"' in file.read_text()
    defaults = {"db_schemas": "public", "db_anon_role": "", "jwt_secret": "", "db_config": "false"}
    assert place.run("--dump-config", str(file), **defaults).returncode == 0


def test_a_running_server_is_asked_whether_it_is_ready(program: Program, place: Place) -> None:
    ready = place.run("--ready", server_host="127.0.0.1", admin_server_port=str(program.admin_port))
    assert (ready.returncode, ready.stdout) == (0, f"OK: http://127.0.0.1:{program.admin_port}/ready\n")
    gone = place.run("--ready", server_host="127.0.0.1", admin_server_port=str(program.port))
    assert gone.returncode == 1
    everywhere = place.run("--ready", admin_server_port="1")
    assert "cannot be used when server-host is configured" in everywhere.stderr
    assert "not running" in place.run("--ready").stderr


def test_flags_of_serve_win_and_those_of_a_project_are_refused(place: Place) -> None:
    printed = place.run("--dump-config", "--port", "4321", "--host", "localhost", server_port="1")
    assert "server-port = 4321" in printed.stdout
    assert 'server-host = "localhost"' in printed.stdout
    refused = place.run("--data-dir", "somewhere", "--production")
    assert refused.returncode == 5
    assert "--data-dir, --production: there is no project" in refused.stderr


def test_what_is_served_in_place_of_postgrest_is_the_data_api_alone(place: Place) -> None:
    refused = place.run("--dump-config", service="storage")
    assert refused.returncode == 5
    assert "for `isobase serve database` only" in refused.stderr


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"jwt_secret": "short"}, "at least 32 characters"),
        ({"jwt_secret": "no base-64!", "jwt_secret_is_base64": "true"}, "not valid base64"),
        ({"jwt_secret": "@/nowhere/to/be/found"}, "cannot read the file"),
        ({"jwt_aud": "foo://%%$$^^.com"}, "a string or a valid URI"),
        ({"jwt_role_claim_key": "role.other"}, "failed to parse role-claim-key value (role.other)"),
        ({"openapi_mode": "follow-"}, "Invalid openapi-mode"),
        ({"openapi_server_proxy_uri": "htp:/@@host"}, "Malformed proxy uri"),
        ({"db_tx_end": "random"}, "Invalid transaction termination"),
        ({"log_level": "never"}, "Invalid logging level"),
        ({"server_unix_socket_mode": "800"}, "not an octal"),
        ({"server_unix_socket_mode": "577"}, "between 600 and 777"),
        ({"server_port": "3000", "admin_server_port": "3000"}, "cannot be the same as server-port"),
        ({"db_uri": "somewhere"}, "db-uri"),
        ({"db_uri": "postgresql://host?service=x"}, "service file"),
        ({"server_port": "70000"}, "less than or equal to 65535"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_setting_that_cannot_be_served_is_refused_in_one_line(
    place: Place, settings: dict[str, str], reason: str
) -> None:
    refused = place.run(**settings)
    assert refused.returncode == 5
    assert reason in refused.stderr
    assert refused.stderr.count("\n") <= 2
    assert "Traceback" not in refused.stderr
