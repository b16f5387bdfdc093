"""What flows hand over to be sent, what is rendered from it, and how sending fails. No I/O.

``EmailMessage`` and ``SmsMessage`` say what happened; ``render`` makes a ``Mail`` of the first. Source: contracts auth 2.8;
supabase/auth internal/mailer and internal/api/mail.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias

from isobase_services.auth.models import NO_FACTS, ClientFacts, JsonObject, User

__all__ = [
    "Channel",
    "EmailDelivery",
    "EmailKind",
    "EmailMessage",
    "Mail",
    "MailSender",
    "Message",
    "SendFailed",
    "SmsDelivery",
    "SmsKind",
    "SmsMessage",
]

Channel: TypeAlias = Literal["sms", "whatsapp"]


class EmailKind(StrEnum):
    """Why a mail is sent; the values are upstream's ``email_action_type``."""

    SIGNUP = "signup"
    INVITE = "invite"
    MAGICLINK = "magiclink"
    RECOVERY = "recovery"
    EMAIL_CHANGE = "email_change"
    REAUTHENTICATION = "reauthentication"
    PASSWORD_CHANGED = "password_changed_notification"  # noqa: S105  the name of a notice
    EMAIL_CHANGED = "email_changed_notification"
    PHONE_CHANGED = "phone_changed_notification"
    IDENTITY_LINKED = "identity_linked_notification"
    IDENTITY_UNLINKED = "identity_unlinked_notification"
    FACTOR_ENROLLED = "mfa_factor_enrolled_notification"
    FACTOR_UNENROLLED = "mfa_factor_unenrolled_notification"

    @property
    def is_notice(self) -> bool:
        """Whether it tells of something done, without a code; such mail is off unless a project asks for it."""
        return self.value.endswith("_notification")

    @property
    def template(self) -> str:
        """The name in config.toml: below ``[auth.email.notification]`` for a notice, else below ``[auth.email.template]``."""
        if self.is_notice:
            return self.value.removesuffix("_notification")
        return {"signup": "confirmation", "magiclink": "magic_link"}.get(self.value, self.value)


class SmsKind(StrEnum):
    """Why a text message is sent; the values stand in upstream's error texts."""

    CONFIRMATION = "confirmation"
    PHONE_CHANGE = "phone_change"
    REAUTHENTICATION = "reauthentication"
    FACTOR = "mfa"


@dataclass(slots=True, frozen=True)
class EmailMessage:
    """A mail to ``address``. ``link`` is the whole URL that the reader follows, made by the flow from the settings.

    ``to_current``: only for a secure change of e-mail, the mail to the user's current address; it is sent with this one,
    which goes to the new address, because a hook gets both at once. ``data`` (default: the user's metadata) and the fields
    below it are for templates.
    """

    kind: EmailKind
    user: User
    address: str
    code: str = field(default="", repr=False)
    token_hash: str = field(default="", repr=False)
    link: str = field(default="", repr=False)
    redirect_to: str = ""
    new_email: str = ""
    to_current: EmailMessage | None = None
    data: JsonObject | None = None
    old_email: str = ""
    old_phone: str = ""
    provider: str = ""
    factor_type: str = ""
    facts: ClientFacts = NO_FACTS
    """The client that made the server send this, as far as the flow says so; hooks are told its address."""


@dataclass(slots=True, frozen=True)
class SmsMessage:
    """A text message with ``code`` to ``phone`` (as it is stored: digits without a plus)."""

    kind: SmsKind
    user: User
    phone: str
    code: str = field(repr=False)
    channel: Channel = "sms"
    template: str | None = None
    """The text in the place of ``auth.sms.template``, for second factors."""
    facts: ClientFacts = NO_FACTS
    """As in ``EmailMessage``."""


Message: TypeAlias = EmailMessage | SmsMessage


@dataclass(slots=True, frozen=True)
class Mail:
    """A rendered mail. ``kind`` goes out in headers that a project asked for."""

    kind: EmailKind
    to: str
    subject: str = field(repr=False)
    html: str = field(repr=False)
    text: str = field(repr=False)


class SendFailed(Exception):
    """A message did not leave. ``is_permanent``: another try would end the same; ``is_known``: the log has been told before.

    The text is for the log and never holds codes or addresses; ``told`` is what the caller may read, by default the same.
    """

    def __init__(
        self, reason: str, *, is_permanent: bool = False, is_known: bool = False, told: str | None = None
    ) -> None:
        super().__init__(reason)
        self.is_permanent = is_permanent
        self.is_known = is_known
        self.told = reason if told is None else told


class MailSender(Protocol):
    """A way for rendered mail to leave."""

    async def send(self, mail: Mail) -> None:
        """Hand it over; returns when it was accepted. Raises ``SendFailed``."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class EmailDelivery(Protocol):
    """What becomes of an ``EmailMessage``: it is rendered and sent, or a project's hook takes it."""

    async def deliver(self, message: EmailMessage) -> None:
        """See to it, ``to_current`` included. Raises ``SendFailed``, or ``AuthError`` for an answer of a project's own."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class SmsDelivery(Protocol):
    """What becomes of an ``SmsMessage``."""

    async def deliver(self, message: SmsMessage) -> str:
        """See to it; returns the provider's id of the message, which may be empty. Raises as ``EmailDelivery.deliver``."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
