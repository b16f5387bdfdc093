"""Where a setting comes from, which source wins, and what production refuses."""

from __future__ import annotations

from typing import Any

import pytest

from isobase_platform.config import Settings, load_settings
from isobase_platform.errors import ConfigurationError

FRESH: dict[str, Any] = {
    "env": "production",
    "jwt_secret": "a-fresh-secret-of-more-than-thirty-two-bytes",
    "publishable_key": "sb_publishable_fresh",
    "secret_key": "sb_secret_fresh",
    "storage": {"s3_secret_access_key": "fresh"},
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "ISOBASE_PORT", "ISOBASE_ENV"):
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_are_the_supabase_command_lines() -> None:
    settings = load_settings()
    assert (settings.port, settings.database.port, settings.studio_port, settings.mail_port) == (
        54321,
        54322,
        54323,
        54324,
    )
    assert settings.base_url == "http://127.0.0.1:54321"
    assert settings.auth_url == "http://127.0.0.1:54321/auth/v1"
    assert settings.dsn("postgres") == "postgresql://postgres:postgres@127.0.0.1:54322/postgres"


def test_a_flag_wins_over_the_environment_which_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    file_values = {"port": 1, "database": {"port": 2}, "rest": {"max_rows": 3}}
    assert load_settings(file_values=file_values).port == 1
    monkeypatch.setenv("ISOBASE_PORT", "10")
    monkeypatch.setenv("ISOBASE_DATABASE__PORT", "20")
    settings = load_settings(file_values=file_values, flags={"port": 100, "database": {"port": None}})
    assert (settings.port, settings.database.port, settings.rest.max_rows) == (100, 20, 3)


def test_the_bare_names_of_hosting_platforms_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://owner:pw@db.internal:6543/app?sslmode=require")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    settings = load_settings()
    assert not settings.is_embedded
    assert settings.redis_url is not None
    role_dsn = settings.dsn("authenticator")
    assert role_dsn.startswith("postgresql://authenticator:")
    assert role_dsn.endswith("@db.internal:6543/app?sslmode=require")
    assert "pw" not in role_dsn.partition("@")[0].removeprefix("postgresql://authenticator:")[:2]


def test_a_role_of_an_external_server_has_a_password_of_its_own() -> None:
    settings = load_settings(flags={"database": {"url": "postgresql://owner:pw@h/db"}})
    passwords = {settings.role_password(role) for role in ("authenticator", "supabase_auth_admin")}
    assert len(passwords) == 2
    assert all(len(password) == 64 for password in passwords)


def test_wrong_values_are_told_by_name_and_never_by_value() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(flags={"port": "many", "database": {"pool_max_size": 0}, "jwt_secret": ["hush"]})
    message = str(caught.value)
    assert "port:" in message
    assert "database.pool_max_size:" in message
    assert "hush" not in message


def test_production_refuses_every_default_that_everybody_knows() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(flags={"env": "production"}).check_production()
    for name in ("jwt_secret", "publishable_key", "secret_key", "storage.s3_secret_access_key"):
        assert name in str(caught.value)


def test_production_takes_fresh_secrets_and_asks_for_api_keys() -> None:
    settings = load_settings(flags=FRESH)
    settings.check_production()
    assert settings.api_key_required
    assert settings.role_password("authenticator") != "postgres"


@pytest.mark.parametrize("name", ["jwt_secret", "publishable_key", "secret_key"])
def test_production_refuses_each_default_alone(name: str) -> None:
    flags = {key: value for key, value in FRESH.items() if key != name}
    with pytest.raises(ConfigurationError, match=name):
        load_settings(flags=flags).check_production()


def test_a_setting_cannot_be_changed_after_it_was_read() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def test_printing_the_settings_shows_no_secret() -> None:
    settings = load_settings(flags={**FRESH, "database": {"url": "postgresql://o:hush@h/d"}})
    assert "hush" not in repr(settings)
    assert FRESH["jwt_secret"] not in repr(settings)
    assert isinstance(settings, Settings)


def test_half_of_the_credentials_of_s3_is_refused_without_being_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOBASE_STORAGE__S3__SECRET_ACCESS_KEY", "half-a-secret")
    with pytest.raises(ConfigurationError, match="go together") as refused:
        load_settings()
    assert "half-a-secret" not in str(refused.value)
