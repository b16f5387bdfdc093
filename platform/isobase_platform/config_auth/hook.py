"""Settings of auth's hooks: ``[auth.hook.NAME]`` of config.toml."""

from __future__ import annotations

from pydantic import Field, SecretStr

from isobase_platform.config_group import SettingsGroup

__all__ = ["HookPoint", "HookSettings"]


class HookPoint(SettingsGroup):
    """A hook that auth calls at this point."""

    enabled: bool = False
    uri: str = ""
    """`pg-functions://DATABASE/SCHEMA/FUNCTION`, or an https URL (http for this machine only)."""
    secrets: SecretStr = SecretStr("")
    """`v1,whsec_BASE64` by which calls over HTTP are signed; several, divided by vertical bars, while they are changed."""


class SendEmailHook(HookPoint):
    """The hook that sends mail in the place of SMTP."""


class SendSmsHook(HookPoint):
    """The hook that sends text messages in the place of a provider."""


class CustomAccessTokenHook(HookPoint):
    """The hook that changes the claims of access tokens."""


class PasswordVerificationHook(HookPoint):
    """The hook that is told about every password that was tried."""


class MfaVerificationHook(HookPoint):
    """The hook that is told about every code of a second factor that was tried."""


class BeforeUserCreatedHook(HookPoint):
    """The hook that may refuse a new user."""


class AfterUserCreatedHook(HookPoint):
    """The hook that is told about a new user."""


class HookSettings(SettingsGroup):
    """Hooks of auth: how they are called."""

    timeout_s: float = Field(default=5.0, gt=0)
    """How long a call over HTTP may take with all its tries."""
    retry_pause_s: float = Field(default=2.0, ge=0)
    """How long to wait after a failed connection before the next of three tries."""
    function_timeout_s: float = Field(default=2.0, gt=0)
    """How long a hook that is a PostgreSQL function may run."""
    send_email: SendEmailHook = SendEmailHook()
    send_sms: SendSmsHook = SendSmsHook()
    custom_access_token: CustomAccessTokenHook = CustomAccessTokenHook()
    password_verification_attempt: PasswordVerificationHook = PasswordVerificationHook()
    mfa_verification_attempt: MfaVerificationHook = MfaVerificationHook()
    before_user_created: BeforeUserCreatedHook = BeforeUserCreatedHook()
    after_user_created: AfterUserCreatedHook = AfterUserCreatedHook()
