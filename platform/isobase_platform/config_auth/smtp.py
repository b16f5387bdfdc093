"""How mail leaves: an SMTP server or Amazon SES. Names as config.toml's ``[auth.email.smtp]``; SES is our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, SecretStr

from isobase_platform.config_group import SettingsGroup

__all__ = ["SesSettings", "SmtpSettings"]


class SmtpSettings(SettingsGroup):
    """Mail through an SMTP server (``[auth.email.smtp]``)."""

    enabled: bool = True
    """Whether mail goes to ``host``, where one is given."""
    host: str = ""
    port: int = Field(default=587, ge=1, le=65_535)
    user: str = ""
    """Empty: no login."""
    password: SecretStr = SecretStr("")
    admin_email: str = ""
    """The address that mail comes from; SES sends from it too."""
    sender_name: str = ""
    security: Literal["auto", "tls", "starttls", "none"] = "auto"
    """auto: TLS from the first byte on port 465, else STARTTLS where the server offers it. A login is never sent in clear,
    except to this machine."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Headers that every mail carries too; `$messageType` in a value becomes the kind of mail."""
    timeout_s: float = Field(default=10.0, gt=0)
    """How long each step of a delivery may take."""

    @property
    def is_configured(self) -> bool:
        """Whether mail is to go this way."""
        return self.enabled and bool(self.host)


class SesSettings(SettingsGroup):
    """Mail through Amazon SES. Sender and headers are those of SMTP."""

    enabled: bool = False
    region: str | None = None
    """Default: what the AWS environment says."""
    configuration_set: str | None = None
    endpoint_url: str | None = None
    """Another address of the SES API, such as a VPC endpoint."""
    timeout_s: float = Field(default=10.0, gt=0)
    """How long connecting and answering may each take."""
