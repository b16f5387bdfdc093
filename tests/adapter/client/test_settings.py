"""What a migration client is told, and that it keeps its secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from isobase_adapter.handover_desk import OVERDUE_S, HandoverLimits
from isobase_adapter.http.addresses import Addresses
from isobase_adapter.settings import BreakerSettings, MigrationSettings, RpcKind, RpcRule, SettingsError, check_db_url
from isobase_adapter.writing import WritingLimits

GIVEN = {
    "ISOBASE_URL": "http://127.0.0.1:1",
    "ISOBASE_KEY": "anon-secret",
    "ISOBASE_SERVICE_ROLE_KEY": "role-secret",
    "SUPABASE_SERVICE_ROLE_KEY": "role-secret",
    "ISOBASE_DB_URL": "postgresql://postgres:word-secret@127.0.0.1/x",
    "SUPABASE_DB_URL": "postgresql://postgres:word-secret@127.0.0.1/y",
}


def test_settings_come_from_the_environment_and_show_no_secret() -> None:
    settings = MigrationSettings.from_environment(GIVEN, start_timeout_s=3.0)
    assert (settings.isobase_url, settings.isobase_key, settings.start_timeout_s) == (
        "http://127.0.0.1:1",
        "anon-secret",
        3.0,
    )
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    "changed, named",
    [
        ({"ISOBASE_URL": ""}, "ISOBASE_URL"),
        ({"ISOBASE_URL": "ftp://x"}, "ISOBASE_URL"),
        ({"ISOBASE_KEY": ""}, "ISOBASE_KEY"),
        ({"SUPABASE_DB_URL": "postgresql://h/d", "ISOBASE_DB_URL": "postgresql://h/d"}, "are the same"),
        ({"ISOBASE_MIGRATION_START_TIMEOUT_S": "soon"}, "ISOBASE_MIGRATION_START_TIMEOUT_S"),
        ({"ISOBASE_MIGRATION_START_TIMEOUT_S": "-1"}, "time limits"),
        ({"ISOBASE_MIGRATION_RPC": "total=maybe"}, "ISOBASE_MIGRATION_RPC"),
        ({"ISOBASE_MIGRATION_RPC": "total=tables"}, "ISOBASE_MIGRATION_RPC"),
    ],
)
def test_a_wrong_setting_is_named(changed: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        MigrationSettings.from_environment(GIVEN | changed)


def test_folders_and_files_may_be_given_as_text() -> None:
    settings = MigrationSettings.from_environment(GIVEN, spool_dir="spool", control_file="control.sqlite")
    assert (settings.spool_dir, settings.control_file) == (Path("spool"), Path("control.sqlite"))


def test_a_client_of_one_side_alone_is_refused() -> None:
    with pytest.raises(SettingsError, match="the two sides are one"):
        Addresses("http://127.0.0.1:1/", "key", MigrationSettings.from_environment(GIVEN))


def test_rules_of_functions_are_read_by_qualified_name() -> None:
    settings = MigrationSettings.from_environment(
        GIVEN | {"ISOBASE_MIGRATION_RPC": "total=read, shop.pay=tables:orders|shop.stock"}
    )
    assert settings.rpc == {
        "public.total": RpcRule(RpcKind.READ),
        "shop.pay": RpcRule(RpcKind.TABLES, ("public.orders", "shop.stock")),
    }


def test_writes_wait_for_longer_than_any_handover_can_hold_them_up() -> None:
    limits = HandoverLimits()
    assert limits.fence_s + limits.lock_s < OVERDUE_S < MigrationSettings.from_environment(GIVEN).handover_timeout_s
    assert WritingLimits().admission_s == MigrationSettings.from_environment(GIVEN).handover_timeout_s


def test_a_breaker_with_impossible_numbers_is_refused() -> None:
    with pytest.raises(SettingsError):
        BreakerSettings(failure_rate=2)


@pytest.mark.parametrize("password", ["s3cret#t", "s3cret/t", "s3cret?t", "s3cret#@t"])
def test_a_password_that_cuts_its_url_is_told_without_a_piece_of_it(password: str) -> None:
    with pytest.raises(SettingsError, match="SUPABASE_DB_URL is no URL of PostgreSQL") as refused:
        MigrationSettings.from_environment(GIVEN | {"SUPABASE_DB_URL": f"postgresql://postgres:{password}@db/x"})
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres:p%23@db.example.com:5432/postgres?sslmode=require",
        "postgres://postgres.ref:p@w@pooler.example.com/postgres",
        "postgresql://u:p@[::1]:5432/x",
        "postgresql://one:5432,two:5433/x",
        "postgresql:///x?host=/run/postgresql",
    ],
)
def test_urls_of_databases_are_taken_as_the_driver_takes_them(url: str) -> None:
    check_db_url("X", url)
