"""supabase/config.toml: every key that has a meaning becomes a setting, every other one a warning, nothing a crash."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isobase_deploy.cli.init import CONFIG
from isobase_deploy.project import find_project_dir, load_project
from isobase_platform.config import Settings, load_settings
from isobase_platform.config_toml import ProjectFile, keys, read_config_toml
from isobase_platform.config_toml.dotenv import parse_dotenv
from isobase_platform.config_toml.values import WrongTypeError, size_bytes
from isobase_platform.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "supabase").mkdir()
    return tmp_path


def read(folder: Path, text: str, **environment: str) -> ProjectFile:
    path = folder / "supabase" / "config.toml"
    path.write_text(text)
    return read_config_toml(path, environment=environment)


def settings_of(file: ProjectFile) -> Settings:
    return load_settings(file_values=file.values)


def test_a_file_that_is_missing_gives_the_defaults(tmp_path: Path) -> None:
    assert read_config_toml(tmp_path / "supabase" / "config.toml", environment={}) == ProjectFile({}, (), {})


def test_keys_with_a_meaning_become_settings(folder: Path) -> None:
    file = read(
        folder,
        """
        project_id = "shop"
        [api]
        port = 55001
        schemas = ["public", "shop"]
        max_rows = 20
        [db]
        port = 55002
        [db.seed]
        sql_paths = ["./seeds/*.sql"]
        [db.settings]
        work_mem = "8MB"
        max_connections = 50
        track_commit_timestamp = true
        [storage]
        file_size_limit = "1.5MiB"
        [storage.buckets.avatars]
        public = true
        allowed_mime_types = ["image/png"]
        objects_path = "./images"
        [storage.buckets.empty]
        [auth]
        jwt_expiry = 600
        signing_keys_path = "./keys.json"
        jwt_secret = "a-secret-of-more-than-thirty-two-characters"
        [auth.sms]
        enable_signup = true
        [realtime]
        enabled = false
        """,
    )
    settings = settings_of(file)
    assert file.warnings == ()
    assert (settings.project_id, settings.port, settings.database.port) == ("shop", 55001, 55002)
    assert settings.rest.schemas == ("public", "shop")
    assert settings.rest.max_rows == 20
    assert settings.database.seed_paths == ("./seeds/*.sql",)
    assert settings.database.parameters == {"work_mem": "8MB", "max_connections": "50", "track_commit_timestamp": "on"}
    assert settings.storage.file_size_limit_bytes == 1_572_864
    avatars = settings.storage.buckets["avatars"]
    assert (avatars.public, avatars.allowed_mime_types) == (True, ("image/png",))
    assert avatars.objects_path == folder / "supabase" / "images"
    assert settings.storage.buckets["empty"].public is False
    assert (settings.auth.jwt_expiry_s, settings.auth.phone_enable_signup) == (600, True)
    assert settings.jwt_keys_file == folder / "supabase" / "keys.json"
    assert settings.jwt_secret.get_secret_value() == "a-secret-of-more-than-thirty-two-characters"
    assert settings.realtime.enabled is False


def test_every_target_is_a_setting_that_exists() -> None:
    for setting, _ in keys._SETTINGS.values():
        model: object = Settings
        for name in setting.split("."):
            if name == keys.ANY or not hasattr(model, "model_fields"):
                break
            assert name in model.model_fields, setting
            model = model.model_fields[name].annotation


def test_the_file_that_init_writes_gives_no_warning_and_the_defaults(folder: Path) -> None:
    file = read(folder, CONFIG.format(project_id="isobase"))
    assert file.warnings == ()
    assert settings_of(file) == load_settings()


def test_unknown_keys_and_what_is_not_supported_yet_are_warnings_once_per_section(folder: Path) -> None:
    file = read(
        folder,
        """
        wrong = 1
        [api]
        prot = 55001
        [studio]
        enabled = true
        api_url = "http://127.0.0.1"
        [auth.web3.solana]
        enabled = true
        [auth.web3.ethereum]
        enabled = false
        [functions.hello]
        verify_jwt = false
        [functions.other]
        verify_jwt = false
        """,
    )
    assert file.warnings == (
        "config.toml: unknown key wrong",
        "config.toml: unknown key api.prot",
        "config.toml: [studio] is not supported yet and has no effect",
        "config.toml: [auth.web3.solana] is not supported yet and has no effect",
        "config.toml: [functions] is not supported yet and has no effect",
    )
    assert file.values == {}


@pytest.mark.parametrize(
    "text, named",
    [
        ("[api]\nport = 'high'", "api.port must be a port"),
        ("[api]\nport = 70000", "api.port must be a port"),
        ("[api]\nschemas = [1]", "api.schemas must be an array of strings"),
        ("[auth]\nenable_signup = 'maybe'", "auth.enable_signup must be true or false"),
        ("[auth]\njwt_expiry = -1", "auth.jwt_expiry must be a whole number"),
        ("[auth]\njwt_secret = 5", "auth.jwt_secret must be a string"),
        ("[storage]\nfile_size_limit = 'large'", "storage.file_size_limit must be a size"),
        ("[storage.buckets]\nimages = 5", "storage.buckets.images must be a table"),
        ("[api\nport = 1", r"not valid TOML.*line 1"),
        ("port = 1\nport = 2", "not valid TOML"),
    ],
)
def test_a_wrong_value_is_one_message_with_file_and_key(folder: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        read(folder, text)
    assert str(folder / "supabase" / "config.toml") in caught.value.message


def test_a_value_outside_a_settings_range_names_the_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"auth\.minimum_password_length"):
        load_settings(file_values={"auth": {"minimum_password_length": 3}})


def test_env_values_come_from_the_environment_then_from_the_nearest_file(folder: Path) -> None:
    (folder / ".env").write_text("SITE=http://outer\nROWS=7\nSIGNUP=false\n")
    (folder / "supabase" / ".env").write_text("SITE=http://inner\n")
    (folder / "supabase" / ".env.local").write_text("EXPIRY=60\n")
    text = """
        [api]
        max_rows = "env(ROWS)"
        [auth]
        site_url = "env(SITE)"
        jwt_expiry = "env(EXPIRY)"
        enable_signup = "env(SIGNUP)"
        additional_redirect_urls = ["env(FIRST)", "http://second"]
        """
    settings = settings_of(read(folder, text, FIRST="http://first", EXPIRY="120"))
    assert settings.rest.max_rows == 7
    assert (settings.auth.site_url, settings.auth.jwt_expiry_s) == ("http://inner", 120)
    assert settings.auth.enable_signup is False
    assert settings.auth.additional_redirect_urls == ("http://first", "http://second")


def test_an_unset_variable_is_a_warning_and_the_default_stays(folder: Path) -> None:
    file = read(folder, '[auth]\nsite_url = "env(NOT_SET)"')
    assert settings_of(file).auth.site_url == "http://127.0.0.1:3000"
    assert "NOT_SET" in file.warnings[0]


def test_an_unset_variable_of_what_is_switched_off_is_no_warning(folder: Path) -> None:
    file = read(folder, '[auth.external.apple]\nenabled = false\nclient_id = "x"\nsecret = "env(NOT_SET)"')
    assert file.warnings == ()
    assert settings_of(file).auth.external["apple"].client_id == "x"
    file = read(folder, '[auth.external.apple]\nenabled = true\nclient_id = "x"\nsecret = "env(NOT_SET)"')
    assert "auth.external.apple.secret" in file.warnings[0]


def test_dotenv_files_hold_what_shells_and_upstream_read() -> None:
    content = (
        '# about\n\nA=plain # rest\nexport B=\'single # kept\'\nC="double\\n\\"x\\"" # rest\nD=\nE=a#b\n'
        'F="two\nlines"\nG: colon\n'
    )
    assert parse_dotenv(content, Path(".env")) == {
        "A": "plain",
        "B": "single # kept",
        "C": 'double\n"x"',
        "D": "",
        "E": "a#b",
        "F": "two\nlines",
        "G": "colon",
    }
    with pytest.raises(ConfigurationError, match=r"\.env, line 2"):
        parse_dotenv("A=1\nnonsense\n", Path(".env"))


@pytest.mark.parametrize(
    "text, expected", [("50MiB", 52_428_800), ("50MB", 52_428_800), ("1k", 1024), ("10", 10), (" 2 gib ", 2 * 1024**3)]
)
def test_sizes_are_read_as_upstream_reads_them(text: str, expected: int) -> None:
    assert size_bytes(text, Path()) == expected


def test_a_size_without_a_number_is_refused() -> None:
    with pytest.raises(WrongTypeError):
        size_bytes("MiB", Path())


def test_flags_stand_above_the_environment_and_that_above_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "supabase" / "config.toml").write_text(
        'project_id = "p"\n[api]\nport = 1001\nmax_rows = 11\n[db]\nport = 1002'
    )
    monkeypatch.setenv("ISOBASE_PORT", "2001")
    monkeypatch.setenv("ISOBASE_DATABASE__PORT", "2002")
    settings = load_project(folder, {"port": None, "database": {"port": 3002}}).settings
    assert (settings.rest.max_rows, settings.port, settings.database.port) == (11, 2001, 3002)


def test_a_project_is_found_upwards_and_its_data_lies_in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "supabase" / "config.toml").write_text("")
    below = folder / "src" / "app"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    project = load_project(None, {})
    assert project.directory == find_project_dir(below) == folder
    assert project.settings.data_dir == folder / ".isobase"
    assert project.settings.project_id == folder.name


def test_every_key_that_is_read_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    listed = re.findall(r"^\| `([a-z0-9_.*]+)` \| `([a-z0-9_.*]+)` \|$", page, re.MULTILINE)
    assert dict(listed) == {key: setting for key, (setting, _) in keys._SETTINGS.items()}


def test_limits_captcha_and_hooks_of_auth_are_read(folder: Path) -> None:
    file = read(
        folder,
        """
        [auth.rate_limit]
        token_refresh = 9
        sign_in_sign_ups = 100
        [auth.captcha]
        enabled = true
        provider = "turnstile"
        secret = "s"
        [auth.hook.send_email]
        enabled = true
        uri = "https://hooks.example.com"
        secrets = "v1,whsec_x"
        """,
    )
    assert file.warnings == ()
    auth = settings_of(file).auth
    assert (auth.rate_limit.token_refresh, auth.rate_limit.sign_in_sign_ups) == (9, 100)
    assert (auth.captcha.enabled, auth.captcha.provider, auth.captcha.secret.get_secret_value()) == (
        True,
        "turnstile",
        "s",
    )
    assert auth.hook.send_email.enabled
    assert auth.hook.send_email.uri == "https://hooks.example.com"
    assert not auth.hook.send_sms.enabled


def test_lengths_of_sessions_are_durations_of_which_zero_is_none(folder: Path) -> None:
    file = read(folder, '[auth.sessions]\ntimebox = "24h"\ninactivity_timeout = "0s"')
    sessions = settings_of(file).auth.sessions
    assert (sessions.timebox_s, sessions.inactivity_timeout_s) == (86400, None)
