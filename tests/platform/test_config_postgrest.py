"""PostgREST's spelling of settings: its file, its variables, libpq's connection strings."""

from __future__ import annotations

from pathlib import Path

import pytest

from isobase_platform.config import RestSettings, Settings
from isobase_platform.config_postgrest import (
    FileValue,
    Sources,
    connection_url,
    dump,
    load_file,
    over_rest_settings,
    to_settings,
)
from isobase_platform.errors import ConfigurationError

FILE = r"""
# a comment
name = "text with \"quotes\", \\ and é"   # behind
flag = on
other-flag = false
number = 42
list = ["a", 1,
        true]
group { inner = "$(name)!"
  deeper { leaf = "$(HOME)/$$x" } }
name = "again"
dotted.name = "$(number)"
import "more.conf"
"""


def test_the_file_is_read_with_groups_imports_and_variables(tmp_path: Path) -> None:
    (tmp_path / "main.conf").write_text(FILE)
    (tmp_path / "more.conf").write_text("imported = true")
    expected: dict[str, FileValue] = {
        "name": "again",
        "flag": True,
        "other-flag": False,
        "number": 42.0,
        "list": ("a", 1.0, True),
        "group.inner": 'text with "quotes", \\ and é!',
        "group.deeper.leaf": "/home/me/$x",
        "dotted.name": "42",
        "imported": True,
    }
    assert load_file(tmp_path / "main.conf", {"HOME": "/home/me"}) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name", 'line 1: expecting "="'),
        ("\nname = ", "line 2: expecting a text"),
        ("= 1", "expecting a name"),
        ("a = [1 2]", 'expecting ","'),
        ("a { b = 1", "a group is not closed"),
        ('a = "\\q"', "no such escape"),
        ('a = "$(nothing)"', "no such variable: 'nothing'"),
        ('a = "$x"', 'is written "[$][$]"'),
        ('import "main.conf"', "in a circle"),
        ('import "none.conf"', "none.conf: No such file"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "main.conf"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=problem):
        load_file(file, {})


@pytest.mark.parametrize(
    ("text", "environment", "url"),
    [
        ("postgresql://", {}, "postgresql:///"),
        ("postgres://u:p%40ss@h:1/db", {}, "postgresql://u:p%40ss@/db?host=h&port=1"),
        ("postgresql://", {"PGHOST": "/run", "PGUSER": "a b"}, "postgresql://a%20b@/?host=%2Frun"),
        ("postgresql://h/db", {"PGHOST": "other"}, "postgresql:///db?host=h"),
        ("postgresql://[::1]:5/db?sslmode=require", {}, "postgresql:///db?sslmode=require&host=%3A%3A1&port=5"),
        ("postgresql://?dbname=d&host=h&user=u", {}, "postgresql://u@/d?host=h"),
        ("host=h dbname='my db' user=u password='it\\'s'", {}, "postgresql://u:it%27s@/my%20db?host=h"),
        ("host=h connect_timeout=5 fallback_application_name=x", {}, "postgresql:///?host=h&application_name=x"),
        (
            "postgresql://h",
            {"PGOPTIONS": "-c a=b", "PGTZ": "utc"},
            "postgresql:///?host=h&options=-c%20a%3Db&timezone=utc",
        ),
        ("postgresql://h1:1,h2:2/db", {}, "postgresql:///db?host=h1%2Ch2&port=1%2C2"),
    ],
)
def test_connection_strings_become_urls(text: str, environment: dict[str, str], url: str) -> None:
    place, _, query = connection_url(text, environment).partition("?")
    expected_place, _, expected_query = url.partition("?")
    assert place == expected_place
    assert sorted(query.split("&")) == sorted(expected_query.split("&"))


@pytest.mark.parametrize("text", ["here", "a b=c", "host='open", "postgresql://h?a"])
def test_what_is_no_connection_string_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        connection_url(f"{text}", {})
    assert text not in caught.value.message


def test_the_database_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "postgrest.conf"
    file.write_text('db-schemas = "of_file"\ndb-anon-role = "of_file"\njwt-aud = "of_file"\napp.settings.a = "of_file"')
    environment = {
        "PGRST_DB_SCHEMAS": "of, environment",
        "PGRST_JWT_AUD": "of_environment",
        "PGRST_APP_SETTINGS_b": "x",
    }
    options = Sources(environment, file).read({"jwt_aud": "of_database", "server_port": "1"})
    assert options.values["db-anon-role"] == "of_file"
    assert options.values["db-schemas"] == ("of", "environment")
    assert options.values["jwt-aud"] == "of_database"
    assert options.values["server-port"] == 3000, "the database may not hold this one"
    assert options.app_settings == {"app.settings.a": "of_file", "app.settings.b": "x"}


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("TRUE", True), ('"false"', False), ("1", True), ("0", False), ("13", True), ("maybe", True)],
)
def test_flags_are_read_as_upstream_reads_them(text: str, value: bool) -> None:
    assert Sources({"PGRST_DB_CHANNEL_ENABLED": text}).read().values["db-channel-enabled"] is value


def test_former_names_count_where_the_new_ones_are_not_given() -> None:
    former = {"PGRST_DB_SCHEMA": "old", "PGRST_MAX_ROWS": "5", "PGRST_PRE_REQUEST": "check", "PGRST_ROOT_SPEC": "doc"}
    values = Sources({**former, "PGRST_DB_MAX_ROWS": "6"}).read().values
    assert values["db-schemas"] == ("old",)
    assert (values["db-max-rows"], values["db-pre-request"], values["db-root-spec"]) == (6, "check", "doc")


def test_options_become_settings() -> None:
    environment = {
        "PGRST_DB_ANON_ROLE": "web",
        "PGRST_DB_POOL": "3",
        "PGRST_DB_PREPARED_STATEMENTS": "false",
        "PGRST_LOG_LEVEL": "warn",
        "PGRST_SERVER_HOST": "*4",
        "PGRST_DB_EXTRA_SEARCH_PATH": "",
        "PGRST_DB_TX_END": "rollback",
    }
    settings = to_settings(Sources(environment).read(), Settings.model_validate({}), "postgresql://u@h/d")
    assert settings.dsn("authenticator") == "postgresql://u@h/d"
    assert (settings.host, settings.port, settings.log_level) == ("0.0.0.0", 3000, "warning")
    assert (settings.database.pool_max_size, settings.database.mode) == (3, "transaction_pooler")
    assert (settings.rest.anon_role, settings.rest.schemas, settings.rest.max_rows) == ("web", ("public",), None)
    assert (settings.rest.extra_search_path, settings.rest.tx_end) == ((), "rollback")


def test_settings_of_the_database_are_laid_over_others() -> None:
    base = RestSettings(max_rows=10)
    assert over_rest_settings(base, {"unknown": "x"}) is base
    laid = over_rest_settings(base, {"db_schemas": "a, b", "db_anon_role": "web", "jwt_secret": "x" * 32})
    assert (laid.schemas, laid.anon_role, laid.max_rows) == (("a", "b"), "web", 10)
    with pytest.raises(ConfigurationError, match="Invalid openapi-mode"):
        over_rest_settings(base, {"openapi_mode": "loud"})


def test_a_dump_reads_back_as_itself(tmp_path: Path) -> None:
    environment = {
        "PGRST_JWT_SECRET": "c2VjdXJpdHl0aHJvdWdob2JzY3VyaXR5aW5iYXNlNjQ.",
        "PGRST_JWT_SECRET_IS_BASE64": "true",
        "PGRST_JWT_ROLE_CLAIM_KEY": '.a."b c"[?(@ ^== "d")]',
        "PGRST_APP_SETTINGS_X": 'with "quotes"',
    }
    text = dump(Sources(environment).read())
    file = tmp_path / "dumped.conf"
    file.write_text(text)
    assert dump(Sources({}, file).read()) == text
