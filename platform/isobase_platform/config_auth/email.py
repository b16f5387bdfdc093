"""E-mail of auth. Names as config.toml's ``[auth.email]``."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from isobase_platform.config_auth.codes import EmailCodeSettings
from isobase_platform.config_auth.email_templates import NotificationSettings, TemplateSettings
from isobase_platform.config_auth.smtp import SesSettings, SmtpSettings

__all__ = ["EmailSettings"]


class EmailSettings(EmailCodeSettings):
    """E-mail of auth (``[auth.email]``)."""

    discard_without_server: bool = False
    """Whether mail is thrown away where neither SMTP nor SES is configured; so with GoTrue's variables."""
    smtp: SmtpSettings = SmtpSettings()
    ses: SesSettings = SesSettings()
    template: Mapping[str, TemplateSettings] = Field(default_factory=dict)
    """The project's own words, by confirmation, invite, magic_link, recovery, email_change or reauthentication: subject and
    content_path, a file with HTML in Go's template language."""
    notification: Mapping[str, NotificationSettings] = Field(default_factory=dict)
    """Notices after a change, by password_changed, email_changed, phone_changed, identity_linked, identity_unlinked,
    mfa_factor_enrolled or mfa_factor_unenrolled: enabled, subject and content_path."""
