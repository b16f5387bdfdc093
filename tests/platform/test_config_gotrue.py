"""GoTrue's spelling of settings: what GOTRUE_* variables become, and what is told about those that mean nothing."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from pydantic import BaseModel

from isobase_platform.config import Settings
from isobase_platform.config_gotrue import is_gotrue_environment, read_gotrue_environment
from isobase_platform.config_gotrue.converters import character_sets, duration_s, pairs, whole_seconds
from isobase_platform.config_gotrue.sources import OPTIONS
from isobase_platform.config_gotrue.without_effect import WITHOUT_EFFECT
from isobase_platform.errors import ConfigurationError

SECRET = "37c304f8-51aa-419a-a1af-06154e63707a"
NEEDED = {
    "GOTRUE_JWT_SECRET": SECRET,
    "GOTRUE_SITE_URL": "http://localhost:9999",
    "API_EXTERNAL_URL": "http://localhost:9999/",
    "DATABASE_URL": "postgres://postgres:postgres@db:5432/postgres?sslmode=disable",
}
PAGE = (Path(__file__).parents[2] / "docs/serve-auth.md").read_text()


def settings_of(**variables: str) -> Settings:
    return read_gotrue_environment(NEEDED | variables, Settings()).settings


def test_what_upstream_needs_is_enough_and_its_defaults_hold() -> None:
    settings = settings_of()
    assert settings.jwt_secret.get_secret_value() == SECRET
    assert settings.auth_url == "http://localhost:9999"
    assert settings.dsn("supabase_auth_admin") == NEEDED["DATABASE_URL"]
    assert (settings.port, settings.host) == (8081, "0.0.0.0")
    auth = settings.auth
    assert (auth.jwt_audience, auth.jwt_default_role, auth.jwt_issuer) == ("", "", "")
    assert auth.jwt_admin_roles == ("service_role", "supabase_admin")
    assert (auth.email_enable_confirmations, auth.phone_enable_confirmations) == (True, True)
    assert (auth.email_enable_signup, auth.phone_enable_signup, auth.enable_anonymous_sign_ins) == (True, False, False)
    assert auth.refresh_token_reuse_interval_s == 0
    assert auth.additional_redirect_urls == ()


def test_the_secret_is_believed_beside_keys_only_where_one_of_them_is_shared_too() -> None:
    assert settings_of().jwt_secret_verifies
    assert not settings_of(GOTRUE_JWT_KEYS='[{"kty":"EC","alg":"ES256"}]').jwt_secret_verifies
    both = '[{"kty":"EC","alg":"ES256"},{"kty":"oct","alg":"HS256"}]'
    assert settings_of(GOTRUE_JWT_KEYS=both).jwt_secret_verifies


def test_variables_win_over_upstreams_defaults() -> None:
    settings = settings_of(
        PORT="9998",
        GOTRUE_JWT_EXP="120",
        GOTRUE_JWT_AUD="authenticated",
        GOTRUE_DISABLE_SIGNUP="true",
        GOTRUE_MAILER_AUTOCONFIRM="T",
        GOTRUE_URI_ALLOW_LIST="https://a.example.com, https://*.example.com,",
        GOTRUE_LOG_LEVEL="DEBUG",
        GOTRUE_JWT_ADMIN_ROLES="root",
    )
    assert (settings.port, settings.log_level) == (9998, "debug")
    auth = settings.auth
    assert (auth.jwt_expiry_s, auth.jwt_audience, auth.jwt_admin_roles) == (120, "authenticated", ("root",))
    assert (auth.enable_signup, auth.email_enable_confirmations) == (False, False)
    assert auth.additional_redirect_urls == ("https://a.example.com", "https://*.example.com")


def test_parameters_for_the_drivers_of_others_do_not_reach_postgresql() -> None:
    url = (
        "postgres://a:b%2Fc@db:5432/app?sslmode=disable&connect_timeout=10&search_path=auth&application_name=my%20auth"
    )
    expected = "postgres://a:b%2Fc@db:5432/app?sslmode=disable&search_path=auth&application_name=my%20auth"
    assert settings_of(DATABASE_URL=url).dsn() == expected


def test_an_empty_variable_counts_as_not_given() -> None:
    assert settings_of(PORT="", GOTRUE_JWT_EXP=" ").port == 8081


def test_what_is_missing_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_gotrue_environment({"GOTRUE_JWT_EXP": "3600"}, Settings())
    for name in ("GOTRUE_JWT_SECRET", "GOTRUE_SITE_URL", "API_EXTERNAL_URL", "DATABASE_URL"):
        assert name in caught.value.message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "70000"),
        ("GOTRUE_JWT_EXP", "soon"),
        ("GOTRUE_DISABLE_SIGNUP", "perhaps"),
        ("GOTRUE_JWT_KEYS", '{"kty":"oct","k":"hidden-part"}'),
        ("API_EXTERNAL_URL", "localhost"),
        ("GOTRUE_LOG_LEVEL", "shout"),
        ("DATABASE_URL", "host=db password=hidden"),
    ],
)
def test_a_wrong_value_is_refused_without_being_repeated(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings_of(**{name: text})
    assert name in caught.value.message
    assert text not in caught.value.message


def test_an_unknown_name_gives_one_warning_and_a_known_one_without_effect_none() -> None:
    variables = NEEDED | {
        "GOTRUE_NO_SUCH_THING": "1",
        "GOTRUE_OPERATOR_TOKEN": "x",
        "DB_NAMESPACE": "auth",
        "HOME": "/",
    }
    warnings = read_gotrue_environment(variables, Settings()).warnings
    assert warnings == ("GOTRUE_NO_SUCH_THING is not known and has no effect",)


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(read_gotrue_environment(NEEDED, Settings()))


def test_without_a_header_that_names_clients_nobody_is_limited() -> None:
    settings = settings_of()
    assert settings.auth.rate_limit.unlimited_addresses == ("0.0.0.0/0", "::/0")
    assert settings.trusted_proxies == ()


def test_a_header_that_names_clients_is_believed_from_private_networks_or_the_configured_proxies() -> None:
    variables = NEEDED | {"GOTRUE_RATE_LIMIT_HEADER": "X-Real-Ip"}
    settings = read_gotrue_environment(variables, Settings()).settings
    assert (settings.forwarded_header, "10.0.0.0/8" in settings.trusted_proxies) == ("X-Real-Ip", True)
    assert settings.auth.rate_limit.unlimited_addresses == Settings().auth.rate_limit.unlimited_addresses
    configured = Settings(trusted_proxies=("203.0.113.7",))
    assert read_gotrue_environment(variables, configured).settings.trusted_proxies == ("203.0.113.7",)


def test_factors_and_limits_are_read() -> None:
    auth = settings_of(
        GOTRUE_MFA_CHALLENGE_EXPIRY_DURATION="10",
        GOTRUE_MFA_WEB_AUTHN_ENROLL_ENABLED="true",
        GOTRUE_MFA_PHONE_MAX_FREQUENCY="0s",
        GOTRUE_MFA_PHONE_OTP_LENGTH="4",
        GOTRUE_WEBAUTHN_RP_ORIGINS="https://a.example.com,https://b.example.com",
        GOTRUE_RATE_LIMIT_EMAIL_SENT="10/30m",
        GOTRUE_RATE_LIMIT_OTP="2.5",
        GOTRUE_SECURITY_CAPTCHA_SECRET="0x00",
        GOTRUE_HOOK_SEND_SMS_SECRETS="v1,whsec_a|v1,whsec_b",
        GOTRUE_MAILER_NOTIFICATIONS_PASSWORD_CHANGED_ENABLED="true",
    ).auth
    assert (auth.mfa.challenge_expiry_s, auth.mfa.web_authn.enroll_enabled) == (300, True)
    assert (auth.mfa.phone.max_frequency_s, auth.mfa.phone.otp_length) == (60, 6)
    assert auth.webauthn.rp_origins == ("https://a.example.com", "https://b.example.com")
    assert (auth.rate_limit.email_sent, auth.rate_limit.sign_in_sign_ups) == (20, 3)
    assert auth.captcha.secret.get_secret_value() == "0x00"
    assert auth.hook.send_sms.secrets.get_secret_value() == "v1,whsec_a|v1,whsec_b"
    assert auth.email.notification["password_changed"].enabled


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("1.5h", 5400), ("500ms", 0.5), ("0", 0), ("1m0s", 60)]
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "90", "-1s", "1 h", "1x", "h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration"):
        duration_s(text)


def test_part_of_a_second_does_not_become_none() -> None:
    assert whole_seconds("1ms") == 1


def test_pairs_stand_between_commas() -> None:
    assert pairs("+1 555:123456, 1666:654321") == {"+1 555": "123456", "1666": "654321"}


def test_codes_live_and_pause_as_upstreams_by_default_and_as_asked() -> None:
    default = settings_of().auth
    assert (default.email.otp_expiry_s, default.email.max_frequency_s) == (86_400, 60)
    assert (default.sms.otp_expiry_s, default.sms.max_frequency_s) == (60, 60)
    asked = settings_of(
        GOTRUE_MAILER_OTP_EXP="300",
        GOTRUE_SMTP_MAX_FREQUENCY="5s",
        GOTRUE_SMS_OTP_EXP="0",
        GOTRUE_SMS_MAX_FREQUENCY="0s",
        GOTRUE_MAILER_URLPATHS_CONFIRMATION="/auth/v1/verify",
        GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED="false",
    ).auth
    assert (asked.email.otp_expiry_s, asked.email.max_frequency_s) == (300, 5)
    assert (asked.sms.otp_expiry_s, asked.sms.max_frequency_s) == (60, 60)
    assert (asked.email.links.confirmation, asked.email.double_confirm_changes) == ("/auth/v1/verify", False)


def test_a_projects_own_words_are_read() -> None:
    email = settings_of(
        GOTRUE_MAILER_SUBJECTS_CONFIRMATION="Please confirm",
        GOTRUE_MAILER_TEMPLATES_MAGIC_LINK="https://app.example.com/mail.html",
        GOTRUE_MAILER_SUBJECTS_PASSWORD_CHANGED_NOTIFICATION="Changed",
    ).auth.email
    assert email.template["confirmation"].subject == "Please confirm"
    assert email.template["magic_link"].content_url == "https://app.example.com/mail.html"
    assert (email.notification["password_changed"].subject, email.notification["password_changed"].enabled) == (
        "Changed",
        False,
    )


def test_text_messages_go_through_the_named_provider() -> None:
    sms = settings_of(
        GOTRUE_SMS_TWILIO_ACCOUNT_SID="AC1",
        GOTRUE_SMS_PROVIDER="twilio",
        GOTRUE_SMS_VONAGE_FROM="Isobase",
        GOTRUE_SMS_TEST_OTP="+1 555 123:123456,16661234:000000",
        GOTRUE_SMS_TEST_OTP_VALID_UNTIL="2023-09-29T08:14:06Z",
    ).auth.sms
    assert (sms.twilio.enabled, sms.twilio.account_sid) == (True, "AC1")
    assert (sms.vonage.enabled, sms.vonage.sender) == (False, "Isobase")
    assert sms.test_otp == {"1555123": "123456", "16661234": "000000"}
    assert sms.test_otp_valid_until == datetime(2023, 9, 29, 8, 14, 6, tzinfo=UTC)
    assert sms.otp_expiry_s == 60
    with pytest.raises(ConfigurationError, match="GOTRUE_SMS_PROVIDER must be one of twilio"):
        settings_of(GOTRUE_SMS_PROVIDER="pigeon")


def test_providers_are_read() -> None:
    auth = settings_of(
        GOTRUE_EXTERNAL_GOOGLE_ENABLED="true",
        GOTRUE_EXTERNAL_GOOGLE_CLIENT_ID="web,ios",
        GOTRUE_EXTERNAL_LINKEDIN_OIDC_SECRET="hidden",
        GOTRUE_SECURITY_MANUAL_LINKING_ENABLED="true",
        GOTRUE_EXTERNAL_ALLOWED_ID_TOKEN_ISSUERS="https://a.example.com",
    ).auth
    assert (auth.external["google"].enabled, auth.external["google"].client_ids) == (True, ("web", "ios"))
    assert auth.external["linkedin_oidc"].secret.get_secret_value() == "hidden"
    assert auth.enable_manual_linking
    assert auth.external_allowed_id_token_issuers == ("https://a.example.com",)


def test_sessions_and_keys_of_the_database_are_read() -> None:
    key = "A" * 43
    auth = settings_of(
        GOTRUE_SESSIONS_TIMEBOX="24h",
        GOTRUE_SESSIONS_TAGS="web,app",
        GOTRUE_SECURITY_DB_ENCRYPTION_DECRYPTION_KEYS=f"one:{key}",
        GOTRUE_PASSWORD_HIBP_ENABLED="true",
        GOTRUE_EXTERNAL_FLOW_STATE_EXPIRY_DURATION="10s",
    ).auth
    assert (auth.sessions.timebox_s, auth.sessions.tags) == (86_400, ("web", "app"))
    assert auth.db_encryption.decryption_keys["one"].get_secret_value() == key
    assert (auth.security.pwned_passwords.enabled, auth.flow_state_expiry_s) == (True, 300)


def test_mail_goes_through_the_named_server_or_nowhere() -> None:
    email = settings_of(
        GOTRUE_SMTP_HOST="mail", GOTRUE_SMTP_PASS="hidden", GOTRUE_SMTP_HEADERS='{"X-One": ["a", "b"], "X-Two": "c"}'
    ).auth.email
    assert (email.smtp.host, email.smtp.port, email.discard_without_server) == ("mail", 587, True)
    assert email.smtp.password.get_secret_value() == "hidden"
    assert email.smtp.headers == {"X-One": "a, b", "X-Two": "c"}


@pytest.mark.parametrize(
    ("text", "sets"),
    [("abc:ABC:012", ("abc", "ABC", "012")), (r"ab\:c::0", ("ab:c", "0")), ("", ()), (r"\:!", (":!",))],
)
def test_sets_of_characters_stand_between_colons(text: str, sets: tuple[str, ...]) -> None:
    assert character_sets(text) == sets


@pytest.mark.parametrize(("variables", "is_asked"), [(NEEDED, True), ({"DATABASE_URL": "x", "PORT": "1"}, False)])
def test_gotrues_own_variables_ask_for_its_place(variables: dict[str, str], is_asked: bool) -> None:
    assert is_gotrue_environment(variables) is is_asked


def test_every_name_is_a_setting_of_ours() -> None:
    assert [option.name for option in OPTIONS if not _exists(option.target)] == []


def _exists(target: str) -> bool:
    model: type[BaseModel] = Settings
    *groups, field = target.split(".")
    for group in groups:
        annotation = model.model_fields[group].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return True  # a mapping, whose members have names of the user's
        model = annotation
    return field in model.model_fields


def test_no_name_stands_twice() -> None:
    names = [name for option in OPTIONS for name in (option.name, *option.aliases)]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_every_name_is_documented() -> None:
    documented = set(re.findall(r"`([A-Z][A-Z0-9_*]+)`", PAGE))
    known = {name for option in OPTIONS for name in (option.name, *option.aliases)} | set(WITHOUT_EFFECT)
    assert {name for name in known if not any(fnmatchcase(name, pattern) for pattern in documented)} == set()
