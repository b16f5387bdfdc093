"""The local mailbox: keeps the mail of a local project for its developer to read. Names as config.toml's ``[inbucket]``."""

from __future__ import annotations

from pydantic import Field

from isobase_platform.config_group import SettingsGroup

__all__ = ["MailboxSettings"]


class MailboxSettings(SettingsGroup):
    """The local mailbox (``[inbucket]``); its port is ISOBASE_MAIL_PORT. Production has none."""

    enabled: bool = True
    """Whether `isobase start` runs one."""
    smtp_port: int | None = Field(default=None, ge=1, le=65_535)
    """Where it also takes mail by SMTP, from other programs; none: it does not."""
    admin_email: str = "admin@email.com"
    """The sender of auth's mail while no SMTP server is configured."""
    sender_name: str = "Admin"
    url: str | None = None
    """The mailbox that auth puts its mail into; default: the one at ISOBASE_MAIL_PORT of this machine."""
    hosts: tuple[str, ...] = ()
    """Names in the public DNS that the mailbox answers to as well; to addresses and local names it always does."""
    max_messages: int = Field(default=500, ge=1)
    """The oldest messages make room for new ones."""
    max_bytes: int = Field(default=32 * 1024 * 1024, ge=1)
    """Of all messages together."""
