"""Settings of what a change of password asks for, of leaked passwords, of the audit log and of housekeeping."""

from __future__ import annotations

from pydantic import Field

from isobase_platform.config_group import SettingsGroup

__all__ = ["AuditSettings", "HousekeepingSettings", "PwnedPasswordSettings", "SecuritySettings"]


class PwnedPasswordSettings(SettingsGroup):
    """Passwords that are known from leaks, asked for at HaveIBeenPwned by the first five characters of their SHA-1."""

    enabled: bool = False
    fail_closed: bool = False
    """Refuse new passwords while the service does not answer; otherwise they are taken, with a warning in the log."""
    url: str = "https://api.pwnedpasswords.com/range/"
    """Where the range is asked for."""
    timeout_s: float = Field(default=5.0, gt=0)


class SecuritySettings(SettingsGroup):
    """What a change of password asks for."""

    update_password_require_current_password: bool = False
    """Whether a user who has a password must give it to change it."""
    pwned_passwords: PwnedPasswordSettings = PwnedPasswordSettings()


class AuditSettings(SettingsGroup):
    """The log of what happened in auth."""

    database_enabled: bool = True
    """Whether entries are kept in `auth.audit_log_entries`; otherwise they go to the process's log alone."""


class HousekeepingSettings(SettingsGroup):
    """Removal of what nobody can use any more from the tables of auth."""

    enabled: bool = True
    interval_s: float = Field(default=300.0, gt=0)
    """How long to wait between two rounds."""
    batch_rows: int = Field(default=500, ge=1)
    """Rows at most that one statement removes."""
    anonymous_users_enabled: bool = False
    """Whether anonymous users go 30 days after their sign-up, with everything that hangs on them."""
